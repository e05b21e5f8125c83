/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/member.h"

#include <string.h>

#include "specs/base/mem.h"

char *member_key(const struct member *member, const char *row)
{
    return mem_printf("%s%s", member->prefix, row);
}

struct engine_write member_write(const char *key, const char *text)
{
    return (struct engine_write){.kind = text ? ENGINE_PUT : ENGINE_DELETE,
        .key = key,
        .value = {text ? text : "", text ? strlen(text) : 0}};
}
