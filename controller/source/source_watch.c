/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/source/source_watch.h"

#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "controller/source/dir_watch.h"
#include "controller/source/path_watch.h"
#include "controller/source/source_timing.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/remote_mount.h"
#include "store/source/sources.h"
#include "store/store.h"

/* One registered file or directory. */
struct entry {
    struct source_watch *watch;
    char *path;
    bool is_directory;
    bool is_failing;
    bool is_unwatched;               /* goes as soon as no look is under way */
    char record_digest[DIGEST_SIZE]; /* of the record as the last look left it */
    char stamp[DIGEST_SIZE];
    struct source_timing timing;
    struct strings named;
    struct watch_point_list watch_points;
    struct op *op; /* the look under way */
};

struct source_watch {
    struct reconciler base; /* first: the controller holds a pointer to it */
    struct reconciler_host *host;
    struct dir_watch *dirs; /* NULL until something is watched */
    struct entry **entries;
    size_t count;
};

/* ---- a look, on a pool thread ---- */

/* Everything the work needs, so that the entry may go while it runs. */
struct look {
    struct entry *entry; /* the loop thread's */
    struct store *store;
    char *path;
    bool is_directory;
    char stamp[DIGEST_SIZE];
    struct strings named;
    struct source_sync_ask ask;
    struct source_sync found;
    struct watch_point_list watch_points;
};

static void look_free(void *context)
{
    struct look *look = context;
    free(look->path);
    strings_clear(&look->named);
    source_sync_clear(&look->found);
    watch_points_clear(&look->watch_points);
    free(look);
}

static int work(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct look *look = context;
    (void)is_cancelled;
    int rc = source_sync(look->store, &look->ask, &look->found, err);
    if (rc < 0 || look->found.finding == SOURCE_FOUND_SAME) {
        return rc;
    }
    if (look->is_directory) {
        watch_points_add_directory(&look->watch_points, look->path);
    } else {
        watch_points_add_file(&look->watch_points, look->path);
    }
    for (size_t i = 0; i < look->found.named.count; i++) {
        watch_points_add_file(&look->watch_points, look->found.named.items[i]);
    }
    return 0;
}

/* ---- what is watched ---- */

static void source_watch_wake(const struct entry *entry)
{
    struct reconciler_host *host = entry->watch->host;
    host->wake(host, key_of(KEY_SOURCE, entry->path), WORK_EVENT);
}

static void touch(struct entry *entry, bool is_saved)
{
    entry->stamp[0] = '\0'; /* read, whatever the file's times say */
    source_timing_event(&entry->timing, is_saved, loop_now_ms(entry->watch->host->loop));
    source_watch_wake(entry);
}

static void on_heard(void *context, const char *directory, const char *name, bool is_saved)
{
    struct source_watch *watch = context;
    for (size_t i = 0; i < watch->count; i++) {
        struct entry *entry = watch->entries[i];
        if (!directory || watch_points_match(&entry->watch_points, directory, name)) {
            touch(entry, is_saved);
        }
    }
}

static void source_watch_arm(struct source_watch *watch)
{
    cleanup_with(strings_clear) struct strings directories = {.count = 0};
    for (size_t i = 0; i < watch->count; i++) {
        for (size_t j = 0; j < watch->entries[i]->watch_points.count; j++) {
            const char *directory = watch->entries[i]->watch_points.items[j].directory;
            if (!remote_mount_has(directory)) { /* those are polled */
                strings_add(&directories, directory);
            }
        }
    }
    if (!watch->dirs) {
        watch->dirs = dir_watch_new(watch->host->loop, on_heard, watch);
    }
    dir_watch_set(watch->dirs, &directories);
}

/* ---- the entries ---- */

static struct entry *source_watch_find(const struct source_watch *watch, const char *path)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (text_eq(watch->entries[i]->path, path)) {
            return watch->entries[i];
        }
    }
    return NULL;
}

static void entry_free(struct entry *entry)
{
    op_cancel(entry->op);
    strings_clear(&entry->named);
    watch_points_clear(&entry->watch_points);
    free(entry->path);
    free(entry);
}

static bool drop_unwatched(struct source_watch *watch)
{
    bool is_any = false;
    for (size_t i = 0; i < watch->count;) {
        if (watch->entries[i]->is_unwatched) {
            log_info("controller", "no longer watching '%s'", watch->entries[i]->path);
            entry_free(watch->entries[i]);
            watch->entries[i] = watch->entries[--watch->count];
            is_any = true;
        } else {
            i++;
        }
    }
    return is_any;
}

static struct entry *source_watch_add(
    struct source_watch *watch, const struct source_record *record)
{
    struct entry *entry = mem_new(struct entry);
    entry->watch = watch;
    entry->path = mem_strdup(record->path);
    source_timing_init(&entry->timing, loop_now_ms(watch->host->loop));
    mem_grow(watch->entries, watch->count);
    watch->entries[watch->count++] = entry;
    log_info("controller", "watching '%s'", record->path);
    return entry;
}

/* A record that is not as the last look left it was written by a command. What the store refused
 * may be possible now: the look writes nothing when it is not, so this ends. */
static void take_in(struct source_watch *watch, const struct source_record *record)
{
    struct entry *entry = source_watch_find(watch, record->path);
    char digest[DIGEST_SIZE];
    cleanup_json json_t *json = source_record_to_json(record);
    cleanup_free char *text = json_canonical(json);
    digest_text(text, digest);
    if (!entry) {
        entry = source_watch_add(watch, record);
    } else if (!text_eq(digest, entry->record_digest) || entry->is_failing) {
        touch(entry, false);
    }
    entry->is_directory = record->is_directory;
    entry->is_unwatched = false;
    source_watch_wake(entry);
}

/* Takes in what is registered now. Also a reason to try again what the store refused. */
static void source_watch_list(struct reconciler *base)
{
    struct source_watch *watch = (struct source_watch *)(void *)base;
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    struct error err = {.code = ERR_NONE};
    if (sources_list(watch->host->store, &list, &err) < 0) {
        log_error("controller", "cannot list the watched VMFiles: %s", err.message);
        return;
    }
    for (size_t i = 0; i < watch->count; i++) {
        watch->entries[i]->is_unwatched = true;
    }
    for (size_t i = 0; i < list.count; i++) {
        take_in(watch, list.items[i]);
    }
    if (drop_unwatched(watch)) {
        source_watch_arm(watch);
    }
}

/* ---- looking ---- */

/* True when the record is another one than after the last look. */
static bool take_findings(struct entry *entry, struct look *look)
{
    struct source_watch *watch = entry->watch;
    if (look->found.finding == SOURCE_FOUND_SAME) {
        if (!dir_watch_is_complete(watch->dirs)) {
            source_watch_arm(watch); /* there may be room by now */
        }
        return false;
    }
    bool is_changed = !text_eq(look->found.record_digest, entry->record_digest);
    if (is_changed) { /* also after the start: a status may be older than the record */
        struct reconciler_host *host = watch->host;
        log_info("controller", "'%s': %s", entry->path, source_state_name(look->found.state));
        for (size_t i = 0; i < look->found.vms.count; i++) {
            host->wake(host, key_of(KEY_VM, look->found.vms.items[i]), WORK_USER);
        }
    }
    memcpy(entry->record_digest, look->found.record_digest, DIGEST_SIZE);
    if (entry->timing.first_event_ms == 0) {
        memcpy(entry->stamp, look->found.stamp, DIGEST_SIZE);
    }
    entry->is_failing = look->found.is_failing;
    strings_clear(&entry->named);
    entry->named = look->found.named;
    look->found.named = (struct strings){.count = 0};
    watch_points_clear(&entry->watch_points);
    entry->watch_points = look->watch_points;
    look->watch_points = (struct watch_point_list){.count = 0};
    source_watch_arm(watch); /* the file was read before it was watched: hears of that, too */
    return is_changed;
}

static bool needs_polling(const struct entry *entry)
{
    const struct source_watch *watch = entry->watch;
    return entry->watch_points.needs_polling || !watch->dirs || !dir_watch_is_complete(watch->dirs);
}

static void on_looked(void *context, const struct error *err)
{
    struct look *look = context;
    struct entry *entry = look->entry;
    struct source_watch *watch = entry->watch;
    int64_t now_ms = loop_now_ms(watch->host->loop);
    bool is_news = false;
    entry->op = NULL;
    if (err) {
        log_error("controller", "cannot apply the watched '%s': %s", entry->path, err->message);
        source_timing_failed(&entry->timing, now_ms);
    } else if (look->found.finding == SOURCE_FOUND_UNWATCHED) {
        entry->timing.due_ms = now_ms + 1000; /* the scan below drops it */
        is_news = true;
    } else {
        is_news = take_findings(entry, look) || look->is_directory;
        source_timing_found(&entry->timing, look->found.finding, needs_polling(entry), now_ms);
    }
    source_watch_wake(entry); /* for the next time it is due */
    if (is_news) {            /* what was refused because of this one may be possible now */
        source_watch_list(&watch->base); /* may free the entry */
    }
}

static void source_watch_begin(struct entry *entry)
{
    struct source_watch *watch = entry->watch;
    struct look *look = mem_new(struct look);
    int64_t now_ms = loop_now_ms(watch->host->loop);
    look->entry = entry;
    look->store = watch->host->store;
    look->path = mem_strdup(entry->path);
    look->is_directory = entry->is_directory;
    memcpy(look->stamp, entry->stamp, DIGEST_SIZE);
    for (size_t i = 0; i < entry->named.count; i++) {
        strings_add(&look->named, entry->named.items[i]);
    }
    source_timing_begin(&entry->timing);
    look->ask = (struct source_sync_ask){
        .path = look->path,
        .named = &look->named,
        .stamp = look->stamp,
        .is_early = entry->timing.is_early,
        .reports_broken = source_timing_reports_broken(&entry->timing),
        .reports_gone = source_timing_reports_gone(&entry->timing, now_ms),
        .may_prune = source_timing_may_prune(&entry->timing, now_ms),
    };
    entry->op =
        pool_start_in(watch->host->pool, POOL_SOURCE, work, look_free, look, on_looked, look);
}

static struct verdict source_watch_reconcile(
    struct reconciler *base, const char *path, struct patch *patch)
{
    struct source_watch *watch = (struct source_watch *)(void *)base;
    struct entry *entry = source_watch_find(watch, path);
    (void)patch;
    if (!entry || entry->op) { /* not watched any more, or woken again when the check ends */
        return (struct verdict){.requeue_ms = VERDICT_WHEN_WOKEN};
    }
    int64_t left_ms = entry->timing.due_ms - loop_now_ms(watch->host->loop);
    if (left_ms > 0) {
        return (struct verdict){.requeue_ms = left_ms};
    }
    source_watch_begin(entry);
    return (struct verdict){.requeue_ms = VERDICT_WHEN_WOKEN};
}

/* ---- life ---- */

static void source_watch_free(struct reconciler *base)
{
    struct source_watch *watch = (struct source_watch *)(void *)base;
    for (size_t i = 0; i < watch->count; i++) {
        entry_free(watch->entries[i]);
    }
    free(watch->entries);
    dir_watch_free(watch->dirs);
    free(watch);
}

struct reconciler *source_watch_new(struct reconciler_host *host)
{
    struct source_watch *watch = mem_new(struct source_watch);
    watch->base = (struct reconciler){
        .kind = KEY_SOURCE,
        .reconcile = source_watch_reconcile,
        .list = source_watch_list,
        .free = source_watch_free,
    };
    watch->host = host;
    return &watch->base;
}
