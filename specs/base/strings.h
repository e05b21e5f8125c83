/* SPDX-License-Identifier: MPL-2.0 */
/* A list of distinct strings, in the order in which they were added. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct strings {
    char **items; /* owned */
    size_t count;
};

void strings_add(struct strings *strings, const char *text); /* copies; once */
/* Copies, without a search of the list: for a text that is known not to be in it. */
void strings_append(struct strings *strings, const char *text);
bool strings_have(const struct strings *strings, const char *text);
const char *strings_find(
    const struct strings *strings, const char *text); /* the list's own; NULL: none */
bool strings_equal(
    const struct strings *a, const struct strings *b); /* the same in the same order */
void strings_clear(struct strings *strings);
