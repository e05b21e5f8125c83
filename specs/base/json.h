/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The interface to jansson (RFC 8259) for QMP, store records and `-o json`.
 * Readers return a default when the key is absent or of another type, so that records of older
 * and newer versions can be read; writers skip what is NULL.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

static inline void cleanup_json_(json_t **value)
{
    json_decref(*value);
}
#define cleanup_json __attribute__((cleanup(cleanup_json_)))

/* Borrowed from `object`; NULL when absent. */
const char *json_text(const json_t *object, const char *key);
int64_t json_int(const json_t *object, const char *key, int64_t otherwise);
bool json_flag(const json_t *object, const char *key, bool otherwise);

/* A fresh copy, NULL when absent. free() it. */
char *json_copy_text(const json_t *object, const char *key);

/* A text as a value; NULL gives NULL. A path need not be UTF-8, JSON must: then "(not UTF-8)". */
json_t *json_of_text(const char *text);

void json_put_text(json_t *object, const char *key, const char *text); /* NULL: nothing */
void json_put_int(json_t *object, const char *key, int64_t value);
/* The member NAME in milliseconds since 1970, and NAMETime as RFC 3339 has it, in UTC; of 0, which
 * is no time, only the first. */
void json_put_time(json_t *object, const char *name, int64_t wall_ms);
void json_put_flag(json_t *object, const char *key, bool value);
void json_put(json_t *object, const char *key, json_t *value_take);

/* Compact with sorted keys: equal values give equal bytes. free() it. */
char *json_canonical(const json_t *value);

/* The items of an array in the order of their keys, in a new array. `key_of` (json_canonical() for
 * any fixed order) returns a text that is free()d. */
json_t *json_sort_take(json_t *array_take, char *(*key_of)(const json_t *item));
