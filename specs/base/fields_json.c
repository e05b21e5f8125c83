/* SPDX-License-Identifier: MPL-2.0 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/json_scan.h"
#include "specs/base/mem.h"

enum { ROWS_MAX = 64 }; /* of a table */

/* ---- writing ---- */

/* The default of a record whose table has none. */
static const void *defaults_of(const struct fields *fields)
{
    static const struct {
        _Alignas(max_align_t) char bytes[4096];
    } zeros;
    assert(fields->size <= sizeof(zeros));
    return fields->defaults ? fields->defaults : &zeros;
}

/* Room for an item of KEYED. */
struct any_item {
    _Alignas(max_align_t) char bytes[64];
};

/* What such an item has where its JSON says nothing; other lists have nothing like it. */
static struct any_item keyed_default(const struct field *field, const void *owner)
{
    const struct fields *fields = field->fields;
    struct any_item item = {.bytes = {0}};
    if (field->kind != FIELD_KIND_KEYED) {
        return item;
    }
    assert(fields->size <= sizeof(item));
    memcpy(&item, defaults_of(fields), fields->size);
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *row = &fields->rows[i];
        if (row->inherits) {
            memcpy(field_at(row, &item), (const char *)owner + row->inherits, row->size);
        }
    }
    return item;
}

/* What an item of a list of any kind begins with: its key and the key's value, or nothing. */
struct label {
    struct field field;
    uint32_t value;
};

static void write_object(struct json_writer *writer, const struct fields *fields,
    const void *object, const void *defaults, const struct label *label);

/* As most members have, of which sparse JSON says nothing. */
static bool is_default(const struct json_writer *writer, const struct field *field,
    const void *owner, const void *defaults)
{
    return writer->is_sparse && !field->is_kept && !field->is_required &&
           field_equal(field, owner, defaults);
}

static bool may_be_written(const struct field *field, const void *owner)
{
    if (field->kind == FIELD_KIND_TEXT) {
        return field_text(field, owner);
    }
    bool may_be_left_out = field->omit_empty || field->kind == FIELD_KIND_JSON ||
                           field->kind == FIELD_KIND_OWNED || field->kind == FIELD_KIND_SHARED;
    return !may_be_left_out || !field_is_empty(field, owner);
}

static void write_item(struct json_writer *writer, const struct field *field, const void *item,
    const void *defaults, uint32_t value)
{
    const struct label label = {.field = {.name = field->key,
                                    .name_n = field->key_n,
                                    .offset = offsetof(struct label, value),
                                    .size = sizeof(label.value),
                                    .kind = FIELD_KIND_ENUM,
                                    .words = field->words},
        .value = value};
    if (field->kind == FIELD_KIND_TEXTS) {
        json_write_text(writer, *(char *const *)item);
    } else {
        write_object(writer, field->fields, item, defaults, field->key ? &label : NULL);
    }
}

struct sortable {
    char *key; /* first: see text_compare() */
    const void *item;
};

/* The items of a set, in the order of their canonical JSON. */
static void write_set(
    struct json_writer *writer, const struct field *field, struct field_items items)
{
    cleanup_free struct sortable *sorted = mem_calloc(items.count + 1, sizeof(*sorted));
    const void *defaults = defaults_of(field->fields);
    for (size_t i = 0; i < items.count; i++) {
        struct buf key = BUF_INIT(0);
        struct json_writer canonical = {.out = &key, .is_sorted = true};
        sorted[i].item = field_item(field, items, i);
        write_item(&canonical, field, sorted[i].item, defaults, 0);
        sorted[i].key = buf_steal(&key);
    }
    qsort(sorted, items.count, sizeof(*sorted), text_compare);
    for (size_t i = 0; i < items.count; i++) {
        json_write_item(writer);
        write_item(writer, field, sorted[i].item, defaults, 0);
        free(sorted[i].key);
    }
}

static void write_items(struct json_writer *writer, const struct field *field, const void *owner)
{
    struct field_items items = field_items(field, owner);
    bool is_keyed = field->kind == FIELD_KIND_KEYED;
    struct any_item of_key = keyed_default(field, owner);
    const void *defaults = is_keyed ? of_key.bytes : defaults_of(field->fields);
    json_write_open(writer, '[');
    if (field->is_set && items.count > 1) {
        write_set(writer, field, items);
        items.count = 0;
    }
    for (size_t i = 0; i < items.count; i++) {
        const void *item = field_item(field, items, i);
        if (!is_keyed || field_is_present(field, item)) {
            json_write_item(writer);
            write_item(writer, field, item, defaults, (uint32_t)i);
        }
    }
    json_write_close(writer, ']');
}

/* As records of the store have it, it is written once for all that point to it. */
static void write_shared(
    struct json_writer *writer, const struct fields *fields, const void *shared)
{
    bool is_stored = writer->is_sparse && !writer->is_sorted && !writer->is_indented &&
                     !writer->says_times && !writer->shown;
    if (!is_stored) {
        fields_write(fields, shared, writer);
        return;
    }
    const char *text = fields_shared_text(shared);
    if (!text) {
        struct buf out = BUF_INIT(0);
        struct json_writer sparse = {.out = &out, .is_sparse = true};
        fields_write(fields, shared, &sparse);
        text = fields_keep_shared_text(shared, buf_steal(&out));
    }
    buf_add_str(writer->out, text);
}

static void write_value(
    struct json_writer *writer, const struct field *field, const void *owner, const void *defaults)
{
    const void *value = field_at(field, owner);
    switch (field->kind) {
    case FIELD_KIND_BOOL:
        json_write_flag(writer, *(const bool *)value);
        break;
    case FIELD_KIND_UINT:
    case FIELD_KIND_INT:
        json_write_integer(writer, field_number(field, owner));
        break;
    case FIELD_KIND_ENUM:
        json_write_word(writer, enum_names_at(field->words, (size_t)field_number(field, owner)));
        break;
    case FIELD_KIND_TEXT:
    case FIELD_KIND_CHARS:
        json_write_text(writer, field->kind == FIELD_KIND_TEXT ? field_text(field, owner) : value);
        break;
    case FIELD_KIND_JSON: {
        cleanup_json json_t *json = json_loads(field_text(field, owner), JSON_DECODE_ANY, NULL);
        json_write_tree(writer, json);
        break;
    }
    case FIELD_KIND_STRUCT:
        write_object(writer, field->fields, value, field_at(field, defaults), NULL);
        break;
    case FIELD_KIND_OWNED:
        fields_write(field->fields, *(void *const *)value, writer);
        break;
    case FIELD_KIND_SHARED:
        write_shared(writer, field->fields, *(void *const *)value);
        break;
    default:
        write_items(writer, field, owner);
    }
}

/* The place of a row among those that are written, which are in order or in the order of the keys.
 */
static void insert(
    const struct json_writer *writer, const struct field *rows[], size_t n, const struct field *row)
{
    for (const char *name = row->name; writer->is_sorted && n > 0; n--) {
        const char *before = rows[n - 1]->name;
        if (before[0] < name[0] || (before[0] == name[0] && strcmp(before, name) <= 0)) {
            break;
        }
        rows[n] = rows[n - 1];
    }
    rows[n] = row;
}

static void write_object(struct json_writer *writer, const struct fields *fields,
    const void *object, const void *defaults, const struct label *label)
{
    const struct field *rows[ROWS_MAX + 1], *of_label = label ? &label->field : NULL;
    size_t n = 0;
    assert(fields->count <= ROWS_MAX);
    if (of_label) {
        rows[n++] = of_label;
    }
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->rows[i];
        if (!is_default(writer, field, object, defaults) && may_be_written(field, object)) {
            insert(writer, rows, n++, field);
        }
    }
    json_write_open(writer, '{');
    for (size_t i = 0; i < n; i++) {
        json_write_key_of(writer, rows[i]->name, rows[i]->name_n);
        write_value(writer, rows[i], rows[i] == of_label ? (const void *)label : object, defaults);
        if (rows[i]->is_time && writer->says_times) {
            json_write_time(writer, rows[i]->name, field_number(rows[i], object));
        }
    }
    json_write_close(writer, '}');
}

void fields_write(const struct fields *fields, const void *object, struct json_writer *writer)
{
    write_object(writer, fields, object, defaults_of(fields), NULL);
}

json_t *fields_to_json(const struct fields *fields, const void *object)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer writer = {.out = &text};
    fields_write(fields, object, &writer);
    return json_loadb(buf_str(&text), text.len, 0, NULL);
}

char *field_to_text(const struct field *field, const void *owner)
{
    struct buf text = BUF_INIT(0);
    struct json_writer writer = {.out = &text, .is_sorted = true};
    if (may_be_written(field, owner)) {
        write_value(&writer, field, owner, owner);
    }
    return buf_steal(&text);
}

json_t *field_to_json(const struct field *field, const void *owner)
{
    cleanup_free char *text = field_to_text(field, owner);
    return text[0] ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

/* ---- reading ---- */

/* Reading continues after an error and keeps the first one: no branch per member. */
struct reader {
    struct json_scan scan;
    bool is_strict;
    struct bytes owned;
    struct error *err;
    int result;
};

#define MISFIT(reader, field, ...)                                                                 \
    do {                                                                                           \
        if (((reader)->is_strict || (field)->is_required) && (reader)->result == 0) {              \
            (reader)->result = error_set((reader)->err, ERR_STORE, __VA_ARGS__);                   \
        }                                                                                          \
    } while (0)

static void read_object(struct reader *reader, const struct fields *fields, void *object,
    const struct field *keyed, int *ret_key);

static void read_text(struct reader *reader, const struct field *field, void *owner)
{
    struct bytes text = json_scan_string(&reader->scan);
    void *to = field_at(field, owner);
    if (reader->scan.problem) {
        return;
    }
    if (field->kind == FIELD_KIND_TEXT) {
        free(*(char **)to);
        *(char **)to = mem_strndup(text.data, text.n);
    } else if (field->kind == FIELD_KIND_CHARS && text.n < field->size) {
        memset(to, 0, field->size);
        memcpy(to, text.data, text.n);
    } else if (field->kind == FIELD_KIND_CHARS) {
        MISFIT(reader, field, "%s '%.*s' is too long", field->name, (int)text.n, text.data);
    } else if (field->kind == FIELD_KIND_ENUM) {
        int value = enum_names_find_bytes(field->words, text.data, text.n);
        if (!field_set_number(field, owner, value < 0 ? 0 : value) || value < 0) {
            MISFIT(reader, field, "%s '%.*s' is not known to this version", field->name,
                (int)text.n, text.data);
        }
    }
}

static void read_number(struct reader *reader, const struct field *field, void *owner)
{
    int64_t value;
    bool is_integer = json_scan_integer(&reader->scan, &value);
    bool is_meant = field->kind == FIELD_KIND_UINT || field->kind == FIELD_KIND_INT;
    if (is_integer && is_meant && !field_set_number(field, owner, value)) {
        MISFIT(reader, field, "%s %" PRId64 " is out of range", field->name, value);
    }
}

/* The first item of a key counts; items of unknown keys are skipped. Where an item belongs is known
 * only when it was read. */
static void read_keyed_item(struct reader *reader, const struct field *field, void *owner)
{
    struct any_item item = keyed_default(field, owner);
    int key = -1;
    read_object(reader, field->fields, &item, field, &key);
    void *to = key < 0 ? NULL : field_item(field, field_items(field, owner), (size_t)key);
    if (to && !field_is_present(field, to) && field_is_present(field, &item)) {
        memcpy(to, &item, field->fields->size);
    } else {
        fields_clear(field->fields, &item);
    }
}

static void read_items(struct reader *reader, const struct field *field, void *owner)
{
    struct json_scan *scan = &reader->scan;
    for (bool more = json_scan_open(scan, ']'); more; more = json_scan_more(scan, ']')) {
        if (field->kind == FIELD_KIND_KEYED) {
            read_keyed_item(reader, field, owner);
        } else if (field->kind == FIELD_KIND_LIST) {
            read_object(reader, field->fields, field_add_item(field, owner), NULL, NULL);
        } else if (json_scan_peek(scan) == '"') {
            read_text(reader, &field->fields->rows[0], field_add_item(field, owner));
        } else {
            (void)json_scan_skip(scan);
        }
    }
}

static void read_field(struct reader *reader, const struct field *field, void *owner)
{
    struct json_scan *scan = &reader->scan;
    char first = json_scan_peek(scan);
    bool is_list = field->kind == FIELD_KIND_LIST || field->kind == FIELD_KIND_TEXTS ||
                   field->kind == FIELD_KIND_KEYED;
    if (field->kind == FIELD_KIND_OWNED || field->kind == FIELD_KIND_SHARED) {
        reader->owned = json_scan_skip(scan);
    } else if (field->kind == FIELD_KIND_STRUCT) {
        read_object(reader, field->fields, field_at(field, owner), NULL, NULL);
    } else if (first == '[' && is_list) {
        read_items(reader, field, owner);
    } else if (first == '"') {
        read_text(reader, field, owner);
    } else if (first == '-' || (first >= '0' && first <= '9')) {
        read_number(reader, field, owner);
    } else if (field->kind == FIELD_KIND_BOOL && (first == 't' || first == 'f')) {
        *(bool *)field_at(field, owner) = first == 't';
        (void)json_scan_skip(scan);
    } else {
        (void)json_scan_skip(scan);
    }
}

/* The row of a key; keys mostly come in the order of the rows, so the search begins at `next`. */
static size_t find_row(const struct fields *fields, struct bytes key, size_t next)
{
    for (size_t i = 0; i < fields->count; i++) {
        size_t row = next + i < fields->count ? next + i : next + i - fields->count;
        const struct field *field = &fields->rows[row];
        if (field->name_n == key.n && memcmp(field->name, key.data, key.n) == 0) {
            return row;
        }
    }
    return fields->count;
}

/* `keyed`: the member whose item it is; *ret_key becomes the value of its key, if it has one.
 * Returns a bit for each row that it had. */
static uint64_t read_members(struct reader *reader, const struct fields *fields, void *object,
    const struct field *keyed, int *ret_key)
{
    struct json_scan *scan = &reader->scan;
    uint64_t seen = 0;
    size_t next = 0;
    assert(fields->count <= ROWS_MAX);
    for (bool more = json_scan_open(scan, '}'); more; more = json_scan_more(scan, '}')) {
        struct bytes key = json_scan_key(scan);
        size_t row = scan->problem ? fields->count : find_row(fields, key, next);
        bool is_key = keyed && key.n == keyed->key_n && !memcmp(key.data, keyed->key, key.n);
        if (is_key && json_scan_peek(scan) == '"') {
            struct bytes word = json_scan_string(scan);
            *ret_key = enum_names_find_bytes(keyed->words, word.data, word.n);
        } else if (row == fields->count || seen >> row & 1) {
            (void)json_scan_skip(scan);
        } else {
            bool is_there = !fields->rows[row].is_required || json_scan_peek(scan) == '"';
            seen |= (uint64_t)is_there << row;
            next = row + 1;
            read_field(reader, &fields->rows[row], object);
        }
    }
    return seen;
}

static void read_object(struct reader *reader, const struct fields *fields, void *object,
    const struct field *keyed, int *ret_key)
{
    bool was_strict = reader->is_strict;
    reader->is_strict |= fields->is_strict;
    uint64_t seen = 0;
    if (json_scan_peek(&reader->scan) == '{') {
        seen = read_members(reader, fields, object, keyed, ret_key);
    } else {
        (void)json_scan_skip(&reader->scan);
    }
    for (size_t row = 0; row < fields->count; row++) {
        const struct field *field = &fields->rows[row];
        if (field->is_required && !(seen >> row & 1)) {
            MISFIT(reader, field, "%s is missing", field->name);
        }
    }
    if (fields->check && reader->result == 0 && !reader->scan.problem) {
        reader->result = fields->check(object, reader->err);
    }
    reader->is_strict = was_strict;
}

int fields_read(const struct fields *fields, struct bytes json, void *object,
    struct bytes *ret_owned, struct error *err)
{
    struct reader reader = {.err = err};
    json_scan_init(&reader.scan, json);
    read_object(&reader, fields, object, NULL, NULL);
    json_scan_end(&reader.scan);
    json_scan_clear(&reader.scan);
    if (reader.scan.problem) {
        error_clear(err);
        return error_set(err, ERR_STORE, "not JSON at byte %zu: %s", reader.scan.problem_at,
            reader.scan.problem);
    }
    if (ret_owned) {
        *ret_owned = reader.owned;
    }
    return reader.result;
}

int fields_from_json(
    const struct fields *fields, const json_t *json, void *object, struct error *err)
{
    cleanup_free char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    struct bytes bytes = {text ? text : "null", text ? strlen(text) : strlen("null")};
    return fields_read(fields, bytes, object, NULL, err);
}
