/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The text of the scripts and the user-data that a VM's spec names, as they were when it was
 * written down, for `vmctl diff`: the spec itself has their digests only. DATA/applied/NAME/DIGEST,
 * mode 0600, at most 256 KiB each; no binary files, and none that are merely uploaded, because a
 * user who removes a key from the host means it. What is not there is not known.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct paths;
struct spec_file;
struct vm_spec;

/* The `i`th file of a spec that is kept, below the count; NULL: that is none. Borrowed. */
size_t applied_files_count(const struct vm_spec *spec);
const struct spec_file *applied_files_at(const struct vm_spec *spec, size_t i);

/* Keeps those of a spec that was committed; with `prunes` others of the VM are removed. Failing to
 * (a full disk) costs a later diff only. */
void applied_files_keep(const struct paths *paths, const struct vm_spec *spec, bool prunes);

/* The VM is gone. */
void applied_files_forget(const struct paths *paths, const char *vm_name);

/* Appends the text with that digest: of the file at `path`, or, NULL, as kept for the VM. False: it
 * is not there, not text, too large, or has other bytes. */
bool applied_files_read(const struct paths *paths, const char *vm_name, const char *path,
    const char *digest, struct buf *out);
