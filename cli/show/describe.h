/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What `vmctl describe` shows beyond `status`: what the VM lacks of its spec, how far provisioning
 * is, what restarts it went through and when the next is tried, and where its files are. The facts
 * are pure functions of the VM's record; text and JSON are printed from them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/json.h"
#include "specs/vm/spec_diff.h"

struct buf;
struct cli;
struct error;
struct spec_step;
struct vm_record;

/* Appends all blocks. */
int describe_add_text(
    struct cli *cli, const struct vm_record *record, struct buf *out, struct error *err);

/* output_of_vm(), and "changes", "provisioning", "nextTry", "files", "events". The caller owns
 * *ret. */
int describe_to_json(
    struct cli *cli, const struct vm_record *record, json_t **ret, struct error *err);

/* ---- the facts ---- */

/* Changes of the spec that what exists does not have, those left out that took effect without a
 * start. spec_diff_clear() it. */
struct spec_diff describe_changes(const struct vm_record *record);

/* What it takes: "restart", and on a VM that is off "the next start". Static text. */
const char *describe_needs(enum disposition disposition);

/* "done", "running", "failed", "skipped" (never run, and not going to) or "pending": the state of a
 * step of the desired spec; NULL when the steps were changed since they were run: single ones
 * have no state then. */
const char *describe_step_state(const struct vm_record *record, size_t index);

/* How many steps there are; of changed steps, how many were run. The record has a status. */
uint32_t describe_steps_total(const struct vm_record *record);

/* `shell inline "apt-get update"`, `shell script /path`, `file /path -> /path`, on one line. */
void describe_add_step(struct buf *out, const struct spec_step *step);

/* ` (Failed with 3 after 2m, 5m ago)`: how its last run on this disk ended, ` (in 0.4s, just now)`
 * where its state is "done" already; nothing when there was none. */
void describe_add_step_record(
    struct buf *out, const struct vm_record *record, size_t index, int64_t now_ms);

/* The same for machines; NULL when there was none. Caller owns. */
json_t *describe_step_record_to_json(const struct vm_record *record, size_t index);

/* When the VM is started again, wall; 0: nothing is waited for. */
int64_t describe_next_try_ms(const struct vm_record *record, int64_t now_ms);
