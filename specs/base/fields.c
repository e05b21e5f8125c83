/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static const struct field text_rows[] = {
    {.kind = FIELD_KIND_TEXT, .size = sizeof(char *)},
};
const struct fields fields_of_text = {FIELDS_OF(text_rows, char *)};

/* ---- members and items by their address ---- */

static void *at(const struct field *field, const void *owner)
{
    return (char *)(uintptr_t)owner + field->offset;
}

static uint64_t load(const void *from, size_t size)
{
    switch (size) {
    case sizeof(uint8_t):
        return *(const uint8_t *)from;
    case sizeof(uint16_t):
        return *(const uint16_t *)from;
    case sizeof(uint32_t):
        return *(const uint32_t *)from;
    default:
        assert(size == sizeof(uint64_t));
        return *(const uint64_t *)from;
    }
}

static void save(void *to, size_t size, uint64_t value)
{
    switch (size) {
    case sizeof(uint8_t):
        *(uint8_t *)to = (uint8_t)value;
        break;
    case sizeof(uint16_t):
        *(uint16_t *)to = (uint16_t)value;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)to = (uint32_t)value;
        break;
    default:
        assert(size == sizeof(uint64_t));
        *(uint64_t *)to = value;
    }
}

int64_t field_number(const struct field *field, const void *owner)
{
    const void *from = at(field, owner);
    if (field->kind == FIELD_KIND_INT && field->size == sizeof(int32_t)) {
        return *(const int32_t *)from;
    }
    return (int64_t)load(from, field->size);
}

bool field_set_number(const struct field *field, void *owner, int64_t value)
{
    bool is_in_range;
    switch (field->kind) {
    case FIELD_KIND_BOOL:
        is_in_range = value == 0 || value == 1;
        break;
    case FIELD_KIND_ENUM:
        is_in_range = value >= 0 && (uint64_t)value < field->words->count;
        break;
    case FIELD_KIND_INT:
        is_in_range = field->size == sizeof(int64_t) || (value >= INT32_MIN && value <= INT32_MAX);
        break;
    default:
        is_in_range = value >= 0 && (uint64_t)value <= UINT64_MAX >> (64 - 8 * field->size);
    }
    if (is_in_range) {
        save(at(field, owner), field->size, (uint64_t)value);
    }
    return is_in_range;
}

static char *text_at(const struct field *field, const void *owner)
{
    return *(char *const *)at(field, owner);
}

static bool is_text(const struct field *field)
{
    return field->kind == FIELD_KIND_TEXT || field->kind == FIELD_KIND_JSON;
}

/* The structs that a member contains or points to. A text of a list is a struct of one text. */
struct items {
    void *first;
    size_t count;
};

static bool is_pointer(const struct field *field)
{
    return field->kind == FIELD_KIND_OWNED || field->kind == FIELD_KIND_LIST ||
           field->kind == FIELD_KIND_TEXTS;
}

static struct items items_of(const struct field *field, const void *owner)
{
    const char *counter = (const char *)owner + field->count_offset;
    struct items items = {.first = at(field, owner)};
    if (is_pointer(field)) {
        items.first = *(void *const *)at(field, owner);
    }
    switch (field->kind) {
    case FIELD_KIND_STRUCT:
        items.count = 1;
        break;
    case FIELD_KIND_KEYED:
        items.count = field->words->count;
        break;
    case FIELD_KIND_OWNED:
        items.count = items.first ? 1 : 0;
        break;
    case FIELD_KIND_LIST:
    case FIELD_KIND_TEXTS:
        items.count = (size_t)load(counter, field->count_size);
        break;
    default:
        break;
    }
    return items;
}

static void *item_at(const struct field *field, struct items items, size_t i)
{
    return (char *)items.first + i * field->fields->size;
}

/* Zeroed memory with the capacity that mem_grow() assumes for an array of `count`. */
static struct items new_items(const struct field *field, size_t count)
{
    size_t capacity = 1;
    while (capacity < count) {
        capacity *= 2;
    }
    return (struct items){count > 0 ? mem_calloc(capacity, field->fields->size) : NULL, count};
}

static bool is_empty(const struct field *field, const void *owner)
{
    if (field->kind != FIELD_KIND_STRUCT) {
        return field->kind == FIELD_KIND_CHARS ? !*(const char *)at(field, owner)
               : is_text(field)                ? !text_at(field, owner)
               : is_pointer(field)             ? items_of(field, owner).count == 0
                                               : field_number(field, owner) == 0;
    }
    bool is_any_set = false;
    for (size_t i = 0; i < field->fields->count && !is_any_set; i++) {
        is_any_set = !is_empty(&field->fields->rows[i], at(field, owner));
    }
    return !is_any_set;
}

/* KEYED: the item is in use. */
static bool is_present(const struct field *field, const void *item)
{
    return !is_empty(&field->fields->rows[0], item);
}

/* ---- creation and release ---- */

static void clear(const struct fields *fields, void *object)
{
    for (size_t row = 0; row < fields->count; row++) {
        const struct field *field = &fields->rows[row];
        if (is_text(field)) {
            free(text_at(field, object));
        }
        if (!field->fields) {
            continue;
        }
        struct items items = items_of(field, object);
        for (size_t i = 0; i < items.count; i++) {
            clear(field->fields, item_at(field, items, i));
        }
        if (is_pointer(field)) {
            free(items.first);
        }
    }
}

/* Turns a bytewise copy of a struct into one of its own: duplicates what the original owns. */
static void unshare(const struct fields *fields, void *object)
{
    for (size_t row = 0; row < fields->count; row++) {
        const struct field *field = &fields->rows[row];
        if (is_text(field)) {
            *(char **)at(field, object) = mem_strdup(text_at(field, object));
        }
        if (!field->fields) {
            continue;
        }
        struct items items = items_of(field, object);
        if (is_pointer(field)) {
            struct items copy = new_items(field, items.count);
            if (items.count > 0) {
                memcpy(copy.first, items.first, items.count * field->fields->size);
            }
            items = copy;
            *(void **)at(field, object) = items.first;
        }
        for (size_t i = 0; i < items.count; i++) {
            unshare(field->fields, item_at(field, items, i));
        }
    }
}

void *fields_copy(const struct fields *fields, const void *object)
{
    void *copy = mem_dup(object, fields->size);
    if (copy) {
        unshare(fields, copy);
    }
    return copy;
}

static void set_defaults(const struct fields *fields, void *zeroed)
{
    if (fields->defaults) {
        memcpy(zeroed, fields->defaults, fields->size);
        unshare(fields, zeroed);
    }
}

void *fields_new(const struct fields *fields)
{
    void *object = mem_calloc(1, fields->size);
    set_defaults(fields, object);
    return object;
}

void fields_free(const struct fields *fields, void *object)
{
    if (object) {
        clear(fields, object);
        free(object);
    }
}

/* ---- to JSON ---- */

static void put_members(json_t *json, const struct fields *fields, const void *object);

static json_t *items_to_json(const struct field *field, const void *owner)
{
    struct items items = items_of(field, owner);
    json_t *array = json_array();
    for (size_t i = 0; i < items.count; i++) {
        const void *item = item_at(field, items, i);
        if (field->kind == FIELD_KIND_TEXTS) {
            (void)json_array_append_new(array, json_of_text(text_at(&text_rows[0], item)));
            continue;
        }
        if (field->kind == FIELD_KIND_KEYED && !is_present(field, item)) {
            continue;
        }
        json_t *json = json_object();
        if (field->kind == FIELD_KIND_KEYED) {
            json_put_text(json, field->key, field->words->words[i]);
        }
        put_members(json, field->fields, item);
        (void)json_array_append_new(array, json);
    }
    return field->is_set && items.count > 1 ? json_sort_take(array, json_canonical) : array;
}

static json_t *value_to_json(const struct field *field, const void *owner)
{
    const void *value = at(field, owner);
    switch (field->kind) {
    case FIELD_KIND_BOOL:
        return json_boolean(*(const bool *)value);
    case FIELD_KIND_UINT:
    case FIELD_KIND_INT:
        return json_integer(field_number(field, owner));
    case FIELD_KIND_ENUM:
        return json_string(enum_names_at(field->words, (size_t)field_number(field, owner)));
    case FIELD_KIND_TEXT:
        return json_of_text(text_at(field, owner));
    case FIELD_KIND_JSON:
        return text_at(field, owner) ? json_loads(text_at(field, owner), JSON_DECODE_ANY, NULL)
                                     : NULL;
    case FIELD_KIND_CHARS:
        return json_of_text(value);
    case FIELD_KIND_STRUCT:
        return fields_to_json(field->fields, value);
    case FIELD_KIND_OWNED:
        value = items_of(field, owner).first;
        return value ? fields_to_json(field->fields, value) : NULL;
    default:
        return items_to_json(field, owner);
    }
}

json_t *field_to_json(const struct field *field, const void *owner)
{
    return field->omit_empty && is_empty(field, owner) ? NULL : value_to_json(field, owner);
}

static void put_members(json_t *json, const struct fields *fields, const void *object)
{
    for (size_t i = 0; i < fields->count; i++) {
        json_t *value = field_to_json(&fields->rows[i], object);
        if (value) {
            json_put(json, fields->rows[i].name, value);
        }
    }
}

json_t *fields_to_json(const struct fields *fields, const void *object)
{
    json_t *json = json_object();
    put_members(json, fields, object);
    return json;
}

/* ---- comparison ---- */

bool field_equal(const struct field *field, const void *a_owner, const void *b_owner)
{
    const void *a = at(field, a_owner), *b = at(field, b_owner);
    if (field->fields) {
        struct items a_items = items_of(field, a_owner), b_items = items_of(field, b_owner);
        bool is_equal = a_items.count == b_items.count;
        for (size_t i = 0; i < a_items.count && is_equal; i++) {
            is_equal =
                fields_equal(field->fields, item_at(field, a_items, i), item_at(field, b_items, i));
        }
        if (is_equal || !field->is_set || a_items.count != b_items.count) {
            return is_equal;
        }
        /* Rarely, a set has the same items in another order. */
        cleanup_json json_t *a_sorted = items_to_json(field, a_owner);
        cleanup_json json_t *b_sorted = items_to_json(field, b_owner);
        return json_equal(a_sorted, b_sorted);
    }
    switch (field->kind) {
    case FIELD_KIND_TEXT:
    case FIELD_KIND_JSON:
        return text_eq(text_at(field, a_owner), text_at(field, b_owner));
    case FIELD_KIND_CHARS:
        return text_eq(a, b);
    default:
        return load(a, field->size) == load(b, field->size);
    }
}

bool fields_equal(const struct fields *fields, const void *a, const void *b)
{
    for (size_t i = 0; a && b && i < fields->count; i++) {
        if (!field_equal(&fields->rows[i], a, b)) {
            return false;
        }
    }
    return (a != NULL) == (b != NULL);
}

const struct field *fields_find(
    const struct fields *fields, const void *object, const char *path, const void **ret_owner)
{
    size_t n = strcspn(path, ".");
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->rows[i];
        if (strncmp(field->name, path, n) != 0 || field->name[n]) {
            continue;
        }
        if (path[n] == '.') {
            return fields_find(field->fields, at(field, object), path + n + 1, ret_owner);
        }
        *ret_owner = object;
        return field;
    }
    return NULL;
}

bool fields_take(const struct fields *fields, void *to, const void *from, const char *path)
{
    const void *to_owner, *from_owner;
    const struct field *field = fields_find(fields, to, path, &to_owner);
    (void)fields_find(fields, from, path, &from_owner);
    assert(field);
    if (field_equal(field, to_owner, from_owner)) {
        return false;
    }
    const struct fields one = {.rows = field, .count = 1};
    char *owner = (char *)to + ((const char *)to_owner - (const char *)to);
    clear(&one, owner);
    memcpy(at(field, owner), at(field, from_owner), field->size);
    memcpy(owner + field->count_offset, (const char *)from_owner + field->count_offset,
        field->count_size);
    unshare(&one, owner);
    return true;
}

/* ---- from JSON ---- */

/* Reading continues after an error and keeps the first one: no branch per member. */
struct reader {
    bool is_strict;
    struct error *err;
    int result;
};

#define MISFIT(reader, ...)                                                                        \
    do {                                                                                           \
        if ((reader)->is_strict && (reader)->result == 0) {                                        \
            (reader)->result = error_set((reader)->err, ERR_STORE, __VA_ARGS__);                   \
        }                                                                                          \
    } while (0)

static void read_object(
    struct reader *reader, const struct fields *fields, const json_t *json, void *object);

static void read_chars(struct reader *reader, const struct field *field, const char *text, char *to)
{
    size_t n = text ? strlen(text) : 0;
    if (n >= field->size) {
        MISFIT(reader, "%s '%s' is too long", field->name, text);
    } else if (text) {
        memset(to, 0, field->size);
        memcpy(to, text, n);
    }
}

/* Skips items of a list of texts that are not texts. */
static void read_list(
    struct reader *reader, const struct field *field, const json_t *array, void *owner)
{
    struct items items = new_items(field, json_array_size(array));
    items.count = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *value = json_array_get(array, i);
        void *item = item_at(field, items, items.count);
        if (field->kind == FIELD_KIND_LIST) {
            set_defaults(field->fields, item);
            read_object(reader, field->fields, value, item);
            items.count++;
        } else if (json_is_string(value)) {
            *(char **)item = mem_strdup(json_string_value(value));
            items.count++;
        }
    }
    *(void **)at(field, owner) = items.first;
    save((char *)owner + field->count_offset, field->count_size, items.count);
}

/* The first item of a key counts; items of unknown keys are skipped. */
static void read_keyed(
    struct reader *reader, const struct field *field, const json_t *array, void *owner)
{
    size_t i;
    json_t *value;
    json_array_foreach(array, i, value)
    {
        int key = enum_names_find(field->words, json_text(value, field->key));
        void *item = key < 0 ? NULL : item_at(field, items_of(field, owner), (size_t)key);
        if (!item || is_present(field, item)) {
            continue;
        }
        read_object(reader, field->fields, value, item);
        if (!is_present(field, item)) {
            clear(field->fields, item);
            memset(item, 0, field->fields->size);
        }
    }
}

static void read_field(
    struct reader *reader, const struct field *field, const json_t *json, void *owner)
{
    void *to = at(field, owner);
    const char *text = json_string_value(json);
    switch (field->kind) {
    case FIELD_KIND_BOOL:
        *(bool *)to = json_is_boolean(json) ? json_is_true(json) : *(bool *)to;
        break;
    case FIELD_KIND_UINT:
    case FIELD_KIND_INT:
        if (json_is_integer(json) && !field_set_number(field, owner, json_integer_value(json))) {
            MISFIT(reader, "%s %" PRId64 " is out of range", field->name,
                (int64_t)json_integer_value(json));
        }
        break;
    case FIELD_KIND_ENUM:
        if (text && !field_set_number(field, owner, enum_names_find(field->words, text))) {
            MISFIT(reader, "%s '%s' is not known to this version", field->name, text);
        }
        break;
    case FIELD_KIND_TEXT:
        if (text) {
            free(*(char **)to);
            *(char **)to = mem_strdup(text);
        }
        break;
    case FIELD_KIND_CHARS:
        read_chars(reader, field, text, to);
        break;
    case FIELD_KIND_STRUCT:
        read_object(reader, field->fields, json, to);
        break;
    case FIELD_KIND_LIST:
    case FIELD_KIND_TEXTS:
        read_list(reader, field, json, owner);
        break;
    case FIELD_KIND_KEYED:
        read_keyed(reader, field, json, owner);
        break;
    case FIELD_KIND_OWNED:
    case FIELD_KIND_JSON:
        break;
    }
}

static void read_object(
    struct reader *reader, const struct fields *fields, const json_t *json, void *object)
{
    bool was_strict = reader->is_strict;
    reader->is_strict |= fields->is_strict;
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->rows[i];
        const json_t *value = json_object_get(json, field->name);
        if (value) {
            read_field(reader, field, value, object);
        }
    }
    if (fields->check && reader->result == 0) {
        reader->result = fields->check(object, reader->err);
    }
    reader->is_strict = was_strict;
}

int fields_from_json(
    const struct fields *fields, const json_t *json, void *object, struct error *err)
{
    struct reader reader = {.err = err};
    read_object(&reader, fields, json, object);
    return reader.result;
}
