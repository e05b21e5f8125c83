/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/log_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"

static char *path_in_new_dir(void)
{
    char dir[] = "/tmp/vmctl-log-stream.XXXXXX";
    assert_non_null(mkdtemp(dir));
    return mem_printf("%s/log", dir);
}

static void drop(char **path)
{
    struct error ignored = {.code = ERR_NONE};
    *strrchr(*path, '/') = '\0';
    (void)fs_remove_tree(*path, &ignored);
    free(*path);
}
#define cleanup_path __attribute__((cleanup(drop)))

static void put(const char *path, const char *mode, const char *text)
{
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_read(struct log_stream *stream, const char *expected)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    while (log_stream_read(stream, &out)) {
    }
    assert_string_equal(buf_str(&out), expected);
}

static void what_was_there_before_is_skipped_from_the_end(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_with(log_stream_close) struct log_stream stream;
    put(path, "w", "old\n");
    log_stream_open(&stream, path, NULL, true);
    assert_read(&stream, "");
    put(path, "a", "new\n");
    assert_read(&stream, "new\n");
    assert_read(&stream, "");
}

static void a_file_that_comes_later_is_read_from_its_start(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_with(log_stream_close) struct log_stream stream;
    log_stream_open(&stream, path, NULL, true);
    assert_read(&stream, "");
    put(path, "w", "first\n");
    assert_read(&stream, "first\n");
}

static void a_file_cut_off_or_replaced_is_read_from_its_start(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_free char *other = mem_printf("%s.new", path);
    cleanup_with(log_stream_close) struct log_stream stream;
    put(path, "w", "one two three\n");
    log_stream_open(&stream, path, NULL, true);
    put(path, "w", "cut\n");
    assert_read(&stream, "cut\n");
    put(other, "w", "quite another, and longer\n");
    assert_int_equal(rename(other, path), 0);
    assert_read(&stream, "quite another, and longer\n");
}

static void every_line_gets_its_prefix_once(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_buf struct buf out = BUF_INIT(0);
    cleanup_with(log_stream_close) struct log_stream stream;
    log_stream_open(&stream, path, "web | ", false);
    put(path, "w", "one\ntw");
    assert_read(&stream, "web | one\nweb | tw");
    put(path, "a", "o\nthree");
    assert_read(&stream, "o\nweb | three");
    log_stream_end(&stream, &out);
    assert_string_equal(buf_str(&out), "\n");
}

static void a_tail_is_the_last_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"1\n2\n3\n", "2\n3\n"}, {"1\n2\n3", "2\n3"}, {"3\n", "3\n"}, {"", ""}, {"\n\n\n", "\n\n"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_path char *path = path_in_new_dir();
        cleanup_with(log_stream_close) struct log_stream stream;
        put(path, "w", cases[i].text);
        log_stream_open(&stream, path, NULL, false);
        log_stream_seek_tail(&stream, 2);
        assert_read(&stream, cases[i].expected);
    }
}

static void a_tail_longer_than_a_chunk_is_found(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_with(log_stream_close) struct log_stream stream;
    cleanup_free char *line = mem_calloc(1, 100001);
    memset(line, 'x', 100000);
    put(path, "w", "first\n");
    put(path, "a", line);
    put(path, "a", "\nlast\n");
    log_stream_open(&stream, path, NULL, false);
    log_stream_seek_tail(&stream, 2);
    cleanup_buf struct buf out = BUF_INIT(0);
    while (log_stream_read(&stream, &out)) {
    }
    assert_int_equal(out.len, 100000 + strlen("\nlast\n"));
    assert_int_equal(buf_str(&out)[0], 'x');
}

/* The two are one text: a line may begin in one and end in the other. */
static void a_log_begins_in_its_predecessor(void **state)
{
    (void)state;
    static const struct {
        const char *older, *text;
        uint32_t tail;
        const char *expected;
    } cases[] = {
        {"1\n2\n", "3\n", 0, "1\n2\n3\n"},
        {"1\n2", "3\n4\n", 0, "1\n23\n4\n"},
        {"1\n2\n", "3\n4\n", 1, "4\n"},
        {"1\n2\n", "3\n4\n", 2, "3\n4\n"},
        {"1\n2\n", "3\n4\n", 3, "2\n3\n4\n"},
        {"1\n2", "3\n4\n", 2, "23\n4\n"},
        {"1\n2\n", "3\n4\n", 9, "1\n2\n3\n4\n"},
        {"1\n2\n", "", 1, "2\n"},
        {"1\n2\n", NULL, 1, "2\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_path char *path = path_in_new_dir();
        cleanup_free char *older = mem_printf("%s.1", path);
        cleanup_with(log_stream_close) struct log_stream stream;
        put(older, "w", cases[i].older);
        if (cases[i].text) {
            put(path, "w", cases[i].text);
        }
        log_stream_open(&stream, path, "> ", false);
        log_stream_seek_tail(&stream, cases[i].tail);
        cleanup_buf struct buf expected = BUF_INIT(0);
        for (const char *at = cases[i].expected; *at; at = strchr(at, '\n') + 1) {
            buf_printf(&expected, "> %.*s\n", (int)strcspn(at, "\n"), at);
        }
        assert_read(&stream, buf_str(&expected));
        put(path, "a", "new\n");
        assert_read(&stream, "> new\n");
    }
}

static void what_is_no_file_is_not_read(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_with(log_stream_close) struct log_stream stream;
    assert_int_equal(symlink("/etc/passwd", path), 0);
    log_stream_open(&stream, path, NULL, false);
    assert_read(&stream, "");
}

/* ---- times ---- */

enum { AT_MS = 1800000000 };

/* As vmctld does: notes the time, then appends. */
static void put_at(const char *path, int64_t after_ms, const char *text)
{
    struct log_times_writer writer;
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    log_times_open(&writer, path, fileno(file));
    log_times_note(&writer, fileno(file), AT_MS + after_ms);
    log_times_close(&writer);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void each_line_begins_with_the_time_its_beginning_came(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_with(log_stream_close) struct log_stream stream;
    put(path, "w", "unknown\n");
    put_at(path, 0, "one\ntwo");
    put_at(path, 5000, " three\nfour\n");
    log_stream_open(&stream, path, "web | ", false);
    stream.shows_times = true;
    assert_read(&stream, "web | -                    unknown\n"
                         "web | 1970-01-21T20:00:00Z one\n"
                         "web | 1970-01-21T20:00:00Z two three\n"
                         "web | 1970-01-21T20:00:05Z four\n");
    put_at(path, 7000, "five\n"); /* noted after the times were read */
    assert_read(&stream, "web | 1970-01-21T20:00:07Z five\n");
}

static void a_log_without_times_has_those_of_now_once_it_is_followed(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_with(log_stream_close) struct log_stream stream;
    cleanup_buf struct buf out = BUF_INIT(0);
    char now[CLOCK_TEXT_SIZE];
    put(path, "w", "old\n");
    log_stream_open(&stream, path, NULL, false);
    stream.shows_times = true;
    assert_read(&stream, "-                    old\n");
    stream.is_live = true;
    clock_format_utc(clock_wall_ms(clock_system()), now);
    put(path, "a", "new\n");
    assert_true(log_stream_read(&stream, &out));
    assert_true(strncmp(buf_str(&out), now, strlen("2026-11-29T")) == 0);
    assert_string_equal(buf_str(&out) + strlen(now), " new\n");
}

static void assert_since(const char *path, int64_t after_ms, const char *expected)
{
    cleanup_with(log_stream_close) struct log_stream stream;
    log_stream_open(&stream, path, NULL, false);
    assert_true(log_stream_seek_time(&stream, AT_MS + after_ms));
    assert_read(&stream, expected);
}

static void reading_begins_at_a_time_with_a_whole_line(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_with(log_stream_close) struct log_stream stream;
    put_at(path, 0, "one\ntwo");
    put_at(path, 60000, " three\nfour\n");
    put_at(path, 120000, "five\n");
    assert_since(path, -1000000, "one\ntwo three\nfour\nfive\n");
    assert_since(path, 30000, "two three\nfour\nfive\n");
    assert_since(path, 120000, "five\n");
    assert_since(path, 130000, "");
    log_stream_open(&stream, path, NULL, false); /* --tail and --since: the shorter of both */
    log_stream_seek_tail(&stream, 2);
    assert_true(log_stream_seek_time(&stream, AT_MS + 30000));
    assert_read(&stream, "four\nfive\n");
}

static void a_time_is_looked_for_in_the_predecessor_too(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    put_at(path, 0, "one\n");
    put_at(path, 60000, "two\n");
    assert_int_equal(log_file_begin(path, 1), 0);
    put_at(path, 120000, "three\n");
    assert_since(path, 60000, "two\nthree\n");
    assert_since(path, 120000, "three\n");
}

static void a_log_without_times_says_so(void **state)
{
    (void)state;
    cleanup_path char *path = path_in_new_dir();
    cleanup_with(log_stream_close) struct log_stream stream;
    log_stream_open(&stream, path, NULL, false);
    assert_true(log_stream_seek_time(&stream, AT_MS)); /* there is none */
    put(path, "w", "old\n");
    assert_false(log_stream_seek_time(&stream, AT_MS));
    assert_read(&stream, "old\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_there_before_is_skipped_from_the_end),
        cmocka_unit_test(a_file_that_comes_later_is_read_from_its_start),
        cmocka_unit_test(a_file_cut_off_or_replaced_is_read_from_its_start),
        cmocka_unit_test(every_line_gets_its_prefix_once),
        cmocka_unit_test(a_tail_is_the_last_lines),
        cmocka_unit_test(a_tail_longer_than_a_chunk_is_found),
        cmocka_unit_test(a_log_begins_in_its_predecessor),
        cmocka_unit_test(what_is_no_file_is_not_read),
        cmocka_unit_test(each_line_begins_with_the_time_its_beginning_came),
        cmocka_unit_test(a_log_without_times_has_those_of_now_once_it_is_followed),
        cmocka_unit_test(reading_begins_at_a_time_with_a_whole_line),
        cmocka_unit_test(a_time_is_looked_for_in_the_predecessor_too),
        cmocka_unit_test(a_log_without_times_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
