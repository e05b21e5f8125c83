/* SPDX-License-Identifier: MPL-2.0 */
/* The text of `vmctl status`. */
#pragma once

struct buf;
struct cli;
struct error;
struct vm_record;

/* Appends the VM's fields, conditions, trouble and recent events. */
int status_text_add(
    struct cli *cli, const struct vm_record *record, struct buf *out, struct error *err);
