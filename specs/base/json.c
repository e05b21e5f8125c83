/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/json.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

const char *json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

int64_t json_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool json_flag(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

char *json_copy_text(const json_t *object, const char *key)
{
    return mem_strdup(json_text(object, key));
}

json_t *json_of_text(const char *text)
{
    json_t *value = json_string(text); /* NULL for NULL, too */
    return value || !text ? value : json_string("(not UTF-8)");
}

void json_put_text(json_t *object, const char *key, const char *text)
{
    if (text) {
        json_put(object, key, json_of_text(text));
    }
}

void json_put_int(json_t *object, const char *key, int64_t value)
{
    json_put(object, key, json_integer(value));
}

void json_put_time(json_t *object, const char *name, int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];
    json_put_int(object, name, wall_ms);
    if (wall_ms > 0) {
        cleanup_free char *key = mem_printf("%sTime", name);
        clock_format_utc(wall_ms, text);
        json_put_text(object, key, text);
    }
}

void json_put_flag(json_t *object, const char *key, bool value)
{
    json_put(object, key, json_boolean(value));
}

void json_put(json_t *object, const char *key, json_t *value_take)
{
    (void)json_object_set_new(object, key, value_take);
}

char *json_canonical(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    return text ? text : mem_strdup("null");
}

struct sortable {
    char *key; /* first: see text_compare() */
    json_t *value;
};

json_t *json_sort_take(json_t *array_take, char *(*key_of)(const json_t *item))
{
    cleanup_json json_t *array = array_take;
    size_t count = json_array_size(array);
    cleanup_free struct sortable *items = mem_calloc(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        items[i].value = json_array_get(array, i);
        items[i].key = key_of(items[i].value);
    }
    qsort(items, count, sizeof(*items), text_compare);
    json_t *result = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append(result, items[i].value);
        free(items[i].key);
    }
    return result;
}
