/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/queue/desired_watch.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "controller/queue/name_map.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/bell.h"
#include "store/store.h"

enum { POLL_MS = 1000 };

struct seen {
    char *name;
    char uid[TEXT_ID_SIZE]; /* of the desired record; "": there is none */
    uint64_t revision;
    uint64_t scan; /* the last one it was in */
};

struct desired_watch {
    struct store *store;
    desired_seen_fn *seen;
    desired_scanned_fn *scanned;
    void *context;
    struct name_map names; /* name → struct seen, owned */
    uint64_t scan, since;  /* … and what has to be asked for next: store_list_changed() */
    struct bell_watch bell;
    struct loop_io *bell_io;       /* NULL: no inotify, */
    struct loop_timer *poll_timer; /* then this */
};

/* ---- what changed ---- */

static void seen_free(struct seen *seen)
{
    free(seen->name);
    free(seen);
}

/* True when the desired record was written since the last scan, or was not in it. */
static bool take_in(struct desired_watch *watch, const struct vm_summary *now)
{
    struct seen *seen = name_map_get(&watch->names, now->name);
    bool is_new = !seen;
    if (is_new) {
        seen = mem_new(struct seen);
        seen->name = mem_strdup(now->name);
        name_map_add(&watch->names, seen->name, seen);
    }
    bool is_changed = is_new || seen->revision != now->revision || !text_eq(seen->uid, now->uid);
    memcpy(seen->uid, now->uid, TEXT_ID_SIZE);
    seen->revision = now->revision;
    seen->scan = watch->scan;
    return is_changed;
}

/* Takes the next name that the last scan did not find out of the map; NULL when there is none. A
 * removal moves later slots back to `*at`, which is therefore read again. */
static struct seen *take_vanished(struct desired_watch *watch, size_t *at)
{
    for (; *at < watch->names.capacity; (*at)++) {
        struct seen *seen = watch->names.slots[*at].value;
        if (seen && seen->scan != watch->scan) {
            return name_map_remove(&watch->names, seen->name);
        }
    }
    return NULL;
}

static bool forget(struct desired_watch *watch, const char *name)
{
    struct seen *seen = name_map_remove(&watch->names, name);
    if (seen) {
        seen_free(seen);
    }
    return seen != NULL;
}

/* Reports the VMs that the store itself names as changed; false: none of them was. */
static bool take_in_all(struct desired_watch *watch, const struct vm_summary_list *list)
{
    bool is_any_changed = false;
    for (size_t i = 0; i < list->count; i++) {
        const struct vm_summary *now = &list->items[i];
        bool is_there = now->has_desired || now->has_status;
        bool is_changed = is_there ? take_in(watch, now) : forget(watch, now->name);
        is_any_changed = is_any_changed || is_changed;
        if (is_changed) {
            watch->seen(watch->context, now->name, true);
        }
    }
    return is_any_changed;
}

/* A ring that the changes of records explain costs no more where there are more VMs. All are looked
 * at where it is not explained, or nobody has rung. */
static int scan(struct desired_watch *watch, bool was_notified, struct error *err)
{
    cleanup_with(vm_summary_list_clear) struct vm_summary_list list = {0}, changed = {0};
    uint64_t since = watch->since;
    bool is_known;
    int rc = store_list_changed(watch->store, &since, &changed, &is_known, err);
    if (rc == 0 && was_notified && is_known && take_in_all(watch, &changed)) {
        watch->since = since;
        watch->scanned(watch->context);
        return 0;
    }
    rc = rc < 0 ? rc : store_list_heads(watch->store, &list, err);
    if (rc < 0) {
        return rc; /* and is asked again for what changed */
    }
    watch->since = since;
    watch->scan++;
    bool is_any_changed = false;
    for (size_t i = 0; i < list.count; i++) {
        bool is_changed = take_in(watch, &list.items[i]);
        is_any_changed = is_any_changed || is_changed;
        watch->seen(watch->context, list.items[i].name, is_changed);
    }
    size_t at = 0;
    for (struct seen *seen; (seen = take_vanished(watch, &at)) != NULL; is_any_changed = true) {
        watch->seen(watch->context, seen->name, true);
        seen_free(seen);
    }
    for (size_t i = 0; was_notified && !is_any_changed && i < list.count; i++) {
        watch->seen(watch->context, list.items[i].name, true);
    }
    watch->scanned(watch->context);
    return 0;
}

int desired_watch_scan(struct desired_watch *watch, struct error *err)
{
    return scan(watch, false, err);
}

/* ---- when to scan ---- */

static void scan_or_log(struct desired_watch *watch, bool was_notified)
{
    struct error err = {0};
    if (scan(watch, was_notified, &err) < 0) {
        log_error("controller", "cannot list the VMs: %s", err.message);
    }
}

static void on_bell(void *context, int fd, unsigned ready)
{
    struct desired_watch *watch = context;
    (void)fd;
    (void)ready;
    if (bell_watch_drain(&watch->bell)) {
        scan_or_log(watch, true);
    }
}

static void on_poll(void *context)
{
    struct desired_watch *watch = context;
    scan_or_log(watch, false);
    loop_timer_start(watch->poll_timer, POLL_MS);
}

struct desired_watch *desired_watch_new(struct loop *loop, const struct paths *paths,
    struct store *store, desired_seen_fn *seen, desired_scanned_fn *scanned, void *context)
{
    struct desired_watch *watch = mem_new(struct desired_watch);
    struct error err = {0};
    watch->store = store;
    watch->seen = seen;
    watch->scanned = scanned;
    watch->context = context;
    watch->bell.fd = -1;
    if (bell_watch_open(&watch->bell, paths, BELL_DESIRED, &err) == 0) {
        watch->bell_io = loop_io_new(loop, watch->bell.fd, LOOP_READ, on_bell, watch);
    } else {
        log_warn("controller", "falling back to polling every second: %s", err.message);
        watch->poll_timer = loop_timer_new(loop, on_poll, watch);
        loop_timer_start(watch->poll_timer, POLL_MS);
    }
    return watch;
}

void desired_watch_free(struct desired_watch *watch)
{
    if (!watch) {
        return;
    }
    loop_io_free(watch->bell_io);
    loop_timer_free(watch->poll_timer);
    bell_watch_close(&watch->bell);
    for (size_t i = 0; i < watch->names.capacity; i++) {
        if (watch->names.slots[i].value) {
            seen_free(watch->names.slots[i].value);
        }
    }
    name_map_clear(&watch->names);
    free(watch);
}
