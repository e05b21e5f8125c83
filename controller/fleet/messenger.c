/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/messenger.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/fleet/parts.h"
#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "store/store.h"

enum { RETRY_FIRST_MS = 200, RETRY_MAX_MS = 5000, JITTER_MS = 3000, LOOK_PAUSE_MS = 250 };

struct messenger {
    struct member member; /* what the parts are given */
    struct link_state *link;
    struct registration *registration;
    struct executor *executor;
    struct publisher *publisher;
    struct requests *requests;
    struct moves *moves;
    struct republisher *republisher;
    struct intake *intake;
    struct loop_timer *retry, *look;
    struct read_all *read;
    struct op *watch;
    int64_t retry_ms;
    int64_t looked_ms;
    bool is_look_due;
    uint64_t rng;
};

static uint32_t messenger_random(struct messenger *messenger)
{
    messenger->rng = messenger->rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(messenger->rng >> 33);
}

/* ---- looking ---- */

static void look_now(void *context)
{
    struct messenger *messenger = context;
    messenger->is_look_due = false;
    messenger->looked_ms = loop_now_ms(messenger->member.loop);
    if (messenger->member.is_up) {
        executor_look(messenger->executor);
        intake_look(messenger->intake);
        publisher_look(messenger->publisher);
    }
    requests_look(messenger->requests);
    moves_look(messenger->moves);
    republisher_look(messenger->republisher);
}

/* Many bells in a row are one look. */
static void look_soon(struct messenger *messenger)
{
    int64_t wait_ms = messenger->looked_ms + LOOK_PAUSE_MS - loop_now_ms(messenger->member.loop);
    if (!messenger->is_look_due) {
        messenger->is_look_due = true;
        loop_timer_start(messenger->look, wait_ms > 0 ? wait_ms : 0);
    }
}

void messenger_ring(struct messenger *messenger)
{
    look_soon(messenger);
}

/* ---- from the beginning ---- */

static void stop_all(struct messenger *messenger)
{
    read_all_free(TAKE_PTR(messenger->read));
    op_cancel(TAKE_PTR(messenger->watch));
    registration_stop(messenger->registration);
    messenger->member.is_up = false;
}

static void begin_again(struct messenger *messenger)
{
    int64_t delay_ms = messenger->retry_ms ? messenger->retry_ms : RETRY_FIRST_MS;
    stop_all(messenger);
    messenger->retry_ms = delay_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : delay_ms * 2;
    delay_ms += messenger_random(messenger) % (delay_ms < JITTER_MS ? delay_ms : JITTER_MS);
    loop_timer_start(messenger->retry, delay_ms);
    look_soon(messenger); /* requests are answered: there is no fleet */
}

static void note_trouble(struct messenger *messenger, const struct error *err)
{
    struct member *member = &messenger->member;
    member->trouble_ms =
        member->trouble.code == ERR_NONE ? loop_now_ms(member->loop) : member->trouble_ms;
    member->trouble = *err;
}

static void lose(struct messenger *messenger, const struct error *err)
{
    note_trouble(messenger, err);
    link_state_down(messenger->link, err);
    begin_again(messenger);
}

static void freeze(struct messenger *messenger, const struct error *err)
{
    note_trouble(messenger, err);
    link_state_frozen(messenger->link, err);
    begin_again(messenger);
}

static void on_look(void *context, bool is_wrong)
{
    struct messenger *messenger = context;
    if (is_wrong && messenger->member.is_up) {
        begin_again(messenger);
    } else {
        look_soon(messenger);
    }
}

/* ---- the watch ---- */

static void on_events(void *context, const struct engine_event *events, size_t n, int64_t revision)
{
    struct messenger *messenger = context;
    struct error err = {.code = ERR_NONE};
    int64_t now_ms = clock_wall_ms(loop_clock(messenger->member.loop));
    link_state_heard(messenger->link, revision);
    if (n == 0) {
        registration_beat(messenger->registration);
        return;
    }
    if (mirror_update(messenger->member.mirror, events, n, now_ms, &err) < 0) {
        log_warn("fleet", "cannot store the records of other nodes: %s", err.message);
        begin_again(messenger);
    } else if (messenger->member.is_up && !registration_holds(messenger->registration)) {
        begin_again(messenger); /* a leader that was stuck ended the lease */
    } else {
        look_soon(messenger);
    }
}

static void on_watch_end(void *context, const struct error *err)
{
    struct messenger *messenger = context;
    messenger->watch = NULL;
    lose(messenger, err);
}

static void on_registered(void *context, const struct error *err)
{
    struct messenger *messenger = context;
    if (err && err->code == ERR_FLEET_FROZEN) {
        freeze(messenger, err);
    } else if (err) {
        lose(messenger, err);
    } else {
        messenger->member.is_up = true;
        error_clear(&messenger->member.trouble);
        messenger->retry_ms = 0;
        link_state_up(messenger->link);
        look_soon(messenger);
    }
}

/* ---- the first look ---- */

static void on_read(void *context, const struct engine_rows *rows, const struct error *err)
{
    struct messenger *messenger = context;
    struct member *member = &messenger->member;
    struct error fault = {.code = ERR_NONE};
    if (err) {
        lose(messenger, err);
        return;
    }
    if (link_state_check(messenger->link, rows, &fault) < 0) {
        freeze(messenger, &fault);
        return;
    }
    int64_t now_ms = clock_wall_ms(loop_clock(member->loop));
    if (mirror_replace(member->mirror, rows, now_ms, &fault) < 0) {
        log_warn("fleet", "cannot store the records of other nodes: %s", fault.message);
        begin_again(messenger);
        return;
    }
    const char *const prefixes[] = {member->prefix};
    /* From the revision that was read, whose events are known, not from the next: if that is a
     * deletion and is compacted meanwhile, etcd before 3.4.36 and 3.5.18 forgets it without ending
     * the watch (etcd#19179). A watch of an earlier revision is ended, and all is read again. */
    const struct engine_watch watch = {
        .prefixes = prefixes, .n_prefixes = 1, .revision = rows->revision};
    link_state_heard(messenger->link, rows->revision);
    read_all_free(TAKE_PTR(messenger->read));
    messenger->watch =
        member->engine->ops->watch(member->engine, &watch, on_events, on_watch_end, messenger);
    registration_start(messenger->registration);
}

static void read_rows(void *context)
{
    struct messenger *messenger = context;
    struct member *member = &messenger->member;
    messenger->read = read_all_start(member, on_read, messenger);
}

/* ---- the whole ---- */

struct messenger *messenger_new(const struct messenger_options *options)
{
    struct messenger *messenger = mem_new(struct messenger);
    struct member *member = &messenger->member;
    *member = (struct member){.loop = options->loop,
        .store = options->store,
        .paths = options->paths,
        .engine = options->engine,
        .config = options->config,
        .prefix = fleet_prefix(options->config->fleet),
        .refused = json_object(),
        .look = on_look,
        .context = messenger};
    digest_random_id(member->session);
    member->mirror = mirror_new(options->store, member->prefix);
    messenger->rng = options->seed;
    messenger->looked_ms = -LOOK_PAUSE_MS;
    messenger->link = link_state_new(member);
    messenger->registration = registration_new(member, on_registered, messenger);
    messenger->executor = executor_new(member);
    messenger->publisher = publisher_new(member);
    messenger->requests = requests_new(member);
    messenger->moves = moves_new(member);
    messenger->republisher = republisher_new(member);
    messenger->intake = intake_new(member, options->fetch);
    messenger->retry = loop_timer_new(options->loop, read_rows, messenger);
    messenger->look = loop_timer_new(options->loop, look_now, messenger);
    loop_timer_start(messenger->retry, 0);
    return messenger;
}

void messenger_free(struct messenger *messenger)
{
    if (!messenger) {
        return;
    }
    stop_all(messenger);
    intake_free(messenger->intake);
    moves_free(messenger->moves);
    republisher_free(messenger->republisher);
    requests_free(messenger->requests);
    publisher_free(messenger->publisher);
    executor_free(messenger->executor);
    registration_free(messenger->registration);
    link_state_free(messenger->link);
    loop_timer_free(messenger->retry);
    loop_timer_free(messenger->look);
    mirror_free(messenger->member.mirror);
    free(messenger->member.prefix);
    json_decref(messenger->member.refused);
    free(messenger);
}
