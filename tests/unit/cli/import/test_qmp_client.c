/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/import/qmp_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define DONE "{\"return\": {}}\r\n"

/* A QEMU that says what it is told to: one text on the connection and one for each line it gets. */
struct fixture {
    char dir[64];
    char *path;
    int listening;
    pthread_t thread;
    const char *const *strings; /* ends with NULL: then it closes */
    int got_fd;                 /* what came along, -1 nothing */
};

static bool read_line(struct fixture *f, int fd)
{
    char bytes[512];
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    struct msghdr message = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control)};
    if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) <= 0) {
        return false;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS) {
        memcpy(&f->got_fd, CMSG_DATA(header), sizeof(int));
    }
    return true;
}

static void *serve(void *context)
{
    struct fixture *f = context;
    struct pollfd pollfd = {.fd = f->listening, .events = POLLIN};
    cleanup_close int fd = poll(&pollfd, 1, 10000) == 1 ? accept(f->listening, NULL, NULL) : -1;
    for (size_t i = 0; fd >= 0 && f->strings[i]; i++) {
        (void)!write(fd, f->strings[i], strlen(f->strings[i]));
        if (f->strings[i + 1] && !read_line(f, fd)) {
            break;
        }
    }
    return NULL;
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {0};
    strcpy(f->dir, "/tmp/vmctl-qmp.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = fs_join(f->dir, "qmp.sock");
    f->got_fd = -1;
    assert_int_equal(fs_listen_unix(f->path, &f->listening, &err), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    close(f->listening);
    cleanup_close_(&f->got_fd);
    assert_int_equal(fs_remove_tree(f->dir, &err), 0);
    free(f->path);
    free(f);
    return 0;
}

static void say(struct fixture *f, const char *const *strings)
{
    f->strings = strings;
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
}

static void assert_ends(struct fixture *f, struct qmp_client *client)
{
    qmp_client_close(client);
    assert_int_equal(pthread_join(f->thread, NULL), 0);
}

static enum error_code open_client(struct fixture *f, struct qmp_client *client, struct error *err)
{
    (void)qmp_client_open(f->path, 5000, client, err);
    return err->code;
}

static void an_answer_is_found_between_events_and_pieces(void **state)
{
    static const char *const strings[] = {GREETING,
        "{\"event\": \"RESUME\"}\r\n" DONE "{\"event\": \"ST",
        "OP\"}\r\n{\"return\": {\"status\": \"running\"}}\r\n", NULL};
    struct fixture *f = *state;
    struct error err = {0};
    struct qmp_client client = {.fd = -1};
    cleanup_json json_t *answer = NULL;
    say(f, strings);
    assert_int_equal(open_client(f, &client, &err), ERR_NONE);
    assert_int_equal(qmp_client_peer(&client), getpid());
    assert_int_equal(qmp_client_execute(&client, "query-status", NULL, -1, &answer, &err), 0);
    assert_string_equal(json_text(answer, "status"), "running");
    assert_ends(f, &client);
}

static void a_refusal_says_of_what_and_why(void **state)
{
    static const char *const strings[] = {
        GREETING, DONE, "{\"error\": {\"class\": \"X\", \"desc\": \"not now\"}}\r\n", NULL};
    struct fixture *f = *state;
    struct error err = {0};
    struct qmp_client client = {.fd = -1};
    say(f, strings);
    assert_int_equal(open_client(f, &client, &err), ERR_NONE);
    assert_int_equal(qmp_client_execute(&client, "cont", NULL, -1, NULL, &err), -ERR_QMP_COMMAND);
    assert_string_equal(err.message, "QEMU refused 'cont': not now");
    assert_ends(f, &client);
}

static void a_descriptor_goes_along(void **state)
{
    static const char *const strings[] = {GREETING, DONE, DONE, NULL};
    struct fixture *f = *state;
    struct error err = {0};
    struct qmp_client client = {.fd = -1};
    struct stat sent, got;
    cleanup_close int fd = open(f->dir, O_RDONLY | O_CLOEXEC);
    say(f, strings);
    assert_int_equal(open_client(f, &client, &err), ERR_NONE);
    assert_int_equal(qmp_client_execute(&client, "getfd", NULL, fd, NULL, &err), 0);
    assert_ends(f, &client);
    assert_int_equal(fstat(fd, &sent), 0);
    assert_int_equal(fstat(f->got_fd, &got), 0);
    assert_int_equal(sent.st_ino, got.st_ino);
}

static void one_that_serves_somebody_else_is_told_after_a_while(void **state)
{
    struct fixture *f = *state; /* nobody accepts */
    struct error err = {0};
    struct qmp_client client = {.fd = -1};
    assert_int_equal(qmp_client_open(f->path, 50, &client, &err), -ERR_QMP_CONNECT);
    assert_non_null(strstr(err.message, "does not answer"));
    assert_non_null(strstr(err.help, "one client at a time"));
}

static void what_is_no_qemu_is_told(void **state)
{
    static const char *const strings[] = {"SSH-2.0-OpenSSH\r\n", NULL};
    struct fixture *f = *state;
    struct error err = {0};
    struct qmp_client client = {.fd = -1};
    say(f, strings);
    assert_int_equal(open_client(f, &client, &err), ERR_QMP_CONNECT);
    assert_non_null(strstr(err.message, "is no QEMU"));
    assert_ends(f, &client);
}

static void one_that_goes_away_is_told(void **state)
{
    static const char *const strings[] = {GREETING, NULL};
    struct fixture *f = *state;
    struct error err = {0};
    struct qmp_client client = {.fd = -1};
    say(f, strings);
    assert_int_equal(open_client(f, &client, &err), ERR_QMP_CONNECT);
    assert_ends(f, &client);
}

static void nobody_there_is_told(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct qmp_client client = {.fd = -1};
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(qmp_client_open(f->path, 5000, &client, &err), -ERR_QMP_CONNECT);
    qmp_client_close(&client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_is_found_between_events_and_pieces),
        TEST(a_refusal_says_of_what_and_why),
        TEST(a_descriptor_goes_along),
        TEST(one_that_serves_somebody_else_is_told_after_a_while),
        TEST(what_is_no_qemu_is_told),
        TEST(one_that_goes_away_is_told),
        TEST(nobody_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
