/* SPDX-License-Identifier: MPL-2.0 */
/* etcd's messages, of bytes as they are on the wire. What needs an etcd is in test_etcd.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/fleet/etcd/arena.h"
#include "controller/fleet/etcd/messages.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"

#define BYTES(text) (&(struct bytes){(text), sizeof(text) - 1})
#define HEADER "\x0a\x04\x08\x07\x18\x09" /* store 7, revision 9 */

static void rows_without_a_text_key_are_left_out(void **state)
{
    (void)state;
    struct engine_rows rows = {0};
    struct error err = {0};
    assert_int_equal(message_read_range(BYTES(HEADER "\x12\x09\x0a\x01k\x18\x05\x2a\x02v\0"
                                                     "\x12\x05\x0a\x03k\0k"
                                                     "\x12\x02\x18\x05"),
                         &rows, &err),
        0);
    assert_int_equal(rows.n, 1);
    assert_string_equal(rows.rows[0].key, "k");
    assert_int_equal(rows.rows[0].mod_revision, 5);
    assert_int_equal(rows.rows[0].value.n, 2);
    assert_memory_equal(rows.rows[0].value.data, "v\0", 3);
    assert_true(rows.store == 7);
    assert_int_equal(rows.revision, 9);
    engine_rows_clear(&rows);
}

static void what_is_not_the_message_is_refused(void **state)
{
    (void)state;
    const struct bytes *wrong[] = {
        BYTES(""),                    /* no header */
        BYTES("\xff\xff\xff\xff"),    /* no field */
        BYTES(HEADER "\x12\x40\x0a"), /* longer than it is */
        BYTES(HEADER "\x18\x01"),     /* more of nothing */
        BYTES("\x08\x01"),            /* the header is a number */
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct engine_rows rows = {0};
        struct error err = {0};
        assert_int_equal(message_read_range(wrong[i], &rows, &err), -ERR_FLEET_VERSION);
        assert_null(rows.memory);
    }
}

static void an_answer_lacks_no_read(void **state)
{
    (void)state;
    struct engine_result result = {0};
    struct error err = {0};
    /* succeeded, with the answer to a put and then nothing */
    const struct bytes *message = BYTES(HEADER "\x10\x01\x1a\x02\x12\0");
    assert_int_equal(message_read_txn(message, 1, 0, &result, &err), 0);
    assert_int_equal(result.outcome, ENGINE_SUCCEEDED);
    engine_result_clear(&result);
    assert_int_equal(message_read_txn(message, 1, 1, &result, &err), -ERR_FLEET_VERSION);
    error_clear(&err);
    assert_int_equal(message_read_txn(message, 0, 1, &result, &err), -ERR_FLEET_VERSION);
    assert_null(result.reads);
}

/* Two bytes a row, which take a hundred times as many here. */
static void what_unpacks_to_far_more_is_refused(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    struct engine_rows rows = {0};
    struct error err = {0};
    char *bytes = calloc(1, 6 + 2 * N);
    memcpy(bytes, HEADER, 6);
    for (size_t i = 0; i < N; i++) {
        memcpy(bytes + 6 + 2 * i, "\x12\0", 2);
    }
    assert_int_equal(
        message_read_range(&(struct bytes){bytes, 6 + 2 * N}, &rows, &err), -ERR_FLEET_LIMIT);
    free(bytes);
}

static void the_end_of_a_watch_has_its_reason(void **state)
{
    (void)state;
    struct watch_message message;
    struct error err = {0};
    assert_int_equal(
        message_read_watch(BYTES(HEADER "\x20\x01\x28\x05"), &message, &err), -ERR_FLEET_COMPACTED);
    error_clear(&err);
    assert_int_equal(message_read_watch(BYTES(HEADER "\x18\x01\x20\x01\x32\x1d"
                                                     "etcdserver: permission denied"),
                         &message, &err),
        -ERR_FLEET_DENIED);
    error_clear(&err);
    assert_int_equal(
        message_read_watch(BYTES(HEADER "\x20\x01"), &message, &err), -ERR_FLEET_UNREACHABLE);
}

static void progress_is_told_from_a_watch_that_begins(void **state)
{
    (void)state;
    struct watch_message message;
    struct error err = {0};
    const char minus_one[] = HEADER "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_int_equal(message_read_watch(BYTES(minus_one), &message, &err), 0);
    assert_int_equal(message.news, WATCH_PROGRESS);
    assert_int_equal(message.revision, 9);
    watch_message_clear(&message);
    assert_int_equal(message_read_watch(BYTES(HEADER "\x10\x01\x18\x01"), &message, &err), 0);
    assert_int_equal(message.news, WATCH_CREATED);
    watch_message_clear(&message);
}

static void only_known_versions_are_taken(void **state)
{
    (void)state;
    struct engine_status status;
    struct error err = {0};
    assert_int_equal(message_read_status(BYTES(HEADER "\x12\x06"
                                                      "3.5.16"),
                         &status, &err),
        0);
    assert_string_equal(status.version, "3.5.16");
    assert_int_equal(message_read_status(BYTES(HEADER "\x12\x06"
                                                      "3.3.25"),
                         &status, &err),
        -ERR_FLEET_VERSION);
    error_clear(&err);
    assert_int_equal(message_read_status(BYTES(HEADER), &status, &err), -ERR_FLEET_VERSION);
}

static void a_status_says_whether_it_happened(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *words;
        enum error_code code;
        bool is_refused;
        bool is_elsewhere;
    } rows[] = {
        {14, "etcdserver: no leader", ERR_FLEET_UNREACHABLE, true, true},
        {14, "etcdserver: leader changed", ERR_FLEET_UNREACHABLE, false, true},
        {14, "etcdserver: request timed out", ERR_FLEET_UNREACHABLE, false, true},
        {8, "etcdserver: mvcc: database space exceeded", ERR_FLEET_FULL, true, false},
        {11, "etcdserver: mvcc: required revision has been compacted", ERR_FLEET_COMPACTED, true,
            false},
        {7, "etcdserver: permission denied", ERR_FLEET_DENIED, true, false},
        {2, "", ERR_FLEET_UNREACHABLE, false, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err = {0};
        bool is_refused;
        bool is_elsewhere;
        assert_int_equal(
            message_status_error(rows[i].status, rows[i].words, &is_refused, &is_elsewhere, &err),
            -(int)rows[i].code);
        assert_int_equal(is_refused, rows[i].is_refused);
        assert_int_equal(is_elsewhere, rows[i].is_elsewhere);
    }
}

static void an_arena_ends_where_it_was_told(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1000);
    size_t n = 0;
    char *p;
    while ((p = arena_alloc_for(arena, 1000))) {
        assert_int_equal(p[1000], '\0');
        memset(p, 'x', 1000);
        n++;
    }
    assert_in_range(n, 16, 1000);
    assert_true(arena_is_full(arena));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_without_a_text_key_are_left_out),
        cmocka_unit_test(what_is_not_the_message_is_refused),
        cmocka_unit_test(an_answer_lacks_no_read),
        cmocka_unit_test(what_unpacks_to_far_more_is_refused),
        cmocka_unit_test(the_end_of_a_watch_has_its_reason),
        cmocka_unit_test(progress_is_told_from_a_watch_that_begins),
        cmocka_unit_test(only_known_versions_are_taken),
        cmocka_unit_test(a_status_says_whether_it_happened),
        cmocka_unit_test(an_arena_ends_where_it_was_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
