/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Asking the controller for something about images (specs/image/image_request.h) and following it
 * to its end, with progress on stderr. Ctrl-C withdraws the request: a pull ends unless others want
 * the image, too.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/json.h"

struct cli;
struct error;
struct follow_values;

/*
 * 0 and *ret_answer, which the caller owns (NULL when detached); the exit status 130 or 143 when
 * interrupted; or the error the controller answered with, -ERR_TIMEOUT, -ERR_STORE,
 * -ERR_CONTROLLER.
 */
int image_request_run(struct cli *cli, json_t *request_take, const struct follow_values *values,
    json_t **ret_answer, struct error *err);

/* Whether a URL is meant by `word`: itself, or the end of its path. NULL is not. */
bool image_url_is_called(const char *url, const char *word);

/* Answers all open pulls of URLs that `word` means with an error, which ends them.
 * -ERR_IMAGE_NOT_FOUND: there is none. */
int image_request_cancel(struct cli *cli, const char *word, struct error *err);
