/* SPDX-License-Identifier: MPL-2.0 */
/* The files that go along with VMs of the fleet (specs/fleet/fleet_files.h): put into etcd with the
 * VM's record, and fetched from there by its node before that has the record. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "controller/fleet/engine.h"
#include "specs/base/json.h"

struct buf;
struct error;
struct member;
struct vm_spec;

/* ---- put ---- */

/* Zero-initialised by its owner, who clears it. */
struct file_writes {
    struct engine_write *items;
    size_t n;
    char **keys; /* as many; NULL past those */
    struct buf *bytes;
};
void file_writes_clear(struct file_writes *writes);

/* What a transaction writes besides when VM `name` becomes `next`: the files that `before` (NULL:
 * there was none) does not name, out of `sent`, {SHA256: base64}; those that it named alone go.
 * -ERR_USAGE: one was not sent. */
int file_writes_plan(const struct member *member, const char *name, const struct vm_spec *before,
    const struct vm_spec *next, const json_t *sent, struct file_writes *ret, struct error *err);

/* All files of the spec, as they are here: for an etcd that has lost them. */
int file_writes_again(const struct member *member, const char *name, const struct vm_spec *spec,
    struct file_writes *ret, struct error *err);

/* All files of the VM: the prefix of their keys. free() it. */
char *files_prefix(const struct member *member, const char *name);

/* ---- get ---- */

struct files;
struct files *files_new(struct member *member);
void files_free(struct files *files); /* NULL is fine */

/* Whether the files of the spec are here. 0: they are. 1: they are being fetched, after which the
 * messenger looks again. -ERR_FLEET_NO_NODE: etcd does not have one, at this revision of the VM's
 * record. */
int files_have(struct files *files, const char *name, const struct vm_spec *spec, int64_t revision,
    struct error *err);
