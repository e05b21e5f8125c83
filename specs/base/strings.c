/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/strings.h"

#include <stdlib.h>

#include "specs/base/mem.h"
#include "specs/base/text.h"

const char *texts_find(const struct texts *texts, const char *text)
{
    for (size_t i = 0; i < texts->count; i++) {
        if (text_eq(texts->items[i], text)) {
            return texts->items[i];
        }
    }
    return NULL;
}

bool texts_have(const struct texts *texts, const char *text)
{
    return texts_find(texts, text) != NULL;
}

void texts_add(struct texts *texts, const char *text)
{
    if (!texts_have(texts, text)) {
        mem_grow(texts->items, texts->count);
        texts->items[texts->count++] = mem_strdup(text);
    }
}

bool texts_equal(const struct texts *a, const struct texts *b)
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

void texts_clear(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->items[i]);
    }
    free(texts->items);
    *texts = (struct texts){.count = 0};
}
