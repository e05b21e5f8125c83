/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/source_sync.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/desired/change.h"
#include "store/desired/rename.h"
#include "store/source/source_stamp.h"
#include "store/source/sources.h"
#include "store/source/vmfile_load.h"
#include "store/store.h"

/* One try at one source; repeated when its record was written by another process meanwhile. */
struct sync {
    struct store *store;
    const struct source_sync_ask *ask;
    struct source_sync *out;
    const struct source_record *before; /* the record as it was read */
};

/* ---- writing what was found ---- */

static void ring_status(struct store *store)
{
    struct error err = {.code = ERR_NONE};
    if (bell_ring(store_paths(store), BELL_STATUS, &err) < 0) {
        log_debug("store", "%s", err.message);
    }
}

static void note_record(struct sync *sync, const struct source_record *record)
{
    cleanup_json json_t *json = source_record_to_json(record);
    cleanup_free char *text = json_canonical(json);
    digest_text(text, sync->out->record_digest);
    sync->out->state = record->state;
}

/* Writes `after` (NULL: removes the record) if it differs; -ERR_STORE_STALE: read again. */
static int write_record(struct sync *sync, const struct source_record *after, struct error *err)
{
    if (after && source_record_equal(sync->before, after)) {
        return 0;
    }
    struct store_batch *batch = store_batch_new();
    sources_change(batch, sync->before, after);
    int rc = store_commit(sync->store, batch, err);
    store_batch_free(batch);
    if (rc == 0) {
        ring_status(sync->store);
    }
    if (rc == 0 && after) {
        note_record(sync, after);
    }
    return rc;
}

static void set_state(struct source_record *record, enum source_state state,
    const struct kdl_pos *pos, const char *message, const char *digest)
{
    record->state = state;
    record->line = pos ? pos->line : 0;
    record->column = pos ? pos->column : 0;
    free(record->message);
    record->message = mem_strdup(message);
    memset(record->failed_digest, 0, DIGEST_SIZE);
    memcpy(record->failed_digest, digest, strlen(digest));
}

static int write_failure(struct sync *sync, enum source_state state, const struct kdl_pos *pos,
    const char *message, const char *digest, struct error *err)
{
    struct source_record *after = source_record_copy(sync->before);
    set_state(after, state, pos, message, digest);
    int rc = write_record(sync, after, err);
    source_record_free(after);
    sync->out->finding = SOURCE_FOUND_SETTLED;
    sync->out->is_failing = state != SOURCE_GONE;
    return rc;
}

/* ---- the VMs of the file ---- */

static bool is_in_file(const struct vmfile *file, const char *name)
{
    bool is = false;
    for (size_t i = 0; i < file->n_vms; i++) {
        is |= text_eq(file->vms[i]->name, name);
    }
    return is;
}

/* A file that was renamed within a watched directory: its VMs go along. Otherwise the first owner
 * keeps a name. */
static int takes_over(struct sync *sync, const char *name, bool *ret, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record vm = {.name = NULL};
    struct source_record *owner = NULL;
    int rc = sync->before->directory ? store_get(sync->store, name, &vm, err) : 0;
    if (rc == 0 && vm.desired && vm.desired->source) {
        rc = sources_get(sync->store, vm.desired->source, &owner, err);
    }
    *ret = rc == 0 && owner && owner->state == SOURCE_GONE &&
           text_eq(owner->directory, sync->before->directory);
    source_record_free(owner);
    return rc;
}

/* ---- a valid file ---- */

/* What a valid file makes of the store: the changes and the record after them. */
struct plan {
    struct source_record *after;
    struct change *changes;
    size_t count;
    bool wants_pruning; /* not in the changes: it may not be done yet */
};

static void plan_clear(struct plan *plan)
{
    source_record_free(plan->after);
    free(plan->changes);
}

static void source_sync_add_change(struct plan *plan, const struct change *change)
{
    mem_grow(plan->changes, plan->count);
    plan->changes[plan->count++] = *change;
}

static int plan_vms(
    struct sync *sync, const struct vmfile_load *load, struct plan *plan, struct error *err)
{
    for (size_t i = 0; i < load->file->n_vms; i++) {
        struct change change = {
            .name = load->file->vms[i]->name,
            .spec = load->file->vms[i],
            .source = sync->ask->path,
            .starts_new = sync->before->starts_new,
            .proxies = &sync->before->proxies,
        };
        int rc = takes_over(sync, change.name, &change.takes_over, err);
        if (rc < 0) {
            return rc;
        }
        source_sync_add_change(plan, &change);
    }
    return 0;
}

/* Of the VMs that it no longer names those that `protect` keeps, and says so in the record. */
static int find_kept(
    struct sync *sync, struct source_record *after, struct strings *ret, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < after->removed.count; i++) {
        cleanup_with(vm_record_clear) struct vm_record vm = {.name = NULL};
        rc = store_get(sync->store, after->removed.items[i], &vm, err);
        if (vm.desired && vm.desired->spec->is_protected && !vm.desired->is_deleting) {
            strings_append(ret, after->removed.items[i]);
        }
    }
    if (ret->count > 0) {
        after->message = mem_printf("no longer names %s, which is protected and stays%s",
            ret->items[0], ret->count > 1 ? ", like others" : "");
    }
    return rc;
}

/* Only once, for each save of the file: a user who starts such a VM again has the last word. And
 * only what was applied before: a file that is being written in parts shows itself by then. */
static int plan_pruning(
    struct sync *sync, struct plan *plan, const char *digest, bool is_new, struct error *err)
{
    cleanup_with(strings_clear) struct strings kept = {.count = 0};
    struct source_record *after = plan->after;
    enum source_prune prune = after->prune;
    int rc = prune == SOURCE_PRUNE_DESTROY ? find_kept(sync, after, &kept, err) : 0;
    if (rc < 0 || prune == SOURCE_PRUNE_NOTHING || after->removed.count == 0 ||
        text_eq(after->pruned_digest, digest)) {
        return rc;
    }
    if (is_new || !sync->ask->may_prune) {
        plan->wants_pruning = true;
        return 0;
    }
    for (size_t i = 0; i < after->removed.count; i++) {
        const char *name = after->removed.items[i];
        const struct change change = {
            .name = strings_find(&sync->out->vms, name), /* outlives the plan */
            .source = sync->ask->path,
            .deletes = prune == SOURCE_PRUNE_DESTROY,
            .sets_power = prune == SOURCE_PRUNE_STOP,
            .power = POWER_STOPPED,
        };
        if (!strings_have(&kept, name)) {
            source_sync_add_change(plan, &change);
        }
    }
    memcpy(after->pruned_digest, digest, DIGEST_SIZE);
    if (prune == SOURCE_PRUNE_DESTROY) {
        strings_clear(&after->removed);
        after->removed = kept;
        kept = (struct strings){.count = 0};
    }
    return 0;
}

static int make_plan(struct sync *sync, const struct vmfile_load *load, const char *digest,
    struct plan *plan, struct error *err)
{
    bool is_new = !text_eq(digest, sync->before->applied_digest);
    plan->after = source_record_copy(sync->before);
    set_state(plan->after, SOURCE_SYNCED, NULL, NULL, "");
    strings_clear(&plan->after->removed);
    int rc =
        rename_find_removed(sync->store, &sync->out->vms, load->file, &plan->after->removed, err);
    if (is_new) {
        memcpy(plan->after->applied_sha, load->sha256, DIGEST_SIZE);
        memcpy(plan->after->applied_digest, digest, DIGEST_SIZE);
        plan->after->applied_ms = clock_wall_ms(clock_system());
        memset(plan->after->pruned_digest, 0, DIGEST_SIZE); /* also for what it was once before */
    }
    rc = rc == 0 && is_new ? plan_vms(sync, load, plan, err) : rc;
    return rc < 0 ? rc : plan_pruning(sync, plan, digest, is_new, err);
}

struct record_change {
    struct sync *sync;
    const struct source_record *after;
};

/* The changes were made for the record as it was: with another one they are made again. */
static int add_record_change(void *context, struct store_batch *batch, struct error *err)
{
    const struct record_change *change = context;
    struct source_record *now = NULL;
    int rc = sources_get(change->sync->store, change->sync->ask->path, &now, err);
    bool is_same = rc == 0 && now && source_record_equal(now, change->sync->before);
    source_record_free(now);
    if (rc == 0 && !is_same) {
        return error_set(err, ERR_CANCELLED, "the record was changed meanwhile");
    }
    if (rc == 0) {
        sources_change(batch, change->sync->before, change->after);
    }
    return rc;
}

static int carry_out(struct sync *sync, const struct plan *plan, struct error *err)
{
    if (plan->count == 0) {
        return write_record(sync, plan->after, err);
    }
    struct record_change change = {sync, plan->after};
    const struct change_extra extra = {add_record_change, &change};
    cleanup_free struct change_outcome *outcomes = mem_calloc(plan->count, sizeof(*outcomes));
    int rc = change_apply_with(sync->store, plan->changes, plan->count, &extra, outcomes, err);
    for (size_t i = 0; rc == 0 && i < plan->count; i++) {
        strings_add(&sync->out->vms, plan->changes[i].name);
        change_outcome_clear(&outcomes[i]);
    }
    if (rc == 0) {
        note_record(sync, plan->after);
        ring_status(sync->store);
    }
    return rc;
}

/* How the store responds to the changes of a valid file. */
static int judge_refusal(struct sync *sync, const char *digest, struct error *err)
{
    switch (err->code) {
    case ERR_CANCELLED:        /* the record changed, */
    case ERR_VM_NOT_FOUND:     /* or a VM to prune went by itself, */
    case ERR_VM_INVALID_STATE: /* or is protected since: look again */
        err->code = ERR_STORE_STALE;
        return -ERR_STORE_STALE;
    case ERR_VM_CONFLICT:
    case ERR_VM_DELETING:
    case ERR_DISK_SHRINK: {
        struct error refusal = *err;
        error_clear(err);
        return write_failure(sync,
            refusal.code == ERR_VM_CONFLICT ? SOURCE_CONFLICT : SOURCE_REFUSED, NULL,
            refusal.message, digest, err);
    }
    default:
        return -(int)err->code;
    }
}

static int apply(
    struct sync *sync, const struct vmfile_load *load, const char *digest, struct error *err)
{
    cleanup_with(plan_clear) struct plan plan = {.after = NULL};
    int rc = make_plan(sync, load, digest, &plan, err);
    if (rc == 0) {
        rc = carry_out(sync, &plan, err);
    }
    if (rc < 0) {
        return judge_refusal(sync, digest, err);
    }
    sync->out->finding = plan.wants_pruning ? SOURCE_FOUND_TO_PRUNE : SOURCE_FOUND_SETTLED;
    return 0;
}

/* ---- a file that is not there, or not right ---- */

static int be_gone(struct sync *sync, struct error *err)
{
    if (!sync->ask->reports_gone) {
        sync->out->finding = SOURCE_FOUND_GONE;
        return 0;
    }
    if (sync->before->directory && sync->out->vms.count == 0) {
        sync->out->finding = SOURCE_FOUND_UNWATCHED;
        return write_record(sync, NULL, err);
    }
    return write_failure(sync, SOURCE_GONE, NULL, "the file no longer exists", "", err);
}

static int be_broken(struct sync *sync, const struct kdl_pos *pos, const char *message,
    const char *digest, struct error *err)
{
    if (!sync->ask->reports_broken) {
        sync->out->finding = SOURCE_FOUND_BROKEN;
        return 0;
    }
    return write_failure(sync, SOURCE_PARSE_FAILED, pos, message, digest, err);
}

static int be_invalid(struct sync *sync, const struct vmfile_load *load, struct error *err)
{
    cleanup_buf struct buf message = BUF_INIT(0);
    const struct kdl_pos *pos = vmfile_load_sum_up(load, &message);
    return be_broken(sync, pos, buf_str(&message), load->sha256, err);
}

/* ---- one file ---- */

/* A file that is written in two parts lacks VMs after the first one; and of a VMFile and the
 * scripts it names, which change together, one is saved first. */
static bool may_be_half(const struct sync *sync, const struct vmfile *file)
{
    bool is_half = false;
    for (size_t i = 0; i < file->n_vms; i++) {
        const struct vm_spec *spec = file->vms[i];
        is_half |= spec->cloud_init.user_data.path || spec->cloud_init.vendor_data.path ||
                   spec->cloud_init.network_config.path;
        for (size_t k = 0; k < spec->n_steps; k++) {
            is_half |= spec->steps[k].file.path != NULL;
        }
    }
    for (size_t i = 0; i < sync->out->vms.count; i++) {
        const char *name = sync->out->vms.items[i];
        is_half |= !is_in_file(file, name) && !strings_have(&sync->before->removed, name);
    }
    return is_half;
}

static int read_and_apply(struct sync *sync, struct vmfile_load *load, struct error *err)
{
    struct error cause = {.code = ERR_NONE};
    char digest[DIGEST_SIZE];
    struct stat st;
    int missing = user_path_stat(sync->ask->path, &st) < 0 ? errno : 0;
    if (missing == ENOENT || missing == ENOTDIR) {
        return be_gone(sync, err);
    }
    if (!missing && !S_ISREG(st.st_mode)) { /* opening a FIFO would wait for a writer */
        return be_broken(sync, NULL, "it is not a file", "", err);
    }
    const struct vmfile_inputs inputs = {
        .given = &sync->before->inputs, .overrides = &sync->before->overrides};
    for (size_t i = 0; i < sync->before->overrides.count; i++) { /* also one that is missing */
        strings_add(&sync->out->named, sync->before->overrides.items[i]);
    }
    if (vmfile_load(sync->ask->path, sync->ask->path, &inputs, load, &cause) < 0) {
        return be_broken(sync, NULL, cause.message, "", err);
    }
    for (size_t i = 0; i < load->named.count; i++) {
        strings_add(&sync->out->named, load->named.items[i]);
    }
    if (load->file->n_diagnostics > 0) {
        return be_invalid(sync, load, err);
    }
    vm_names_keep(&sync->out->vms, load->file->project); /* other projects' are not its own */
    if (sync->ask->is_early && may_be_half(sync, load->file)) {
        sync->out->finding = SOURCE_FOUND_BROKEN;
        return 0;
    }
    if (vmfile_load_referenced(load, digest, &cause) < 0) {
        return be_broken(sync, NULL, cause.message, load->sha256, err);
    }
    return apply(sync, load, digest, err);
}

static int sync_file(struct sync *sync, struct error *err)
{
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    char stamp[DIGEST_SIZE];
    source_stamp(sync->ask->path, sync->ask->named, stamp);
    if (stamp[0] && text_eq(stamp, sync->ask->stamp)) {
        sync->out->finding = SOURCE_FOUND_SAME;
        return 0;
    }
    int rc = store_list_source(sync->store, sync->ask->path, &sync->out->vms, err);
    rc = rc == 0 ? read_and_apply(sync, &load, err) : rc;
    bool is_same_list = strings_equal(&sync->out->named, sync->ask->named);
    bool is_done = sync->out->finding == SOURCE_FOUND_SETTLED && sync->out->state == SOURCE_SYNCED;
    if (rc == 0 && is_done && is_same_list) { /* all else may also be cured from outside */
        memcpy(sync->out->stamp, stamp, DIGEST_SIZE);
    }
    return rc;
}

/* ---- a directory: every *.kdl in it that is a VMFile is watched, with the directory's options.
 * Nothing else of these files is read here; each has a record of its own. ---- */

enum { DIRECTORY_FILES_MAX = 1000 };

static void close_directory(DIR **directory)
{
    if (*directory) {
        closedir(*directory);
    }
}

/* 0 or errno. */
static int list_candidates(const char *path, struct strings *ret)
{
    cleanup_with(close_directory) DIR *directory = opendir(path);
    if (!directory) {
        return errno;
    }
    struct dirent *entry;
    while (ret->count < DIRECTORY_FILES_MAX && (entry = readdir(directory)) != NULL) {
        /* Editors' own files begin with a dot. A name that is not UTF-8 cannot be a key. */
        cleanup_json json_t *name = json_string(entry->d_name);
        if (name && entry->d_name[0] != '.' && text_ends_with(entry->d_name, ".kdl")) {
            cleanup_free char *file =
                mem_printf("%s/%s", text_eq(path, "/") ? "" : path, entry->d_name);
            strings_add(ret, file);
        }
    }
    return 0;
}

/* Inputs are set back only when the directory got others: a command that applied the file since may
 * have given it its own (sources_add_applied). */
static void align_file(
    struct sync *sync, struct store_batch *batch, const struct source_record *known)
{
    const struct source_record *own = sync->before;
    bool is_pruned_alike = known->prune == own->prune && known->starts_new == own->starts_new;
    const struct strings *inputs = own->state == SOURCE_PENDING ? &own->inputs : &known->inputs;
    if (is_pruned_alike && proxies_equal(&known->proxies, &own->proxies) &&
        strings_equal(&known->inputs, inputs)) {
        return;
    }
    struct source_record *after = source_record_copy(known);
    source_record_follow(after, own);
    source_record_set_inputs(after, inputs, &known->overrides);
    if (!is_pruned_alike) {
        memset(after->pruned_digest, 0, DIGEST_SIZE);
    }
    sources_change(batch, known, after);
    source_record_free(after);
}

static void plan_files(struct sync *sync, struct store_batch *batch,
    const struct source_list *known, const struct strings *files)
{
    cleanup_with(strings_clear) struct strings paths = {.count = 0};
    for (size_t i = 0; i < known->count; i++) {
        strings_append(&paths, known->items[i]->path);
        if (text_eq(known->items[i]->directory, sync->ask->path)) {
            align_file(sync, batch, known->items[i]);
        }
    }
    for (size_t i = 0; i < files->count; i++) {
        if (!strings_have(&paths, files->items[i]) && vmfile_load_is_vmfile(files->items[i])) {
            struct source_record *record =
                source_record_new(files->items[i], clock_wall_ms(clock_system()));
            record->directory = mem_strdup(sync->before->path);
            source_record_follow(record, sync->before);
            sources_change(batch, NULL, record);
            source_record_free(record);
        }
    }
}

static int write_state(
    struct sync *sync, enum source_state state, const char *message, struct error *err)
{
    struct source_record *after = source_record_copy(sync->before);
    after->state = state;
    free(after->message);
    after->message = mem_strdup(message);
    sync->out->finding = SOURCE_FOUND_SETTLED;
    sync->out->is_failing = source_record_is_failing(after);
    int rc = write_record(sync, after, err);
    source_record_free(after);
    return rc;
}

static int be_unlisted(struct sync *sync, int code, struct error *err)
{
    bool is_gone = code == ENOENT || code == ENOTDIR;
    if (is_gone && !sync->ask->reports_gone) {
        sync->out->finding = SOURCE_FOUND_GONE;
        return 0;
    }
    return is_gone ? write_state(sync, SOURCE_GONE, "the directory no longer exists", err)
                   : write_state(sync, SOURCE_PARSE_FAILED, strerrordesc_np(code), err);
}

static int sync_directory(struct sync *sync, struct error *err)
{
    cleanup_with(strings_clear) struct strings files = {.count = 0};
    cleanup_with(source_list_clear) struct source_list known = {.count = 0};
    int code = list_candidates(sync->ask->path, &files);
    if (code) {
        return be_unlisted(sync, code, err);
    }
    int rc = sources_list(sync->store, &known, err);
    if (rc < 0) {
        return rc;
    }
    /* with the directory's record: `unwatch` meanwhile leaves nothing behind */
    struct store_batch *batch = store_batch_new();
    plan_files(sync, batch, &known, &files);
    if (!store_batch_is_empty(batch)) {
        sources_change(batch, sync->before, sync->before);
        rc = store_commit(sync->store, batch, err);
    }
    store_batch_free(batch);
    return rc < 0 ? rc : write_state(sync, SOURCE_SYNCED, NULL, err);
}

/* ---- one source ---- */

static int try_once(struct store *store, const struct source_sync_ask *ask, struct source_sync *out,
    struct error *err)
{
    struct source_record *before = NULL;
    int rc = sources_get(store, ask->path, &before, err);
    if (rc == 0 && !before) {
        out->finding = SOURCE_FOUND_UNWATCHED;
    } else if (rc == 0) {
        struct sync sync = {.store = store, .ask = ask, .out = out, .before = before};
        note_record(&sync, before);
        rc = before->is_directory ? sync_directory(&sync, err) : sync_file(&sync, err);
    }
    source_record_free(before);
    return rc;
}

int source_sync(struct store *store, const struct source_sync_ask *ask, struct source_sync *ret,
    struct error *err)
{
    enum { TRIES = 100 }; /* every lost try means that somebody else wrote the record */
    for (int i = 0;; i++) {
        struct source_sync out = {.finding = SOURCE_FOUND_SETTLED};
        int rc = try_once(store, ask, &out, err);
        if (rc == 0) {
            *ret = out;
            return 0;
        }
        source_sync_clear(&out);
        if (rc != -ERR_STORE_STALE || i == TRIES) {
            return rc;
        }
        error_clear(err);
    }
}

void source_sync_clear(struct source_sync *sync)
{
    strings_clear(&sync->named);
    strings_clear(&sync->vms);
    *sync = (struct source_sync){.finding = SOURCE_FOUND_SETTLED};
}
