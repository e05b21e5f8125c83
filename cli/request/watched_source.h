/* SPDX-License-Identifier: MPL-2.0 */
/* Watched VMFiles as commands see them: their paths, and waiting until vmctld has caught up. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cli;
struct error;
struct vmfile_load;

/*
 * The absolute path of a VMFile or a directory of them, as the sources table has it; `word` NULL is
 * the default VMFile. It need not exist, so that what is gone can be unwatched. free() it.
 */
int watched_source_path(
    struct cli *cli, const char *word, char **ret, bool *ret_is_directory, struct error *err);

/* Refuses what vmctld cannot watch: a pipe, a path that is not UTF-8. -ERR_USAGE. */
int watched_source_check(const char *path, struct error *err);
/* -ERR_VM_CONFLICT: it is watched for another project than the command's; `load`: as read by that,
 * NULL: it is a directory. Opens the store. */
int watched_source_check_project(
    struct cli *cli, const struct vmfile_load *load, const char *path, struct error *err);

/* There is nothing to follow. -ERR_USAGE. */
int watched_source_refuse_stdin(struct error *err);

/*
 * Waits until vmctld has applied the VMFile at `path` as it is now, or its directory's; nothing to
 * wait for when it is not watched, or is invalid: reading it reports that. The file is compared
 * with what was applied, so an edit just before counts.
 *
 * 0, or a negative error: -ERR_VM_CONFLICT and -ERR_VMFILE_INVALID when vmctld refused it,
 * -ERR_TIMEOUT; or a positive exit status when interrupted. *timeout_ms becomes the time that is
 * left.
 */
int watched_source_settle(
    struct cli *cli, const char *path, int64_t *timeout_ms, struct error *err);
