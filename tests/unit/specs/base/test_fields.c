/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

/* ---- one record with a member of every kind ---- */

enum color { RED, GREEN, BLUE, COLOR_COUNT_ };
const char *color_name(enum color color);
DEFINE_OWN_WORDS(color, enum color, COLOR_COUNT_, "red", "green", "blue")

struct part {
    uint16_t port;
    char *note;
};

struct fact {
    enum color color; /* RED: no fact */
    char *why;
};

struct record {
    bool flag;
    uint32_t small;
    uint64_t large;
    int32_t sign;
    int64_t wide;
    enum color color;
    char *text;
    char chars[4];
    struct part part;
    struct part *owned;
    struct part *parts;
    uint32_t n_parts;
    char **names;
    size_t n_names;
    struct fact facts[COLOR_COUNT_];
};

static const struct field part_rows[] = {
    FIELD(struct part, port, "port"),
    FIELD(struct part, note, "note"),
};
static const struct part part_defaults = {.port = 22};

static int check_part(const void *object, struct error *err)
{
    const struct part *part = object;
    return part->port == 666 ? error_set(err, ERR_STORE, "port 666 is not allowed") : 0;
}

static const struct fields part_fields = {
    FIELDS_OF(part_rows, struct part), .defaults = &part_defaults, .check = check_part};

static const struct field fact_rows[] = {
    FIELD_ENUM(struct fact, color, "color", &color_words),
    FIELD(struct fact, why, "why"),
};
static const struct fields fact_fields = {FIELDS_OF(fact_rows, struct fact)};

static const struct field record_rows[] = {
    FIELD(struct record, flag, "flag"),
    FIELD(struct record, small, "small", .omit_empty = true),
    FIELD(struct record, large, "large"),
    FIELD(struct record, sign, "sign"),
    FIELD(struct record, wide, "wide"),
    FIELD_ENUM(struct record, color, "color", &color_words),
    FIELD(struct record, text, "text"),
    FIELD(struct record, chars, "chars", .omit_empty = true),
    FIELD_STRUCT(struct record, part, "part", &part_fields, .omit_empty = true),
    FIELD_OWNED(struct record, owned, "owned", &part_fields),
    FIELD_LIST(struct record, parts, n_parts, "parts", &part_fields, .is_set = true),
    FIELD_TEXTS(struct record, names, n_names, "names", .omit_empty = true),
    FIELD_KEYED(struct record, facts, "facts", &fact_fields, "about", &color_words),
};
static const struct record record_defaults = {.sign = -1, .text = (char *)"by default"};
static const struct fields record_fields = {
    FIELDS_OF(record_rows, struct record), .defaults = &record_defaults};
static const struct fields strict_fields = {
    FIELDS_OF(record_rows, struct record), .defaults = &record_defaults, .is_strict = true};

static const char full[] =
    "{\"flag\":true,\"small\":4294967295,\"large\":9223372036854775807,\"sign\":-2147483648,"
    "\"wide\":-9223372036854775808,\"color\":\"blue\",\"text\":\"t\",\"chars\":\"abc\","
    "\"part\":{\"port\":65535,\"note\":\"n\"},\"parts\":[{\"port\":2,\"note\":\"b\"},{\"port\":1}],"
    "\"names\":[\"x\",\"y\"],\"facts\":[{\"about\":\"green\",\"color\":\"blue\",\"why\":\"w\"}]}";

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static struct record *read_record(const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = parse(text);
    struct record *record = fields_new(&record_fields);
    assert_int_equal(fields_from_json(&record_fields, json, record, &err), 0);
    return record;
}

static struct record *a_full_record(void)
{
    struct record *record = read_record(full);
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = parse("{\"port\":3}");
    record->owned = fields_new(&part_fields);
    assert_int_equal(fields_from_json(&part_fields, json, record->owned, &err), 0);
    return record;
}

static void assert_json(const struct record *record, const char *expected)
{
    cleanup_json json_t *json = fields_to_json(&record_fields, record);
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(text, expected);
}

static void release(struct record *record)
{
    fields_free(&record_fields, record);
}

static void every_kind_survives_json_in_the_order_of_the_rows(void **state)
{
    (void)state;
    struct record *record = read_record(full);
    assert_int_equal(record->small, UINT32_MAX);
    assert_int_equal(record->sign, INT32_MIN);
    assert_int_equal(record->color, BLUE);
    assert_int_equal(record->parts[0].port, 2);
    assert_string_equal(record->names[1], "y");
    assert_int_equal(record->facts[GREEN].color, BLUE);
    assert_json(record, full);
    release(record);
    fields_free(&record_fields, NULL);
}

static void what_is_empty_is_left_out_where_the_row_says_so(void **state)
{
    (void)state;
    struct record *record = fields_new(&record_fields);
    assert_json(record, "{\"flag\":false,\"large\":0,\"sign\":-1,\"wide\":0,\"color\":\"red\","
                        "\"text\":\"by default\",\"parts\":[],\"facts\":[]}");
    release(record);
}

static void a_set_is_written_in_one_order_whatever_order_it_has(void **state)
{
    (void)state;
    struct record *record = read_record("{\"parts\":[{\"port\":9},{\"port\":1},{\"port\":5}]}");
    assert_int_equal(record->parts[0].port, 9);
    const void *owner;
    const struct field *field = fields_find(&record_fields, record, "parts", &owner);
    cleanup_json json_t *json = field_to_json(field, owner);
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(text, "[{\"port\":1},{\"port\":5},{\"port\":9}]");
    release(record);
}

static void a_text_that_is_not_utf8_is_written_as_such(void **state)
{
    (void)state;
    struct record *record = fields_new(&record_fields);
    free(record->text);
    record->text = mem_strdup("\xff");
    cleanup_json json_t *json = fields_to_json(&record_fields, record);
    assert_string_equal(json_text(json, "text"), "(not UTF-8)");
    release(record);
}

/* ---- tolerance ---- */

static void unknown_keys_missing_keys_and_other_types_read_as_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}", "{\"future\":{\"a\":[1]}}",
        "{\"flag\":1,\"small\":\"1\",\"large\":1.5,\"sign\":true,\"wide\":null,\"color\":3,"
        "\"text\":[],\"chars\":{},\"part\":7,\"owned\":{\"port\":1},\"parts\":\"no\","
        "\"names\":[1,{}],\"facts\":[4,{},{\"about\":\"pink\",\"color\":\"blue\"}]}"};
    struct record *fresh = fields_new(&record_fields);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct record *record = read_record(texts[i]);
        cleanup_json json_t *json = fields_to_json(&record_fields, record);
        cleanup_json json_t *expected = fields_to_json(&record_fields, fresh);
        assert_true(json_equal(json, expected));
        release(record);
    }
    release(fresh);
}

/* What does not fit, and what a strict table says of it. */
static const struct {
    const char *text, *message;
} misfits[] = {
    {"{\"small\":4294967296}", "small 4294967296 is out of range"},
    {"{\"small\":-1}", "small -1 is out of range"}, {"{\"large\":-1}", "large -1 is out of range"},
    {"{\"sign\":2147483648}", "sign 2147483648 is out of range"},
    {"{\"sign\":-2147483649}", "sign -2147483649 is out of range"},
    {"{\"color\":\"pink\"}", "color 'pink' is not known to this version"},
    {"{\"chars\":\"abcd\"}", "chars 'abcd' is too long"},
    {"{\"small\":-1,\"chars\":\"abcd\"}", "small -1 is out of range"}, /* the first one */
};

static void what_does_not_fit_reads_as_the_default(void **state)
{
    (void)state;
    struct record *fresh = fields_new(&record_fields);
    for (size_t i = 0; i < ARRAY_LEN(misfits); i++) {
        struct record *record = read_record(misfits[i].text);
        assert_true(fields_equal(&record_fields, record, fresh));
        release(record);
    }
    release(fresh);
}

static void assert_strict(const char *text, const char *message)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = parse(text);
    struct record *record = fields_new(&strict_fields);
    assert_int_equal(fields_from_json(&strict_fields, json, record, &err), -ERR_STORE);
    assert_string_equal(err.message, message);
    release(record);
}

static void what_does_not_fit_is_an_error_in_a_strict_table_and_below_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(misfits); i++) {
        assert_strict(misfits[i].text, misfits[i].message);
    }
    assert_strict("{\"parts\":[{},{\"port\":65536}]}", "port 65536 is out of range");
    assert_strict("{\"part\":{\"port\":-2}}", "port -2 is out of range");
}

static void what_does_not_belong_together_is_always_an_error(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = parse("{\"parts\":[{\"port\":666}]}");
    struct record *record = fields_new(&record_fields);
    assert_int_equal(fields_from_json(&record_fields, json, record, &err), -ERR_STORE);
    assert_string_equal(err.message, "port 666 is not allowed");
    release(record);
}

static void items_of_a_list_have_their_defaults(void **state)
{
    (void)state;
    struct record *record = read_record("{\"parts\":[{},5]}");
    assert_int_equal(record->n_parts, 2);
    assert_int_equal(record->parts[0].port, 22);
    assert_int_equal(record->parts[1].port, 22);
    release(record);
}

static void the_first_of_a_key_counts_and_an_item_of_nothing_leaves_nothing(void **state)
{
    (void)state;
    struct record *record =
        read_record("{\"facts\":[{\"about\":\"red\",\"color\":\"blue\"},{\"about\":\"red\","
                    "\"color\":\"green\"},"
                    "{\"about\":\"green\",\"color\":\"mauve\",\"why\":\"x\"}]}");
    assert_int_equal(record->facts[RED].color, BLUE);
    assert_int_equal(record->facts[GREEN].color, RED);
    assert_null(record->facts[GREEN].why);
    release(record);
}

/* ---- sparse ---- */

/* What is left out reads as the default, and so as it was. */
static void assert_sparse(struct record *record_take, const char *expected)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer sparse = {.out = &text, .is_sparse = true};
    fields_write(&record_fields, record_take, &sparse);
    assert_string_equal(buf_str(&text), expected);
    struct record *read = fields_new(&record_fields);
    struct bytes owned = {.n = 0}, whole = {text.data, text.len};
    assert_int_equal(fields_read(&record_fields, whole, read, &owned, &err), 0);
    if (record_take->owned) {
        read->owned = fields_new(&part_fields);
        assert_int_equal(fields_read(&part_fields, owned, read->owned, NULL, &err), 0);
    }
    assert_true(fields_equal(&record_fields, record_take, read));
    release(read);
    release(record_take);
}

static void sparse_json_leaves_out_defaults(void **state)
{
    (void)state;
    assert_sparse(fields_new(&record_fields), "{}");
    struct record *record = a_full_record();
    record->part.port = 0; /* in place, its default is that of the record */
    record->owned->port = 22;
    record->parts[0].port = 22;
    record->wide = 0;
    assert_sparse(record,
        "{\"flag\":true,\"small\":4294967295,\"large\":9223372036854775807,\"sign\":-2147483648,"
        "\"color\":\"blue\",\"text\":\"t\",\"chars\":\"abc\",\"part\":{\"note\":\"n\"},\"owned\":{}"
        ","
        "\"parts\":[{\"note\":\"b\"},{\"port\":1}],\"names\":[\"x\",\"y\"],"
        "\"facts\":[{\"about\":\"green\",\"color\":\"blue\",\"why\":\"w\"}]}");
}

/* ---- rows that say more ---- */

struct shift {
    enum color color;
    uint32_t hour;
    struct fact_at {
        enum color color;
        uint32_t hour;
    } facts[COLOR_COUNT_];
};
static const struct field fact_at_rows[] = {
    FIELD_ENUM(struct fact_at, color, "color", &color_words),
    FIELD(struct fact_at, hour, "hour", .inherits = offsetof(struct shift, hour)),
};
static const struct fact_at fact_at_defaults = {.color = GREEN};
static const struct fields fact_at_fields = {
    FIELDS_OF(fact_at_rows, struct fact_at), .defaults = &fact_at_defaults};
static const struct field shift_rows[] = {
    FIELD_ENUM(struct shift, color, "color", &color_words, .is_required = true),
    FIELD(struct shift, hour, "hour"),
    FIELD_KEYED(struct shift, facts, "facts", &fact_at_fields, "about", &color_words),
};
static const struct fields shift_fields = {FIELDS_OF(shift_rows, struct shift)};

static void an_item_has_what_its_table_and_the_owner_of_its_list_say(void **state)
{
    static const char sparse_text[] =
        "{\"color\":\"red\",\"hour\":7,\"facts\":[{\"about\":"
        "\"red\"},{\"about\":\"blue\",\"color\":\"blue\",\"hour\":8}]}";
    struct error err = {.code = ERR_NONE};
    struct shift shift = {.hour = 0};
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer sparse = {.out = &text, .is_sparse = true};
    (void)state;
    struct bytes whole = {sparse_text, sizeof(sparse_text) - 1};
    assert_int_equal(fields_read(&shift_fields, whole, &shift, NULL, &err), 0);
    assert_int_equal(shift.facts[RED].color, GREEN);
    assert_int_equal(shift.facts[RED].hour, 7);
    assert_int_equal(shift.facts[GREEN].color, RED);
    assert_int_equal(shift.facts[GREEN].hour, 0);
    assert_int_equal(shift.facts[BLUE].hour, 8);
    fields_write(&shift_fields, &shift, &sparse);
    assert_string_equal(buf_str(&text), sparse_text);
}

static void what_is_required_is_an_error_in_any_table(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {{"{}", "color is missing"}, {"7", "color is missing"},
        {"{\"color\":\"pink\"}", "color 'pink' is not known to this version"},
        {"{\"color\":3}", "color is missing"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {.code = ERR_NONE};
        struct shift shift = {.hour = 0};
        struct bytes whole = {rows[i].text, strlen(rows[i].text)};
        assert_int_equal(fields_read(&shift_fields, whole, &shift, NULL, &err), -ERR_STORE);
        assert_string_equal(err.message, rows[i].message);
    }
}

static void the_first_of_a_key_that_comes_twice_counts(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    static const char text[] = "{\"text\":\"a\",\"text\":\"b\",\"parts\":[{}],\"parts\":[{},{}]}";
    struct record *record = fields_new(&record_fields);
    struct bytes whole = {text, sizeof(text) - 1};
    assert_int_equal(fields_read(&record_fields, whole, record, NULL, &err), 0);
    assert_string_equal(record->text, "a");
    assert_int_equal(record->n_parts, 1);
    release(record);
}

/* ---- copy and comparison ---- */

static void a_copy_equals_and_shares_nothing(void **state)
{
    (void)state;
    struct record *record = a_full_record();
    struct record *copy = fields_copy(&record_fields, record);
    assert_true(fields_equal(&record_fields, record, copy));
    release(record);
    struct record *again = a_full_record();
    assert_true(fields_equal(&record_fields, copy, again));
    mem_grow(copy->parts, copy->n_parts);
    copy->parts[copy->n_parts++] = (struct part){.port = 4};
    mem_grow(copy->names, copy->n_names);
    copy->names[copy->n_names++] = mem_strdup("z");
    assert_false(fields_equal(&record_fields, copy, again));
    release(copy);
    release(again);
}

static void a_copy_of_empty_lists_can_grow(void **state)
{
    (void)state;
    struct record *record = fields_new(&record_fields);
    struct record *copy = fields_copy(&record_fields, record);
    mem_grow(copy->parts, copy->n_parts);
    copy->parts[copy->n_parts++] = (struct part){.port = 4};
    assert_false(fields_equal(&record_fields, record, copy));
    release(record);
    release(copy);
}

static void a_set_equals_the_same_set_in_another_order_only(void **state)
{
    (void)state;
    struct record *ab = read_record("{\"parts\":[{\"port\":1},{\"port\":2}]}");
    struct record *ba = read_record("{\"parts\":[{\"port\":2},{\"port\":1}]}");
    struct record *bb = read_record("{\"parts\":[{\"port\":2},{\"port\":2}]}");
    struct record *names = read_record("{\"names\":[\"x\",\"y\"]}");
    struct record *others = read_record("{\"names\":[\"y\",\"x\"]}");
    assert_true(fields_equal(&record_fields, ab, ba));
    assert_false(fields_equal(&record_fields, ab, bb));
    assert_false(fields_equal(&record_fields, names, others)); /* no set */
    release(ab);
    release(ba);
    release(bb);
    release(names);
    release(others);
}

/* Each with one other member than a_full_record(). */
static void change(struct record *record, size_t which)
{
    struct part *owned = record->owned;
    switch (which) {
    case 0:
        record->flag = false;
        break;
    case 1:
        record->small--;
        break;
    case 2:
        record->large--;
        break;
    case 3:
        record->sign++;
        break;
    case 4:
        record->wide++;
        break;
    case 5:
        record->color = GREEN;
        break;
    case 6:
        record->text[0] = 'u';
        break;
    case 7:
        record->chars[2] = 'd';
        break;
    case 8:
        record->part.note[0] = 'o';
        break;
    case 9:
        owned->port++;
        break;
    case 10:
        record->parts[1].port++;
        break;
    case 11:
        record->names[1][0] = 'z';
        break;
    default:
        record->facts[GREEN].why[0] = 'v';
        break;
    }
}

static void a_change_of_any_member_is_seen(void **state)
{
    (void)state;
    struct record *record = a_full_record();
    for (size_t i = 0; i < ARRAY_LEN(record_rows); i++) {
        struct record *other = a_full_record();
        change(other, i);
        for (size_t row = 0; row < ARRAY_LEN(record_rows); row++) {
            assert_int_equal(field_equal(&record_rows[row], record, other), row != i);
        }
        release(other);
    }
    struct record *without = read_record(full);
    assert_false(fields_equal(&record_fields, record, without)); /* nothing owned */
    release(without);
    release(record);
}

static void a_path_leads_to_a_row_and_its_struct(void **state)
{
    (void)state;
    struct record *record = a_full_record();
    const void *owner = NULL;
    assert_ptr_equal(fields_find(&record_fields, record, "wide", &owner), &record_rows[4]);
    assert_ptr_equal(owner, record);
    assert_ptr_equal(fields_find(&record_fields, record, "part.note", &owner), &part_rows[1]);
    assert_ptr_equal(owner, &record->part);
    assert_null(fields_find(&record_fields, record, "wid", &owner));
    assert_null(fields_find(&record_fields, record, "widest", &owner));
    release(record);
}

/* The copy becomes the record member by member. */
static void a_member_is_taken_from_another_struct(void **state)
{
    (void)state;
    struct record *record = a_full_record();
    struct record *other = fields_new(&record_fields);
    for (size_t i = 0; i < ARRAY_LEN(record_rows); i++) {
        assert_false(fields_equal(&record_fields, record, other));
        assert_true(fields_take(&record_fields, other, record, record_rows[i].name));
        assert_false(fields_take(&record_fields, other, record, record_rows[i].name));
    }
    assert_true(fields_equal(&record_fields, record, other));
    record->part.port = 7;
    assert_true(fields_take(&record_fields, other, record, "part.port"));
    assert_int_equal(other->part.port, 7);
    release(record);
    assert_string_equal(other->names[1], "y"); /* its own */
    release(other);
}

static void a_number_is_set_only_where_it_fits(void **state)
{
    (void)state;
    static const struct {
        size_t row;
        int64_t least, most;
    } bounds[] = {{0, 0, 1}, {1, 0, UINT32_MAX}, {2, 0, INT64_MAX}, {3, INT32_MIN, INT32_MAX},
        {4, INT64_MIN, INT64_MAX}, {5, RED, BLUE}};
    struct record record = {.flag = false};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        const struct field *field = &record_rows[bounds[i].row];
        assert_true(field_set_number(field, &record, bounds[i].least));
        assert_true(field_number(field, &record) == bounds[i].least);
        assert_true(field_set_number(field, &record, bounds[i].most));
        assert_true(
            bounds[i].least == INT64_MIN || !field_set_number(field, &record, bounds[i].least - 1));
        assert_true(
            bounds[i].most == INT64_MAX || !field_set_number(field, &record, bounds[i].most + 1));
        assert_true(field_number(field, &record) == bounds[i].most);
    }
}

struct sharer {
    const struct part *part;
};
static const struct field sharer_rows[] = {FIELD_SHARED(struct sharer, part, "part", &part_fields)};
static const struct fields sharer_fields = {FIELDS_OF(sharer_rows, struct sharer)};

static struct sharer *a_sharer(const char *note)
{
    struct sharer *sharer = fields_new(&sharer_fields);
    struct part *part = fields_new(&part_fields);
    part->note = mem_strdup(note);
    sharer->part = fields_share(&part_fields, part);
    return sharer;
}

static void copies_share_a_struct_that_lives_as_long_as_one_of_them(void **state)
{
    (void)state;
    struct sharer *first = a_sharer("n"), *copy = fields_copy(&sharer_fields, first);
    assert_ptr_equal(copy->part, first->part);
    assert_true(fields_equal(&sharer_fields, first, copy));
    fields_free(&sharer_fields, first);
    assert_string_equal(copy->part->note, "n");
    fields_drop(&part_fields, copy->part);
    copy->part = NULL;
    assert_null(fields_share(&part_fields, NULL));
    fields_free(&sharer_fields, copy);
}

static void shared_structs_are_compared_and_written_by_what_they_hold(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer writer = {.out = &text, .is_sparse = true};
    struct sharer *a = a_sharer("n"), *same = a_sharer("n"), *other = a_sharer("m");
    struct sharer none = {NULL};
    assert_true(fields_equal(&sharer_fields, a, same));
    assert_false(fields_equal(&sharer_fields, a, other));
    assert_false(fields_equal(&sharer_fields, a, &none));
    fields_write(&sharer_fields, a, &writer);
    fields_write(&sharer_fields, &none, &writer);
    assert_string_equal(buf_str(&text), "{\"part\":{\"note\":\"n\"}}{}");
    struct sharer *copy = fields_copy(&sharer_fields, a);
    fields_free(&sharer_fields, TAKE_PTR(a)); /* what it wrote is the copy's, too … */
    buf_reset(&text);
    fields_write(&sharer_fields, copy, &writer);
    assert_string_equal(buf_str(&text), "{\"part\":{\"note\":\"n\"}}");
    struct json_writer whole = {.out = &text, .is_sorted = true};
    buf_reset(&text);
    fields_write(&sharer_fields, copy, &whole); /* … but not where more is to be written */
    assert_string_equal(buf_str(&text), "{\"part\":{\"note\":\"n\",\"port\":22}}");
    fields_free(&sharer_fields, copy);
    fields_free(&sharer_fields, same);
    fields_free(&sharer_fields, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_survives_json_in_the_order_of_the_rows),
        cmocka_unit_test(what_is_empty_is_left_out_where_the_row_says_so),
        cmocka_unit_test(a_set_is_written_in_one_order_whatever_order_it_has),
        cmocka_unit_test(a_text_that_is_not_utf8_is_written_as_such),
        cmocka_unit_test(unknown_keys_missing_keys_and_other_types_read_as_defaults),
        cmocka_unit_test(what_does_not_fit_reads_as_the_default),
        cmocka_unit_test(what_does_not_fit_is_an_error_in_a_strict_table_and_below_it),
        cmocka_unit_test(what_does_not_belong_together_is_always_an_error),
        cmocka_unit_test(items_of_a_list_have_their_defaults),
        cmocka_unit_test(the_first_of_a_key_counts_and_an_item_of_nothing_leaves_nothing),
        cmocka_unit_test(sparse_json_leaves_out_defaults),
        cmocka_unit_test(an_item_has_what_its_table_and_the_owner_of_its_list_say),
        cmocka_unit_test(what_is_required_is_an_error_in_any_table),
        cmocka_unit_test(the_first_of_a_key_that_comes_twice_counts),
        cmocka_unit_test(a_copy_equals_and_shares_nothing),
        cmocka_unit_test(a_copy_of_empty_lists_can_grow),
        cmocka_unit_test(a_set_equals_the_same_set_in_another_order_only),
        cmocka_unit_test(a_change_of_any_member_is_seen),
        cmocka_unit_test(a_path_leads_to_a_row_and_its_struct),
        cmocka_unit_test(a_member_is_taken_from_another_struct),
        cmocka_unit_test(a_number_is_set_only_where_it_fits),
        cmocka_unit_test(copies_share_a_struct_that_lives_as_long_as_one_of_them),
        cmocka_unit_test(shared_structs_are_compared_and_written_by_what_they_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
