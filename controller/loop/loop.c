/* SPDX-License-Identifier: MPL-2.0 */
/* The only file that knows libev (ev(3)). */
#include "controller/loop/loop.h"

#include <assert.h>
#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"

/* A callback that takes longer keeps every other VM waiting: that is a bug worth a line. */
enum { STALL_MS = 50 };

_Static_assert((int)LOOP_READ == (int)EV_READ && (int)LOOP_WRITE == (int)EV_WRITE,
    "interest is handed to libev as it is");

struct lingering {
    struct ev_io ev; /* first: libev hands back its address */
    struct lingering *next, **link;
    loop_last_fn *last;
};

struct loop {
    struct ev_loop *ev;
    struct ev_check turn; /* runs first in every turn */
    struct clock clock;
    int64_t now_ms;
    bool is_running, is_stopped;
    unsigned n_watchers;
    struct lingering *lingering;
};

struct loop_io {
    struct ev_io ev;
    struct loop *loop;
    loop_io_fn *fn;
    void *context;
};

struct loop_timer {
    struct ev_timer ev;
    struct loop *loop;
    loop_timer_fn *fn;
    void *context;
};

/* ---- the clock ---- */

/* Between turns (before loop_run(), after it) there is no turn to be consistent with. */
static int64_t turn_monotonic_ms(const struct clock *clock)
{
    const struct loop *loop = (const void *)((const char *)clock - offsetof(struct loop, clock));
    return loop->is_running ? loop->now_ms : clock_monotonic_ms(clock_system());
}

const struct clock *loop_clock(const struct loop *loop)
{
    return &loop->clock;
}

int64_t loop_now_ms(const struct loop *loop)
{
    return clock_monotonic_ms(&loop->clock);
}

bool loop_turn_is_long(const struct loop *loop)
{
    enum { LONG_MS = 2 };
    return loop->is_running && clock_monotonic_ms(clock_system()) - loop->now_ms >= LONG_MS;
}

/* ---- the loop ---- */

static void on_turn(struct ev_loop *ev, struct ev_check *check, int events)
{
    (void)check;
    (void)events;
    struct loop *loop = ev_userdata(ev);
    loop->now_ms = clock_monotonic_ms(clock_system());
}

int loop_new(struct loop **ret, struct error *err)
{
    /* Never the default loop: that one reaps every child of the process. */
    struct ev_loop *ev = ev_loop_new(EVFLAG_AUTO);
    if (!ev) {
        return error_set(err, ERR_IO, "cannot create an event loop: no usable backend");
    }
    struct loop *loop = mem_new(struct loop);
    loop->ev = ev;
    loop->clock = (struct clock){
        .monotonic_ms = turn_monotonic_ms,
        .wall_ms = clock_system()->wall_ms,
        .slept_ms = clock_system()->slept_ms,
        .boot_id = clock_system()->boot_id,
    };
    ev_set_userdata(ev, loop);
    ev_check_init(&loop->turn, on_turn);
    ev_set_priority(&loop->turn, EV_MAXPRI);
    ev_check_start(ev, &loop->turn);
    *ret = loop;
    return 0;
}

static void lingering_free(struct loop *loop, struct lingering *lingering)
{
    int fd = lingering->ev.fd;
    ev_io_stop(loop->ev, &lingering->ev);
    close(fd);
    *lingering->link = lingering->next;
    if (lingering->next) {
        lingering->next->link = lingering->link;
    }
    free(lingering);
}

void loop_free(struct loop *loop)
{
    if (!loop) {
        return;
    }
    assert(loop->n_watchers == 0);
    while (loop->lingering) {
        lingering_free(loop, loop->lingering);
    }
    ev_check_stop(loop->ev, &loop->turn);
    ev_loop_destroy(loop->ev);
    free(loop);
}

void loop_run(struct loop *loop)
{
    loop->now_ms = clock_monotonic_ms(clock_system());
    loop->is_running = true;
    if (!loop->is_stopped) {
        ev_run(loop->ev, 0);
    }
    loop->is_running = false;
    loop->is_stopped = false;
}

void loop_stop(struct loop *loop)
{
    loop->is_stopped = true;
    ev_break(loop->ev, EVBREAK_ALL);
}

/* ---- callbacks, timed ---- */

static void report_stall(int64_t started_ms, const char *kind, int fd)
{
    int64_t took_ms = clock_monotonic_ms(clock_system()) - started_ms;
    if (took_ms > STALL_MS) {
        log_warn("loop", "a %s callback (fd %d) held the loop for %lld ms", kind, fd,
            (long long)took_ms);
    }
}

/* The watcher may be gone once `fn` returns: stopping it has cleared libev's own references (ev(3),
 * ev_TYPE_stop), so only what was copied before the call is used after it. */
static void on_io(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    (void)ev;
    struct loop_io *io = (struct loop_io *)(void *)watcher;
    int fd = watcher->fd;
    int64_t started_ms = clock_monotonic_ms(clock_system());
    io->fn(io->context, fd, (unsigned)events & (LOOP_READ | LOOP_WRITE));
    report_stall(started_ms, "descriptor", fd);
}

static void on_timer(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    (void)ev;
    (void)events;
    struct loop_timer *timer = (struct loop_timer *)(void *)watcher;
    int64_t started_ms = clock_monotonic_ms(clock_system());
    timer->fn(timer->context);
    report_stall(started_ms, "timer", -1);
}

static void on_lingering(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    (void)events;
    struct lingering *lingering = (struct lingering *)(void *)watcher;
    lingering->last(watcher->fd);
    lingering_free(ev_userdata(ev), lingering);
}

/* ---- watchers ---- */

struct loop_io *loop_io_new(
    struct loop *loop, int fd, unsigned interest, loop_io_fn *fn, void *context)
{
    struct loop_io *io = mem_new(struct loop_io);
    io->loop = loop;
    io->fn = fn;
    io->context = context;
    ev_io_init(&io->ev, on_io, fd, 0);
    loop->n_watchers++;
    loop_io_set(io, interest);
    return io;
}

void loop_io_set(struct loop_io *io, unsigned interest)
{
    unsigned current = ev_is_active(&io->ev) ? (unsigned)io->ev.events & (EV_READ | EV_WRITE) : 0;
    if (current == interest) {
        return;
    }
    ev_io_stop(io->loop->ev, &io->ev);
    ev_io_set(&io->ev, io->ev.fd, (int)interest);
    if (interest) {
        ev_io_start(io->loop->ev, &io->ev);
    }
}

void loop_io_free(struct loop_io *io)
{
    if (io) {
        ev_io_stop(io->loop->ev, &io->ev);
        io->loop->n_watchers--;
        free(io);
    }
}

void loop_linger(struct loop *loop, int fd_take, loop_last_fn *last)
{
    struct lingering *lingering = mem_new(struct lingering);
    lingering->last = last;
    lingering->next = loop->lingering;
    lingering->link = &loop->lingering;
    if (lingering->next) {
        lingering->next->link = &lingering->next;
    }
    loop->lingering = lingering;
    ev_io_init(&lingering->ev, on_lingering, fd_take, EV_READ);
    ev_io_start(loop->ev, &lingering->ev);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *context)
{
    struct loop_timer *timer = mem_new(struct loop_timer);
    timer->loop = loop;
    timer->fn = fn;
    timer->context = context;
    ev_timer_init(&timer->ev, on_timer, 0., 0.);
    loop->n_watchers++;
    return timer;
}

/* libev counts from the start of the turn; after a long callback that is the past, and a timer
 * started there would be early (ev(3), "The special problem of time updates"). */
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms)
{
    assert(delay_ms >= 0);
    ev_timer_stop(timer->loop->ev, &timer->ev);
    ev_now_update(timer->loop->ev);
    ev_timer_set(&timer->ev, (double)delay_ms / 1000., 0.);
    ev_timer_start(timer->loop->ev, &timer->ev);
}

void loop_timer_stop(struct loop_timer *timer)
{
    ev_timer_stop(timer->loop->ev, &timer->ev);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer) {
        ev_timer_stop(timer->loop->ev, &timer->ev);
        timer->loop->n_watchers--;
        free(timer);
    }
}
