/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Reading and writing the fields of store records: ids in fixed arrays, unsigned numbers, words of
 * an enum. Readers are tolerant: what does not fit its field reads as the default, never as a
 * shortened or wrapped value.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/json.h"

/* The text in `out`, "" when absent or longer than `size` - 1 bytes. */
void json_field_text(const json_t *object, const char *key, char *out, size_t size);

/* 0 when absent, negative or above `max`. */
uint64_t json_field_uint(const json_t *object, const char *key, uint64_t max);

/* `otherwise` when absent or beyond 32 bits. */
int32_t json_field_int32(const json_t *object, const char *key, int32_t otherwise);

/* The index of the word among `count` names made by `name_of`, 0 when absent or unknown. */
typedef const char *json_field_name_of(int value);
int json_field_word(const json_t *object, const char *key, json_field_name_of *name_of, int count);

/* As json_put_text() and json_put_int(), but "" and 0 write nothing: a record lists what is set. */
void json_field_put_text(json_t *object, const char *key, const char *text);
void json_field_put_uint(json_t *object, const char *key, uint64_t value);
