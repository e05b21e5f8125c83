/* SPDX-License-Identifier: MPL-2.0 */
/* The HTTP of a probe: one GET (RFC 9110); only the status line of the response counts. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;

enum { HTTP_ANSWER_MAX = 16384 }; /* room for interim responses with their headers */

/* The request for `path`; free() it. */
char *http_probe_request(const char *path, uint16_t port);

/* The status line is there: that of the final response (RFC 9110, 15.2: 1xx are interim ones). */
bool http_probe_is_complete(const char *answer);

/* -ERR_PROBE unless the status line is one of 200 to 399, as kubelet has it. */
int http_probe_judge(const char *answer, struct error *err);
