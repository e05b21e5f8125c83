/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/share_watch.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/share.h"
#include "reconcilers/backend/qemu/tpm.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"

struct watched {
    char *guest; /* NULL: it is the TPM's */
    int fd;      /* -1: its pipe is not there, so nothing is known */
    bool is_lost;
    struct loop_io *io;
    struct share_watch *watch;
};

struct share_watch {
    struct watched all[SHARES_MAX + 1];
    size_t count;
    void (*changed)(void *context);
    void *context;
};

/* The end of the pipe: no process has its other end. A byte, which no server in order writes,
 * counts as that, too. */
static void pipe_ready(void *context, int fd, unsigned ready)
{
    struct watched *watched = context;
    char byte;
    (void)ready;
    if (!watched->is_lost && read(fd, &byte, 1) >= 0) {
        watched->is_lost = true;
        loop_io_set(watched->io, 0);
        watched->watch->changed(watched->watch->context);
    }
}

static void watch_pipe(
    struct share_watch *watch, struct loop *loop, const char *path, const char *guest)
{
    struct watched *watched = &watch->all[watch->count++];
    char byte;
    *watched = (struct watched){.guest = mem_strdup(guest),
        .fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW),
        .watch = watch};
    if (watched->fd >= 0) {
        watched->is_lost = read(watched->fd, &byte, 1) >= 0;
        watched->io =
            loop_io_new(loop, watched->fd, watched->is_lost ? 0 : LOOP_READ, pipe_ready, watched);
    }
}

struct share_watch *share_watch_new(struct loop *loop, const char *vm_dir,
    const struct vm_spec *spec, void (*changed)(void *context), void *context)
{
    struct share_watch *watch = mem_new(struct share_watch);
    *watch = (struct share_watch){.changed = changed, .context = context};
    for (size_t i = 0; i < spec->n_shares; i++) {
        cleanup_free char *path = share_alive_path(vm_dir, spec->shares[i].tag);
        watch_pipe(watch, loop, path, spec->shares[i].guest);
    }
    if (spec->has_tpm) {
        cleanup_free char *path = tpm_alive_path(vm_dir);
        watch_pipe(watch, loop, path, NULL);
    }
    return watch;
}

void share_watch_free(struct share_watch *watch)
{
    for (size_t i = 0; watch && i < watch->count; i++) {
        loop_io_free(watch->all[i].io);
        cleanup_close_(&watch->all[i].fd);
        free(watch->all[i].guest);
    }
    free(watch);
}

const char *share_watch_lost(const struct share_watch *watch)
{
    for (size_t i = 0; watch && i < watch->count; i++) {
        if (watch->all[i].is_lost && watch->all[i].guest) {
            return watch->all[i].guest;
        }
    }
    return NULL;
}

bool share_watch_is_tpm_lost(const struct share_watch *watch)
{
    const struct watched *last = watch && watch->count > 0 ? &watch->all[watch->count - 1] : NULL;
    return last && !last->guest && last->is_lost;
}
