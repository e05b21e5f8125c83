/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/wait_loop.h"

#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/compat.h"

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

void wait_loop_open(struct wait_loop *loop, int64_t timeout_ms)
{
    wakeup_open(&loop->wakeup, &loop->cli->paths);
    loop->wakeup.feeds_reader = !loop->ignores_reader;
    loop->ensured_ms = now_ms();
    loop->deadline_ms =
        timeout_ms < INT64_MAX - loop->ensured_ms ? loop->ensured_ms + timeout_ms : INT64_MAX;
    loop->watched_pid = 0;
}

void wait_loop_close(struct wait_loop *loop)
{
    wakeup_close(&loop->wakeup);
}

int64_t wait_loop_left_ms(const struct wait_loop *loop)
{
    int64_t left_ms = loop->deadline_ms - now_ms();
    return left_ms > 0 ? left_ms : 0;
}

/* A controller that is killed rings no bell: the wakeup watches its process. */
static int find_controller(struct wait_loop *loop, struct error *err)
{
    int rc = controller_find(loop->cli, &loop->controller, err);
    pid_t pid = loop->controller.pid;
    if (rc == 0 && pid != loop->watched_pid) {
        cleanup_close_(&loop->wakeup.process_fd);
        loop->wakeup.process_fd = pid > 0 ? pidfd_open(pid, 0) : -1;
        loop->watched_pid = pid;
    }
    return rc;
}

static int ensure_controller(struct wait_loop *loop, struct error *err)
{
    bool serves = loop->controller.state == CONTROLLER_SERVES;
    if (serves && now_ms() - loop->ensured_ms < WAKEUP_MAX_MS) {
        return 0;
    }
    loop->ensured_ms = now_ms();
    return cli_start_controller(loop->cli, err);
}

static int sleep_until_wakeup(struct wait_loop *loop)
{
    const int64_t limits[] = {
        wait_loop_left_ms(loop),
        loop->sleep_max_ms > 0 ? loop->sleep_max_ms : WAKEUP_MAX_MS,
        loop->needs_controller ? controller_requeue_after_ms(&loop->controller) : WAKEUP_MAX_MS,
    };
    int64_t shortest_ms = WAKEUP_MAX_MS;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        shortest_ms = limits[i] < shortest_ms ? limits[i] : shortest_ms;
    }
    return wakeup_wait(&loop->wakeup, shortest_ms);
}

int wait_loop_run(struct wait_loop *loop, struct error *err)
{
    for (;;) {
        bool is_done = false;
        int rc = loop->needs_controller ? find_controller(loop, err) : 0;
        loop->sleep_max_ms = 0;
        if (rc == 0) {
            rc = loop->check(loop->context, &is_done, err);
        }
        if (rc != 0 || is_done) {
            return rc;
        }
        if (wait_loop_left_ms(loop) == 0) {
            return loop->time_out(loop->context, err);
        }
        int number = sleep_until_wakeup(loop);
        if (number > 0) {
            if (loop->interrupted) {
                loop->interrupted(loop->context);
            } else {
                wakeup_end_line(number);
            }
            return wakeup_exit_status(number);
        }
        rc = loop->needs_controller ? ensure_controller(loop, err) : 0;
        if (rc < 0) {
            return rc;
        }
    }
}
