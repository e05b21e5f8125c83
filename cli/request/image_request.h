/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Asking the controller for something about images (specs/image/image_request.h) and following it
 * to its end, with progress on stderr. Ctrl-C ends the following, not the work.
 */
#pragma once

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
