/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/import/qmp_stop.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"

enum { GREETING_MS = 5000, QUIT_MS = 10 * 1000 };

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

enum heard { HEARD_BYTES, HEARD_END, HEARD_NOTHING };

/* Replies and events are of no interest, only that there are some, and that they end. */
static enum heard listen_until(int fd, int64_t deadline_ms)
{
    char ignored[4096];
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    int64_t left_ms = deadline_ms - now_ms();
    if (left_ms <= 0 || poll(&readable, 1, (int)left_ms) <= 0) {
        return HEARD_NOTHING;
    }
    ssize_t n = read(fd, ignored, sizeof(ignored));
    bool is_later = n < 0 && (errno == EAGAIN || errno == EINTR);
    return n > 0 || is_later ? HEARD_BYTES : HEARD_END;
}

static bool ends_until(int fd, int64_t deadline_ms)
{
    while (now_ms() < deadline_ms) {
        if (listen_until(fd, deadline_ms) == HEARD_END) {
            return true;
        }
    }
    return false;
}

/* One that cannot be sent is to a QEMU that is going, which is heard next. */
static void report(int fd, const char *commands)
{
    (void)!send(fd, commands, strlen(commands), MSG_NOSIGNAL);
}

int qmp_stop(const char *socket_path, int64_t grace_ms, struct error *err)
{
    cleanup_close int fd = -1;
    if (fs_connect_unix(socket_path, &fd, err) < 0) {
        err->code = ERR_QMP_CONNECT;
        return -ERR_QMP_CONNECT;
    }
    if (listen_until(fd, now_ms() + GREETING_MS) == HEARD_NOTHING) {
        return error_set(err, ERR_QMP_CONNECT, "QEMU does not answer on '%s'", socket_path);
    }
    report(fd, "{\"execute\":\"qmp_capabilities\"}\n"
             "{\"execute\":\"cont\"}\n"
             "{\"execute\":\"system_powerdown\"}\n");
    if (ends_until(fd, now_ms() + grace_ms)) {
        return 0;
    }
    report(fd, "{\"execute\":\"quit\"}\n");
    if (ends_until(fd, now_ms() + QUIT_MS)) {
        return 0;
    }
    return error_set(err, ERR_TIMEOUT, "QEMU behind '%s' did not end", socket_path);
}
