/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int tool_error(struct error *err, enum error_code code, const struct error *child_err,
    const char *fmt, ...)
{
    char context[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    bool is_full = child_err->code == ERR_NO_SPACE
        || strstr(child_err->message, strerror(ENOSPC))
        || strstr(child_err->message, strerror(EDQUOT));
    return error_set(err, is_full ? ERR_NO_SPACE : code, "%s: %s", context, child_err->message);
}
