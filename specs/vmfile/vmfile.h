/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VMFile.kdl to vm_specs. specs/VMFILE.md is the normative description of the format.
 *
 * Pure: text in, specs or diagnostics out; the caller's environment answers whether a named file
 * can be read. All errors of a file are found in one pass.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/kdl/kdl.h"
#include "specs/vm/vm_spec.h"

struct buf;

struct vmfile_env {
    const char *path;     /* shown in diagnostics, as the user wrote it */
    const char *base_dir; /* absolute directory of the file: relative paths start here */
    const char *home;     /* for ~ */
    /* NULL: existence is not checked. Else what keeps the file at the absolute path from being read
     * ("no readable file at"), static text, or NULL; called for every file that is named, also by
     * an invalid VMFile. */
    const char *(*file_problem)(void *context, const char *path);
    /* NULL: contents are not checked. Else appends the file's bytes, up to the maximum of `ret` and
     * not a byte more; false when that fails, and then nothing is said about them. */
    bool (*read_file)(void *context, const char *path, struct buf *ret);
    void *context;
};

/* One error: the message, where, and what to do. Strings are owned by the list. */
struct vmfile_diagnostic {
    struct kdl_pos pos;
    bool is_syntax; /* KDL syntax (vmctl::vmfile::parse_failed), else validation */
    char *message;
    char *hint; /* NULL, or "did you mean `memory`?" */
};

struct vmfile {
    struct vm_spec **vms;      /* in file order */
    struct kdl_pos *positions; /* of each `vm` node */
    size_t n_vms;
    struct vmfile_diagnostic *diagnostics;
    size_t n_diagnostics; /* 0: the file is valid */
};

/* Never NULL: check n_diagnostics first. Specs of an invalid file must not be used. */
struct vmfile *vmfile_parse(const char *text, size_t size, const struct vmfile_env *env);
void vmfile_free(struct vmfile *file); /* NULL is fine */

/*
 * Appends every diagnostic with code, path:line:column, the source line, a caret under the token
 * and the hint; `use_color` adds ANSI colours. Text from the file is made printable.
 */
void vmfile_render_diagnostics(struct buf *out, const struct vmfile *file, const char *text,
    size_t size, const struct vmfile_env *env, bool use_color);
