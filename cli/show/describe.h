/* SPDX-License-Identifier: MPL-2.0 */
/* What `vmctl describe` says beyond `status`: what the VM lacks of its spec, how far provisioning
 * is, what restarts it went through and when the next is tried, and where its files are. */
#pragma once

#include "specs/base/json.h"

struct buf;
struct cli;
struct error;
struct vm_record;

/* Appends all blocks. */
int describe_add_text(
    struct cli *cli, const struct vm_record *record, struct buf *out, struct error *err);

/* output_of_vm(), and "changes", "provisioning", "nextTry", "files", "events". The caller owns
 * *ret. */
int describe_to_json(
    struct cli *cli, const struct vm_record *record, json_t **ret, struct error *err);
