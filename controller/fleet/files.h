/* SPDX-License-Identifier: MPL-2.0 */
/* Files that VMs of the fleet need (specs/fleet/fleet_files.h): they are put into etcd with the
 * VM's record, and its node fetches them before it stores the record. */
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

/* What a transaction writes in addition when VM `name` becomes `next`: it puts the files that
 * `before` (NULL: the VM is new) does not name, from `sent`, {SHA256: base64}, and deletes those
 * that only `before` names. -ERR_USAGE: `sent` lacks one. */
int file_writes_plan(const struct member *member, const char *name, const struct vm_spec *before,
    const struct vm_spec *next, const json_t *sent, struct file_writes *ret, struct error *err);

/* All files of the spec, read from this host: for an etcd that has lost them. */
int file_writes_again(const struct member *member, const char *name, const struct vm_spec *spec,
    struct file_writes *ret, struct error *err);

/* All files of the VM: the prefix of their keys. free() it. */
char *files_prefix(const struct member *member, const char *name);

/* ---- get ---- */

struct files;
struct files *files_new(struct member *member);
void files_free(struct files *files); /* NULL is fine */

/* 0: this host has the files of the spec. 1: they are being fetched; then the messenger looks
 * again. -ERR_FLEET_NO_NODE: at this revision of the VM's record etcd lacks one. */
int files_have(struct files *files, const char *name, const struct vm_spec *spec, int64_t revision,
    struct error *err);
