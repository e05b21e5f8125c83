/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/strings.h"

#include <stdlib.h>

#include "specs/base/mem.h"
#include "specs/base/text.h"

const char *strings_find(const struct strings *strings, const char *text)
{
    for (size_t i = 0; i < strings->count; i++) {
        if (text_eq(strings->items[i], text)) {
            return strings->items[i];
        }
    }
    return NULL;
}

bool strings_have(const struct strings *strings, const char *text)
{
    return strings_find(strings, text) != NULL;
}

void strings_append(struct strings *strings, const char *text)
{
    mem_grow(strings->items, strings->count);
    strings->items[strings->count++] = mem_strdup(text);
}

void strings_add(struct strings *strings, const char *text)
{
    if (!strings_have(strings, text)) {
        strings_append(strings, text);
    }
}

bool strings_equal(const struct strings *a, const struct strings *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!text_eq(a->items[i], b->items[i])) {
            return false;
        }
    }
    return true;
}

void strings_clear(struct strings *strings)
{
    for (size_t i = 0; i < strings->count; i++) {
        free(strings->items[i]);
    }
    free(strings->items);
    *strings = (struct strings){.count = 0};
}
