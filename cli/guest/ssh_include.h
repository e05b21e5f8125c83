/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The line of the user's ~/.ssh/config that includes the Host blocks of all VMs
 * (reconcilers/vm/ssh_file.c). All else in that file stays as it is, byte by byte; a link that it
 * may be stays one; it is replaced as a whole, by rename.
 */
#pragma once

#include <stdbool.h>

struct buf;
struct error;
struct paths;

/* "/home/u/.ssh/config". free() it. */
char *ssh_include_config_path(void);

/* *ret_is_changed: it was not there, or was. -ERR_IO; -ERR_USAGE where the data directory has a
 * path that Include cannot name. */
int ssh_include_install(const struct paths *paths, bool *ret_is_changed, struct error *err);
int ssh_include_uninstall(const struct paths *paths, bool *ret_is_changed, struct error *err);

/* Pure: the file's text with the line at its start, or without it anywhere. Return whether the text
 * changed. The line counts only before the first Host or Match. */
bool ssh_include_add(const char *text, const char *line, struct buf *out);
bool ssh_include_remove(const char *text, const char *line, struct buf *out);
