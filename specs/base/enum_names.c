/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/enum_names.h"

#include <assert.h>

#include "specs/base/text.h"

int enum_names_find(const struct enum_names *list, const char *word)
{
    for (size_t i = 0; word && i < list->count; i++) {
        if (text_eq(list->words[i], word)) {
            return (int)i;
        }
    }
    return -1;
}

const char *enum_names_at(const struct enum_names *list, size_t value)
{
    assert(value < list->count);
    return list->words[value];
}
