/* SPDX-License-Identifier: MPL-2.0 */
/* A store's file, written past the store's own functions. */
#pragma once

#include <lmdb.h>

#include "specs/base/cleanup.h"
#include "tests/unit/store/store_fixture.h"

struct raw {
    MDB_env *env;
    MDB_txn *txn;
};

static inline struct raw raw_begin(struct fixture *f)
{
    struct raw raw;
    cleanup_free char *path = paths_path(&f->paths, "store");
    store_close(f->store); /* LMDB forbids two environments of one file in a process */
    f->store = NULL;
    assert_int_equal(mdb_env_create(&raw.env), 0);
    assert_int_equal(mdb_env_set_maxdbs(raw.env, 16), 0);
    assert_int_equal(mdb_env_open(raw.env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(raw.env, NULL, 0, &raw.txn), 0);
    return raw;
}

static inline void raw_end(struct fixture *f, struct raw *raw)
{
    struct error err = {0};
    assert_int_equal(mdb_txn_commit(raw->txn), 0);
    mdb_env_close(raw->env);
    must(store_check(&f->paths, &err), &err);
    f->store = open_store(f);
}
