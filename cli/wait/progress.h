/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Live progress on stderr. On a terminal one line a VM, redrawn; elsewhere a line each time the
 * state's word changes. Nothing with --quiet.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;
struct vm_record;

struct progress_line {
    const char *name; /* borrowed */
    char word[32];
    char *message; /* "120 of 620 MB"; NULL: none */
    bool is_settled;
};

struct progress {
    const struct cli *cli; /* borrowed */
    bool is_live;
    int64_t started_ms;
    struct progress_line *lines;
    size_t count;
    size_t n_drawn;
};

void progress_init(struct progress *progress, const struct cli *cli, size_t count);
void progress_set_name(struct progress *progress, size_t i, const char *name);
/* Takes over what the record says; `is_settled`: no more is expected of this VM. */
void progress_update(
    struct progress *progress, size_t i, const struct vm_record *record, bool is_settled);
void progress_draw(struct progress *progress); /* on a terminal: all lines anew */
void progress_erase(struct progress *progress); /* to print something else */
void progress_clear(struct progress *progress); /* erases and frees */
