/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The server of one shared folder: virtiofsd, a child of the QEMU that it serves.
 *
 *   sockets connected, pipe made -> fork, release -> the child forks the servers, execs QEMU
 *
 * One end of its socket is QEMU's, so it ends when QEMU does, in any way; and with it its end of a
 * named pipe in the VM's directory, by which a controller, also a later one, sees that it lives.
 *
 * It needs no privilege: it runs in a user namespace that has one user, the controller's, who is
 * the user of `ssh` in the guest. All that any user of the guest writes, root too, is that user's:
 * the server's calls to change its identity do nothing. Under root it serves as the directory's
 * owner.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"

struct error;
struct loop;
struct spec_share;

/* How its program is called. */
enum share_style { SHARE_STYLE_C, SHARE_STYLE_RUST, SHARE_STYLE_COUNT_ };

struct share_program {
    const char *path; /* static, or of the environment; NULL: none works here */
    enum share_style style;
};

/* Made before the fork: share_run() must not allocate. */
struct share_server {
    char **argv;
    char *directory;
    char *refusal;    /* "cannot share '/home/me/src'" */
    char guest[32];   /* "1000:1000": the user that owns everything in the guest */
    bool is_readonly; /* also when the guest mounts it otherwise */
    int listen_fd;    /* the connection of QEMU waits there */
    int alive_fd;     /* of the pipe */
};

enum { SHARE_LISTEN_FD = 3, SHARE_ALIVE_FD }; /* the numbers they have in the server */

/* `guest`: as above, and copied. `*ret_connection` is the end for QEMU. `alive_path`: of the pipe,
 * which is made; NULL: none. share_clear() it. */
int share_prepare(const struct spec_share *share, const struct share_program *program,
    const char *guest, const char *alive_path, struct share_server *ret, int *ret_connection,
    struct error *err);
void share_clear(struct share_server *server); /* zeroed is not fine: descriptors are -1 */

/* From fork to exec, in the child; `parent` ends it. Async-signal-safe calls only. */
_Noreturn void share_run(const struct share_server *server, int parent);

/* Of a VM's directory and a tag. free() it. */
char *share_alive_path(const char *vm_dir, const char *tag);

/* `fault` NULL: `program` works, as a trial has shown; else why none does here. Both borrowed. */
typedef void share_probe_fn(void *context, const struct share_program *program, const char *fault);

/* Tries those that are installed, or $VMCTL_VIRTIOFSD, on `directory`; takes milliseconds, and 5 s
 * each at most. What has worked once in this process is not tried again. */
struct op *share_probe_start(
    struct loop *loop, const char *directory, share_probe_fn *done, void *context);
