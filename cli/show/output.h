/* SPDX-License-Identifier: MPL-2.0 */
/* Data for programs: -o json and -o yaml. */
#pragma once

#include <stdbool.h>

#include "specs/base/json.h"
#include "specs/base/json_write.h"

struct buf;
struct cli;
struct spec_change;
struct vm_record;

/* Whether -o json or -o yaml was given. */
bool output_is_data(const struct cli *cli);

/* The object for a VM: name and project, state, state word, desired record, status. */
void output_write_vm(struct json_writer *writer, const struct vm_record *record);
json_t *output_of_vm(const struct vm_record *record); /* caller owns */

/* `name`, and `project` if it has one. */
void output_put_name(json_t *json, const char *vm_name);

/* For JSON as output_print() has it, byte for byte, or output_print_next(). */
struct json_writer output_writer(struct buf *out, bool is_indented);

/* {field, old, new, disposition}, as in `diff -o json`. Caller owns. */
json_t *output_of_change(const struct spec_change *change);

/* Appends it as `-o json` prints it, its line end included. */
void output_add(struct buf *out, const json_t *value);

/* Prints in the output format of the command line, with sorted keys, on stdout. */
void output_print(const struct cli *cli, const json_t *value);

/* Appends it as a line of NDJSON. */
void output_add_next(struct buf *out, const json_t *value);

/* One of many such values, one after the other: JSON on a line of its own (NDJSON), a YAML
 * document. */
void output_print_next(const struct cli *cli, const json_t *value);
