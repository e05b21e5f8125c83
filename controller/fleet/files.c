/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "controller/fleet/member.h"
#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_files.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_spec.h"
#include "store/source/kept_files.h"

char *files_prefix(const struct member *member, const char *name)
{
    return fleet_file_key(member->config->fleet, name, "");
}

/* ---- put ---- */

void file_writes_clear(struct file_writes *writes)
{
    for (size_t i = 0; i < writes->n; i++) {
        free(writes->keys[i]);
        buf_clear(&writes->bytes[i]);
    }
    free(writes->items);
    free(writes->keys);
    free(writes->bytes);
    *writes = (struct file_writes){.n = 0};
}

static int add_digest(void *context, struct spec_file *file, struct error *err)
{
    struct fleet_file parsed;
    (void)err;
    if (fleet_file_parse(file->path, &parsed)) {
        strings_add(context, parsed.digest);
    }
    return 0;
}

/* Of the fleet's files; each once. */
static void digests_of(const struct vm_spec *spec, struct strings *ret)
{
    struct vm_spec *copy = vm_spec_copy(spec);
    if (copy) {
        (void)fleet_files_each(copy, add_digest, ret, NULL);
    }
    vm_spec_free(copy);
}

static void add_write(
    const struct member *member, const char *name, const char *digest, struct file_writes *ret)
{
    mem_grow(ret->items, ret->n);
    mem_grow(ret->keys, ret->n);
    mem_grow(ret->bytes, ret->n);
    ret->keys[ret->n] = fleet_file_key(member->config->fleet, name, digest);
    ret->bytes[ret->n] = BUF_INIT(FLEET_FILE_MAX);
    ret->items[ret->n] = (struct engine_write){.kind = ENGINE_DELETE, .key = ret->keys[ret->n]};
    ret->n++;
}

int file_writes_plan(const struct member *member, const char *name, const struct vm_spec *before,
    const struct vm_spec *next, const json_t *sent, struct file_writes *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings old = {.count = 0};
    cleanup_with(strings_clear) struct strings new = {.count = 0};
    digests_of(before, &old);
    digests_of(next, &new);
    for (size_t i = 0; i < new.count; i++) {
        const char *text = json_text(sent, new.items[i]);
        if (strings_have(&old, new.items[i])) {
            continue;
        }
        add_write(member, name, new.items[i], ret);
        struct buf *bytes = &ret->bytes[ret->n - 1];
        if (!text || !base64_decode(bytes, text, strlen(text)) || bytes->is_full) {
            return error_set(err, ERR_USAGE, "vm '%s': the request lacks one of its files", name);
        }
        ret->items[ret->n - 1].kind = ENGINE_PUT;
        ret->items[ret->n - 1].value = (struct bytes){buf_str(bytes), bytes->len};
    }
    for (size_t i = 0; i < old.count; i++) {
        if (!strings_have(&new, old.items[i])) {
            add_write(member, name, old.items[i], ret);
        }
    }
    return 0;
}

struct reading {
    const struct member *member;
    const char *name;
    struct file_writes *writes;
    struct strings done;
};

static int read_again(void *context, struct spec_file *file, struct error *err)
{
    struct reading *reading = context;
    struct fleet_file parsed;
    if (!fleet_file_parse(file->path, &parsed) || strings_have(&reading->done, parsed.digest)) {
        return 0;
    }
    cleanup_free char *dir = paths_path(reading->member->paths, FLEET_FILES_DIR);
    cleanup_free char *path = fs_join(dir, file->path + strlen(FLEET_FILES_ROOT));
    strings_add(&reading->done, parsed.digest);
    add_write(reading->member, reading->name, parsed.digest, reading->writes);
    struct buf *bytes = &reading->writes->bytes[reading->writes->n - 1];
    int rc = fs_read_regular(path, bytes, err);
    reading->writes->items[reading->writes->n - 1].kind = ENGINE_PUT;
    reading->writes->items[reading->writes->n - 1].value =
        (struct bytes){buf_str(bytes), bytes->len};
    return rc;
}

int file_writes_again(const struct member *member, const char *name, const struct vm_spec *spec,
    struct file_writes *ret, struct error *err)
{
    struct reading reading = {member, name, ret, {.count = 0}};
    struct vm_spec *copy = vm_spec_copy(spec);
    int rc = fleet_files_each(copy, read_again, &reading, err);
    strings_clear(&reading.done);
    vm_spec_free(copy);
    return rc;
}

/* ---- get ---- */

struct files {
    struct member *member;
    struct op *op; /* a read on its way; NULL: none */
    struct engine_rows rows;
    char *name; /* the VM whose files are read, or were read last */
    int64_t revision;
    bool is_read;           /* … at that revision of its record */
    struct strings lacking; /* "web 17": etcd did not have all files of it then */
};

struct files *files_new(struct member *member)
{
    struct files *files = mem_new(struct files);
    files->member = member;
    kept_files_sweep(member->paths, member->store, FLEET_FILES_DIR);
    return files;
}

void files_free(struct files *files)
{
    if (files) {
        op_cancel(files->op);
        engine_rows_clear(&files->rows);
        strings_clear(&files->lacking);
        free(files->name);
        free(files);
    }
}

struct missing {
    const struct files *files;
    const struct engine_rows *rows; /* NULL: only what is here counts */
    const char *path;               /* the first that is not there; borrowed */
};

/* Writes it, if it was read. What a path of this form has is what its name says. */
static int find_missing(void *context, struct spec_file *file, struct error *err)
{
    struct missing *missing = context;
    const struct member *member = missing->files->member;
    struct fleet_file parsed;
    struct stat st;
    char digest[DIGEST_SIZE];
    if (!fleet_file_parse(file->path, &parsed)) {
        return 0;
    }
    const char *name = file->path + strlen(FLEET_FILES_ROOT);
    cleanup_free char *dir = paths_path(member->paths, FLEET_FILES_DIR);
    cleanup_free char *path = fs_join(dir, name);
    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        return 0;
    }
    cleanup_free char *key =
        fleet_file_key(member->config->fleet, missing->files->name, parsed.digest);
    const struct engine_row *row = missing->rows ? engine_rows_find(missing->rows, key) : NULL;
    if (row) {
        digest_bytes(row->value.data, row->value.n, digest);
    }
    if (!row || !text_eq(digest, parsed.digest)) {
        missing->path = missing->path ? missing->path : file->path;
        return 0;
    }
    return kept_file_write(dir, name, parsed.is_executable ? 0700 : 0600, row->value, err);
}

static void on_read(void *context, const struct error *err)
{
    struct files *files = context;
    files->op = NULL;
    files->is_read = !err;
    if (err) {
        log_warn("fleet", "cannot read the files of vm '%s': %s", files->name, err->message);
    }
    files->member->look(files->member->context, err != NULL);
}

int files_have(struct files *files, const char *name, const struct vm_spec *spec, int64_t revision,
    struct error *err)
{
    bool was_read = files->is_read && text_eq(files->name, name) && files->revision == revision;
    struct missing missing = {files, was_read ? &files->rows : NULL, NULL};
    cleanup_free char *state = mem_printf("%s %lld", name, (long long)revision);
    bool is_lacking = strings_have(&files->lacking, state);
    struct vm_spec *copy = vm_spec_copy(spec);
    if (files->op) {
        vm_spec_free(copy);
        return 1; /* one after another */
    }
    if (!was_read) {
        free(files->name);
        files->name = mem_strdup(name);
    }
    int rc = fleet_files_each(copy, find_missing, &missing, err);
    cleanup_free char *path = mem_strdup(missing.path);
    vm_spec_free(copy);
    if (rc < 0 || !path) {
        return rc;
    }
    if (was_read || is_lacking) {
        strings_add(&files->lacking, state);
        return error_set(
            err, ERR_FLEET_NO_NODE, "vm '%s': etcd does not have the file '%s'", name, path);
    }
    cleanup_free char *prefix = files_prefix(files->member, name);
    const struct engine_range range = {.key = prefix, .is_prefix = true};
    engine_rows_clear(&files->rows);
    files->revision = revision;
    files->is_read = false;
    files->op = files->member->engine->ops->range(
        files->member->engine, &range, &files->rows, on_read, files);
    return 1;
}
