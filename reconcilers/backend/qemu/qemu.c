/* SPDX-License-Identifier: MPL-2.0 */
/* The QEMU backend: its own machine; media in files and guests over SSH as others may have them. */
#include "reconcilers/backend/backend.h"
#include "reconcilers/backend/qemu/machine.h"

static const struct backend_words words = {
    .died = "the QEMU process died",
    .internal_error = "QEMU reported an internal error",
    .not_up = "QEMU did not come up",
    .silence = "QEMU did not answer on its QMP socket",
    .stops = {[MACHINE_POWERDOWN] = "the guest shut down",
        [MACHINE_QUIT] = "the guest did not shut down in time; QEMU was told to quit",
        [MACHINE_TERMINATE] = "QEMU did not quit when told to; it was ended by SIGTERM",
        [MACHINE_KILL] = "QEMU did not end on SIGTERM; it was killed"},
    .log = "qemu.log",
};

const struct backend *backend_qemu(void)
{
    static struct backend backend; /* the same values each time; C has no initialiser for them */
    backend = (struct backend){
        .name = "qemu",
        .words = &words,
        .traits = backend_traits(BACKEND_QEMU),
        .machine = machine_qemu(),
        .media = media_files(),
        .guest = guest_ssh(),
    };
    return &backend;
}
