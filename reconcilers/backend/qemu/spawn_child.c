/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"

/* Above every number that is given out below: descriptors are first moved up here, so that none is
 * overwritten before it is in its place. */
enum { GO_FD = QEMU_FD_END_, PARKING = GO_FD + 1 };

enum { EXIT_SETUP = 126, EXIT_EXEC = 127 }; /* as shells use them */

static void say(const char *text)
{
    ssize_t n = write(STDERR_FILENO, text, strlen(text)); /* stderr is qemu.log: no one to tell */
    (void)n;
}

static _Noreturn void die(int status, const char *what)
{
    const char *why = strerrordesc_np(errno); /* async-signal-safe, strerror() is not */
    say(what);
    say(": ");
    say(why ? why : "unknown error");
    say("\n");
    _exit(status);
}

static int park(int fd)
{
    int parked = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, PARKING) : -1;
    if (fd >= 0 && parked < 0) {
        die(EXIT_SETUP, "cannot set up QEMU's descriptors");
    }
    return parked;
}

static void place(int parked, int number)
{
    if (parked < 0) {
        close(number);
    } else if (dup2(parked, number) < 0) { /* the copy stays open across exec */
        die(EXIT_SETUP, "cannot set up QEMU's descriptors");
    }
}

/*
 * Closes all others for good, not only at exec: while this child waits, a copy of another child's
 * go-socket or of the controller's lock would keep that one alive.
 */
static void arrange_descriptors(const struct child_plan *plan)
{
    int parked[ARRAY_LEN(plan->fds)];
    int log_fd = park(plan->log_fd);
    int start_pipe = park(plan->start_pipe);
    int null_fd = park(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (size_t i = 0; i < ARRAY_LEN(parked); i++) {
        parked[i] = park(plan->fds[i]);
    }
    place(null_fd, STDIN_FILENO);
    place(log_fd, STDOUT_FILENO);
    place(log_fd, STDERR_FILENO);
    for (size_t i = 0; i < ARRAY_LEN(parked); i++) {
        place(parked[i], QEMU_FD_LOCK + (int)i);
    }
    place(start_pipe, GO_FD);
    if (fcntl(GO_FD, F_SETFD, FD_CLOEXEC) < 0 || close_range(PARKING, ~0U, 0) < 0) {
        die(EXIT_SETUP, "cannot close the controller's descriptors");
    }
}

static void wait_for_word(void)
{
    char word = 0;
    ssize_t n;
    do {
        n = read(GO_FD, &word, 1);
    } while (n < 0 && errno == EINTR);
    if (n != 1) {
        _exit(0); /* the controller ended or changed its mind: no trace of this start remains */
    }
}

void spawn_child_run(const struct child_plan *plan)
{
    arrange_descriptors(plan);
    (void)setsid(); /* SIGHUP of a closed terminal would end QEMU */
    (void)umask(077);
    if (chdir("/") < 0) {
        die(EXIT_SETUP, "cannot change to the root directory");
    }
    wait_for_word();
    execv(plan->argv[0], plan->argv);
    die(EXIT_EXEC, plan->argv[0]);
}
