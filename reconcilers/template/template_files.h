/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The files of templates (specs/vm/template.h): seals a builder's disk and removes unused
 * templates. A template is used by the VMs whose disk, or next disk, or a snapshot of it, is a
 * clone of it, and by those that intend to make one. The store, which has the intent before the
 * effect, shows the users, and only the controller removes templates.
 */
#pragma once

#include "controller/loop/op.h"
#include "reconcilers/backend/backend.h"
#include "specs/base/json.h"

struct error;
struct template_record;

/*
 * Makes DATA/templates/DIGEST/ of the disk at `disk_path`, which no process uses, and of the VM's
 * logs; killed at any point it is absent or complete, and done twice it is done once. The record's
 * facts about the disk are filled in. `record` is the operation's. Errors: -ERR_NO_SPACE,
 * -ERR_TEMPLATE.
 */
struct op *template_seal(const struct vm_env *env, const char *disk_path,
    struct template_record *record_take, op_done_fn *done, void *context);

/* Returns the base file of a disk prepared so: the template's disk, or the image. free() it. */
char *template_base(const struct paths *paths, const struct vm_prepared *prepared);

/* Records that a clone was made of it. */
void template_touch(const struct paths *paths, const char *digest);

/* Which of the unused templates to remove. */
struct template_order {
    const json_t *digests; /* these, all or none; NULL: all … */
    int64_t unused_ms;     /* … that were not cloned for so long */
    bool is_dry_run;
    bool has_rests; /* also what seals that were cut off left: none is under way */
};

/* Puts into `answer` what went: removed [{digest, size}] and freed, bytes. -ERR_VM_CONFLICT says
 * who uses one, or that a disk without a record may (removal_check_orphans()), and nothing went;
 * -ERR_TEMPLATE_NOT_FOUND. */
int template_remove(struct reconciler_host *host, const struct template_order *order,
    json_t *answer, struct error *err);
/* Those that were not cloned for two weeks; what cannot be removed is logged. */
void template_sweep(struct reconciler_host *host, bool is_start);
