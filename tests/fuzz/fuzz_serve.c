/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: a request to vmctl-serve is what its lines say: method, path, Host, Origin,
 * Authorization, Accept, Last-Event-ID, then arguments. It leads to a route, whose name can be a
 * VM's, or to a status with an error. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/serve/access.h"
#include "cli/serve/route.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the line in place. */
static char *next_line(char **rest)
{
    char *line = *rest, *end = strchr(line, '\n');
    *rest = end ? end + 1 : line + strlen(line);
    if (end) {
        *end = '\0';
    }
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct access access = {.token = "0123456789abcdef"};
    cleanup_free char *text = mem_strndup((const char *)data, size);
    char *rest = text;
    struct http_request request = {.method = next_line(&rest)};
    const char **const fields[] = {&request.path, &request.host, &request.origin,
        &request.authorization, &request.accept, &request.last_event_id};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        *fields[i] = next_line(&rest);
    }
    while (*rest) {
        strings_append(&request.arguments, next_line(&rest));
    }
    struct error err = {.code = ERR_NONE}, refusal = {.code = ERR_NONE};
    struct route route;
    unsigned status = route_find(&request, &route, &err);
    unsigned allowed = access_check(&access, &request, route.is_public, &refusal);
    bool has_name = route.vm_name[0] != '\0';
    if ((status == 200) != (err.code == ERR_NONE) ||
        (allowed == 200) != (refusal.code == ERR_NONE) ||
        (has_name && !vm_spec_name_is_valid(route.vm_name)) ||
        (allowed == 200 && !route.is_public && !strstr(request.authorization, access.token))) {
        abort();
    }
    strings_clear(&request.arguments);
    return 0;
}
