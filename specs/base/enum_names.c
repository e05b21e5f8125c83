/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/enum_names.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

int enum_names_find_bytes(const struct enum_names *list, const char *word, size_t n)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->words[i];
        bool is_similar = n < 2 || (name[0] == word[0] && name[1] == word[1]);
        if (is_similar && strncmp(name, word, n) == 0 && !name[n]) {
            return (int)i;
        }
    }
    return -1;
}

int enum_names_find(const struct enum_names *list, const char *word)
{
    return word ? enum_names_find_bytes(list, word, strlen(word)) : -1;
}

int enum_names_find_in_any_case(const struct enum_names *list, const char *word)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcasecmp(word, list->words[i]) == 0) {
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
