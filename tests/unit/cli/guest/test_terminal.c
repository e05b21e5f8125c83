/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bridge runs in a child process whose input and output are a pseudo terminal or pipes; this
 * process is the user on the other side, and the guest behind a socket pair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/guest/raw_mode.h"
#include "cli/guest/terminal.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { DEADLINE_MS = 10 * 1000, IDLE_MS = 50, CRASHED = 99 };

struct fixture {
    int user;  /* the master of the terminal, or the writing end of the input */
    int shown; /* the same master, or the reading end of the output */
    int guest;
    struct termios before;
    pid_t child;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

/* ---- the child ---- */

/* The exit status tells how it ended: the kind of end, and the signal above it. */
static void run_bridge(int input, int output, int peer, bool crashes)
{
    const struct terminal_bridge bridge = {
        .input_fd = input, .output_fd = output, .peer_fd = peer, .idle_ms = IDLE_MS};
    struct terminal_result result = {.end = TERMINAL_DETACHED};
    struct error err = {.code = ERR_NONE};
    if (crashes) {
        (void)raw_mode_enter(input, &err);
        abort();
    }
    int rc = terminal_run(&bridge, &result, &err);
    _exit(rc < 0 ? CRASHED : (int)result.end | result.signal << 3);
}

static void start(struct fixture *f, int input, int output, bool crashes)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    f->guest = pair[0];
    f->child = fork();
    assert_true(f->child >= 0);
    if (f->child == 0) {
        close(f->user);
        if (f->shown != f->user) {
            close(f->shown);
        }
        close(pair[0]);
        (void)fcntl(pair[1], F_SETFL, O_NONBLOCK);
        run_bridge(input, output, pair[1], crashes);
    }
    close(pair[1]);
}

static struct fixture *start_on_terminal(bool crashes)
{
    struct fixture *f = mem_new(struct fixture);
    int slave;
    assert_int_equal(openpty(&f->user, &slave, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(slave, &f->before), 0);
    f->shown = f->user;
    start(f, slave, slave, crashes);
    close(slave);
    return f;
}

static struct fixture *start_on_pipes(void)
{
    struct fixture *f = mem_new(struct fixture);
    int input[2], output[2];
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    f->user = input[1];
    f->shown = output[0];
    start(f, input[0], output[1], false);
    close(input[0]);
    close(output[1]);
    return f;
}

/* ---- this side ---- */

static void await_readable(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, DEADLINE_MS), 1);
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Reads until `text` stands at the end of what was read. */
static void expect(int fd, const char *text)
{
    char got[4096];
    size_t n = 0, length = strlen(text);
    while (n < length || memcmp(got + n - length, text, length) != 0) {
        await_readable(fd);
        ssize_t more = read(fd, got + n, sizeof(got) - n);
        assert_true(more > 0);
        n += (size_t)more;
    }
}

static bool is_raw(const struct fixture *f)
{
    struct termios mode;
    assert_int_equal(tcgetattr(f->user, &mode), 0);
    return (mode.c_lflag & (ICANON | ECHO | ISIG)) == 0 && (mode.c_oflag & OPOST) == 0;
}

static void await_mode(const struct fixture *f, bool raw)
{
    int64_t deadline = now_ms() + DEADLINE_MS;
    while (is_raw(f) != raw) {
        assert_true(now_ms() < deadline);
        (void)poll(NULL, 0, 1);
    }
}

static void assert_restored(const struct fixture *f)
{
    struct termios mode;
    assert_int_equal(tcgetattr(f->user, &mode), 0);
    assert_int_equal(mode.c_iflag, f->before.c_iflag);
    assert_int_equal(mode.c_oflag, f->before.c_oflag);
    assert_int_equal(mode.c_lflag, f->before.c_lflag);
    assert_int_equal(mode.c_cflag, f->before.c_cflag);
}

static int end_of(const struct fixture *f)
{
    int status = -1;
    assert_int_equal(waitpid(f->child, &status, 0), f->child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void finish(struct fixture *f)
{
    close(f->guest);
    if (f->user >= 0) {
        close(f->user);
    }
    if (f->shown != f->user && f->shown >= 0) {
        close(f->shown);
    }
    free(f);
}

/* ---- on a terminal ---- */

static void keys_go_to_the_guest_and_its_bytes_to_the_user_unchanged(void **state)
{
    (void)state;
    struct fixture *f = start_on_terminal(false);
    await_mode(f, true);
    say(f->user, "\x03\x1b[A\r"); /* Ctrl-C, an arrow, Return: all for the guest */
    expect(f->guest, "\x03\x1b[A\r");
    say(f->guest, "a\r\n\x1b[31mb");
    expect(f->shown, "a\r\n\x1b[31mb");
    say(f->user, "\x1d");
    assert_int_equal(end_of(f), TERMINAL_DETACHED);
    finish(f);
}

static void ctrl_bracket_detaches_and_restores_the_terminal(void **state)
{
    (void)state;
    struct fixture *f = start_on_terminal(false);
    await_mode(f, true);
    say(f->user, "ab\x1d"
                 "cd");
    assert_int_equal(end_of(f), TERMINAL_DETACHED);
    assert_restored(f);
    expect(f->guest, "ab");
    char rest[8];
    assert_int_equal(read(f->guest, rest, sizeof(rest)), 0);
    expect(f->shown, "\0337\033[r\0338");
    finish(f);
}

static void a_guest_that_reads_nothing_cannot_keep_the_user(void **state)
{
    (void)state;
    struct fixture *f = start_on_terminal(false);
    char pasted[4096];
    memset(pasted, 'x', sizeof(pasted));
    await_mode(f, true);
    struct pollfd writable = {.fd = f->user, .events = POLLOUT};
    for (int i = 0; i < 256 && poll(&writable, 1, DEADLINE_MS) == 1; i++) {
        assert_true(write(f->user, pasted, sizeof(pasted)) > 0);
    }
    say(f->user, "\x1d");
    assert_int_equal(end_of(f), TERMINAL_DETACHED);
    assert_restored(f);
    finish(f);
}

static void the_end_of_the_vm_ends_it_after_its_last_words(void **state)
{
    (void)state;
    struct fixture *f = start_on_terminal(false);
    await_mode(f, true);
    say(f->guest, "Power down");
    assert_int_equal(shutdown(f->guest, SHUT_RDWR), 0);
    assert_int_equal(end_of(f), TERMINAL_PEER_CLOSED);
    assert_restored(f);
    expect(f->shown, "\0337\033[r\0338");
    finish(f);
}

static void check_signal(int number)
{
    struct fixture *f = start_on_terminal(false);
    await_mode(f, true);
    assert_int_equal(kill(f->child, number), 0);
    assert_int_equal(end_of(f), TERMINAL_SIGNALLED | number << 3);
    assert_restored(f);
    finish(f);
}

static void signals_that_end_it_restore_the_terminal(void **state)
{
    (void)state;
    check_signal(SIGINT);
    check_signal(SIGTERM);
    check_signal(SIGHUP);
    check_signal(SIGQUIT);
}

static void a_crash_restores_the_terminal(void **state)
{
    (void)state;
    struct fixture *f = start_on_terminal(true);
    int status = -1;
    assert_int_equal(waitpid(f->child, &status, 0), f->child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_restored(f);
    finish(f);
}

static void being_stopped_restores_the_terminal_until_it_goes_on(void **state)
{
    (void)state;
    struct fixture *f = start_on_terminal(false);
    int status = -1;
    await_mode(f, true);
    assert_int_equal(kill(f->child, SIGTSTP), 0);
    assert_int_equal(waitpid(f->child, &status, WUNTRACED), f->child);
    assert_true(WIFSTOPPED(status));
    assert_restored(f);
    assert_int_equal(kill(f->child, SIGCONT), 0);
    await_mode(f, true);
    say(f->user, "\x1d");
    assert_int_equal(end_of(f), TERMINAL_DETACHED);
    assert_restored(f);
    finish(f);
}

/* ---- on pipes ---- */

static void piped_input_goes_through_and_the_answer_comes_back(void **state)
{
    (void)state;
    struct fixture *f = start_on_pipes();
    say(f->user, "id\n\x1d");
    close(f->user);
    f->user = -1;
    expect(f->guest, "id\n\x1d"); /* no key of ours: it is not a terminal */
    say(f->guest, "uid=0(root)\n");
    expect(f->shown, "uid=0(root)\n");
    assert_int_equal(end_of(f), TERMINAL_DRAINED);
    finish(f);
}

static void nobody_who_reads_the_output_ends_it(void **state)
{
    (void)state;
    struct fixture *f = start_on_pipes();
    close(f->shown);
    f->shown = -1;
    say(f->guest, "anybody there?");
    assert_int_equal(end_of(f), TERMINAL_OUTPUT_CLOSED);
    finish(f);
}

static void much_output_arrives_whole_at_a_slow_reader(void **state)
{
    (void)state;
    enum { PIECE = 8192, PIECES = 64 };
    struct fixture *f = start_on_pipes();
    char piece[PIECE], got[PIECE];
    size_t total = 0;
    pid_t writer = fork();
    memset(piece, 'y', sizeof(piece));
    if (writer == 0) {
        size_t done = 0;
        for (int i = 0; i < PIECES; i++) {
            ssize_t n = write(f->guest, piece, sizeof(piece));
            done += n > 0 ? (size_t)n : 0;
        }
        _exit(done == PIECE * PIECES ? 0 : 1);
    }
    close(f->guest);
    f->guest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (ssize_t n = 1; n > 0; total += (size_t)n) {
        await_readable(f->shown);
        n = read(f->shown, got, sizeof(got));
        assert_true(n >= 0);
    }
    assert_int_equal(total, PIECE * PIECES);
    assert_int_equal(end_of(f), TERMINAL_PEER_CLOSED);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    finish(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_go_to_the_guest_and_its_bytes_to_the_user_unchanged),
        cmocka_unit_test(ctrl_bracket_detaches_and_restores_the_terminal),
        cmocka_unit_test(a_guest_that_reads_nothing_cannot_keep_the_user),
        cmocka_unit_test(the_end_of_the_vm_ends_it_after_its_last_words),
        cmocka_unit_test(signals_that_end_it_restore_the_terminal),
        cmocka_unit_test(a_crash_restores_the_terminal),
        cmocka_unit_test(being_stopped_restores_the_terminal_until_it_goes_on),
        cmocka_unit_test(piped_input_goes_through_and_the_answer_comes_back),
        cmocka_unit_test(nobody_who_reads_the_output_ends_it),
        cmocka_unit_test(much_output_arrives_whole_at_a_slow_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
