/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The last line that a guest wrote to its console since this boot began. The log is one for all
 * boots and has no marks: where a boot begins is how long the log was when its instance was first
 * seen. Of an instance that ran already at the first look the whole log counts, if anything was
 * written to it since the start.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "specs/base/text.h"

struct cli;
struct vm_record;

struct console_tail {
    bool was_seen;
    char instance_id[TEXT_ID_SIZE]; /* at the last look; "": none */
    off_t from;
};

/* At each look at the record, also where the line is not wanted. */
void console_tail_note(
    struct console_tail *tail, const struct cli *cli, const struct vm_record *record);

/* Without escape sequences and what else moves a cursor; NULL: none yet. free() it. */
char *console_tail_line(
    const struct console_tail *tail, const struct cli *cli, const struct vm_record *record);
