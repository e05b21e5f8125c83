/* SPDX-License-Identifier: MPL-2.0 */
/* What only some VMs need of a host: without it a warning if one of them is here, else information.
 */
#include "cli/doctor/doctor.h"

#include "cli/cli.h"
#include "cli/request/project.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/vm/vm_spec.h"

void doctor_note_needs(struct doctor *doctor, const struct vm_spec *spec)
{
    bool has_limits = spec->cpu_limit_milli > 0 || spec->memory_limit_mib > 0;
    if (spec->backend == BACKEND_QEMU) {
        doctor->needs |= (has_limits ? DOCTOR_NEED_LIMITS : 0) |
                         (spec->firmware == FIRMWARE_UEFI ? DOCTOR_NEED_UEFI : 0) |
                         (spec->firmware == FIRMWARE_UEFI_SECURE ? DOCTOR_NEED_SECURE_BOOT : 0) |
                         (spec->has_tpm ? DOCTOR_NEED_TPM : 0);
    }
}

/* Those of its VMs that are for this host. A file that is missing or invalid has none: `validate`
 * says why. */
static void note_vmfile(struct doctor *doctor)
{
    struct cli *cli = doctor->cli;
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *path = NULL;
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    const struct vmfile_inputs inputs = {
        .given = &cli->given, .uses_environment = true, .fleet_nodes = &cli->fleet_nodes};
    if (project_path(cli, NULL, &path, &ignored) < 0 ||
        vmfile_load(path, path, &inputs, &load, &ignored) < 0 || load.file->n_diagnostics > 0) {
        return;
    }
    for (size_t i = 0; i < load.file->n_vms; i++) {
        if (!load.file->places[i]) {
            doctor_note_needs(doctor, load.file->vms[i]);
        }
    }
}

void doctor_weigh_needs(struct doctor *doctor)
{
    note_vmfile(doctor);
    for (size_t i = 0; i < doctor->count; i++) {
        struct doctor_finding *finding = &doctor->findings[i];
        if (finding->verdict == DOCTOR_WARN && finding->need && !(finding->need & doctor->needs)) {
            finding->verdict = DOCTOR_INFO;
        }
    }
}
