/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Values of a spec in the words of a VMFile: what `diff` prints, and `up` of a change. A value is
 * JSON as vm_spec_to_json() has it, a field one of spec_diff.h. Passwords of URLs are left out.
 * Pure.
 */
#pragma once

#include "specs/base/json.h"

struct buf;
struct spec_io_limit;

/* Appends the node of the value, or of one entry of a list: `forward host=8080 guest=80`. No line
 * end behind it; more than one line for a command of several lines; nothing for a block that is
 * not there. */
void spec_text_add_node(struct buf *out, const char *field, const json_t *value);

/* "1.5" of 1500; nothing of 0. */
void spec_text_add_cpus(struct buf *out, uint32_t milli);
/* ` read="100M" iops=500`: the properties of the node; nothing of none. */
void spec_text_add_io_limit(struct buf *out, const struct spec_io_limit *limit);

/* First digits of the digest of the file that the value names; NULL: it names none, or the file
 * was too large to read. free() it. */
char *spec_text_digest(const json_t *value);

/* Describes both sides of a change in a few words, never equal: "18080:80" and "28471:80", of an
 * edited script its path and digests, of steps the one that differs, else how many there are.
 * free() both. */
void spec_text_change(const char *field, const json_t *before, const json_t *after,
    char **ret_before, char **ret_after);
