/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The emulator of a VM's TPM 2.0: swtpm, a child of the QEMU that it serves.
 *
 *   sockets connected, pipe made -> fork, release -> the child forks swtpm, execs QEMU
 *
 * One end of its socket is QEMU's, so it ends when QEMU does, in any way, and never before vmctld
 * does; and with it its end of a named pipe in the VM's directory, by which a controller, also a
 * later one, sees that it lives (share_watch.h). What the TPM keeps is one file of a directory in
 * the VM's, which swtpm replaces by a rename: killed anywhere, it has the state before or after.
 *
 * Under root it is the user that QEMU becomes, whom the directory belongs to then; it reaches that
 * as its working directory, and nothing else of the data directory. It changes to that user itself,
 * so that no other process of his looks into it, which is often `nobody`.
 */
#pragma once

#include <stdbool.h>

struct error;
struct paths;

/* Made before the fork: tpm_run() must not allocate. */
struct tpm_emulator {
    char *program;
    int directory_fd; /* -1: the VM has no TPM */
    int control_fd;   /* its end of the connection */
    int alive_fd;     /* of the pipe */
    unsigned uid, gid;
    bool changes_user;
    char run_as[16]; /* the UID, for swtpm; "": a user without a name, which it would refuse */
};

enum { TPM_CONTROL_FD = 3, TPM_ALIVE_FD }; /* the numbers they have in swtpm */

/* $VMCTL_SWTPM, else swtpm in $PATH. ERR_BACKEND_UNAVAILABLE: not found. free() it. */
int tpm_find_program(char **ret_path, struct error *err);

/* `user`: "UID:GID", as host_find_qemu_user(); NULL: it stays who it is. `*ret_connection` is the
 * end for QEMU. ERR_BACKEND_UNAVAILABLE: no swtpm. ERR_IO: something else is where its state
 * belongs. tpm_clear() it in any case. */
int tpm_prepare(const struct paths *paths, const char *vm_name, const char *user,
    struct tpm_emulator *ret, int *ret_connection, struct error *err);
void tpm_clear(struct tpm_emulator *emulator); /* zeroed is not fine: descriptors are -1 */

/* Of the pipe, in a VM's directory. free() it. */
char *tpm_alive_path(const char *vm_dir);

/* From fork to exec, in the child; `parent` ends it. Async-signal-safe calls only. */
_Noreturn void tpm_run(const struct tpm_emulator *emulator, int parent);
