/* SPDX-License-Identifier: MPL-2.0 */
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/vfs.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "store/lmdb/lmdb_env.h"
#include "store/lmdb/store_internal.h"

/* Sparse: what is not used takes no disk space, only addresses. */
#define FIRST_MAP_BYTES ((size_t)256 << 20)

int store_check_filesystem(int64_t magic, const char *path, struct error *err)
{
    static const struct { /* statfs(2) */
        uint32_t magic;
        const char *name;
    } refused[] = {
        {0x6969, "NFS"},
        {0x01021997, "9p"},
        {0x517b, "SMB"},
        {0xff534d42, "CIFS"},
        {0xfe534d42, "SMB2"},
        {0x5346414f, "AFS"},
        {0x00c36400, "Ceph"},
        {0x0bd00bd0, "Lustre"},
        {0x73757245, "Coda"},
        {0x786f4256, "VirtualBox shared folders"},
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if ((uint32_t)magic == refused[i].magic) {
            (void)error_set(err, ERR_STORE, "'%s' is on %s: the store needs a local file system",
                path, refused[i].name);
            return error_help(err, "choose a local directory: --data-dir DIR, or XDG_DATA_HOME");
        }
    }
    return 0;
}

static struct store *store_new(const struct paths *paths, size_t map_bytes)
{
    struct store *store = mem_new(struct store);
    store->paths.data_dir = mem_strdup(paths->data_dir);
    store->path = paths_path(paths, "store");
    store->map_bytes = map_bytes;
    (void)pthread_rwlock_init(&store->map_lock, NULL);
    atomic_init(&store->commits, 0);
    atomic_flag_clear(&store->has_warned);
    return store;
}

int store_open_sized(
    const struct paths *paths, size_t map_bytes, struct store **ret, struct error *err)
{
    struct store *store = store_new(paths, map_bytes);
    int rc = fs_make_dirs(store->path, 0700, err);
    struct statfs fs;
    if (rc == 0) {
        rc = statfs(store->path, &fs) == 0
                 ? store_check_filesystem(fs.f_type, store->path, err)
                 : error_set_errno(err, ERR_STORE, errno, "cannot examine '%s'", store->path);
    }
    if (rc == 0) {
        rc = lmdb_open(store, err);
        if (rc != 0 && rc != -ERR_STORE_VERSION) {
            rc = lmdb_error(store, rc, "cannot open the store", err);
        }
    }
    if (rc != 0) {
        store_close(store);
        return rc;
    }
    *ret = store;
    return 0;
}

int store_open(const struct paths *paths, struct store **ret, struct error *err)
{
    return store_open_sized(paths, FIRST_MAP_BYTES, ret, err);
}

int store_check(const struct paths *paths, struct error *err)
{
    enum { META_PAGES_BYTES = 8192 }; /* less is a store that is just being made */
    cleanup_free char *path = paths_path(paths, "store");
    cleanup_free char *data_path = paths_path(paths, "store/data.mdb");
    struct store store = {.path = path};
    int rc = fs_size(data_path) < META_PAGES_BYTES ? 0 : lmdb_check_pages(path);
    return rc == 0 ? 0 : lmdb_error(&store, rc, "cannot open the store", err);
}

void store_close(struct store *store)
{
    if (store) {
        lmdb_close(store);
        (void)pthread_rwlock_destroy(&store->map_lock);
        paths_clear(&store->paths);
        free(store->path);
        free(store);
    }
}

const struct paths *store_paths(const struct store *store)
{
    return &store->paths;
}

uint64_t store_commits(const struct store *store)
{
    MDB_envinfo info;
    return store->env && mdb_env_info(store->env, &info) == 0 ? info.me_last_txnid : 0;
}

size_t store_map_bytes(const struct store *store)
{
    MDB_envinfo info;
    return store->env && mdb_env_info(store->env, &info) == 0 ? info.me_mapsize : 0;
}
