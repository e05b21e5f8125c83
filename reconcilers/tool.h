/* SPDX-License-Identifier: MPL-2.0 */
/* How a helper program failed, in the words and codes of what it was needed for. */
#pragma once

#include "specs/base/error.h"

/*
 * Sets `err` from what child.h reported: "<context>: <its words>", with `code`; but a full disk is
 * ERR_NO_SPACE (the program says so in the words of strerror(3)). Returns -err->code.
 */
int tool_error(struct error *err, enum error_code code, const struct error *child_err,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
