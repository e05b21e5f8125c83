/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Freezing a machine and waking another one from it: a migration (QEMU's docs/devel/migration.rst)
 * to and from a file, without the memory, which is in a file of its own already (x-ignore-shared).
 *
 *   freeze   stop -> capabilities -> parameters -> file -> migrate -> (query)* -> sync -> done
 *   load     digest of the state -> capabilities -> file -> migrate-incoming -> (query)* -> done
 *
 * And suspending one to disk, with its memory, by which it continues later:
 *
 *   save     cancel -> (query)* -> stop -> hot-plugged? -> parameters -> file -> migrate ->
 *            (query)* -> sync -> done; of a guest that has left already: sync -> done
 *   restore  file -> migrate-incoming -> (query)* -> done
 *
 * QEMU itself is no check: it takes a state in which a bit is wrong. And one that it refuses ends
 * it, before version 9.1: why is in qemu.log.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "controller/loop/loop.h"
#include "controller/loop/pool.h"
#include "reconcilers/backend/qemu/host_files.h"
#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/monitor.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/template.h"

enum { QUERY_MS = 5, FREEZE_MS = 60000, LOAD_MS = 20000, SLOWEST_MIB_S = 8 };
#define STATE_FD_NAME "machine-state"

struct transfer;

/* One of those above. */
struct transfer_kind {
    void (*const *commands)(struct transfer *); /* one after the other; the last one repeats */
    const char *failure;
    enum error_code code;
    bool is_incoming;
    bool is_saved; /* with its memory */
};

struct transfer {
    struct op op;            /* first */
    struct machine *machine; /* borrowed: an operation is cancelled before its machine is closed */
    char *state_path;
    const struct transfer_kind *kind;
    size_t n_sent;
    bool is_writing;          /* QEMU was commanded to */
    bool is_asking;           /* … or to read, and how far it is, is asked */
    struct op *hashing;       /* of a load, before it; or syncing, after a freeze */
    struct loop_timer *timer; /* the next look, or the report of `err` */
    int64_t give_up_ms;
    struct error err;
};

/* ---- the end ---- */

static void transfer_cancel(struct op *op)
{
    struct transfer *self = (struct transfer *)(void *)op;
    struct error ignored = {.code = ERR_NONE};
    if (self->machine->monitor) { /* NULL: gone with its QEMU */
        monitor_forget(self->machine->monitor, self);
    }
    if (self->machine->monitor && self->is_writing) { /* the guest is wanted back */
        (void)monitor_execute(self->machine->monitor, "migrate_cancel", NULL, NULL, NULL, &ignored);
    }
    op_cancel(self->hashing);
    loop_timer_free(self->timer);
    free(self->state_path);
    free(self);
}

static void transfer_fail(struct transfer *self, const struct error *why)
{
    struct error err = *why, ignored = {.code = ERR_NONE};
    (void)error_wrap(&err, "%s", self->kind->failure);
    bool is_full = err.code == ERR_NO_SPACE || strstr(err.message, strerror(ENOSPC));
    err.code = is_full ? ERR_NO_SPACE : self->kind->code;
    if (self->kind->is_saved && !self->kind->is_incoming && !err.help[0]) {
        (void)error_help(&err, "resume it: vmctl resume %s", self->machine->vm_name);
    }
    if (self->kind->is_saved && !self->kind->is_incoming) {
        (void)fs_remove_file(self->state_path, &ignored);
    }
    self->is_writing = false;
    op_finish(&self->op, &err);
}

/* ---- the commands, one after the other ---- */

static void send_next(struct transfer *self);

static void answered(void *context, const json_t *value, const struct error *err)
{
    (void)value;
    if (err) {
        transfer_fail(context, err);
    } else {
        send_next(context);
    }
}

static void transfer_send(
    struct transfer *self, const char *command, json_t *arguments_take, qmp_reply_fn *reply)
{
    struct error err = {.code = ERR_NONE};
    if (!self->machine->monitor) {
        json_decref(arguments_take);
        (void)error_set(&err, ERR_QMP_CONNECT, "QEMU does not run");
        transfer_fail(self, &err);
    } else if (monitor_execute(self->machine->monitor, command, arguments_take, reply, self, &err) <
               0) {
        transfer_fail(self, &err);
    }
}

static void stop_guest(struct transfer *self)
{
    transfer_send(self, "stop", NULL, answered);
}

static void set_capabilities(struct transfer *self)
{
    json_t *one = json_object(), *list = json_array(), *arguments = json_object();
    json_put_text(one, "capability", "x-ignore-shared");
    json_put(one, "state", json_true());
    (void)json_array_append_new(list, one);
    json_put(arguments, "capabilities", list);
    transfer_send(self, "migrate-set-capabilities", arguments, answered);
}

/* As fast as the disk: the default is made for a network that others use. */
static void set_parameters(struct transfer *self)
{
    json_t *arguments = json_object();
    json_put_int(arguments, "max-bandwidth", INT64_C(1) << 40);
    transfer_send(self, "migrate-set-parameters", arguments, answered);
}

static void give_file(struct transfer *self)
{
    struct error err = {.code = ERR_NONE};
    int flags = self->kind->is_incoming ? O_RDONLY : O_RDWR | O_CREAT | O_TRUNC;
    int fd = open(self->state_path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        (void)error_set_errno(&err, self->kind->code, errno, "'%s'", self->state_path);
        transfer_fail(self, &err);
        return;
    }
    if (self->machine->monitor) {
        monitor_attach_fd(self->machine->monitor, fd);
    } else {
        close(fd);
    }
    json_t *arguments = json_object();
    json_put_text(arguments, "fdname", STATE_FD_NAME);
    transfer_send(self, "getfd", arguments, answered);
}

static void migrate(struct transfer *self)
{
    json_t *arguments = json_object();
    json_put_text(arguments, "uri", "fd:" STATE_FD_NAME);
    self->is_writing = !self->kind->is_incoming;
    transfer_send(self, self->is_writing ? "migrate" : "migrate-incoming", arguments, answered);
}

/* ---- waiting for it ---- */

static void status_known(void *context, const json_t *value, const struct error *err)
{
    struct transfer *self = context;
    if (err) {
        transfer_fail(self, err);
        return;
    }
    monitor_note_status(self->machine->monitor, value);
    self->is_writing = false;
    op_finish(&self->op, NULL);
}

struct frozen {
    char *other, *state; /* of the memory, or the disk that it belongs to */
};

static void free_frozen(void *context)
{
    struct frozen *files = context;
    free(files->other);
    free(files->state);
    free(files);
}

static int sync_frozen(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct frozen *files = context;
    (void)is_cancelled;
    int rc = fs_sync(files->other, err);
    rc = rc < 0 ? rc : fs_sync(files->state, err);
    return rc < 0 ? rc : fs_sync_dir_of(files->state, err);
}

static void frozen_synced(void *context, const struct error *err)
{
    struct transfer *self = context;
    self->hashing = NULL;
    if (err) {
        transfer_fail(self, err);
    } else {
        transfer_send(self, "query-status", NULL, status_known);
    }
}

/* Before it is recorded as frozen: what a power cut took from these files, no digest of the seal
 * would show, because it is taken of what is left. */
static void sync_files(struct transfer *self)
{
    const struct machine *machine = self->machine;
    struct frozen *files = mem_new(struct frozen);
    /* The disk's time is a part of what saved memory belongs to. */
    files->other = paths_vm(
        machine->host->paths, machine->vm_name, self->kind->is_saved ? VM_OVERLAY : VM_MEMORY_FILE);
    files->state = mem_strdup(self->state_path);
    self->hashing = pool_start_in(
        machine->host->pool, POOL_BULK, sync_frozen, free_frozen, files, frozen_synced, self);
}

static void progress_arrived(void *context, const json_t *value, const struct error *err)
{
    struct transfer *self = context;
    struct loop *loop = self->machine->host->loop;
    const char *status = json_text(value, "status"), *why = json_text(value, "error-desc");
    bool is_late = loop_now_ms(loop) > self->give_up_ms;
    struct error failure = {.code = ERR_NONE};
    if (err) {
        transfer_fail(self, err);
    } else if (text_eq(status, "completed") && self->kind->is_incoming) {
        transfer_send(self, "query-status", NULL, status_known);
    } else if (text_eq(status, "completed")) {
        sync_files(self);
    } else if (is_late || text_eq(status, "failed") || text_eq(status, "cancelled")) {
        (void)error_set(&failure, self->kind->code, "%s",
            is_late ? "QEMU does not finish it"
            : why   ? why
                    : "QEMU gives no reason");
        transfer_fail(self, &failure);
    } else {
        loop_timer_start(self->timer, QUERY_MS);
    }
}

static void ask_progress(struct transfer *self)
{
    self->is_asking = true;
    transfer_send(self, "query-migrate", NULL, progress_arrived);
}

/* ---- what is in the way of saving ---- */

/* The machine that is made for it has only what the spec has; and which of its parts were there at
 * the start is part of what is saved. */
static void refuse_hot_plugged(struct transfer *self, const char *what)
{
    struct error err = {.code = ERR_NONE};
    const char *name = self->machine->vm_name;
    (void)error_set(&err, ERR_SAVED_MEMORY, "%s were added while it was running", what);
    (void)error_help(
        &err, "restart it: vmctl restart %s; or resume it: vmctl resume %s", name, name);
    transfer_fail(self, &err);
}

static void memory_known(void *context, const json_t *value, const struct error *err)
{
    struct transfer *self = context;
    if (!err && json_array_size(value) > 0) {
        refuse_hot_plugged(self, "modules of memory");
    } else {
        answered(self, value, err);
    }
}

static void check_memory(struct transfer *self)
{
    transfer_send(self, "query-memory-devices", NULL, memory_known);
}

static void cpus_known(void *context, const json_t *value, const struct error *err)
{
    struct transfer *self = context;
    for (size_t i = 0; !err && i < json_array_size(value); i++) {
        const char *path = json_text(json_array_get(value, i), "qom-path");
        if (path && text_starts_with(path, "/machine/peripheral")) {
            refuse_hot_plugged(self, "processors");
            return;
        }
    }
    answered(self, value, err);
}

static void check_cpus(struct transfer *self)
{
    transfer_send(self, "query-cpus-fast", NULL, cpus_known);
}

/* What a controller that is gone began. */
static void cancel_former(struct transfer *self)
{
    transfer_send(self, "migrate_cancel", NULL, answered);
}

static void former_known(void *context, const json_t *value, const struct error *err)
{
    static const char *const ends[] = {"none", "completed", "failed", "cancelled"};
    struct transfer *self = context;
    const char *status = json_text(value, "status"); /* NULL: there was none */
    bool is_over = !status;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        is_over |= text_eq(status, ends[i]);
    }
    if (!err && !is_over && loop_now_ms(self->machine->host->loop) < self->give_up_ms) {
        self->n_sent--;
        loop_timer_start(self->timer, QUERY_MS);
    } else {
        answered(self, value, err);
    }
}

static void await_former(struct transfer *self)
{
    transfer_send(self, "query-migrate", NULL, former_known);
}

static void (*const freezing[])(struct transfer *) = {
    stop_guest, set_capabilities, set_parameters, give_file, migrate, ask_progress};
static void (*const loading[])(struct transfer *) = {
    set_capabilities, give_file, migrate, ask_progress};
static void (*const saving[])(struct transfer *) = {cancel_former, await_former, stop_guest,
    check_memory, check_cpus, set_parameters, give_file, migrate, ask_progress};
static void (*const restoring[])(struct transfer *) = {give_file, migrate, ask_progress};
static void (*const syncing[])(struct transfer *) = {sync_files};

static const struct transfer_kind freeze_kind = {
    .commands = freezing, .failure = "it cannot be frozen", .code = ERR_TEMPLATE};
static const struct transfer_kind load_kind = {.commands = loading,
    .failure = "the memory of the template cannot be loaded",
    .code = ERR_TEMPLATE,
    .is_incoming = true};
static const struct transfer_kind save_kind = {.commands = saving,
    .failure = "its memory cannot be saved",
    .code = ERR_SAVED_MEMORY,
    .is_saved = true};
static const struct transfer_kind sync_kind = {.commands = syncing,
    .failure = "its memory cannot be saved",
    .code = ERR_SAVED_MEMORY,
    .is_saved = true};
static const struct transfer_kind restore_kind = {.commands = restoring,
    .failure = "its memory cannot be loaded",
    .code = ERR_SAVED_MEMORY,
    .is_incoming = true,
    .is_saved = true};

static void send_next(struct transfer *self)
{
    self->kind->commands[self->n_sent++](self);
}

/* ---- the start ---- */

static void go_on(void *context)
{
    struct transfer *self = context;
    if (self->err.code) {
        transfer_fail(self, &self->err);
    } else if (self->is_asking) {
        ask_progress(self);
    } else {
        send_next(self);
    }
}

static struct transfer *new_transfer(struct machine *machine, const struct transfer_kind *kind,
    int64_t limit_ms, op_done_fn *done, void *context)
{
    struct transfer *self = mem_new(struct transfer);
    *self =
        (struct transfer){.op = {transfer_cancel, done, context}, .machine = machine, .kind = kind};
    self->timer = loop_timer_new(machine->host->loop, go_on, self);
    self->give_up_ms = loop_now_ms(machine->host->loop) + limit_ms;
    return self;
}

struct op *machine_freeze(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context)
{
    struct transfer *self = new_transfer(machine, &freeze_kind, FREEZE_MS, done, context);
    self->state_path = paths_vm(machine->host->paths, env->name, VM_MACHINE_STATE);
    loop_timer_start(self->timer, 0);
    return &self->op;
}

static struct op *start_of_saved(struct machine *machine, const struct vm_env *env,
    const struct transfer_kind *kind, op_done_fn *done, void *context)
{
    int64_t limit_ms = FREEZE_MS + (int64_t)env->spec->memory_mib * 1000 / SLOWEST_MIB_S;
    struct transfer *self = new_transfer(machine, kind, limit_ms, done, context);
    self->state_path = paths_vm(machine->host->paths, env->name, VM_SAVED_MEMORY);
    loop_timer_start(self->timer, 0);
    return &self->op;
}

/* A guest that has left already, left to this file: RUN_STATE_POSTMIGRATE with SAVED_BEGUN. */
struct op *machine_save(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context)
{
    bool has_left =
        machine->monitor && monitor_run_state(machine->monitor) == RUN_STATE_POSTMIGRATE;
    return start_of_saved(machine, env, has_left ? &sync_kind : &save_kind, done, context);
}

struct hash_work {
    char *path;
    char wanted[DIGEST_SIZE];
};

static void free_hash_work(void *context)
{
    struct hash_work *work = context;
    free(work->path);
    free(work);
}

static int check_state(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct hash_work *work = context;
    char found[DIGEST_SIZE];
    int rc = digest_file(work->path, is_cancelled, found, err);
    return rc < 0 || text_eq(found, work->wanted)
               ? rc
               : error_set(err, ERR_TEMPLATE, "'%s' was changed since it was sealed", work->path);
}

static void state_checked(void *context, const struct error *err)
{
    struct transfer *self = context;
    self->hashing = NULL;
    answered(self, NULL, err);
}

/* Killed before or during: no guest has run. Done twice: QEMU refuses the second one. */
struct op *machine_load(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context)
{
    if (env->status->saved.phase == SAVED_WHOLE) {
        return start_of_saved(machine, env, &restore_kind, done, context);
    }
    const char *digest = env->status->prepared.template_digest;
    struct transfer *self = new_transfer(machine, &load_kind, LOAD_MS, done, context);
    struct template_record *record = template_find(machine->host->paths, digest, &self->err);
    self->state_path = template_path(machine->host->paths, digest, TEMPLATE_STATE);
    const char *accel = env->status->instance.accel;
    if (!self->err.code && !(record && record->memory.host)) {
        (void)error_set(&self->err, ERR_TEMPLATE, "it is gone");
    } else if (!self->err.code && !text_eq(record->memory.accel, accel)) {
        (void)error_set(&self->err, ERR_TEMPLATE, "it was saved with accel \"%s\", not \"%s\"",
            record->memory.accel, accel ? accel : "?");
    }
    if (self->err.code) {
        loop_timer_start(self->timer, 0);
    } else {
        struct hash_work *work = mem_new(struct hash_work);
        work->path = mem_strdup(self->state_path);
        memcpy(work->wanted, record->memory.state_sha256, DIGEST_SIZE);
        self->hashing =
            pool_start(machine->host->pool, check_state, free_hash_work, work, state_checked, self);
    }
    template_record_free(record);
    return &self->op;
}

/* ---- what it depends on ---- */

/* Under KVM guests see the host's own CPU. Another one differs in the first
 * `model name`, `microcode` or `flags`. */
static void read_cpu(char *ret_digest)
{
    enum { CPUINFO_MAX = 4 << 20 };
    static const char *const keys[] = {"model name", "microcode", "flags"};
    cleanup_buf struct buf text = BUF_INIT(CPUINFO_MAX), found = BUF_INIT(CPUINFO_MAX);
    struct error ignored = {.code = ERR_NONE};
    (void)fs_read_file("/proc/cpuinfo", &text, &ignored);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *at = strstr(buf_str(&text), keys[i]);
        buf_add(&found, at ? at : "", at ? strcspn(at, "\n") : 0);
    }
    digest_text(buf_str(&found), ret_digest);
}

/* Read once: it takes the kernel a while to write down many CPUs, and they do not change. */
static void add_cpu(struct buf *out)
{
    static char digest[DIGEST_SIZE];
    if (!digest[0]) {
        read_cpu(digest);
    }
    buf_printf(out, ", CPU %.*s", TEMPLATE_DIGITS, digest);
}

char *machine_memory_host(const struct reconciler_host *owner)
{
    (void)owner;
    struct error ignored = {.code = ERR_NONE};
    struct stat st;
    cleanup_free char *binary = NULL;
    struct buf out = BUF_INIT(0);
    if (host_find_qemu(ARCH_HOST, &binary, &ignored) < 0 || stat(binary, &st) < 0) {
        return NULL;
    }
    buf_printf(&out, "QEMU %s of %lld bytes, %lld", binary, (long long)st.st_size,
        (long long)st.st_mtim.tv_sec);
    add_cpu(&out);
    return buf_steal(&out);
}
