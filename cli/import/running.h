/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Making a QEMU ours that the original vmctl started, while it runs, for `vmctl import`.
 *
 * Whoever answers on the QMP socket in the VM's directory is asked what it is, must have the VM's
 * disk on its command line, and is then given the open file that holds the VM's alive.lock (QMP
 * getfd): from then on it keeps the lock until it ends, as a QEMU of ours does, and everything that
 * goes by the lock holds for it, whatever its pid and whatever happens to us. It is also told to stay
 * when its guest powers off, so that why the guest ended can be seen.
 */
#pragma once

struct cli;
struct error;
struct import_running;
struct import_vm;

/*
 * Fills *ret, import_running_clear() it. Killed anywhere, and done twice, it does no harm: the guest
 * notices nothing, and a lock that was handed over stays with that QEMU. -ERR_QMP_CONNECT: another
 * client has the socket, or nobody answers. -ERR_VM_INVALID_STATE: it is not to be adopted, see why.
 */
int adopt_running(const struct cli *cli, const struct import_vm *vm, struct import_running *ret,
    struct error *err);
