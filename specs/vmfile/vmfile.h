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
struct error;
struct image_names;
struct nodes;
struct strings;

/* A further VMFile of the same VMs, whose values count more than those before it. All borrowed. */
struct vmfile_override {
    const char *path;     /* absolute */
    const char *shown;    /* as vmfile_env.path */
    const char *base_dir; /* as that of vmfile_env, of its own file */
    const char *text;
    size_t size;
};

struct vmfile_env {
    const char *path;     /* shown in diagnostics, as the user wrote it */
    const char *base_dir; /* absolute directory of the file: relative paths start here */
    const char *home;     /* for ~ */
    /* NULL: existence is not checked. Else what keeps the file, or the directory, at the absolute
     * path from being read ("no readable file at"), static text, or NULL; called for every one that
     * is named, also by an invalid VMFile. */
    const char *(*file_problem)(void *context, const char *path, bool is_directory);
    /* NULL: contents are not checked. Else appends the file's bytes, up to the maximum of `ret` and
     * not a byte more; false and errno when that fails. */
    bool (*read_file)(void *context, const char *path, struct buf *ret);
    const struct vmfile_override *overrides; /* in the order in which they are given */
    size_t n_overrides;
    /* Values of variables ("tag=13") and of fields ("vm.web.memory=4G"), and the project
     * (VMFILE_GIVEN_PROJECT); NULL: none. */
    const struct strings *given;
    /* A variable of the caller's environment, or NULL; NULL where there is none, as the values that
     * came from it are `given`: then these need not all be used. */
    const char *(*environment)(void *context, const char *name);
    /* The catalogue of images, read when it is first needed; NULL and *err: it cannot be. NULL
     * where images have no names. Borrowed. */
    const struct image_names *(*image_names)(void *context, struct error *err);
    /* Appends the text of a file that `include` names; one that does not fit makes `ret` full.
     * NULL, or what keeps it from being read, static text. NULL: what is included is left out. */
    const char *(*read_include)(void *context, const char *path, struct buf *ret);
    /* The nodes that a VM's `node` may name, read when they are first needed; NULL and *err: there
     * are none to name. NULL: not checked. Borrowed. */
    const struct nodes *(*nodes)(void *context, struct error *err);
    /* vmfile_print() of another node's part: becomes the absolute paths of the files that go along
     * with it, in which they have the names of vmfile_part_name(). */
    struct strings *part_files;
    void *context;
};

enum vmfile_origin { VMFILE_NO_VALUE, VMFILE_DEFAULT, VMFILE_FROM_ENV, VMFILE_GIVEN };

/* A variable of the file, and where its value comes from. All owned by the file. */
struct vmfile_variable {
    char *name;
    char *value; /* NULL: VMFILE_NO_VALUE */
    char *env;   /* the environment variable that may give it; NULL: none */
    enum vmfile_origin origin;
};

/* A text that the VMs come from: the VMFile, what it includes, and its overrides. All owned by the
 * file. */
struct vmfile_source {
    char *path;     /* absolute; of the VMFile as the environment has it */
    char *shown;    /* what diagnostics call it */
    char *base_dir; /* where relative paths in it start */
    char *text;     /* NULL: of the VMFile, which its reader has */
    size_t size;
    struct kdl_pos included_at; /* line 0: of the VMFile and of overrides */
};

/* One error: the message, where, and what to do. Strings are owned by the list. */
struct vmfile_diagnostic {
    struct kdl_pos pos;
    bool is_syntax; /* KDL syntax (vmctl::vmfile::parse_failed), else validation */
    char *message;
    char *hint; /* NULL, or "did you mean `memory`?" */
};

/* What an item of vmfile_env.given begins with that names the project, whatever the file says;
 * behind it "": none. */
#define VMFILE_GIVEN_PROJECT "--project="

struct vmfile {
    char *project;             /* NULL: none */
    struct vm_spec **vms;      /* in file order; named "PROJECT/NAME" if there is a project */
    struct kdl_pos *positions; /* of each `vm` node */
    char **places;             /* of each VM: its `node`; NULL: this host */
    size_t n_vms;
    struct vmfile_source *sources; /* kdl_pos.source; the first is the VMFile */
    size_t n_sources;
    struct vmfile_variable *variables; /* in file order */
    size_t n_variables;
    struct vmfile_diagnostic *diagnostics;
    size_t n_diagnostics; /* 0: the file is valid */
};

/* Never NULL: check n_diagnostics first. Specs of an invalid file must not be used. */
struct vmfile *vmfile_parse(const char *text, size_t size, const struct vmfile_env *env);
void vmfile_free(struct vmfile *file); /* NULL is fine */

/* What the part of a VMFile for another node calls a file of this host, by its absolute path:
 * "DIGEST/NAME", a digest of its directory and its name. free() it. */
char *vmfile_part_name(const char *path);

/* Appends the VMs of a valid file one by one, with everything in its place that was written once
 * for several, in KDL's canonical form (kdl_print()). `place`: only those of that node, as they are
 * for itself: without `node`; NULL: all. */
void vmfile_print(struct buf *out, const char *text, size_t size, const char *place,
    const struct vmfile_env *env);

/*
 * Appends every diagnostic with code, path:line:column, the source line, a caret under the token
 * and the hint; `use_color` adds ANSI colours. Text from the file is made printable. Messages are
 * broken between words, and of a source line a part is shown, so that a terminal of so many columns
 * breaks no line; 0: they may be of any width. A path is never broken.
 */
void vmfile_render_diagnostics(struct buf *out, const struct vmfile *file, const char *text,
    size_t size, const struct vmfile_env *env, bool use_color, unsigned columns);
