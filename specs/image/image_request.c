/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_request.h"

#include <stdio.h>
#include <string.h>

#include "specs/base/error.h"
#include "specs/base/text.h"

enum { NAME_MAX_LENGTH = 128, SHA256_DIGITS = 64 };

bool image_request_is_answered(const json_t *request)
{
    const char *state = json_text(request, "state");
    return text_eq(state, "done") || text_eq(state, "failed");
}

void image_request_fail(json_t *request, const struct error *err)
{
    json_t *json = json_object();
    json_put_text(json, "code", error_code_name(err->code));
    json_put_text(json, "message", err->message);
    json_put_text(json, "help", error_help_text(err));
    json_put(request, "error", json);
    json_put_text(request, "state", "failed");
}

bool image_request_failure(const json_t *request, struct error *ret)
{
    if (!text_eq(json_text(request, "state"), "failed")) {
        return false;
    }
    const json_t *json = json_object_get(request, "error");
    const char *message = json_text(json, "message");
    const char *help = json_text(json, "help");
    enum error_code code = error_code_find(json_text(json, "code"));
    *ret = (struct error){.code = code ? code : ERR_IO};
    (void)snprintf(ret->message, sizeof(ret->message), "%s", message ? message : "it failed");
    (void)snprintf(ret->help, sizeof(ret->help), "%s", help ? help : "");
    return true;
}

bool image_file_name_is_valid(const char *name)
{
    return strspn(name, "0123456789abcdef") == SHA256_DIGITS &&
           text_eq(name + SHA256_DIGITS, ".qcow2");
}

bool image_name_is_valid(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c >= 0x7f || c == '/') {
            return false;
        }
    }
    bool is_digest = strspn(name, "0123456789abcdef") == n && n >= IMAGE_DIGEST_SHOWN;
    return n > 0 && n <= NAME_MAX_LENGTH && name[0] != '.' && name[0] != '-' && !is_digest &&
           !image_file_name_is_valid(name);
}
