/* SPDX-License-Identifier: MPL-2.0 */
/* The HTTP of a probe: one GET (RFC 9110); only the status line of the response counts. Pure. */
#pragma once

#include <stdint.h>

struct error;

enum { HTTP_STATUS_LINE_MAX = 1024 };

/* The request for `path`; free() it. */
char *http_probe_request(const char *path, uint16_t port);

/* -ERR_PROBE unless `answer` begins with a status line of 200 to 399, as kubelet has it. */
int http_probe_judge(const char *answer, struct error *err);
