/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/template/template_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/pool.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/template.h"
#include "specs/vm/vm_desired.h"

char *template_base(const struct paths *paths, const struct vm_prepared *prepared)
{
    return prepared->template_digest[0]
               ? template_path(paths, prepared->template_digest, "disk.qcow2")
               : mem_strdup(prepared->image_path);
}

void template_touch(const struct paths *paths, const char *digest)
{
    cleanup_free char *path = template_path(paths, digest, "template.json");
    if (utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW) < 0) {
        log_debug("template", "%s: %s", path, strerror(errno));
    }
}

/* ---- sealing, on the pool ---- */

/* What pool work may touch. */
struct sealing {
    struct paths paths;
    char *vm_dir;
    char *disk;
    struct template_record *record;
};

/* The same file under a second name: the builder is removed afterwards, and its disk stays. */
static int keep_file(const char *from, const char *dir, const char *name, struct error *err)
{
    cleanup_free char *to = fs_join(dir, name);
    return link(from, to) < 0 ? error_set_errno(err, ERR_TEMPLATE, errno, "cannot keep '%s'", from)
                              : 0;
}

static int64_t changed_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static int describe_disk(struct template_record *record, const char *path,
    const atomic_bool *is_cancelled, struct error *err)
{
    struct stat st;
    if (chmod(path, 0400) < 0 || stat(path, &st) < 0) {
        return error_set_errno(err, ERR_TEMPLATE, errno, "cannot seal '%s'", path);
    }
    record->disk_bytes = (uint64_t)st.st_size;
    record->disk_changed_ns = changed_ns(&st);
    int rc = fs_sync(path, err);
    return rc < 0 ? rc : digest_file(path, is_cancelled, record->disk_sha256, err);
}

/* QEMU opens the memory for writing, though a clone keeps to itself what it writes. */
static int keep_memory(const struct sealing *sealing, const char *dir,
    const atomic_bool *is_cancelled, struct error *err)
{
    static const char *const names[] = {TEMPLATE_MEMORY, TEMPLATE_STATE};
    struct template_memory *memory = &sealing->record->memory;
    cleanup_free char *state = fs_join(dir, TEMPLATE_STATE), *file = fs_join(dir, TEMPLATE_MEMORY);
    struct stat st, state_st;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(names); i++) {
        cleanup_free char *from = fs_join(sealing->vm_dir, names[i]);
        cleanup_free char *to = fs_join(dir, names[i]);
        rc = keep_file(from, dir, names[i], err);
        rc = rc < 0 ? rc : fs_sync(to, err);
    }
    if (rc < 0) {
        return rc;
    }
    if (stat(file, &st) < 0 || stat(state, &state_st) < 0 || chmod(file, 0600) < 0 ||
        chmod(state, 0400) < 0) {
        return error_set_errno(err, ERR_TEMPLATE, errno, "cannot seal '%s'", file);
    }
    memory->memory_bytes = (uint64_t)st.st_size;
    memory->memory_changed_ns = changed_ns(&st);
    memory->state_bytes = (uint64_t)state_st.st_size;
    return digest_file(state, is_cancelled, memory->state_sha256, err);
}

/* All but its name. */
static int fill_directory(const struct sealing *sealing, const char *dir,
    const atomic_bool *is_cancelled, struct error *err)
{
    static const char *const logs[] = {"provision.log", "console.log"};
    cleanup_free char *disk = fs_join(dir, "disk.qcow2"), *json = fs_join(dir, "template.json");
    int rc = fs_make_dirs(dir, 0700, err);
    rc = rc < 0 ? rc : keep_file(sealing->disk, dir, "disk.qcow2", err);
    rc = rc < 0 ? rc : describe_disk(sealing->record, disk, is_cancelled, err);
    if (rc == 0 && sealing->record->memory.host) {
        rc = keep_memory(sealing, dir, is_cancelled, err);
    }
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(logs); i++) {
        cleanup_free char *log = fs_join(sealing->vm_dir, logs[i]);
        rc = fs_exists(log) ? keep_file(log, dir, logs[i], err) : 0;
    }
    if (rc < 0) {
        return rc;
    }
    cleanup_json json_t *record = template_record_to_json(sealing->record);
    cleanup_free char *text = json_dumps(record, JSON_INDENT(2));
    return fs_write_file(json, text, strlen(text), 0600, err);
}

/* The name is the last of it: before, there is no template, and after, all of it is on the disk. */
static int seal(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct sealing *sealing = context;
    const char *digest = sealing->record->digest;
    cleanup_free char *hidden = mem_printf(".%s", digest);
    cleanup_free char *made = template_path(&sealing->paths, hidden, "");
    cleanup_free char *path = template_path(&sealing->paths, digest, "");
    if (fs_exists(path)) {
        return 0;
    }
    int rc = fs_remove_beneath(sealing->paths.data_dir, "templates", hidden, err);
    rc = rc < 0 ? rc : fill_directory(sealing, made, is_cancelled, err);
    if (rc == 0 && rename(made, path) < 0) {
        rc = error_set_errno(err, ERR_TEMPLATE, errno, "cannot rename '%s'", made);
    }
    if (rc < 0) {
        struct error ignored = {.code = ERR_NONE};
        (void)fs_remove_beneath(sealing->paths.data_dir, "templates", hidden, &ignored);
        return rc;
    }
    return fs_sync_dir_of(path, err);
}

static void free_sealing(void *context)
{
    struct sealing *sealing = context;
    paths_clear(&sealing->paths);
    free(sealing->vm_dir);
    free(sealing->disk);
    template_record_free(sealing->record);
    free(sealing);
}

struct op *template_seal(const struct vm_env *env, const char *disk_path,
    struct template_record *record_take, op_done_fn *done, void *context)
{
    struct sealing *sealing = mem_new(struct sealing);
    *sealing = (struct sealing){
        .paths = {.data_dir = mem_strdup(env->host->paths->data_dir)},
        .vm_dir = paths_vm(env->host->paths, env->name, VM_DIR),
        .disk = mem_strdup(disk_path),
        .record = record_take,
    };
    return pool_start_in(env->host->pool, POOL_BULK, seal, free_sealing, sealing, done, context);
}

/* ---- removing ---- */

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = words; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strcspn(at, " ") == n && strncmp(at, word, n) == 0) {
            return true;
        }
    }
    return false;
}

static void add_user(json_t *names, const char *digest, const char *user)
{
    const char *before = json_text(names, digest);
    if (digest[0] && !has_word(before, user)) {
        cleanup_free char *now =
            mem_printf("%s%s%s", before ? before : "", before ? " " : "", user);
        json_put_text(names, digest, now);
    }
}

/* Only it, and not the VM, has to go. */
static void add_snapshot(json_t *names, const struct vm_snapshot *snapshot, const char *vm_name)
{
    const char *digest = snapshot->prepared.template_digest;
    cleanup_free char *user = removal_snapshot_user(vm_name, snapshot);
    if (!has_word(json_text(names, digest), vm_name)) {
        add_user(names, digest, user);
    }
}

/* To {digest: "web db@before"}. */
static void add_users(void *context, const struct vm_view *view)
{
    const struct vm_status *status = view->status;
    add_user(context, status->prepared.template_digest, view->name);
    add_user(context, status->replacement.template_digest, view->name);
    add_user(context, status->warm.template_digest, view->name);
    if (view->desired && view->desired->origin && !status->prepared.digest[0]) {
        add_user(context, view->desired->origin->snapshot.prepared.template_digest, view->name);
    }
    for (uint32_t i = 0; i < status->n_snapshots; i++) {
        add_snapshot(context, &status->snapshots[i], view->name);
    }
}

struct template_removal {
    struct reconciler_host *host;
    const struct template_order *order;
    json_t *users; /* of each that has some */
    json_t *answer;
    struct error *err; /* of the last that could not be removed; the others were */
};

static int remove_one(struct template_removal *removal, const char *name, struct error *err)
{
    enum { STAT_BLOCK = 512 };
    struct stat st;
    cleanup_free char *path = template_path(removal->host->paths, name, "");
    cleanup_free char *disk = template_path(removal->host->paths, name, "disk.qcow2");
    int64_t size = stat(disk, &st) == 0 ? (int64_t)st.st_blocks * STAT_BLOCK : 0;
    int rc = removal->order->is_dry_run ? 0 : removal_discard_file(removal->host, path, err);
    if (rc < 0) {
        return rc;
    }
    json_t *item = json_object();
    json_put_text(item, "digest", name);
    json_put_int(item, "size", size);
    (void)json_array_append_new(json_object_get(removal->answer, "removed"), item);
    json_put_int(removal->answer, "freed", json_int(removal->answer, "freed", 0) + size);
    return 0;
}

static void remove_if_unused(void *context, int dir_fd, const char *name)
{
    struct template_removal *removal = context;
    const struct template_order *order = removal->order;
    struct error err = {.code = ERR_NONE};
    struct stat st;
    (void)dir_fd;
    cleanup_free char *json = template_path(removal->host->paths, name, "template.json");
    int64_t used_ms = stat(json, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000 : 0;
    bool is_old = clock_wall_ms(removal->host->clock) - used_ms >= order->unused_ms;
    bool is_unused =
        template_digest_is_valid(name) && is_old && !json_object_get(removal->users, name);
    bool is_rest = name[0] == '.' && order->has_rests;
    if ((is_rest || is_unused) && remove_one(removal, name, &err) < 0) {
        *removal->err = err;
    }
}

static int check_removable(const struct template_removal *removal, struct error *err)
{
    const json_t *digests = removal->order->digests;
    for (size_t i = 0; i < json_array_size(digests); i++) {
        const char *digest = json_string_value(json_array_get(digests, i));
        bool is_valid = digest && template_digest_is_valid(digest);
        cleanup_free char *path = template_path(removal->host->paths, is_valid ? digest : "-", "");
        const char *users = is_valid ? json_text(removal->users, digest) : NULL;
        if (!is_valid || !fs_exists(path)) {
            return error_set(err, ERR_TEMPLATE_NOT_FOUND, "there is no template %.*s",
                TEMPLATE_DIGITS, digest ? digest : "?");
        }
        if (users) {
            (void)error_set(err, ERR_VM_CONFLICT, "template %.*s is in use by: %s", TEMPLATE_DIGITS,
                digest, users);
            return removal_help_users(users, err);
        }
    }
    return 0;
}

int template_remove(struct reconciler_host *host, const struct template_order *order,
    json_t *answer, struct error *err)
{
    cleanup_json json_t *users = json_object();
    struct template_removal removal = {
        .host = host, .order = order, .users = users, .answer = answer, .err = err};
    int rc = removal_check_orphans(host, err);
    rc = rc < 0 ? rc : host->each_vm(host, add_users, users, err);
    rc = rc < 0 ? rc : check_removable(&removal, err);
    json_put(answer, "removed", json_array());
    json_put_int(answer, "freed", 0);
    for (size_t i = 0; rc == 0 && i < json_array_size(order->digests); i++) {
        rc = remove_one(&removal, json_string_value(json_array_get(order->digests, i)), err);
    }
    if (rc == 0 && !order->digests) {
        cleanup_free char *directory = paths_path(host->paths, "templates");
        fs_each_entry(directory, remove_if_unused, &removal);
        rc = -(int)err->code;
    }
    return rc;
}

void template_sweep(struct reconciler_host *host, bool is_start)
{
    const struct template_order order = {
        .unused_ms = INT64_C(14) * 24 * 3600 * 1000, .has_rests = is_start};
    cleanup_json json_t *answer = json_object();
    cleanup_free char *directory = paths_path(host->paths, "templates");
    struct error err = {.code = ERR_NONE};
    if (!fs_exists(directory)) { /* who has no template does not read all VMs for them */
        return;
    }
    if (template_remove(host, &order, answer, &err) < 0) {
        log_warn("template", "%s", err.message);
    }
    const json_t *removed = json_object_get(answer, "removed");
    for (size_t i = 0; i < json_array_size(removed); i++) {
        log_info("template", "%.*s: removed, as no VM was cloned from it for two weeks",
            TEMPLATE_DIGITS, json_text(json_array_get(removed, i), "digest"));
    }
}
