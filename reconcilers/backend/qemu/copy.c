/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A snapshot of the disk in use, as it is when the job begins, while the guest runs:
 *
 *   jobs -> (end ours of an earlier try -> jobs)* -> remove its node -> (bitmaps) ->
 *   make an empty overlay -> add it -> (freeze) -> copy -> (thaw) -> jobs -> … -> dismiss the job
 * -> remove the node -> give it its name
 *
 * QMP: query-jobs, job-cancel, job-dismiss, blockdev-del, add-fd, blockdev-add, remove-fd,
 * blockdev-backup (docs/interop/live-block-operations.rst). Of the disk itself nothing changes, so
 * that there is nothing to put back: killed at any point, the job of the next try replaces this
 * one's, and what that wrote has no name.
 *
 * Bitmaps (docs/interop/bitmaps.rst) have the names of their orders, and are in the disk's file. So
 * one that is there is right, whatever became of the file meanwhile: a disk that was replaced has
 * another or none, and QEMU knows one that it did not write at its end. The new one begins with the
 * copy, in one transaction; the one before stays until the next order, which names the one whose
 * copy was kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/agent.h"
#include "reconcilers/backend/qemu/agent_watch.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/monitor.h"
#include "reconcilers/media/disk_files.h"
#include "reconcilers/media/snapshot.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/image/qcow2.h"

enum { LOOK_MS = 100, STALL_MS = 120 * 1000, FREEZE_MS = 10000, THAW_MS = 5000 };

/* Of the job and of the node. */
#define COPY_ID "vmctl-snapshot"

struct copy {
    struct op op;            /* first: op_cancel() finds the copy by it */
    struct machine *machine; /* borrowed: an operation is cancelled before its machine is closed */
    struct op *stage;        /* on the pool; NULL: none */
    struct loop_timer *timer;
    struct snapshot_order order;
    struct snapshot_made *result; /* borrowed from the caller */
    char *node;                   /* of the disk that is copied: the VM's, or a volume's */
    char *made, *path;            /* the overlay, before and after it is complete */
    json_t *stale;                /* bitmaps to be removed; NULL: none were looked at */
    bool is_partial;
    char *whole_because; /* as in struct snapshot_made */
    int64_t fdset;
    bool is_begun;               /* the job is ours, of this try … */
    int64_t progress;            /* … and has come so far … */
    int64_t moved_ms;            /* … since then, monotonic */
    struct error failure;        /* of the job */
    struct agent *agent;         /* NULL: the guest's file systems are not to be frozen … */
    struct loop_timer *deadline; /* … for longer than this … */
    bool is_freezing;            /* … were begun to be … */
    bool is_freeze_answered;     /* … to which the agent said something, or its time is up … */
    bool is_thawing;             /* … and to be thawed … */
    bool is_thaw_late;           /* … which it did not do at once … */
    bool is_thawed;              /* … and are */
    bool is_consistent;          /* they were frozen when the job began */
};

static void copy_cancel(struct op *op)
{
    struct copy *copy = (struct copy *)(void *)op;
    struct monitor *monitor = copy->machine->monitor;
    op_cancel(copy->stage);
    if (monitor) {
        struct error ignored = {0};
        monitor_forget(monitor, copy);
        if (copy->is_begun) { /* its node goes with the next try, or with QEMU */
            (void)monitor_execute(
                monitor, "job-cancel", json_pack("{s:s}", "id", COPY_ID), NULL, NULL, &ignored);
        }
    }
    if (copy->is_begun) {
        (void)unlink(copy->made);
    }
    agent_free(copy->agent);
    loop_timer_free(copy->deadline);
    if (copy->is_freezing && !copy->is_thawed) { /* that it may be frozen is recorded */
        agent_watch_order(copy->machine->agent, AGENT_ORDER_THAW);
    }
    loop_timer_free(copy->timer);
    free(copy->node);
    free(copy->made);
    free(copy->path);
    free(copy->whole_because);
    json_decref(copy->stale);
    free(copy);
}

static void copy_finish(struct copy *copy, const struct error *err)
{
    if (err) {
        struct error ignored = {.code = ERR_NONE};
        cleanup_free char *stem = mem_strndup(copy->path, strlen(copy->path) - strlen(".qcow2"));
        (void)unlink(copy->made);
        (void)disk_files_remove(stem, &ignored);
    }
    copy->result->is_thawed = copy->is_freezing && copy->is_thawed;
    copy->is_begun = copy->is_begun && err; /* then copy_cancel() ends the job, too */
    op_finish(&copy->op, err);
}

static void copy_next(
    struct copy *copy, const char *command, json_t *arguments_take, qmp_reply_fn *reply)
{
    struct error err = {0};
    if (monitor_execute(copy->machine->monitor, command, arguments_take, reply, copy, &err) < 0) {
        copy_finish(copy, &err);
    }
}

static void copy_fail(struct copy *copy, const struct error *why)
{
    struct error err = *why;
    if (err.code == ERR_NO_SPACE) {
        (void)error_help(&err, "make room, then try again; see: df -h %.*s",
            (int)(strrchr(copy->path, '/') - copy->path), copy->path);
    }
    if (copy->order.volume[0]) {
        (void)error_wrap(
            &err, "cannot copy volume '%s' of vm '%s'", copy->order.volume, copy->machine->vm_name);
    } else {
        (void)error_wrap(&err, "cannot copy the disk of vm '%s'", copy->machine->vm_name);
    }
    copy_finish(copy, &err);
}

static void jobs_arrived(void *context, const json_t *value, const struct error *err);

static void look_at_jobs(void *context)
{
    copy_next(context, "query-jobs", NULL, jobs_arrived);
}

/* ---- the end ---- */

static void published(void *context, const struct error *err)
{
    struct copy *copy = context;
    copy->stage = NULL;
    if (!err) {
        copy->result->is_partial = copy->is_partial;
        copy->result->is_frozen = copy->is_consistent;
        copy->result->whole_because = TAKE_PTR(copy->whole_because);
    }
    copy_finish(copy, err);
}

static void job_dismissed(void *context, const json_t *value, const struct error *err);

static void node_gone(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    (void)value;
    if (err && err->code == ERR_TIMEOUT && copy->failure.code == ERR_NONE) {
        job_dismissed(copy, NULL, NULL); /* it still writes; asked again, it knows no such node */
        return;
    }
    /* QEMU writes the tables of the file when it closes it: one that ended before did not. */
    if (err && err->code != ERR_QMP_COMMAND && copy->failure.code == ERR_NONE) {
        copy->failure = *err;
    }
    if (copy->failure.code != ERR_NONE) {
        copy_fail(copy, &copy->failure);
        return;
    }
    copy->is_begun = false; /* from here on its name says that it is complete */
    copy->stage = snapshot_publish(copy->machine->host, copy->made, copy->path, published, copy);
}

static void job_dismissed(void *context, const json_t *value, const struct error *err)
{
    (void)value;
    (void)err;
    copy_next(context, "blockdev-del", json_pack("{s:s}", "node-name", COPY_ID), node_gone);
}

static void end_job(struct copy *copy, const json_t *job)
{
    const char *why = json_text(job, "error");
    if (why && copy->failure.code == ERR_NONE) {
        bool is_full = text_eq(why, strerrordesc_np(ENOSPC));
        (void)error_set(&copy->failure, is_full ? ERR_NO_SPACE : ERR_QMP_COMMAND, "%s", why);
    }
    copy_next(copy, "job-dismiss", json_pack("{s:s}", "id", COPY_ID), job_dismissed);
}

/* ---- the job ---- */

static void job_cancelled(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    (void)value;
    (void)err;
    loop_timer_start(copy->timer, LOOK_MS);
}

static void cancel_job(struct copy *copy)
{
    copy_next(copy, "job-cancel", json_pack("{s:s}", "id", COPY_ID), job_cancelled);
}

static void follow_job(struct copy *copy, const json_t *job)
{
    int64_t progress = json_int(job, "current-progress", 0);
    int64_t now_ms = loop_now_ms(copy->machine->host->loop);
    if (progress != copy->progress) {
        copy->progress = progress;
        copy->moved_ms = now_ms;
    }
    if (now_ms - copy->moved_ms > STALL_MS && copy->failure.code == ERR_NONE) {
        (void)error_set(
            &copy->failure, ERR_TIMEOUT, "nothing was copied for %d seconds", STALL_MS / 1000);
        cancel_job(copy);
    } else {
        loop_timer_start(copy->timer, LOOK_MS);
    }
}

/* ---- the guest's file systems ---- */

static void begin_job(struct copy *copy);

/* Asked until it answers: the copy may take hours, in which the guest would stand still. Then the
 * port is for others. What it refuses the controller reports when the copy is done. */
static void thawed(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    (void)value;
    copy->is_thawed = !err;
    if (err && !copy->is_thaw_late) {
        copy->is_thaw_late = true;
        log_warn("agent", "%s: %s", copy->machine->vm_name, err->message);
        agent_watch_doubt(copy->machine->agent);
    }
    if (err && err->code == ERR_TIMEOUT) {
        agent_call(copy->agent, "guest-fsfreeze-thaw", NULL, THAW_MS, thawed, copy);
    } else {
        agent_free(TAKE_PTR(copy->agent));
    }
}

static void thaw(struct copy *copy)
{
    if (copy->is_freezing && !copy->is_thawing) {
        copy->is_thawing = true;
        agent_call(copy->agent, "guest-fsfreeze-thaw", NULL, THAW_MS, thawed, copy);
    }
}

/* QEMU takes too long to begin: the guest does not wait for it. An agent that has not answered yet
 * is about to have had its time, too. */
static void frozen_too_long(void *context)
{
    struct copy *copy = context;
    copy->is_consistent = false;
    if (copy->is_freeze_answered) {
        thaw(copy);
    }
}

/* One that fails may have frozen some of them. */
static void frozen(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    copy->is_freeze_answered = true;
    copy->is_consistent = !err && json_integer_value(value) > 0;
    if (err) {
        log_warn("agent", "%s: %s", copy->machine->vm_name, err->message);
        thaw(copy);
    }
    begin_job(copy);
}

static void freeze(struct copy *copy)
{
    if (copy->agent) {
        copy->is_freezing = true;
        loop_timer_start(copy->deadline, FREEZE_MS + 1); /* the call has as long */
        agent_call(copy->agent, "guest-fsfreeze-freeze", NULL, FREEZE_MS, frozen, copy);
    } else {
        begin_job(copy);
    }
}

static void job_begun(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    (void)value;
    loop_timer_stop(copy->deadline);
    thaw(copy); /* what the guest writes from now on is not in the copy */
    if (err) {
        copy->failure = *err;
        job_dismissed(copy, NULL, NULL);
        return;
    }
    copy->moved_ms = loop_now_ms(copy->machine->host->loop);
    look_at_jobs(copy);
}

static json_t *action(const char *type, json_t *data_take)
{
    return json_pack("{s:s, s:o}", "type", type, "data", data_take);
}

/* Only what the disk itself holds: what lies under it is under the snapshot, too. Or what the
 * bitmap has, which stays as it is. */
static void begin_job(struct copy *copy)
{
    const struct snapshot_order *order = &copy->order;
    json_t *job = json_pack("{s:s, s:s, s:s, s:s, s:b}", "job-id", COPY_ID, "device", copy->node,
        "target", COPY_ID, "sync", copy->is_partial ? "bitmap" : "top", "auto-dismiss", 0);
    json_t *actions = json_array();
    if (order->begins_bitmap) {
        json_t *bitmap = json_pack("{s:s, s:s, s:b, s:i}", "node", copy->node, "name", order->name,
            "persistent", 1, "granularity", QCOW2_CLUSTER);
        (void)json_array_append_new(actions, action("block-dirty-bitmap-add", bitmap));
    }
    if (copy->is_partial) {
        json_put_text(job, "bitmap", order->since);
        json_put_text(job, "bitmap-mode", "never");
    }
    (void)json_array_append_new(actions, action("blockdev-backup", job));
    copy_next(copy, "transaction", json_pack("{s:o}", "actions", actions), job_begun);
}

static void node_added(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    struct error ignored = {0};
    (void)value;
    (void)monitor_execute(copy->machine->monitor, "remove-fd",
        json_pack("{s:I}", "fdset-id", (json_int_t)copy->fdset), NULL, NULL, &ignored);
    if (err) {
        copy_fail(copy, err);
        return;
    }
    copy->is_begun = true;
    freeze(copy);
}

static void fd_added(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    if (err) {
        copy_fail(copy, err);
        return;
    }
    copy->fdset = json_int(value, "fdset-id", 0);
    cleanup_free char *file = mem_printf("/dev/fdset/%lld", (long long)copy->fdset);
    copy_next(copy, "blockdev-add",
        json_pack("{s:s, s:s, s:n, s:{s:s, s:s}}", "driver", "qcow2", "node-name", COPY_ID,
            "backing", "file", "driver", "file", "filename", file),
        node_added);
}

static void overlay_made(void *context, const struct error *err)
{
    struct copy *copy = context;
    struct error why = {0};
    copy->stage = NULL;
    if (err) {
        copy_finish(copy, err);
        return;
    }
    int fd = open(copy->made, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || !copy->machine->monitor) {
        (void)error_set_errno(&why, ERR_IO, errno, "cannot open '%s'", copy->made);
        cleanup_close_(&fd);
        copy_fail(copy, &why);
        return;
    }
    monitor_attach_fd(copy->machine->monitor, fd);
    copy_next(copy, "add-fd", NULL, fd_added);
}

static void make_overlay(struct copy *copy)
{
    const struct machine *machine = copy->machine;
    copy->stage = snapshot_make_target(machine->host, machine->vm_name, &copy->order, copy->made,
        copy->is_partial, overlay_made, copy);
}

/* ---- bitmaps ---- */

static void bitmap_removed(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    const char *next = json_string_value(json_array_get(copy->stale, 0));
    (void)value;
    (void)err; /* one that stays costs room, and is met again */
    if (!next) {
        make_overlay(copy);
        return;
    }
    json_t *arguments = json_pack("{s:s, s:s}", "node", copy->node, "name", next);
    (void)json_array_remove(copy->stale, 0);
    copy_next(copy, "block-dirty-bitmap-remove", arguments, bitmap_removed);
}

/* All of ours but the one that is asked for, if that is whole. */
static void choose_bitmap(struct copy *copy, const json_t *bitmaps)
{
    const char *since = copy->order.since;
    const char *why = since[0] ? "the changes since the last one were not recorded: the disk was "
                                 "replaced or backed up elsewhere, or QEMU was killed"
                               : NULL;
    for (size_t i = 0; i < json_array_size(bitmaps); i++) {
        const json_t *bitmap = json_array_get(bitmaps, i);
        const char *name = json_text(bitmap, "name");
        bool is_it = since[0] && text_eq(name, since);
        bool is_whole =
            json_flag(bitmap, "recording", false) && !json_flag(bitmap, "inconsistent", false);
        if (is_it && is_whole) {
            copy->is_partial = true;
        } else if (text_starts_with(name ? name : "", SNAPSHOT_PASSING)) {
            (void)json_array_append_new(copy->stale, json_string(name));
        }
        why = is_it ? "QEMU ended without recording what changed since the last one" : why;
    }
    copy->whole_because = copy->is_partial ? NULL : mem_strdup(why);
}

static void nodes_arrived(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    if (err) {
        copy_fail(copy, err);
        return;
    }
    copy->stale = json_array();
    const json_t *disk = machine_find_node(value, copy->node);
    if (!disk && copy->order.volume[0]) {
        static const struct error gone = {
            .code = ERR_QMP_COMMAND, .message = "QEMU no longer has it"};
        copy_fail(copy, &gone);
        return;
    }
    choose_bitmap(copy, json_object_get(disk, "dirty-bitmaps"));
    bitmap_removed(copy, NULL, NULL);
}

/* The node of an earlier try is gone, or there was none. A controller that was killed may have
 * completed the copy. Not one with a bitmap: which part of the disk it has is not known any more.
 */
static void place_is_free(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    (void)value;
    (void)err;
    if (copy->order.begins_bitmap) {
        copy_next(copy, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), nodes_arrived);
    } else if (fs_exists(copy->path)) {
        copy_finish(copy, NULL);
    } else {
        make_overlay(copy);
    }
}

/* ---- jobs of an earlier try ---- */

static const json_t *find_job(const json_t *jobs)
{
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);
        if (text_eq(json_text(job, "id"), COPY_ID)) {
            return job;
        }
    }
    return NULL;
}

static void dismissed_old(void *context, const json_t *value, const struct error *err)
{
    (void)value;
    (void)err;
    look_at_jobs(context);
}

static void jobs_arrived(void *context, const json_t *value, const struct error *err)
{
    struct copy *copy = context;
    const json_t *job = find_job(value);
    bool has_ended = job && text_eq(json_text(job, "status"), "concluded");
    static const struct error lost = {
        .code = ERR_QMP_COMMAND, .message = "QEMU no longer knows the job"};
    if (err || (!job && copy->is_begun)) {
        copy_fail(copy, err ? err : &lost);
    } else if (copy->is_begun && has_ended) {
        end_job(copy, job);
    } else if (copy->is_begun) {
        follow_job(copy, job);
    } else if (has_ended) {
        copy_next(copy, "job-dismiss", json_pack("{s:s}", "id", COPY_ID), dismissed_old);
    } else if (job) {
        cancel_job(copy);
    } else {
        copy_next(copy, "blockdev-del", json_pack("{s:s}", "node-name", COPY_ID), place_is_free);
    }
}

/* ---- the beginning ---- */

struct op *machine_snapshot(struct machine *machine, const struct vm_env *env,
    const struct snapshot_order *order, struct snapshot_made *result, op_done_fn *done,
    void *context)
{
    struct copy *copy = mem_new(struct copy);
    *copy = (struct copy){.op = {copy_cancel, done, context},
        .machine = machine,
        .order = *order,
        .result = result,
        .node = order->volume[0] ? mem_printf(QEMU_VOLUME "%s", vm_name_plain(order->volume))
                                 : mem_strdup(QEMU_DISK_NODE),
        .path = snapshot_path(machine->host->paths, env->name, order->token)};
    copy->made = mem_printf("%s.tmp-live", copy->path);
    copy->timer = loop_timer_new(machine->host->loop, look_at_jobs, copy);
    copy->deadline = loop_timer_new(machine->host->loop, frozen_too_long, copy);
    if (vm_status_is_frozen(env->status) && agent_watch_version(machine->agent)) {
        cleanup_free char *agent = paths_vm(machine->host->paths, env->name, VM_AGENT_SOCKET);
        copy->agent = agent_new(machine->host->loop, agent);
    }
    loop_timer_start(copy->timer, 0);
    return &copy->op;
}
