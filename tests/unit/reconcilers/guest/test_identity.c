/* SPDX-License-Identifier: MPL-2.0 */
/* The host's side of the identity helper, against a guest that is played on the other end of the
 * socket, and against the real helper's text. */
#include "reconcilers/guest/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/loop_fake.h"

enum { LIMIT_MS = 10000 };

struct guest_end {
    const char *after;  /* once what was received ends so … */
    const char *answer; /* … it answers this; NULL: it goes away */
};

/* Stands for what the guest's clock shows, which is off by fixture.off_ms. It is read at the end of
 * a trip that takes long, and in the middle of one that does not. */
static const char clock_answer[] = "clock";
enum { TRIP_LONG_MS = 16 };

struct fixture {
    struct loop *loop;
    int64_t off_ms;
    const int *trips_ms; /* of each question in its order; the last is 0 and stays */
    char dir[64];
    char *path;
    int listening, connection; /* -1: none */
    struct loop_io *accepting, *talking;
    const struct guest_end *ends; /* in their order; the last has no `after` */
    size_t piece;                 /* bytes of an answer at a time */
    struct buf received;
    bool is_done;
    enum error_code code;
    char message[1024];
};

static void give(struct fixture *f, const char *answer)
{
    for (size_t at = 0, n = strlen(answer); at < n; at += f->piece) {
        size_t left = n - at;
        (void)send(f->connection, answer + at, left < f->piece ? left : f->piece, MSG_NOSIGNAL);
    }
}

static void give_clock(struct fixture *f)
{
    int trip_ms = *f->trips_ms, before_ms = trip_ms > TRIP_LONG_MS ? trip_ms : trip_ms / 2;
    f->trips_ms += trip_ms > 0;
    loop_fake_shift_wall(f->loop, before_ms);
    int64_t shown_ms = clock_wall_ms(loop_clock(f->loop)) + f->off_ms;
    cleanup_free char *line = mem_printf(
        "clock %lld %lld\n", (long long)(shown_ms / 1000), (long long)(shown_ms % 1000) * 1000000);
    loop_fake_shift_wall(f->loop, trip_ms - before_ms);
    give(f, line);
}

static void on_records(void *context, int fd, unsigned ready)
{
    struct fixture *f = context;
    char bytes[512];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    (void)ready;
    if (n <= 0) {
        loop_io_set(f->talking, 0);
        return;
    }
    buf_add(&f->received, bytes, (size_t)n);
    size_t length = f->ends->after ? strlen(f->ends->after) : 0;
    if (length == 0 || f->received.len < length ||
        strcmp(buf_str(&f->received) + f->received.len - length, f->ends->after) != 0) {
        return;
    }
    const char *answer = f->ends++->answer;
    if (!answer) {
        loop_io_free(TAKE_PTR(f->talking));
        close(TAKE_FD(f->connection));
    } else if (answer == clock_answer) {
        give_clock(f);
    } else {
        give(f, answer);
    }
}

static void on_connection(void *context, int fd, unsigned ready)
{
    struct fixture *f = context;
    (void)ready;
    f->connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(f->connection >= 0);
    f->talking = loop_io_new(f->loop, f->connection, LOOP_READ, on_records, f);
}

static int set_up(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct fixture *f = mem_new(struct fixture);
    static const int at_once[] = {0};
    *f = (struct fixture){
        .dir = "/tmp/vmctl-identity-XXXXXX", .connection = -1, .piece = 100, .trips_ms = at_once};
    assert_int_equal(loop_new(&f->loop, &err), 0);
    assert_non_null(mkdtemp(f->dir));
    f->path = fs_join(f->dir, "sock");
    assert_int_equal(fs_listen_unix(f->path, &f->listening, &err), 0);
    f->accepting = loop_io_new(f->loop, f->listening, LOOP_READ, on_connection, f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct fixture *f = *state;
    loop_io_free(f->accepting);
    loop_io_free(f->talking);
    close(f->listening);
    cleanup_close_(&f->connection);
    loop_free(f->loop);
    buf_clear(&f->received);
    int rc = fs_remove_tree(f->dir, &err);
    free(f->path);
    free(f);
    return rc;
}

static void on_done(void *context, const struct error *err)
{
    struct fixture *f = context;
    assert_false(f->is_done); /* once */
    f->is_done = true;
    f->code = err ? err->code : ERR_NONE;
    (void)snprintf(f->message, sizeof(f->message), "%s", err ? err->message : "");
}

static bool is_done(void *context)
{
    return ((struct fixture *)context)->is_done;
}

static struct op *start(struct fixture *f, const char *records, bool is_last)
{
    const struct identity_order order = {.socket_path = f->path,
        .records = records,
        .n = strlen(records),
        .is_last = is_last,
        .timeout_ms = LIMIT_MS};
    return identity_send(f->loop, &order, on_done, f);
}

static enum error_code run(
    struct fixture *f, const char *records, bool is_last, const struct guest_end *ends)
{
    f->ends = ends;
    f->is_done = false;
    (void)start(f, records, is_last);
    int64_t limit_ms = loop_fake_now(f->loop) + 2 * LIMIT_MS;
    assert_true(loop_fake_run_until(f->loop, is_done, f, limit_ms));
    return f->code;
}

/* ---- what it does ---- */

static void the_clock_and_random_numbers_come_first(void **state)
{
    struct fixture *f = *state;
    static const struct guest_end ends[] = {
        {"S\n", "ready\nsync\n"}, {"C\n", clock_answer}, {".\n", "ok 0\n"}, {0}};
    static const size_t pieces[] = {100, 1, 3};
    char entropy[2][129] = {"", ""};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        long long seconds = 0, nanoseconds = 0;
        f->piece = pieces[i];
        buf_reset(&f->received);
        assert_int_equal(run(f, "H clone-7\n", true, ends), ERR_NONE);
        char *drawn = entropy[i % 2];
        assert_int_equal(
            sscanf(buf_str(&f->received), "T %lld %lld\nE %128[0-9a-f]\nH clone-7\nS\nC\n.",
                &seconds, &nanoseconds, drawn),
            3);
        assert_int_equal(strlen(drawn), 128);
        assert_int_equal(seconds, clock_wall_ms(loop_clock(f->loop)) / 1000);
        assert_true(nanoseconds >= 0 && nanoseconds < 1000000000);
        loop_io_free(TAKE_PTR(f->talking));
        close(TAKE_FD(f->connection));
    }
    assert_string_not_equal(entropy[0], entropy[1]);
}

static void the_clock_is_stepped_by_what_the_soonest_answer_showed(void **state)
{
    struct fixture *f = *state;
    static const int busy_ms[] = {100, 60, 10, 0},
                     always_ms[] = {90, 80, 70, 60, 50, 20, 30, 40, 50, 60, 70, 80, 90, 100, 0};
    static const struct {
        const int *trips_ms;
        int64_t off_ms;
        unsigned n_questions;
        const char *step;
    } rows[] = {
        {always_ms + 14, 0, 1, "C\n.\n"},
        {always_ms + 14, 1, 1, "C\n.\n"}, /* as near as it can be told */
        {always_ms + 14, -230, 1, "C\nA 230000000\n.\n"},
        {always_ms + 14, 7250, 1, "C\nB 7250000000\n.\n"},
        {busy_ms, -230, 3, "C\nA 230000000\n.\n"},
        {always_ms, 40, 12, "C\nB 50000000\n.\n"}, /* half of 20 ms wrong, no more */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guest_end ends[16] = {{"S\n", "sync\n"}};
        for (unsigned n = 1; n <= rows[i].n_questions; n++) {
            ends[n] = (struct guest_end){"C\n", clock_answer};
        }
        ends[rows[i].n_questions + 1] = (struct guest_end){".\n", "ok 0\n"};
        f->trips_ms = rows[i].trips_ms;
        f->off_ms = rows[i].off_ms;
        buf_reset(&f->received);
        assert_int_equal(run(f, "", true, ends), ERR_NONE);
        size_t length = strlen(rows[i].step);
        assert_true(f->received.len > length);
        assert_string_equal(buf_str(&f->received) + f->received.len - length, rows[i].step);
        loop_io_free(TAKE_PTR(f->talking));
        close(TAKE_FD(f->connection));
    }
}

static void what_is_not_the_end_waits_for_no_more_than_its_records(void **state)
{
    struct fixture *f = *state;
    static const struct guest_end ends[] = {{"S\n", "sync\n"}, {0}};
    assert_int_equal(run(f, "X true\n", false, ends), ERR_NONE);
    assert_string_equal(buf_str(&f->received), "X true\nS\n");
}

static void a_guest_that_did_not_do_all_of_it_has_failed(void **state)
{
    struct fixture *f = *state;
    static const struct guest_end answers[][4] = {
        {{"S\n", "sync\n"}, {"C\n", clock_answer}, {".\n", "ok 3\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", clock_answer}, {".\n", "ok 00\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", clock_answer}, {".\n", "sync\n"}, {0}},
        {{"S\n", "ok 0\n"}, {0}}, /* before it had all of it */
        {{"S\n", "bad\n"}, {0}},
        {{"S\n", "\n"}, {0}},
        {{"S\n", "a line that has no end whatever one waits for"}, {0}},
        {{"S\n", NULL}, {0}},
        {{"S\n", "clock 1 1\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", "ok 0\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", "clock 1\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", "clock 1 1000000000\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", "clock -1 0\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", "clock 99999999999999 0\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", NULL}, {0}},
        {{"S\n", "sync\n"}, {"C\n", clock_answer}, {".\n", NULL}, {0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        buf_reset(&f->received);
        if (run(f, "H a\n", true, answers[i]) != ERR_IDENTITY || !f->message[0]) {
            fail_msg("%zu: %s", i, f->message);
        }
        loop_io_free(TAKE_PTR(f->talking));
        cleanup_close_(&f->connection);
    }
    assert_non_null(strstr(f->message, "serial port"));
}

/* In whatever it was interrupted. */
static void a_helper_that_has_ended_is_noticed_at_once(void **state)
{
    struct fixture *f = *state;
    static const struct guest_end answers[][4] = {
        {{"S\n", "gone\n"}, {0}},
        {{"S\n", "ready\ngone\ngone\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", "gone\n"}, {0}},
        {{"S\n", "sync\n"}, {"C\n", clock_answer}, {".\n", "gone\n"}, {0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        int64_t began_ms = loop_fake_now(f->loop);
        buf_reset(&f->received);
        assert_int_equal(run(f, "H a\n", true, answers[i]), ERR_IDENTITY);
        assert_string_equal(f->message, "the helper in the guest has ended");
        assert_true(loop_fake_now(f->loop) - began_ms < LIMIT_MS / 2);
        loop_io_free(TAKE_PTR(f->talking));
        cleanup_close_(&f->connection);
    }
}

static void a_guest_that_does_not_answer_is_given_up(void **state)
{
    struct fixture *f = *state;
    static const struct guest_end ends[] = {{"never", ""}, {0}};
    int64_t began_ms = loop_fake_now(f->loop);
    assert_int_equal(run(f, "H a\n", true, ends), ERR_TIMEOUT);
    assert_int_equal(loop_fake_now(f->loop) - began_ms, LIMIT_MS);
}

static void nobody_listens(void **state)
{
    struct fixture *f = *state;
    static const struct guest_end ends[] = {{0}};
    free(f->path);
    f->path = fs_join(f->dir, "missing");
    assert_int_equal(run(f, "H a\n", true, ends), ERR_IDENTITY);
}

static void a_cancelled_one_reports_nothing(void **state)
{
    struct fixture *f = *state;
    static const struct guest_end ends[] = {{"S\n", "sync\n"}, {0}};
    f->ends = ends;
    op_cancel(start(f, "H a\n", true)); /* at once */
    loop_fake_advance(f->loop, 100);
    loop_io_free(TAKE_PTR(f->talking));
    close(TAKE_FD(f->connection));
    struct op *op = start(f, "H a\n", true);
    loop_fake_advance(f->loop, 100); /* it waits for the last answer */
    op_cancel(op);
    loop_fake_advance(f->loop, 2 * LIMIT_MS);
    assert_false(f->is_done);
}

/* More than the socket takes at once. */
static void a_large_file_is_sent_whole(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 2 << 20 };
    static const struct guest_end ends[] = {
        {"S\n", "sync\n"}, {"C\n", clock_answer}, {".\n", "ok 0\n"}, {0}};
    cleanup_buf struct buf records = BUF_INIT(0);
    cleanup_free char *content = mem_calloc(SIZE + 1, 1);
    memset(content, 'x', SIZE);
    identity_add_file(&records, 0640, "/etc/large", content, SIZE);
    assert_int_equal(strncmp(buf_str(&records), "F 640 2097152 /etc/large\nxx", 27), 0);
    assert_int_equal(run(f, buf_str(&records), true, ends), ERR_NONE);
    assert_non_null(strstr(buf_str(&f->received), buf_str(&records)));
}

/* printf(1) makes of it what was built. */
static void the_helper_is_in_the_program(void **state)
{
    (void)state;
    cleanup_free char *text = identity_helper_text();
    cleanup_buf struct buf built = BUF_INIT(1 << 20), made = BUF_INIT(1 << 20);
    struct error err = {.code = ERR_NONE};
    if (!text) {
        skip(); /* not on this processor */
    }
    assert_int_equal(fs_read_file(VMCTL_BINARY_DIR "/bin/vmctl-identity", &built, &err), 0);
    cleanup_free char *command = mem_printf("printf '%s'", text);
    FILE *output = popen(command, "r"); /* a shell's own printf, as the guest's */
    assert_non_null(output);
    char bytes[4096];
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), output)) > 0;) {
        buf_add(&made, bytes, n);
    }
    assert_int_equal(pclose(output), 0);
    assert_int_equal(made.len, built.len);
    assert_memory_equal(made.data, built.data, built.len);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_clock_and_random_numbers_come_first),
        TEST(the_clock_is_stepped_by_what_the_soonest_answer_showed),
        TEST(what_is_not_the_end_waits_for_no_more_than_its_records),
        TEST(a_guest_that_did_not_do_all_of_it_has_failed),
        TEST(a_helper_that_has_ended_is_noticed_at_once),
        TEST(a_guest_that_does_not_answer_is_given_up),
        TEST(nobody_listens),
        TEST(a_cancelled_one_reports_nothing),
        TEST(a_large_file_is_sent_whole),
        cmocka_unit_test(the_helper_is_in_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
