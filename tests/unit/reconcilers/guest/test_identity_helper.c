/* SPDX-License-Identifier: MPL-2.0 */
/* The real helper, as root of namespaces of its own: another hostname, and another root directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

enum { PATIENCE_MS = 30000, STATUS_BAD = 2 };

struct fixture {
    char root[64]; /* of the helper */
    int helper_fd;
    int records, answers; /* ours; the same without a port */
    pid_t pid;
};

/* ---- its namespaces ---- */

static bool write_text(const char *path, const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && fs_write_all(fd, text, strlen(text), &err) == 0;
}

static bool enter_namespaces(void)
{
    cleanup_free char *uids = mem_printf("0 %u 1", (unsigned)getuid());
    cleanup_free char *gids = mem_printf("0 %u 1", (unsigned)getgid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS) == 0 &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", uids) &&
           write_text("/proc/self/gid_map", gids) &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* What commands need, and ports: the host's, at the same places. */
static bool bind_system(const char *root)
{
    static const char *const dirs[] = {"usr", "dev"};
    static const char *const links[] = {"bin", "lib", "lib64"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        cleanup_free char *from = mem_printf("/%s", dirs[i]);
        cleanup_free char *to = mem_printf("%s/%s", root, dirs[i]);
        (void)mkdir(to, 0755);
        if (mount(from, to, NULL, MS_BIND | MS_REC, NULL) < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        cleanup_free char *to = mem_printf("usr/%s", links[i]);
        cleanup_free char *at = mem_printf("%s/%s", root, links[i]);
        if (symlink(to, at) < 0 && errno != EEXIST) {
            return false;
        }
    }
    return true;
}

/* `port`: its argument, NULL: none; then `end` is its standard input and output. */
static void start_helper(struct fixture *f, int end, const char *port, bool has_system)
{
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        bool is_in =
            enter_namespaces() && (!has_system || bind_system(f->root)) && chroot(f->root) == 0;
        if (is_in && chdir("/") == 0 && dup2(end, 0) == 0 && dup2(end, 1) == 1) {
            char name[] = "vmctl-identity";
            char *argv[] = {name, (char *)(uintptr_t)port, NULL}, *environment[] = {NULL};
            fexecve(f->helper_fd, argv, environment);
        }
        _exit(99);
    }
}

static void open_pipe(struct fixture *f, bool has_system)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    start_helper(f, ends[1], NULL, has_system);
    close(ends[1]);
    f->records = f->answers = ends[0];
}

static bool has_namespaces(void)
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(!enter_namespaces());
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* ---- its stream ---- */

static void give(struct fixture *f, const char *bytes, size_t n, size_t chunk)
{
    for (size_t at = 0; at < n; at += chunk) {
        size_t length = n - at < chunk ? n - at : chunk;
        if (send(f->records, bytes + at, length, MSG_NOSIGNAL) < 0 &&
            write(f->records, bytes + at, length) < 0) {
            return; /* it has ended already */
        }
    }
}

/* Until its answers end with `last`; or, with NULL, until it has ended. free() it. */
static char *take(struct fixture *f, const char *last)
{
    struct buf text = BUF_INIT(0);
    for (;;) {
        char bytes[256];
        struct pollfd polled = {.fd = f->answers, .events = POLLIN};
        assert_int_equal(poll(&polled, 1, PATIENCE_MS), 1);
        ssize_t n = read(f->answers, bytes, sizeof(bytes));
        if (n <= 0) {
            return buf_steal(&text);
        }
        buf_add(&text, bytes, (size_t)n);
        size_t length = last ? strlen(last) : 0;
        if (last && text.len >= length && strcmp(buf_str(&text) + text.len - length, last) == 0) {
            return buf_steal(&text);
        }
    }
}

static int status_of_end(struct fixture *f)
{
    int status = -1;
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    close(f->records);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* A whole stream, in pieces of `chunk` bytes. Its status. */
static int play(struct fixture *f, const char *bytes, size_t n, size_t chunk, char **ret_answers)
{
    open_pipe(f, true);
    give(f, bytes, n, chunk);
    assert_int_equal(shutdown(f->records, SHUT_WR), 0);
    *ret_answers = take(f, NULL);
    return status_of_end(f);
}

static void expect(struct fixture *f, const char *records, const char *answers, int status)
{
    cleanup_free char *answered = NULL;
    int ended = play(f, records, strlen(records), 4096, &answered);
    if (strcmp(answered, answers) != 0 || ended != status) {
        fail_msg("'%.60s': status %d, '%s'", records, ended, answered);
    }
}

static void expect_file(struct fixture *f, const char *name, const char *content, mode_t mode)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = fs_join(f->root, name);
    cleanup_buf struct buf text = BUF_INIT(65536);
    struct stat st;
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    assert_string_equal(buf_str(&text), content);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

static bool is_there(struct fixture *f, const char *name)
{
    cleanup_free char *path = fs_join(f->root, name);
    return fs_exists(path);
}

/* ---- what it does ---- */

static const char all_of_it[] = "H clone-7\n"
                                "F 444 5 /etc/machine-id\nabcd\n"
                                "F 600 9 /etc/key with spaces\none\n.\nH x"
                                "X uname -n >/name; cat >>/name\n"
                                "S\n"
                                ".\n";

static void a_guest_gets_its_names_and_its_files(void **state)
{
    struct fixture *f = *state;
    static const size_t chunks[] = {4096, 1, 3};
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        cleanup_free char *answers = NULL;
        assert_int_equal(play(f, all_of_it, sizeof(all_of_it) - 1, chunks[i], &answers), 0);
        assert_string_equal(answers, "ready\nsync\nok 0\n");
        expect_file(f, "etc/machine-id", "abcd\n", 0444);
        expect_file(f, "etc/key with spaces", "one\n.\nH x", 0600);
        expect_file(f, "name", "clone-7\n", 0644); /* and the command had no stream to read */
        assert_false(is_there(f, "etc/machine-id~"));
    }
}

static void a_large_file_arrives_whole(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 50000 };
    struct buf stream = BUF_INIT(0);
    cleanup_free char *content = mem_calloc(SIZE + 1, 1);
    for (size_t i = 0; i < SIZE; i++) {
        content[i] = (char)('\n' + i % 100);
    }
    buf_printf(&stream, "F 640 %d /etc/large\n%s.\n", SIZE, content);
    cleanup_free char *bytes = buf_steal(&stream), *answers = NULL;
    assert_int_equal(play(f, bytes, strlen(bytes), 1000, &answers), 0);
    expect_file(f, "etc/large", content, 0640);
}

static void what_failed_is_counted_and_the_rest_is_done(void **state)
{
    struct fixture *f = *state;
    expect(f, "F 600 3 /etc/id\nold.\n", "ready\nok 0\n", 0);
    expect(f,
        "F 600 4 /missing/id\n.\n.\n" /* its bytes are no records */
        "X false\nX no-such-command\nX kill -9 $$\n"
        "F 600 3 /etc/id\nnew.\n",
        "ready\nok 4\n", 1);
    expect_file(f, "etc/id", "new", 0600);
    /* The clock and the random numbers are the host's: not for the root of a namespace to set. */
    expect(f,
        "T 1700000000 5\nE "
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0011223344"
        "5566778899aabbccddeeff00112233445566778899aabbccddeeff\nA 5\nB 5000000007\n.\n",
        "ready\nok 4\n", 1);
}

static void a_stream_that_cannot_be_read_ends_it(void **state)
{
    struct fixture *f = *state;
    static const char *const streams[] = {"", ".", "\n", "Q\n", "S now\n", ". \n", "X\n", "T 1\n",
        "C 1\n", "A\n", "A -1\n", "B x\n", "B 1 2\n", "T x 1\n", "T 1 x\n", "T 1 2 3\n",
        "T 99999999999999999999 1\n", "E 00\n", "E \n", "H \n",
        "H 0123456789012345678901234567890123456789012345678901234567890123456789\n",
        "F 600 5 relative\nhello.\n", "F 900 5 /etc/new\nhello.\n", "F 600 x /etc/new\nhello.\n",
        "F 600 -1 /etc/new\n.\n", "F 600 99 /etc/new\nshort", "F 600\n.\n", " \n"};
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        expect(f, streams[i], "ready\nbad\n", STATUS_BAD);
        assert_false(is_there(f, "etc/new"));
        assert_false(is_there(f, "etc/new~"));
    }
    cleanup_free char *line = mem_calloc(5001, 1);
    memset(line, 'H', 5000);
    expect(f, line, "ready\nbad\n", STATUS_BAD);
}

static void it_says_what_its_clock_shows(void **state)
{
    struct fixture *f = *state;
    struct timespec before, after;
    long long seconds = 0, nanoseconds = 0;
    cleanup_free char *answers = NULL;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &before), 0);
    assert_int_equal(play(f, "C\n.\n", 4, 4, &answers), 0);
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &after), 0);
    assert_int_equal(sscanf(answers, "ready\nclock %lld %lld\nok 0\n", &seconds, &nanoseconds), 2);
    long long guest_ns = seconds * 1000000000 + nanoseconds;
    assert_true(guest_ns >= before.tv_sec * 1000000000LL + before.tv_nsec &&
                guest_ns <= after.tv_sec * 1000000000LL + after.tv_nsec);
}

static void it_waits_where_it_is_asked_to(void **state)
{
    struct fixture *f = *state;
    open_pipe(f, true);
    give(f, "H one\nS\n", 8, 8);
    cleanup_free char *first = take(f, "sync\n");
    assert_string_equal(first, "ready\nsync\n");
    give(f, "X true\n.\n", 9, 9);
    cleanup_free char *second = take(f, NULL);
    assert_string_equal(second, "ok 0\n");
    assert_int_equal(status_of_end(f), 0);
}

/* No byte of a file means anything to the port. */
static void on_a_port_it_takes_bytes_as_they_are(void **state)
{
    struct fixture *f = *state;
    static const char content[] = "\x01\x03\x04\r\n\x11\x13\x1a\x7f\xff";
    int port = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(port >= 0 && grantpt(port) == 0 && unlockpt(port) == 0);
    start_helper(f, open("/dev/null", O_RDWR | O_CLOEXEC), ptsname(port), true);
    f->records = f->answers = port;
    cleanup_free char *ready = take(f, "ready\n");
    assert_string_equal(ready, "ready\n");
    cleanup_free char *records =
        mem_printf("F 600 %zu /etc/bytes\n%s.\n", strlen(content), content);
    give(f, records, strlen(records), 4096);
    cleanup_free char *answer = take(f, "ok 0\n");
    assert_string_equal(answer, "ok 0\n");
    assert_int_equal(status_of_end(f), 0);
    expect_file(f, "etc/bytes", content, 0600);
}

static void a_port_that_is_not_there_ends_it(void **state)
{
    struct fixture *f = *state;
    start_helper(f, open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/no-such-port", false);
    f->records = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(status_of_end(f), STATUS_BAD);
}

/* Streams with an error at random, in a root where nothing can be started or damaged. */
static void no_stream_makes_it_crash(void **state)
{
    struct fixture *f = *state;
    static const char seed[] = "T 1700000000 5\nH a\nF 600 20 /etc/a\n01234567890123456789S\n"
                               "E 0011\nF 644 0 /etc/b\nF 7777 3 /etc/c\nabc.\n";
    unsigned rng = 1;
    for (int round = 0; round < 150; round++) {
        char stream[sizeof(seed)];
        memcpy(stream, seed, sizeof(seed));
        for (int i = 0; i < 1 + round % 4; i++) {
            rng = rng * 1103515245 + 12345;
            stream[(rng >> 8) % (sizeof(seed) - 1)] = (char)(rng >> 24);
        }
        open_pipe(f, false);
        give(f, stream, sizeof(seed) - 1, 1 + rng % 64);
        (void)shutdown(f->records, SHUT_WR);
        cleanup_free char *answers = take(f, NULL);
        assert_in_range(status_of_end(f), 0, STATUS_BAD);
    }
}

/* ---- the tests ---- */

static int set_up(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct fixture *f = mem_new(struct fixture);
    *f = (struct fixture){.root = "/tmp/vmctl-identity-XXXXXX"};
    f->helper_fd = open(VMCTL_BINARY_DIR "/bin/vmctl-identity", O_PATH | O_CLOEXEC);
    if (f->helper_fd < 0 || !mkdtemp(f->root)) {
        return -1;
    }
    cleanup_free char *etc = fs_join(f->root, "etc");
    *state = f;
    return fs_make_dirs(etc, 0755, &err);
}

static int tear_down(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct fixture *f = *state;
    int rc = fs_remove_tree(f->root, &err);
    close(f->helper_fd);
    free(f);
    return rc;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (access(VMCTL_BINARY_DIR "/bin/vmctl-identity", X_OK) < 0 || !has_namespaces()) {
        fprintf(stderr, "needs x86 and user namespaces: skipped\n");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN); /* a helper may end before it read its stream: give() */
    const struct CMUnitTest tests[] = {
        TEST(a_guest_gets_its_names_and_its_files),
        TEST(a_large_file_arrives_whole),
        TEST(what_failed_is_counted_and_the_rest_is_done),
        TEST(a_stream_that_cannot_be_read_ends_it),
        TEST(it_says_what_its_clock_shows),
        TEST(it_waits_where_it_is_asked_to),
        TEST(on_a_port_it_takes_bytes_as_they_are),
        TEST(a_port_that_is_not_there_ends_it),
        TEST(no_stream_makes_it_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
