/* SPDX-License-Identifier: MPL-2.0 */
/* A list of distinct strings, in the order in which they were added. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct texts {
    char **items; /* owned */
    size_t count;
};

void texts_add(struct texts *texts, const char *text); /* copies; once */
bool texts_have(const struct texts *texts, const char *text);
const char *texts_find(const struct texts *texts, const char *text); /* the list's own; NULL: none */
bool texts_equal(const struct texts *a, const struct texts *b); /* the same in the same order */
void texts_clear(struct texts *texts);
