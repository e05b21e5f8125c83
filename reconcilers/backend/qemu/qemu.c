/* SPDX-License-Identifier: MPL-2.0 */
/* The QEMU backend: its own machine; media in files and guests over SSH as others may have them. */
#include "reconcilers/backend/backend.h"
#include "reconcilers/backend/qemu/machine.h"

const struct backend *backend_qemu(void)
{
    static struct backend backend; /* the same values each time; C has no initialiser for them */
    backend = (struct backend){
        .name = "qemu",
        .handle = "pid",
        .machine = machine_qemu(),
        .media = media_files(),
        .guest = guest_ssh(),
    };
    return &backend;
}
