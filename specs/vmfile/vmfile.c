/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/vmfile.h"

#include <stdlib.h>

void vmfile_free(struct vmfile *file)
{
    if (!file) {
        return;
    }
    for (size_t i = 0; i < file->n_vms; i++) {
        vm_spec_free(file->vms[i]);
    }
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        free(file->diagnostics[i].message);
        free(file->diagnostics[i].hint);
    }
    free(file->vms);
    free(file->positions);
    free(file->diagnostics);
    free(file);
}
