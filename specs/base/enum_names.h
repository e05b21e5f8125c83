/* SPDX-License-Identifier: MPL-2.0 */
/* The names of an enum's values, as a VMFile, the store and the command line write them. */
#pragma once

#include <stddef.h>

#include "specs/base/cleanup.h"

struct enum_names {
    const char *const *words; /* indexed by the enum's values */
    size_t count;
};

/* The value with this name, or -1 when no value has it (or the word is NULL). */
int enum_names_find(const struct enum_names *list, const char *word);
int enum_names_find_bytes(const struct enum_names *list, const char *word, size_t n);
int enum_names_find_in_any_case(const struct enum_names *list, const char *word); /* no NULL */

/* The name of a value, which must be one of the enum's. */
const char *enum_names_at(const struct enum_names *list, size_t value);

/*
 * One enum's words in the order of its values (or with designators), as the list PREFIX_words and
 * the function PREFIX_name(). Headers declare both; the list is static with DEFINE_OWN_WORDS. With
 * DEFINE_WORD_LIST there is no function.
 */
#define DEFINE_WORDS(prefix, type, value_count, ...)                                               \
    DEFINE_WORDS_(, prefix, type, value_count, __VA_ARGS__)
#define DEFINE_OWN_WORDS(prefix, type, value_count, ...)                                           \
    DEFINE_WORDS_(static, prefix, type, value_count, __VA_ARGS__)
#define DEFINE_WORD_LIST(prefix, value_count, ...)                                                 \
    DEFINE_WORD_LIST_(, prefix, value_count, __VA_ARGS__)
#define DEFINE_WORDS_(storage, prefix, type, value_count, ...)                                     \
    DEFINE_WORD_LIST_(storage, prefix, value_count, __VA_ARGS__)                                   \
    const char *prefix##_name(type value)                                                          \
    {                                                                                              \
        return enum_names_at(&prefix##_words, (size_t)value);                                      \
    }
#define DEFINE_WORD_LIST_(storage, prefix, value_count, ...)                                       \
    static const char *const prefix##_table[] = {__VA_ARGS__};                                     \
    _Static_assert(ARRAY_LEN(prefix##_table) == (value_count), "every value has its word");        \
    storage const struct enum_names prefix##_words = {prefix##_table, (value_count)};
