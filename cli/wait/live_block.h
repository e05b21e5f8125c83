/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a command that waits shows meanwhile, on stderr. On a terminal: lines that are redrawn in
 * place, no wider than it, and no more than it has room for. Elsewhere: a line whenever nothing was
 * printed for ten seconds. Nothing with --quiet. Whatever else goes to stderr or stdout comes after
 * live_block_erase().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/buf.h"

struct cli;

struct live_block {
    const struct cli *cli; /* borrowed */
    bool is_live;          /* a terminal that moves its cursor */
    bool is_colored;
    int64_t noted_ms; /* monotonic: the last time that something else was printed */
    struct buf drawn; /* as it stands on the terminal; "": nothing does */
    unsigned drawn_columns;
};

void live_block_open(struct live_block *block, const struct cli *cli);
void live_block_close(struct live_block *block); /* erases it */

/* The terminal's columns that a line may fill. */
unsigned live_block_columns(void);

/* `lines`, each with its line end, are UTF-8 without control characters, but for "\033[…m"; one
 * that is too long ends in "…", where possible after a word. What there is no room for is counted
 * in the last line. */
void live_block_draw(struct live_block *block, const char *lines);
void live_block_erase(struct live_block *block);
/* Leaves the block on the terminal; the next one is drawn below it. */
void live_block_leave(struct live_block *block);

/* Whether it is time for a line where there is no terminal. The caller prints it with cli_note().
 */
bool live_block_is_due(struct live_block *block);

/* Appends as much of `line` (up to its line end) as fits, without a part of a character or escape
 * sequence, and its line end. Pure. */
void live_block_fit(struct buf *out, const char *line, unsigned columns);

/* How many rows `lines` fill on a terminal of so many columns that wraps what is longer. Pure. */
unsigned live_block_rows(const char *lines, unsigned columns);
