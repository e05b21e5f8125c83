/* SPDX-License-Identifier: MPL-2.0 */
/* The QEMU backend: its own machine_ops; the shared media (files) and guest (SSH). */
#include "reconcilers/backend/backend.h"
#include "reconcilers/backend/qemu/machine.h"

static const struct backend_words words = {
    .died = "the QEMU process died",
    .internal_error = "QEMU reported an internal error",
    .not_up = "QEMU did not come up",
    .silence = "QEMU did not answer on its QMP socket",
    .stops = {[MACHINE_POWERDOWN] = "the guest shut down",
        [MACHINE_QUIT] = "the guest did not shut down in time; QEMU was stopped",
        [MACHINE_TERMINATE] = "QEMU did not quit and was ended by SIGTERM",
        [MACHINE_KILL] = "QEMU did not end on SIGTERM and was killed"},
    .log = "qemu.log",
};

const struct backend *backend_qemu(void)
{
    static struct backend
        backend; /* always the same values: calls are not constant expressions in C */
    backend = (struct backend){
        .name = "qemu",
        .words = &words,
        .traits = backend_traits(BACKEND_QEMU),
        .machine = &qemu_machine_ops,
        .media = media_files(),
        .guest = guest_ssh(),
        .tunnel = tunnel_ssh(),
    };
    return &backend;
}
