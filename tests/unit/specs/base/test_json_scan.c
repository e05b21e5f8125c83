/* SPDX-License-Identifier: MPL-2.0 */
/* What is valid, what is not, and that both readers and writers of JSON agree about it: jansson is
 * the other one (tests/fuzz/fuzz_store_codec.c compares them at length). */
#include "specs/base/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/json.h"
#include "specs/base/json_write.h"
#include "specs/base/mem.h"

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){text, strlen(text)};
}

static const char *problem_of(struct bytes text)
{
    struct json_scan scan;
    json_scan_init(&scan, text);
    (void)json_scan_skip(&scan);
    json_scan_end(&scan);
    json_scan_clear(&scan);
    return scan.problem;
}

static void what_is_valid_is_so_for_both(void **state)
{
    static const char *const texts[] = {"{}", " [ ] ", "null", "true", "false", "0", "-0", "10",
        "-9223372036854775808", "9223372036854775807", "0.5", "1e5", "-1.25E-3", "\"\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u00e9\\u20AC\\ud83d\\ude00\"", "\"\xc3\xa9\x7f\"",
        "{\"a\":[1,{\"b\":null}],\"\":\"x\"}", "\t\r\n[1 , 2]"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cleanup_json json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        assert_non_null(json);
        assert_null(problem_of(bytes_of(texts[i])));
    }
}

static void what_is_not_valid_is_so_for_neither(void **state)
{
    static const char *const texts[] = {"", " ", "{", "[", "[1", "[1,]", "{\"a\"}", "{\"a\":}",
        "{\"a\":1,}", "{a:1}", "{1:1}", "[1 2]", "]", "nul", "truely", "01", "-", "1.", "1e", ".5",
        "+1", "9223372036854775808", "-9223372036854775809", "\"", "\"a", "\"\\x\"", "\"\\u12\"",
        "\"\\u00g0\"", "\"\\ud83d\"", "\"\\ud83d\\u0041\"", "\"\\ude00\"", "\"\\u0000\"",
        "\"\x01\"", "\"\n\"", "\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "1 2", "{} x", "'a'"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cleanup_json json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        assert_null(json);
        if (!problem_of(bytes_of(texts[i]))) {
            fail_msg("'%s' is accepted", texts[i]);
        }
    }
    assert_non_null(problem_of((struct bytes){"1\0", 2}));
    assert_non_null(problem_of((struct bytes){NULL, 0}));
}

static void a_text_of_endless_depth_is_refused(void **state)
{
    char deep[4096];
    (void)state;
    memset(deep, '[', sizeof(deep));
    assert_string_equal(
        problem_of((struct bytes){deep, sizeof(deep)}), "maximum parsing depth reached");
}

static void strings_and_integers_are_what_they_mean(void **state)
{
    struct json_scan scan;
    int64_t value;
    (void)state;
    json_scan_init(&scan, bytes_of("[\"a\\u00e9\\ud83d\\ude00\\n\",\"plain\",-7,1.5]"));
    assert_int_equal(json_scan_peek(&scan), '[');
    assert_true(json_scan_open(&scan, ']'));
    struct bytes text = json_scan_string(&scan);
    assert_int_equal(text.n, 8);
    assert_memory_equal(text.data, "a\xc3\xa9\xf0\x9f\x98\x80\n", 8);
    assert_true(json_scan_more(&scan, ']'));
    text = json_scan_string(&scan);
    assert_memory_equal(text.data, "plain", text.n);
    assert_true(json_scan_more(&scan, ']'));
    assert_true(json_scan_integer(&scan, &value));
    assert_int_equal(value, -7);
    assert_true(json_scan_more(&scan, ']'));
    assert_false(json_scan_integer(&scan, &value)); /* valid, and no integer */
    assert_false(json_scan_more(&scan, ']'));
    json_scan_end(&scan);
    assert_null(scan.problem);
    json_scan_clear(&scan);
}

/* Strings are read eight bytes at a time. */
static void any_byte_at_any_place_of_a_string_means_what_jansson_says(void **state)
{
    enum { LENGTH = 19 };
    (void)state;
    for (size_t at = 1; at <= LENGTH; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[LENGTH + 3] = "\"abcdefghi abcdefghi\"";
            text[at] = (char)byte;
            cleanup_json json_t *json = json_loadb(text, LENGTH + 2, JSON_DECODE_ANY, NULL);
            struct bytes bytes = {text, LENGTH + 2};
            assert_int_equal(json != NULL, problem_of(bytes) == NULL);
        }
    }
}

static char *hide_secret(const char *text)
{
    return strcmp(text, "secret") == 0 ? mem_strdup("***") : NULL;
}

static void a_tree_is_written_as_jansson_writes_it(void **state)
{
    static const char text[] = "{\"z\":[],\"a\":{},\"l\":[1,-2,0.5,true,false,null,"
                               "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001/\xc3\xa9\"],"
                               "\"d\":{\"k\":[[{\"x\":\"y\"}]]},\"\\\"\":1}";
    static const size_t flags[] = {JSON_COMPACT, JSON_COMPACT | JSON_SORT_KEYS, JSON_INDENT(2),
        JSON_INDENT(2) | JSON_SORT_KEYS};
    (void)state;
    cleanup_json json_t *json = json_loads(text, 0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        cleanup_buf struct buf out = BUF_INIT(0);
        cleanup_free char *expected = json_dumps(json, flags[i]);
        struct json_writer writer = {.out = &out, .is_indented = i >= 2, .is_sorted = i % 2 == 1};
        json_write_tree(&writer, json);
        assert_string_equal(buf_str(&out), expected);
    }
}

static void a_text_may_be_shown_as_another(void **state)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    struct json_writer writer = {.out = &out, .shown = hide_secret};
    (void)state;
    json_write_open(&writer, '[');
    json_write_item(&writer);
    json_write_text(&writer, "secret");
    json_write_item(&writer);
    json_write_text(&writer, "\xff");
    json_write_item(&writer);
    json_write_text(&writer, NULL);
    json_write_item(&writer);
    json_write_integer(&writer, INT64_MIN);
    json_write_close(&writer, ']');
    assert_string_equal(buf_str(&out), "[\"***\",\"(not UTF-8)\",null,-9223372036854775808]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_valid_is_so_for_both),
        cmocka_unit_test(what_is_not_valid_is_so_for_neither),
        cmocka_unit_test(a_text_of_endless_depth_is_refused),
        cmocka_unit_test(strings_and_integers_are_what_they_mean),
        cmocka_unit_test(any_byte_at_any_place_of_a_string_means_what_jansson_says),
        cmocka_unit_test(a_tree_is_written_as_jansson_writes_it),
        cmocka_unit_test(a_text_may_be_shown_as_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
