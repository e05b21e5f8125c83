/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/agent_watch.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/agent.h"
#include "reconcilers/backend/qemu/agent_address.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    ASK_MS = 5000,
    /* Between two questions: one that opens and closes its port all the time is not asked more
     * often than this. */
    PAUSE_FIRST_MS = 1000,
    PAUSE_MAX_MS = 60000,
    VERSION_MAX = 40,
    ADDRESS_PAUSE_MS = 2000,
};

struct order {
    struct agent_watch *watch;
    struct agent *agent; /* NULL: not under way */
};

struct agent_watch {
    struct loop *loop;
    char *vm_name;
    char *path;
    void (*changed)(void *context);
    void *context;
    bool is_open;
    bool was_asked; /* since it opened */
    char *version;
    struct agent *asking; /* NULL: not under way */
    struct loop_timer *timer;
    int64_t pause_ms; /* before the next question */
    int64_t asked_ms; /* the last one; 0: none */
    struct order orders[AGENT_ORDERS_];
    char *mac; /* whose address is wanted; NULL: none is */
    char address[INET6_ADDRSTRLEN];
    struct agent *finding; /* NULL: not under way */
    struct loop_timer *address_timer;
};

static void set_version(struct agent_watch *watch, char *version_take)
{
    bool is_same = text_eq(watch->version, version_take);
    free(watch->version);
    watch->version = version_take;
    if (!is_same) {
        log_debug("agent", "%s: %s", watch->vm_name, version_take ? version_take : "gone");
        watch->changed(watch->context);
    }
}

static void stop_asking(struct agent_watch *watch)
{
    agent_free(TAKE_PTR(watch->asking));
}

/* ---- the address ---- */

static void stop_finding(struct agent_watch *watch)
{
    loop_timer_stop(watch->address_timer);
    agent_free(TAKE_PTR(watch->finding));
}

static void interfaces_arrived(void *context, const json_t *value, const struct error *err)
{
    struct agent_watch *watch = context;
    char found[INET6_ADDRSTRLEN] = "";
    stop_finding(watch);
    bool is_new =
        !err && agent_find_address(value, watch->mac, found) && strcmp(found, watch->address) != 0;
    loop_timer_start(watch->address_timer, ADDRESS_PAUSE_MS);
    if (is_new) {
        memcpy(watch->address, found, sizeof(found));
        watch->changed(watch->context);
    }
}

static void ask_address(void *context)
{
    struct agent_watch *watch = context;
    stop_finding(watch);
    watch->finding = agent_new(watch->loop, watch->path);
    agent_call(
        watch->finding, "guest-network-get-interfaces", NULL, ASK_MS, interfaces_arrived, watch);
}

static void find_or_stop(struct agent_watch *watch)
{
    if (!watch->mac || !watch->version) {
        stop_finding(watch);
    } else if (!watch->finding) {
        loop_timer_start(watch->address_timer, 0);
    }
}

void agent_watch_find_address(struct agent_watch *watch, const char *mac)
{
    if (watch && !text_eq(watch->mac, mac)) {
        free(watch->mac);
        watch->mac = mem_strdup(mac);
        find_or_stop(watch);
    }
}

const char *agent_watch_address(const struct agent_watch *watch)
{
    return watch && watch->mac && watch->address[0] ? watch->address : NULL;
}

/* ---- orders ---- */

static void order_done(void *context, const json_t *value, const struct error *err)
{
    struct order *order = context;
    (void)value;
    if (err) {
        log_debug("agent", "%s: %s", order->watch->vm_name, err->message);
    }
    agent_free(TAKE_PTR(order->agent));
}

/* Of a shutdown only a refusal is answered. */
void agent_watch_order(struct agent_watch *watch, enum agent_order order)
{
    static const char *const commands[] = {
        [AGENT_ORDER_THAW] = "guest-fsfreeze-thaw", [AGENT_ORDER_SHUTDOWN] = "guest-shutdown"};
    struct order *sent = watch && watch->version ? &watch->orders[order] : NULL;
    if (sent && !sent->agent) {
        sent->agent = agent_new(watch->loop, watch->path);
        agent_call(sent->agent, commands[order], NULL, ASK_MS, order_done, sent);
    }
}

/* ---- the version ---- */

static void ask_later(struct agent_watch *watch)
{
    int64_t due_ms = watch->asked_ms ? watch->asked_ms + watch->pause_ms : 0;
    int64_t left_ms = due_ms - loop_now_ms(watch->loop);
    loop_timer_start(watch->timer, left_ms > 0 ? left_ms : 0);
}

static void info_arrived(void *context, const json_t *value, const struct error *err)
{
    struct agent_watch *watch = context;
    const char *version = json_text(value, "version");
    bool was_asked = watch->was_asked;
    watch->was_asked = true;
    stop_asking(watch);
    if (err) {
        log_debug("agent", "%s: %s", watch->vm_name, err->message);
        watch->pause_ms = watch->pause_ms < PAUSE_MAX_MS / 2 ? watch->pause_ms * 2 : PAUSE_MAX_MS;
        ask_later(watch);
        set_version(watch, NULL);
        if (!was_asked) {
            watch->changed(watch->context);
        }
        return;
    }
    bool is_fit = version && strlen(version) <= VERSION_MAX && text_is_visible(version);
    watch->pause_ms = PAUSE_FIRST_MS;
    set_version(watch, mem_strdup(is_fit ? version : "unknown"));
    find_or_stop(watch);
}

static void ask_version(void *context)
{
    struct agent_watch *watch = context;
    stop_asking(watch);
    watch->asked_ms = loop_now_ms(watch->loop);
    watch->asking = agent_new(watch->loop, watch->path);
    agent_call(watch->asking, "guest-info", NULL, ASK_MS, info_arrived, watch);
}

struct agent_watch *agent_watch_new(struct loop *loop, const char *vm_name, const char *socket_path,
    void (*changed)(void *context), void *context)
{
    struct agent_watch *watch = mem_new(struct agent_watch);
    *watch = (struct agent_watch){.loop = loop,
        .vm_name = mem_strdup(vm_name),
        .path = mem_strdup(socket_path),
        .changed = changed,
        .context = context,
        .pause_ms = PAUSE_FIRST_MS};
    watch->timer = loop_timer_new(loop, ask_version, watch);
    watch->address_timer = loop_timer_new(loop, ask_address, watch);
    for (size_t i = 0; i < AGENT_ORDERS_; i++) {
        watch->orders[i].watch = watch;
    }
    return watch;
}

void agent_watch_free(struct agent_watch *watch)
{
    if (watch) {
        stop_asking(watch);
        stop_finding(watch);
        for (size_t i = 0; i < AGENT_ORDERS_; i++) {
            agent_free(watch->orders[i].agent);
        }
        loop_timer_free(watch->timer);
        loop_timer_free(watch->address_timer);
        free(watch->mac);
        free(watch->version);
        free(watch->vm_name);
        free(watch->path);
        free(watch);
    }
}

void agent_watch_note(struct agent_watch *watch, bool is_open)
{
    if (!watch || watch->is_open == is_open) {
        return;
    }
    watch->is_open = is_open;
    watch->was_asked = false;
    if (is_open) {
        ask_later(watch);
    } else {
        loop_timer_stop(watch->timer);
        stop_asking(watch);
        set_version(watch, NULL);
        find_or_stop(watch);
    }
}

void agent_watch_doubt(struct agent_watch *watch)
{
    if (watch && watch->is_open && !watch->asking) {
        ask_later(watch);
    }
}

const char *agent_watch_version(const struct agent_watch *watch)
{
    return watch ? watch->version : NULL;
}

bool agent_watch_is_asking(const struct agent_watch *watch)
{
    return watch && watch->is_open && !watch->was_asked;
}
