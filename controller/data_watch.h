/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Whether the data directory is still there: vmctld works through open descriptors and by paths,
 * and the two part when somebody removes, moves or replaces what is at a path. Then it must not go
 * on, as it would act on files that no command sees.
 */
#pragma once

struct error;
struct loop;
struct paths;
struct data_watch;

enum data_loss {
    DATA_KEPT,    /* never reported */
    DATA_MOVED,   /* another directory, or none, is at its path; the files still exist */
    DATA_DELETED, /* the store and the VMs' directories were deleted, and with them the disks */
    DATA_STORE_REPLACED, /* only the store was deleted or replaced */
    DATA_STORE_TAMPERED, /* its lock table was: nothing may be written, nothing waited for */
    DATA_LOCK_TAKEN,     /* the lock file was removed, and another vmctld has made a new one */
};

/* Called once, from the loop. */
typedef void data_lost_fn(void *context, enum data_loss loss);

/*
 * `lock_fd` is the descriptor that holds DATA/controller.lock: when that file is removed, the lock
 * is taken again at its path, and *lock_fd replaced. Both must outlive the watch. Without inotify
 * it looks every few seconds.
 */
struct data_watch *data_watch_new(
    struct loop *loop, const struct paths *paths, int *lock_fd, data_lost_fn *lost, void *context);
void data_watch_free(struct data_watch *watch); /* NULL is fine */
