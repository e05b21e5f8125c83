/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a VMFile writes once for several VMs becomes the plain `vm` nodes it stands for
 * (specs/VMFILE.md, "For several VMs at once"):
 *
 *   project "shop"                           the vms are "shop/NAME" outside of the file
 *   var "tag" default="12" env="TAG"         ${{ tag }} in any string of a vm
 *   defaults { … }                           for every vm
 *   template "small" { … }                   for each vm "x" like="small"
 *   vm "node" count=3 { … }                  node-1 to node-3, ${{ index }} within
 *
 * Of a field of one value the most specific place counts: --set, the vm, its template, the
 * defaults; of a field that may be repeated all do, the defaults' first. Values are not searched
 * for further variables, templates are not like others, and the nodes that come of it are bounded,
 * so time and memory are. Every value keeps the position where it is written.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/kdl/kdl.h"
#include "specs/kdl/kdl_arena.h"

struct vmfile_reader;

struct vmfile_expansion {
    struct kdl_node *vms; /* as vmfile_read_vm() takes them; they borrow from the document, too */
    size_t n_vms;
    bool
        is_too_much; /* it was reported; the last of the vms is in pieces, and others are missing */
    struct kdl_arena memory;
};

/* Reports what is wrong with the nodes at the top, and with the variables' use, and leaves the
 * variables in reader->file. vmfile_expansion_clear() it. */
void vmfile_expand(
    struct vmfile_reader *reader, const struct kdl_document *doc, struct vmfile_expansion *ret);
/* The text of what would be a variable is written so that it is none: for who prints the nodes. */
void vmfile_expansion_escape(struct vmfile_expansion *expansion);
void vmfile_expansion_clear(struct vmfile_expansion *expansion);
