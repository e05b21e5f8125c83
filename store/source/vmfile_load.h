/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Reading a VMFile from disk, as every command and the VMFile watcher do it. Blocks for as long as
 * the disk takes: in vmctld only on a pool thread.
 */
#pragma once

#include "specs/base/buf.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/strings.h"
#include "specs/vmfile/image_names.h"
#include "specs/vmfile/nodes_file.h"
#include "specs/vmfile/vmfile.h"

enum { VMFILE_LOAD_MAX = 1 << 20 }; /* bytes; a larger file is no VMFile */

struct vmfile_load {
    char *path;                        /* absolute */
    char *base_dir;                    /* its directory */
    struct buf text;                   /* as read */
    struct vmfile_override *overrides; /* all of them owned */
    size_t n_overrides;
    char sha256[DIGEST_SIZE];    /* of the text, of what it includes, and of the overrides */
    struct vmfile *file;         /* look at n_diagnostics first */
    struct strings named;        /* absolute paths of all files it names, readable or not */
    const char *readable;        /* the last of them that was: many VMs name one image; borrowed */
    struct image_names images;   /* the catalogue, once one was needed: it has an own_path then */
    struct error images_failure; /* … or why it cannot be had */
    struct nodes nodes;          /* of nodes.kdl, once one was named: it has `problems` then */
    bool names_nodes;            /* vmfile_inputs.uses_environment */
    const struct strings *fleet_nodes; /* the inputs' */
};

/* What a VMFile takes from outside: values ("tag=13", "vm.web.memory=4G"; NULL: none), and whether
 * its variables may be given by the caller's environment and its VMs be on the caller's other
 * nodes: one that is watched is of this host alone. Those of a watched VMFile are recorded
 * with it, so that vmctld reads what the user's command read. */
struct vmfile_inputs {
    const struct strings *given;
    bool uses_environment;
    const struct strings *fleet_nodes; /* names of nodes besides those of nodes.kdl; they live as
                                        * long as what is loaded; NULL: none */
    /* In place of the file's, of VMFILE_LOAD_MAX bytes at most; NULL: none. Of `overrides` those
     * whose path is `text_path`; NULL: of the VMFile. */
    const struct buf *text;
    const char *text_path;
    const char *base_dir;            /* where its relative paths start; NULL: at its directory */
    const struct strings *overrides; /* absolute paths of further VMFiles, the last counts most */
    const struct strings *overrides_shown; /* what messages call them; NULL: the same */
};

/*
 * Reads and parses the file at `path` (absolute); `shown` is how messages call it. 0 also when it
 * is invalid: then ret->file has diagnostics. -ERR_VMFILE_NOT_FOUND when there is no such file,
 * -ERR_IO when it cannot be read, -ERR_VMFILE_INVALID when it is too large.
 * vmfile_load_clear() it.
 */
int vmfile_load(const char *path, const char *shown, const struct vmfile_inputs *inputs,
    struct vmfile_load *ret, struct error *err);
void vmfile_load_clear(struct vmfile_load *load); /* zeroed is fine */

/* Adds what a record keeps of the inputs: the values themselves, and those that the environment
 * gave. `load` may be NULL: that of a directory. */
void vmfile_load_note_inputs(
    const struct vmfile_load *load, const struct strings *given, struct strings *ret);

/* The project that is given among the inputs, "" for none; NULL: it is the file's own. Borrowed. */
const char *vmfile_load_given_project(const struct strings *given);

/* The project that the VMFile is of when it is read with other inputs; NULL: none, or they do not
 * say. Reads what it includes again. free() it. */
char *vmfile_load_project_with(const struct vmfile_load *load, const struct strings *given);
/* Whether that is the one that it is of as it was loaded, with the inputs `given`: a variable may
 * stand in it. Also when they do not say which it is. */
bool vmfile_load_is_same_project(const struct vmfile_load *load, const struct strings *given,
    const struct strings *other_inputs);

/* Why a VMFile cannot be opened, by errno: -ERR_VMFILE_NOT_FOUND for one that is not there, so that
 * looking elsewhere makes sense; else -ERR_IO. */
int vmfile_load_refuse(const char *shown, int sys_errno, struct error *err);

/* Appends the diagnostics as vmfile_render_diagnostics() has them. */
void vmfile_load_render(struct buf *out, const struct vmfile_load *load, const char *shown,
    bool use_color, unsigned columns);

/* Appends the first error, and how many others there are; where it is, or the `include` that leads
 * there. Borrowed. */
const struct kdl_pos *vmfile_load_sum_up(const struct vmfile_load *load, struct buf *out);

/* Appends the VMs of the valid VMFile as vmfile_print() has them, read with the inputs of a
 * command. `place` and `ret_files`: its part for that node, and the files that go along with it
 * (vmfile_env.part_files); NULL both: all of it. */
void vmfile_load_print(struct buf *out, struct vmfile_load *load, const char *place,
    const struct strings *given, struct strings *ret_files);

/* Reads the files the valid VMFile's VMs name (change_read_files) into their specs. */
int vmfile_load_files(struct vmfile_load *load, struct error *err);
/* Of all that was read then (DIGEST_SIZE): equal digests, equal changes. */
void vmfile_load_digest(const struct vmfile_load *load, char *ret_digest);
/* Both. */
int vmfile_load_referenced(struct vmfile_load *load, char *ret_digest, struct error *err);

/* Whether it is worth watching: another program's KDL has no `vm` in it, and what is not KDL at all
 * may be a VMFile with a mistake, of which its user wants to hear. */
bool vmfile_load_is_vmfile(const char *path);

/* The directory of an absolute path. free() it. */
char *vmfile_load_directory(const char *path);
