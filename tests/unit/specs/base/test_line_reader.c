/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/line_reader.h"

enum { MAX = 8 };

/* Takes what is whole, each line with a ";" behind it. */
static void drain(struct line_reader *reader, struct buf *out)
{
    size_t n;
    for (const char *line; (line = line_reader_next(reader, &n));) {
        assert_int_equal(line[n], '\n');
        buf_add(out, line, n);
        buf_add_char(out, ';');
    }
}

static void feed_all(struct line_reader *reader, const char *text, struct buf *out)
{
    assert_true(line_reader_feed(reader, text, strlen(text)));
    drain(reader, out);
}

static void lines_are_the_same_however_they_are_cut(void **state)
{
    static const char text[] = "one\n\ntwo\r\n \nthree\n";
    (void)state;
    for (size_t piece = 1; piece <= sizeof(text); piece++) {
        cleanup_buf struct buf out = BUF_INIT(0);
        struct line_reader reader;
        line_reader_init(&reader, sizeof(text));
        for (size_t at = 0; at < strlen(text); at += piece) {
            size_t n = strlen(text) - at < piece ? strlen(text) - at : piece;
            assert_true(line_reader_feed(&reader, text + at, n));
            drain(&reader, &out);
        }
        assert_string_equal(buf_str(&out), "one;;two\r; ;three;");
        line_reader_clear(&reader);
    }
}

static void what_is_taken_counts_no_more(void **state)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    struct line_reader reader;
    (void)state;
    line_reader_init(&reader, MAX);
    for (int i = 0; i < 3; i++) {
        feed_all(&reader, "abc\nde", &out);
        feed_all(&reader, "f\n", &out);
    }
    assert_string_equal(buf_str(&out), "abc;def;abc;def;abc;def;");
    assert_true(line_reader_feed(&reader, "12345678", MAX));
    assert_false(line_reader_feed(&reader, "9", 1));
    line_reader_clear(&reader);
}

static void the_rest_can_be_looked_at_and_skipped(void **state)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    struct line_reader reader;
    size_t n;
    (void)state;
    line_reader_init(&reader, MAX);
    assert_string_equal(line_reader_rest(&reader, &n), "");
    assert_int_equal(n, 0);
    feed_all(&reader, "a\nbcd", &out);
    assert_string_equal(line_reader_rest(&reader, &n), "bcd");
    assert_int_equal(n, 3);
    line_reader_skip(&reader, 2);
    feed_all(&reader, "e\n", &out);
    assert_string_equal(buf_str(&out), "a;de;");
    line_reader_clear(&reader);
}

/* Each byte that moved all behind it would take hours. */
static void a_flood_of_empty_lines_is_read_at_once(void **state)
{
    enum { FLOOD = 4 << 20 };
    cleanup_buf struct buf flood = BUF_INIT(FLOOD);
    struct line_reader reader;
    size_t n, n_lines = 0;
    (void)state;
    char *bytes = buf_extend(&flood, FLOOD);
    assert_non_null(bytes);
    memset(bytes, '\n', FLOOD);
    line_reader_init(&reader, FLOOD);
    assert_true(line_reader_feed(&reader, bytes, FLOOD));
    while (line_reader_next(&reader, &n)) {
        n_lines++;
    }
    assert_int_equal(n_lines, FLOOD);
    line_reader_clear(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_same_however_they_are_cut),
        cmocka_unit_test(what_is_taken_counts_no_more),
        cmocka_unit_test(the_rest_can_be_looked_at_and_skipped),
        cmocka_unit_test(a_flood_of_empty_lines_is_read_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
