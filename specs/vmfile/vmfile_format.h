/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The layout of a VMFile: `vmctl fmt`.
 *
 * One node a line, four spaces a block, one space between the parts of a node, at most one blank
 * line in a row and none at the edges of a block. Comments (of all three kinds), continued lines
 * and the spelling of strings and numbers stay as they are written. Formatting what is formatted
 * changes nothing, and formatting never changes what a file means: that is checked each time, by
 * parsing both texts and comparing them in canonical form.
 *
 * Pure: text in, text out. Takes any KDL document of version 2 or 1, and keeps its version.
 */
#pragma once

#include <stddef.h>

struct buf;
struct error;

/*
 * Appends the formatted text. -ERR_VMFILE_PARSE: the text is not KDL; the message has line and
 * column. -ERR_VMFILE_INVALID: its meaning would change; nothing is appended.
 */
int vmfile_format(const char *text, size_t size, struct buf *out, struct error *err);
