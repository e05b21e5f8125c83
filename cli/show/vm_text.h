/* SPDX-License-Identifier: MPL-2.0 */
/* Blocks of text about a VM, for `status` and `describe`. Text from outside is made printable. */
#pragma once

#include <stdbool.h>

struct buf;
struct cli;
struct error;
struct vm_desired;
struct vm_record;
struct vm_status;
struct vm_blocker;

/* A line "LABEL        text". */
void vm_text_field(struct buf *out, const char *label, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void vm_text_add_head(struct buf *out, const struct vm_record *record, bool use_color);

/* The next command to type: the remedy of its trouble, else what is usual in its state. */
void vm_text_add_next(struct buf *out, const struct vm_record *record); /* name, ID, states */
/* Nothing where there is no desired record. */
void vm_text_add_desired(struct buf *out, const struct vm_record *record);
void vm_text_add_instance(struct buf *out, const struct vm_status *status);
void vm_text_add_generation(struct buf *out, const struct vm_record *record);
void vm_text_add_conditions(struct buf *out, const struct vm_status *status);
void vm_text_add_blocker(struct buf *out, const struct vm_blocker *blocker); /* if there is any */

/* " (ssh 127.0.0.1:10022, http://127.0.0.1:8080)": where its SSH answers, and the first forward of
 * the running machine to a port on which guests usually serve the web; nothing when there is
 * neither. A guest that vmctl cannot log in to, made without cloud-init, has no SSH to offer. */
void vm_text_add_places(struct buf *out, const struct vm_status *status);

/* The last ten. */
int vm_text_add_events(struct cli *cli, const char *name, struct buf *out, struct error *err);
