/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Files of this host that go along with a VMFile's part for another node (cli/nodes/spread.h): the
 * relative ones of vmfile_goes_along(). Behind the text on the standard input of the vmctl over
 * there comes a NUL, which no VMFile has, and for each file "MODE SIZE NAME\n" and its bytes; NAME
 * is what the part calls it, vmfile_part_name().
 *
 * There they are DATA/sent/PROJECT/NAME, PROJECT a digest of what the VMFile is called: like files
 * beside a VMFile, each has one path however often it changes, and a step reads it when it runs.
 */
#pragma once

#include "specs/base/strings.h"
#include "specs/base/text.h"

struct buf;
struct cli;
struct error;

enum { PART_FILES_MAX = 4 << 20 }; /* bytes of all files of a part */

/* Appends the files at the absolute paths. -ERR_IO: one cannot be read. -ERR_VMFILE_INVALID: they
 * are too large, or a name has a line break. */
int part_files_append(struct buf *out, const struct strings *paths, struct error *err);

/* Writes the files that are behind the NUL (`sent`; no bytes: there are none); *ret_dir becomes the
 * directory where their names start: free() it. Killed anywhere, a file is the old or the new one.
 * Those of before which no VM names any more go a day after they were last sent. */
int part_files_take(
    struct cli *cli, const char *project, struct bytes sent, char **ret_dir, struct error *err);
