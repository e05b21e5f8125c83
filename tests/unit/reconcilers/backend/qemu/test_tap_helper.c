/* SPDX-License-Identifier: MPL-2.0 */
/*
 * This program is the helper too: started with the helper's arguments it plays the part that
 * $FAKE_HELPER names. The last test runs the real one, in namespaces of its own with a
 * bridge.conf of its own, where both are to be had.
 */
#include "reconcilers/backend/qemu/tap_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/text.h"
#include "tests/unit/reconcilers/backend/qemu/test_qemu.h"

enum { PATIENCE_MS = 30000, HELPER_FD = 3 };

#define REAL_HELPER "/usr/lib/qemu/qemu-bridge-helper"
#define HELP                                                                                       \
    "run vmctld with CAP_NET_ADMIN (as root), or: sudo apt install qemu-system-common && "         \
    "sudo chmod u+s /usr/lib/qemu/qemu-bridge-helper && sudo mkdir -p /etc/qemu && "               \
    "echo allow br7 | sudo tee -a /etc/qemu/bridge.conf"

/* ---- the part of the helper ---- */

static int send_descriptor(int fd)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = ""};
    char byte = 0;
    struct iovec payload = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &payload,
        .msg_iovlen = 1,
        .msg_control = control.space,
        .msg_controllen = sizeof(control.space)};
    control.head = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    return sendmsg(HELPER_FD, &message, 0) == 1 ? 0 : 1;
}

static int play(const char *part, char **argv)
{
    if (text_eq(part, "send")) {
        bool is_asked_well = text_eq(argv[1], "--use-vnet") && text_eq(argv[2], "--br=br7") &&
                             text_eq(argv[3], "--fd=3") && !argv[4];
        return is_asked_well ? send_descriptor(open("/dev/null", O_RDONLY)) : 1;
    }
    if (text_eq(part, "deny")) {
        fprintf(stderr, "something else\naccess denied by \x1b[31macl file\n\n");
        return 1;
    }
    if (text_eq(part, "print")) {
        puts("cannot read its configuration");
        return 1;
    }
    if (text_eq(part, "byte")) { /* a message without a descriptor */
        return send(HELPER_FD, "x", 1, 0) == 1 ? 0 : 1;
    }
    if (text_eq(part, "hang")) {
        printf("%d\n", (int)getpid());
        char byte;
        (void)send(HELPER_FD, "h", 1, 0);
        return (int)read(HELPER_FD, &byte, 1);
    }
    return 7; /* says nothing */
}

/* ---- the test's part ---- */

struct outcome {
    struct loop *loop;
    bool is_done;
    int fd;
    struct error err;
};

static void made(void *context, int fd_take, const struct error *err)
{
    struct outcome *outcome = context;
    outcome->is_done = true;
    outcome->fd = fd_take;
    outcome->err = err ? *err : (struct error){.code = ERR_NONE};
}

static bool is_done(void *context)
{
    return ((const struct outcome *)context)->is_done;
}

static int begin(void **state)
{
    struct outcome *outcome = mem_new(struct outcome);
    struct error err = {.code = ERR_NONE};
    outcome->fd = -1;
    assert_int_equal(loop_new(&outcome->loop, &err), 0);
    char self[512] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    setenv("VMCTL_BRIDGE_HELPER", self, 1);
    *state = outcome;
    return 0;
}

static int end(void **state)
{
    struct outcome *outcome = *state;
    cleanup_close_(&outcome->fd);
    loop_free(outcome->loop);
    free(outcome);
    return 0;
}

static struct op *start(struct outcome *outcome, const char *part)
{
    struct error refusal = {.code = ERR_NONE};
    setenv("FAKE_HELPER", part, 1);
    (void)error_set_errno(&refusal, ERR_QEMU_SPAWN, EPERM, "cannot create a tap device");
    struct op *op = tap_helper_start(outcome->loop, "br7", &refusal, made, outcome);
    assert_false(outcome->is_done); /* never from inside */
    return op;
}

static void run(struct outcome *outcome, const char *part)
{
    (void)start(outcome, part);
    assert_true(run_until(outcome->loop, is_done, outcome, PATIENCE_MS));
}

static void expect_refused(struct outcome *outcome, const char *why)
{
    cleanup_free char *wanted = mem_printf("no tap device for network bridge 'br7': cannot create "
                                           "a tap device: Operation not permitted; %s",
        why);
    assert_int_equal(outcome->fd, -1);
    assert_int_equal(outcome->err.code, ERR_QEMU_SPAWN);
    assert_string_equal(outcome->err.message, wanted);
    assert_string_equal(error_help_text(&outcome->err), HELP);
}

static void the_descriptor_sent_is_handed_on(void **state)
{
    struct outcome *outcome = *state;
    run(outcome, "send");
    assert_int_equal(outcome->err.code, ERR_NONE);
    struct stat got, null;
    assert_int_equal(fstat(outcome->fd, &got), 0);
    assert_int_equal(stat("/dev/null", &null), 0);
    assert_int_equal(got.st_rdev, null.st_rdev);
    assert_true(fcntl(outcome->fd, F_GETFD) & FD_CLOEXEC);
}

static void its_last_words_are_told_with_both_ways_out(void **state)
{
    run(*state, "deny");
    expect_refused(*state, "qemu-bridge-helper: access denied by \\x1b[31macl file");
}

static void its_last_words_may_come_on_its_standard_output(void **state)
{
    run(*state, "print");
    expect_refused(*state, "qemu-bridge-helper: cannot read its configuration");
}

static void one_that_says_nothing_is_told_by_its_status(void **state)
{
    run(*state, "silent");
    expect_refused(*state, "qemu-bridge-helper ended with status 7 and sent no device");
}

static void a_message_without_a_descriptor_is_none(void **state)
{
    run(*state, "byte");
    expect_refused(*state, "qemu-bridge-helper ended with status 0 and sent no device");
}

static void one_that_cannot_be_run_is_told(void **state)
{
    setenv("VMCTL_BRIDGE_HELPER", "/nonexistent/helper", 1);
    run(*state, "send");
    expect_refused(*state, "cannot run '/nonexistent/helper': No such file or directory");
}

static bool is_ended(void *context)
{
    return waitid(P_PIDFD, *(const id_t *)context, &(siginfo_t){.si_pid = 0},
               WEXITED | WNOHANG | WNOWAIT) < 0 &&
           errno == ECHILD;
}

/* Its process is the one child of this one: found by looking for it before the helper is cancelled.
 */
static void a_cancelled_one_is_killed_and_reaped(void **state)
{
    struct outcome *outcome = *state;
    struct op *op = start(outcome, "hang");
    cleanup_buf struct buf children = BUF_INIT(64);
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = mem_printf("/proc/self/task/%d/children", (int)getpid());
    assert_int_equal(fs_read_file(path, &children, &err), 0);
    cleanup_close int pidfd = pidfd_open((pid_t)strtol(buf_str(&children), NULL, 10), 0);
    assert_true(pidfd >= 0);
    op_cancel(op);
    id_t id = (id_t)pidfd;
    assert_true(run_until(outcome->loop, is_ended, &id, PATIENCE_MS));
    assert_false(outcome->is_done);
}

/* ---- the real one ---- */

static bool make_bridge(void)
{
    cleanup_close int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return control >= 0 && ioctl(control, SIOCBRADDBR, "br7") == 0;
}

/* An /etc with nothing in it but this. */
static bool allow(const char *text)
{
    struct error err = {.code = ERR_NONE};
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("vmctl-test", "/etc", "tmpfs", 0, NULL) == 0 &&
           fs_make_dirs("/etc/qemu", 0755, &err) == 0 &&
           fs_write_file("/etc/qemu/bridge.conf", text, strlen(text), 0644, &err) == 0;
}

static bool can_make_taps(void)
{
    return access(REAL_HELPER, X_OK) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0 &&
           geteuid() == 0 && unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 && make_bridge();
}

/* The last test: this process does not come back from the namespaces. */
static void the_real_helper_gives_a_port_of_an_allowed_bridge(void **state)
{
    struct outcome *outcome = *state;
    unsetenv("VMCTL_BRIDGE_HELPER");
    if (!can_make_taps() || !allow("allow br8\n")) {
        skip();
    }
    run(outcome, "");
    expect_refused(outcome, "qemu-bridge-helper: access denied by acl file");
    outcome->is_done = false;
    assert_true(allow("allow br7\n"));
    run(outcome, "");
    assert_string_equal(outcome->err.message, "");
    struct ifreq request = {0};
    assert_int_equal(ioctl(outcome->fd, TUNGETIFF, &request), 0);
    assert_true(request.ifr_flags & IFF_TAP);
    assert_true(request.ifr_flags & IFF_VNET_HDR);
    assert_int_not_equal(if_nametoindex(request.ifr_name), 0);
    close(TAKE_FD(outcome->fd));
    assert_int_equal(if_nametoindex(request.ifr_name), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
    if (argc > 1 && getenv("FAKE_HELPER")) {
        return play(getenv("FAKE_HELPER"), argv);
    }
    const struct CMUnitTest tests[] = {
        TEST(the_descriptor_sent_is_handed_on),
        TEST(its_last_words_are_told_with_both_ways_out),
        TEST(its_last_words_may_come_on_its_standard_output),
        TEST(one_that_says_nothing_is_told_by_its_status),
        TEST(a_message_without_a_descriptor_is_none),
        TEST(one_that_cannot_be_run_is_told),
        TEST(a_cancelled_one_is_killed_and_reaped),
        TEST(the_real_helper_gives_a_port_of_an_allowed_bridge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
