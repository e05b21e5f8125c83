/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A VM's serial console as the socket in its directory. QEMU serves one client and leaves a second
 * one waiting in silence: the lock reports that to the second.
 */
#pragma once

struct error;
struct paths;

struct console_socket {
    int fd;   /* -1: none */
    int lock; /* -1: none; close() it after `fd` */
};

/* -ERR_VM_INVALID_STATE: the VM is not running, or its console is in use. */
int console_socket_open(
    const struct paths *paths, const char *vm_name, struct console_socket *ret, struct error *err);
void console_socket_close(struct console_socket *console);
