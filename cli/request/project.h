/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The VMFile a command works on: --file, else $VMCTL_FILE, else VMFile.kdl of the current directory
 * or the nearest one above it, as long as these are the user's own. A directory means the
 * VMFile.kdl in it. Of several files (`files`; NULL or empty: none is given) the first is the
 * VMFile, by whose path its VMs are known; the others override it (vmfile_override).
 */
#pragma once

#include "store/source/vmfile_load.h"

struct arg_strings;
struct cli;
struct error;

struct project {
    char *path;          /* absolute: what the VMs' desired records have as their source */
    struct vmfile *file; /* borrowed from `load` */
    struct vmfile_load load;
    struct strings overrides; /* absolute */
    bool is_stdin;            /* one of the files, which has been read to its end */
};

/*
 * The absolute path of the VMFile, whether or not there is one: its directory with symbolic links
 * resolved, so that one file has one name however it is reached. -ERR_VMFILE_NOT_FOUND when even
 * the directory is missing, -ERR_IO when it cannot be read. free() it.
 */
int project_path(struct cli *cli, const struct arg_strings *files, char **ret, struct error *err);

/* The same of its overrides. Adds to `ret`, and to `ret_shown` what the user calls them. */
int project_overrides(const struct arg_strings *files, struct strings *ret,
    struct strings *ret_shown, struct error *err);

/*
 * Finds, reads and parses the VMFile; prints a note if it was found in a directory above. Returns
 * 0, or the result for the command's run(): a negative error, or the exit status 2 after printing
 * all errors of an invalid file.
 */
int project_load(
    struct cli *cli, const struct arg_strings *files, struct project *ret, struct error *err);
void project_clear(struct project *project);

/* The same for who only prints or checks it: VMs that are on other nodes stay in it, while else
 * those are left out, or refused where they are meant (cli/nodes/spread.h). */
int project_load_whole(
    struct cli *cli, const struct arg_strings *files, struct project *ret, struct error *err);

/* Returns whether one of the files is standard input, which can be read only once. */
bool project_is_stdin(const struct arg_strings *files);

/* Whether other nodes do the rest of the command: $VMCTL_PART here, and $VMCTL_PROJECT with a path
 * in it over there. */
bool project_is_part(void);

/* "tag = "13"  (--set)": a variable of the file, and where its value comes from. free() it. */
char *project_describe_variable(const struct vmfile_variable *variable);

/* Says what of the VM the guest will not get though the VMFile has it. */
void project_note_unused(const struct cli *cli, const struct vm_spec *spec);

/* Its `node`, borrowed; NULL: this host, or the file has no such VM. */
const char *project_place(const struct project *project, const char *name);

/* NULL: the file has no such VM. Who goes through many names gives their number as `likely`: they
 * mostly come in the order of the file. */
struct vm_spec *project_find_vm(const struct project *project, const char *name, size_t likely);
