/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The difference between two specs of one VM in the unified format of diff(1), for users and for
 * what colours or counts such text: a hunk a field, whose heading names what the change needs.
 *
 *   --- web (stored)
 *   +++ web (VMFile)
 *   @@ -1 +1 @@ restart
 *   -memory 1024
 *   +memory 2048
 *
 * A list has a line an entry, and only those that differ are shown. The text of a file is compared
 * as diff -u does. Pure.
 */
#pragma once

#include <stdbool.h>

struct buf;
struct spec_diff;
struct vm_spec;

/* Appends the difference between two specs of the VM `name`; nothing when there is none. */
void unified_diff_add(
    struct buf *out, const char *name, const struct spec_diff *diff, bool use_color);

/* Appends the difference between two texts, under these names; nothing when they are the same.
 * Takes the texts apart. */
void unified_diff_add_texts(struct buf *out, const char *before_name, char *before,
    const char *after_name, char *after, bool use_color);

/* A VM to be created (`is_new`), or one that the file no longer has: all of it in one hunk, but for
 * what is as by default. */
void unified_diff_add_whole(
    struct buf *out, const struct vm_spec *spec, bool is_new, bool use_color);
