/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_spec.h"

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"

const char *fleet_spec_file(const struct vm_spec *spec)
{
    const struct spec_cloud_init *seed = &spec->cloud_init;
    const char *const paths[] = {seed->ssh_key.path, seed->user_data.path, seed->vendor_data.path,
        seed->network_config.path, spec->ssh.private_key};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (paths[i]) {
            return paths[i];
        }
    }
    for (size_t i = 0; i < spec->n_steps; i++) {
        const struct spec_step *step = &spec->steps[i];
        if (step->file.path || step->n_secrets > 0) {
            return step->file.path ? step->file.path : step->secrets[0].name;
        }
    }
    return seed->n_further_user_data > 0 ? seed->further_user_data[0].path : NULL;
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
