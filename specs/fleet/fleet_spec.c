/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_spec.h"

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_files.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"

static bool is_fleets(const struct spec_file *file)
{
    struct fleet_file parsed;
    return !file->path ||
           (fleet_file_parse(file->path, &parsed) && text_eq(parsed.digest, file->digest));
}

const char *fleet_spec_file(const struct vm_spec *spec)
{
    const struct spec_cloud_init *seed = &spec->cloud_init;
    const struct spec_file *const files[] = {
        &seed->ssh_key, &seed->user_data, &seed->vendor_data, &seed->network_config};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (!is_fleets(files[i])) {
            return files[i]->path;
        }
    }
    for (size_t i = 0; i < seed->n_further_user_data; i++) {
        if (!is_fleets(&seed->further_user_data[i])) {
            return seed->further_user_data[i].path;
        }
    }
    for (size_t i = 0; i < spec->n_steps; i++) {
        const struct spec_step *step = &spec->steps[i];
        if (!is_fleets(&step->file) || step->n_secrets > 0) {
            return !is_fleets(&step->file) ? step->file.path : step->secrets[0].name;
        }
    }
    return spec->ssh.private_key;
}

char *fleet_spec_bond(const struct vm_desired *desired)
{
    const struct vm_spec *spec = desired->spec;
    const char *file = fleet_spec_file(spec);
    for (size_t i = 0; i < spec->n_disks && !file; i++) {
        file = spec->disks[i].file;
    }
    return spec->n_volumes > 0       ? mem_printf("volume '%s'", spec->volumes[0].name)
           : desired->n_volumes > 0  ? mem_printf("volume '%s'", desired->volumes[0].name)
           : spec->n_shares > 0      ? mem_printf("folder '%s'", spec->shares[0].host)
           : spec->vnc.password_file ? mem_printf("file '%s'", spec->vnc.password_file)
           : file                    ? mem_printf("file '%s'", file)
                                     : NULL;
}
