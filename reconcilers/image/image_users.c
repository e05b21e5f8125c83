/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_users.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "controller/reconciler.h"
#include "reconcilers/image/image_work.h"
#include "reconcilers/vm/vm.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* By inode: a VM may know an image by a symbolic link. */
struct image_use {
    dev_t device;
    ino_t inode;
    char *vm_name;
};

struct collector {
    struct image_users *users;
    const struct paths *paths;
};

static void add_use(struct image_users *users, const char *path, const char *vm_name)
{
    struct stat st;
    if (!path || stat(path, &st) < 0) {
        return;
    }
    for (size_t i = 0; i < users->count; i++) {
        const struct image_use *use = &users->uses[i];
        if (use->device == st.st_dev && use->inode == st.st_ino && text_eq(use->vm_name, vm_name)) {
            return;
        }
    }
    mem_grow(users->uses, users->count);
    users->uses[users->count++] = (struct image_use){st.st_dev, st.st_ino, mem_strdup(vm_name)};
}

static void add_view(void *context, const struct vm_view *view)
{
    struct collector *c = context;
    struct image_users *users = c->users;
    add_use(users, view->status->prepared.image_path, view->name);
    if (!view->desired) {
        return;
    }
    const struct spec_image *image = &view->desired->spec->image;
    cleanup_free char *cached = image_find_cached(c->paths, image);
    add_use(users, cached ? cached : image->location, view->name);
    mem_grow(users->keys, users->n_keys);
    image_work_key(image, users->keys[users->n_keys++]);
}

/* What was found or made and is not recorded yet. */
static void add_vm(void *context, const struct vm *vm)
{
    struct collector *c = context;
    add_use(c->users, vm->image.path, vm->name);
    add_use(c->users, vm->outcome.image.path, vm->name);
    add_use(c->users, vm->outcome.prepared.image_path, vm->name);
}

int image_users_collect(struct reconciler_host *host, const struct vm_registry *registry,
    struct image_users *ret, struct error *err)
{
    cleanup_with(image_users_clear) struct image_users users = {0};
    struct collector collector = {&users, host->paths};
    int rc = host->each_vm(host, add_view, &collector, err);
    if (rc < 0) {
        return rc;
    }
    vm_registry_each(registry, add_vm, &collector);
    *ret = users;
    users = (struct image_users){0};
    return 0;
}

void image_users_clear(struct image_users *users)
{
    for (size_t i = 0; i < users->count; i++) {
        free(users->uses[i].vm_name);
    }
    free(users->uses);
    free(users->keys);
    *users = (struct image_users){0};
}

void image_users_of(const struct image_users *users, const char *path, struct buf *out)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return;
    }
    for (size_t i = 0; i < users->count; i++) {
        const struct image_use *use = &users->uses[i];
        if (use->device == st.st_dev && use->inode == st.st_ino) {
            buf_printf(out, "%s%s", out->len > 0 ? " " : "", use->vm_name);
        }
    }
}

bool image_users_want(const struct image_users *users, const char *key)
{
    for (size_t i = 0; i < users->n_keys; i++) {
        if (text_eq(users->keys[i], key)) {
            return true;
        }
    }
    return false;
}
