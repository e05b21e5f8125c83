/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a provision step has the guest do besides the user's own command: each appends one command
 * line for the login shell, which hands it to the guest's POSIX shell.
 */
#pragma once

#include <stdbool.h>

struct buf;

/* Answers on its last line "beside" when the user may write beside `destination`, "sudo" when only
 * root may and `sudo -n` works; else it says why not, and fails. */
void guest_script_find_place(struct buf *out, const char *destination);

/* Renames the uploaded file to its destination; as root it is copied beside it before. */
void guest_script_place(
    struct buf *out, const char *uploaded, const char *destination, bool is_sudo);

void guest_script_remove(struct buf *out, const char *path);

/* Runs an uploaded script under the name `path`, then removes it; exits as it does. */
void guest_script_run(struct buf *out, const char *uploaded, const char *path);
