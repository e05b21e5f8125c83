/* SPDX-License-Identifier: MPL-2.0 */
/* A store, a project directory beside it, and short ways to write VMFiles and to look at both. */
#pragma once

#include <sys/stat.h>

#include "specs/base/cleanup.h"
#include "store/source/source_sync.h"
#include "store/source/sources.h"
#include "tests/unit/store/store_fixture.h"

/* DIR/project/NAME; made before it is needed. free() it. */
static inline char *project_file(const struct fixture *f, const char *name)
{
    struct error err = {0};
    char *path = mem_printf("%s/project/%s", f->dir, name);
    cleanup_free char *directory = mem_printf("%s/project", f->dir);
    must(fs_make_dirs(directory, 0700, &err), &err);
    return path;
}

static inline void write_project(const struct fixture *f, const char *name, const char *text)
{
    struct error err = {0};
    cleanup_free char *path = project_file(f, name);
    must(fs_write_file(path, text, strlen(text), 0600, &err), &err);
}

/* Valid VM blocks; `rest` goes into the block. */
#define VM(name, rest) "vm \"" name "\" { backend \"noop\"; image \"image\"; " rest " }\n"

static inline void write_image(const struct fixture *f)
{
    write_project(f, "image", "");
}

static inline void register_source(
    struct fixture *f, const char *path, enum source_prune prune, bool is_directory)
{
    struct error err = {0};
    struct store_batch *batch = store_batch_new();
    struct source_record *wanted = source_record_new(path, 1700000000000);
    wanted->prune = prune;
    wanted->is_directory = is_directory;
    must(sources_add_registration(f->store, batch, wanted, &err), &err);
    assert_int_equal(commit(f->store, batch), 0);
    source_record_free(wanted);
}

static inline struct source_record *get_source(struct fixture *f, const char *path)
{
    struct error err = {0};
    struct source_record *record = NULL;
    must(sources_get(f->store, path, &record, &err), &err);
    return record;
}

static inline enum source_state source_state_of(struct fixture *f, const char *path)
{
    struct source_record *record = get_source(f, path);
    assert_non_null(record);
    enum source_state state = record->state;
    source_record_free(record);
    return state;
}

static inline bool is_desired(struct fixture *f, const char *name)
{
    struct vm_record record = get_vm(f->store, name);
    bool is_there = record.desired && !record.desired->is_deleting;
    vm_record_clear(&record);
    return is_there;
}

static inline uint32_t memory_of(struct fixture *f, const char *name)
{
    struct vm_record record = get_vm(f->store, name);
    uint32_t memory = record.desired ? record.desired->spec->memory_mib : 0;
    vm_record_clear(&record);
    return memory;
}
