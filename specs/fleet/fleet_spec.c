/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_spec.h"

#include "specs/base/cleanup.h"
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
