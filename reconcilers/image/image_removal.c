/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_removal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/reconciler.h"
#include "reconcilers/image/image.h"
#include "reconcilers/image/image_work.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/image/image_request.h"
#include "specs/vm/template.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"

enum { STAT_BLOCK = 512, USERS_TEXT_MAX = 200 };

/* ---- which VMs need which images ---- */

/* Calls `each` with the name of everything in DATA/`relative`. */
static void for_each_name(const struct paths *paths, const char *relative,
    void (*each)(void *context, int dir_fd, const char *name), void *context)
{
    cleanup_free char *path = paths_path(paths, relative);
    fs_each_entry(path, each, context);
}

/* By inode: a VM may know an image by a symbolic link. */
struct image_use {
    dev_t device;
    ino_t inode;
    char *name; /* "web", "web@before", "~3f2ad08b11c5" */
};

struct users {
    struct image_use *uses;
    size_t count;
    char (*keys)[DIGEST_SIZE]; /* work keys of the images that specs ask for */
    size_t n_keys;
};

struct collector {
    struct users *users;
    const struct paths *paths;
};

static bool uses(const struct users *users, const struct stat *file, const char *name)
{
    for (size_t i = 0; i < users->count; i++) {
        const struct image_use *use = &users->uses[i];
        if (use->device == file->st_dev && use->inode == file->st_ino && text_eq(use->name, name)) {
            return true;
        }
    }
    return false;
}

static void add_use(struct users *users, const char *path, const char *name)
{
    struct stat st;
    if (path && user_path_stat(path, &st) == 0 && !uses(users, &st, name)) {
        mem_grow(users->uses, users->count);
        users->uses[users->count++] = (struct image_use){st.st_dev, st.st_ino, mem_strdup(name)};
    }
}

/* Of a VM that does not use it otherwise: only the snapshot, and not the VM, has to go. */
static void add_snapshot(
    struct users *users, const struct vm_snapshot *snapshot, const char *vm_name)
{
    const char *path = snapshot->prepared.image_path;
    cleanup_free char *name = removal_snapshot_user(vm_name, snapshot);
    struct stat st;
    if (path && user_path_stat(path, &st) == 0 && !uses(users, &st, vm_name)) {
        add_use(users, path, name);
    }
}

static void add_wanted(struct collector *c, const struct vm_view *view)
{
    struct users *users = c->users;
    if (view->desired->origin && !view->status->prepared.digest[0]) {
        add_use(users, view->desired->origin->snapshot.prepared.image_path, view->name);
    }
    const struct spec_image *image = &view->desired->spec->image;
    cleanup_free char *cached = image_find_cached(c->paths, image);
    add_use(users, cached ? cached : image->location, view->name);
    mem_grow(users->keys, users->n_keys);
    image_work_key(image, users->keys[users->n_keys++]);
}

static void add_view(void *context, const struct vm_view *view)
{
    struct collector *c = context;
    struct users *users = c->users;
    add_use(users, view->status->prepared.image_path, view->name);
    add_use(users, view->status->replacement.image_path, view->name);
    if (view->desired) {
        add_wanted(c, view);
    }
    for (uint32_t i = 0; i < view->status->n_snapshots; i++) {
        add_snapshot(users, &view->status->snapshots[i], view->name);
    }
}

/* What was found or made and is not recorded yet. */
static void add_pin(void *context, const char *vm_name, const char *path)
{
    struct collector *c = context;
    add_use(c->users, path, vm_name);
}

static void users_clear(struct users *users)
{
    for (size_t i = 0; i < users->count; i++) {
        free(users->uses[i].name);
    }
    free(users->uses);
    free(users->keys);
    *users = (struct users){0};
}

/* Templates lie on images, whether or not a VM is a clone of them now. */
static void add_template(void *context, int dir_fd, const char *name)
{
    struct collector *c = context;
    struct error ignored = {.code = ERR_NONE};
    (void)dir_fd;
    struct template_record *record =
        template_digest_is_valid(name) ? template_find(c->paths, name, &ignored) : NULL;
    if (record) {
        char shown[TEMPLATE_NAME_SIZE];
        template_builder_name(record->digest, shown);
        add_use(c->users, record->image_path, shown);
    }
    template_record_free(record);
}

/* -ERR_STORE when a VM cannot be read, -ERR_VM_CONFLICT when one has no record any more: it may use
 * any image. */
static int users_collect(const struct image_removal *removal, struct users *ret, struct error *err)
{
    cleanup_with(users_clear) struct users users = {0};
    struct collector collector = {&users, removal->host->paths};
    int rc = removal_check_orphans(removal->host, err);
    rc = rc < 0 ? rc : removal->host->each_vm(removal->host, add_view, &collector, err);
    if (rc < 0) {
        return rc;
    }
    removal->pins.each(removal->pins.source, add_pin, &collector);
    for_each_name(removal->host->paths, "templates", add_template, &collector);
    *ret = users;
    users = (struct users){0};
    return 0;
}

/* Appends the names of the VMs that use the file, with blanks between; none: nothing. */
static void users_of(const struct users *users, const char *path, struct buf *out)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return;
    }
    for (size_t i = 0; i < users->count; i++) {
        const struct image_use *use = &users->uses[i];
        if (use->device == st.st_dev && use->inode == st.st_ino) {
            buf_printf(out, "%s%s", out->len > 0 ? " " : "", use->name);
        }
    }
}

static bool users_want(const struct users *users, const char *key)
{
    for (size_t i = 0; i < users->n_keys; i++) {
        if (text_eq(users->keys[i], key)) {
            return true;
        }
    }
    return false;
}

/* ---- what led to it ---- */

/* What the disk gets back. */
static int64_t size_on_disk(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_blocks * STAT_BLOCK : 0;
}

static void unlink_if_leads_to(void *context, int dir_fd, const char *name)
{
    const char *target = context;
    char found[128];
    ssize_t n = readlinkat(dir_fd, name, found, sizeof(found) - 1);
    if (n > 0) {
        found[n] = '\0';
        if (text_eq(found, target)) {
            (void)unlinkat(dir_fd, name, 0);
        }
    }
}

static void drop_records(const struct image_removal *removal, const char *digest)
{
    const char *key;
    json_t *record;
    /* only read: jansson's iteration is not const */
    json_object_foreach((json_t *)(uintptr_t)removal->images, key, record)
    {
        if (text_starts_with(key, "url:") && text_eq(json_text(record, "sha256"), digest)) {
            json_put(removal->records, key, json_null());
        }
    }
}

/* ---- images ---- */

static int remove_one(const struct image_removal *removal, const char *digest, bool is_dry_run,
    json_t *answer, struct error *err)
{
    cleanup_free char *path = paths_image(removal->host->paths, digest);
    int64_t size = size_on_disk(path);
    int rc = is_dry_run ? 0 : removal_discard_file(removal->host, path, err);
    if (rc < 0) {
        return rc;
    }
    if (!is_dry_run) {
        const struct paths *paths = removal->host->paths;
        cleanup_free char *from_names = mem_printf("%s.qcow2", digest);
        cleanup_free char *from_sources = mem_printf("../%s.qcow2", digest);
        for_each_name(paths, "images", unlink_if_leads_to, from_names);
        for_each_name(paths, "images/.by-source", unlink_if_leads_to, from_sources);
        drop_records(removal, digest);
    }
    json_t *item = json_object();
    json_put_text(item, "sha256", digest);
    json_put_int(item, "size", size);
    (void)json_array_append_new(json_object_get(answer, "removed"), item);
    json_put_int(answer, "freed", json_int(answer, "freed", 0) + size);
    return 0;
}

static int check_removable(const struct image_removal *removal, const struct users *users,
    const char *digest, struct error *err)
{
    cleanup_free char *name = mem_printf("%s.qcow2", digest ? digest : "");
    cleanup_buf struct buf names = BUF_INIT(USERS_TEXT_MAX);
    cleanup_free char *path = NULL;
    if (image_file_name_is_valid(name)) {
        path = paths_image(removal->host->paths, digest);
    }
    if (!path || !fs_exists(path)) {
        return error_set(err, ERR_IMAGE_NOT_FOUND, "there is no image %.12s in the cache", name);
    }
    users_of(users, path, &names);
    if (names.len > 0) {
        (void)error_set(
            err, ERR_VM_CONFLICT, "image %.12s is in use by: %s", digest, buf_str(&names));
        return removal_help_users(buf_str(&names), err);
    }
    return 0;
}

static void begin_answer(json_t *answer)
{
    json_put(answer, "removed", json_array());
    json_put_int(answer, "freed", 0);
}

int image_remove(
    const struct image_removal *removal, const json_t *digests, json_t *answer, struct error *err)
{
    cleanup_with(users_clear) struct users users = {0};
    size_t count = json_array_size(digests);
    int rc = users_collect(removal, &users, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const char *digest = json_string_value(json_array_get(digests, i));
        rc = check_removable(removal, &users, digest, err);
    }
    begin_answer(answer);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = remove_one(removal, json_string_value(json_array_get(digests, i)), false, answer, err);
    }
    return rc;
}

/* ---- all that is unused ---- */

struct prune {
    const struct image_removal *removal;
    const struct users *users;
    bool is_dry_run;
    json_t *answer;
    int64_t n_downloads;
    struct error err; /* of what could not be removed last; the rest was */
};

static void prune_image(void *context, int dir_fd, const char *name)
{
    struct prune *prune = context;
    struct error err = {0}, in_use = {0};
    (void)dir_fd;
    if (!image_file_name_is_valid(name)) {
        return;
    }
    cleanup_free char *digest = mem_strndup(name, DIGEST_SIZE - 1);
    if (check_removable(prune->removal, prune->users, digest, &in_use) < 0) {
        return;
    }
    if (remove_one(prune->removal, digest, prune->is_dry_run, prune->answer, &err) < 0) {
        prune->err = err;
    }
}

/* KEY.part or KEY.meta that no download will resume. */
static void prune_part(void *context, int dir_fd, const char *name)
{
    struct prune *prune = context;
    const struct image_removal *removal = prune->removal;
    bool is_part = text_ends_with(name, ".part");
    if (name[0] == '.' || (!is_part && !text_ends_with(name, ".meta"))) {
        return;
    }
    cleanup_free char *key = mem_strndup(name, strlen(name) - strlen(".part"));
    if (users_want(prune->users, key) || image_cache_is_filling(removal->cache, key)) {
        return;
    }
    cleanup_free char *relative = mem_printf("images/.part/%s", name);
    cleanup_free char *path = paths_path(removal->host->paths, relative);
    int64_t size = size_on_disk(path);
    struct error err = {0};
    (void)dir_fd;
    if (!prune->is_dry_run && removal_discard_file(removal->host, path, &err) < 0) {
        prune->err = err;
        return;
    }
    prune->n_downloads += is_part;
    json_put_int(prune->answer, "freed", json_int(prune->answer, "freed", 0) + size);
}

int image_prune(
    const struct image_removal *removal, bool is_dry_run, json_t *answer, struct error *err)
{
    cleanup_with(users_clear) struct users users = {0};
    int rc = users_collect(removal, &users, err);
    if (rc < 0) {
        return rc;
    }
    struct prune prune = {
        .removal = removal, .users = &users, .is_dry_run = is_dry_run, .answer = answer};
    begin_answer(answer);
    for_each_name(removal->host->paths, "images", prune_image, &prune);
    for_each_name(removal->host->paths, "images/.part", prune_part, &prune);
    json_put_int(answer, "downloads", prune.n_downloads);
    if (prune.err.code != ERR_NONE) {
        *err = prune.err;
        return -(int)err->code;
    }
    return 0;
}
