/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host's side of a socket that leads into a guest: the socket itself is in the VM's directory,
 * which is its user's alone, and a symbolic link leads to it from where the VMFile wants it. So
 * what vmctl made is known by where it leads, also after it was killed, and nothing else is ever
 * removed.
 */
#pragma once

#include <stdbool.h>

struct error;
struct paths;
struct vm_forward;

#define HOST_SOCKET_CONTROL "forward.ctl" /* VM_FORWARD_CONTROL */

/* "3f2ad08b11c5": of a socket and where it leads. free() it. */
char *host_socket_id(const struct vm_forward *forward);
/* "forward-3f2ad08b11c5.sock", in the VM's directory. free() it. */
char *host_socket_file(const struct vm_forward *forward);
bool host_socket_is_file(const char *name);

/* Makes the link, if it is not there. -ERR_FORWARD: something else is, or others can write to its
 * directory. */
int host_socket_link(const struct paths *paths, const char *vm_name,
    const struct vm_forward *forward, struct error *err);
/* Removes the link, if it is there. */
void host_socket_unlink(
    const struct paths *paths, const char *vm_name, const struct vm_forward *forward);
