/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/json_field.h"

#include <string.h>

void json_field_text(const json_t *object, const char *key, char *out, size_t size)
{
    const char *text = json_text(object, key);
    size_t n = text ? strlen(text) : 0;
    memset(out, 0, size); /* the whole array, so that equal values are equal bytes */
    if (n < size) {
        memcpy(out, text ? text : "", n);
    }
}

uint64_t json_field_uint(const json_t *object, const char *key, uint64_t max)
{
    int64_t value = json_int(object, key, 0);
    return value >= 0 && (uint64_t)value <= max ? (uint64_t)value : 0;
}

int32_t json_field_int32(const json_t *object, const char *key, int32_t otherwise)
{
    int64_t value = json_int(object, key, otherwise);
    return value >= INT32_MIN && value <= INT32_MAX ? (int32_t)value : otherwise;
}

int json_field_word(const json_t *object, const char *key, json_field_name_of *name_of, int count)
{
    const char *text = json_text(object, key);
    for (int i = 0; text && i < count; i++) {
        if (strcmp(text, name_of(i)) == 0) {
            return i;
        }
    }
    return 0;
}

void json_field_put_text(json_t *object, const char *key, const char *text)
{
    if (text && text[0]) {
        json_put_text(object, key, text);
    }
}

void json_field_put_uint(json_t *object, const char *key, uint64_t value)
{
    if (value > 0) {
        json_put_int(object, key, (int64_t)value);
    }
}
