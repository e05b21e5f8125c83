/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Determines the processor a disk was made for from the partition types of its GPT: the root
 * partition's type is another one for each architecture (the UAPI group's Discoverable Partitions
 * Specification). A disk of another type of table, or whose root partition has the type that fits
 * all ("Linux filesystem"), says nothing.
 */
#pragma once

#include "specs/image/qcow2.h"

struct error;
struct user_file;

/* -ERR_IMAGE_FORMAT: none of the disk's root partitions is for this processor, as uname(2) has it;
 * `machine` NULL: the host's. `qcow2` is the file's header, NULL: it is raw; `title` is what
 * messages call the file. Blocks. */
int image_machine_check(struct user_file *file, const struct qcow2_header *qcow2,
    const char *machine, const char *title, struct error *err);
