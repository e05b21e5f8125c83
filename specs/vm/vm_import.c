/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_import.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_spec.h"

static const char volume_prefix[] = "volume-", volume_suffix[] = ".qcow2";

const struct vm_import_file vm_import_files[VM_IMPORT_FILES] = {
    {"id_ed25519", VM_KEY},
    {"id_ed25519.pub", VM_KEY_PUBLIC},
    {"ssh_host_ed25519_key", VM_HOST_KEY},
    {"ssh_host_ed25519_key.pub", VM_HOST_KEY_PUBLIC},
    {"ssh_host_key_trusted.pub", VM_HOST_KEY_TRUSTED},
    {"seed.iso", VM_SEED},
    {"uefi-vars.fd", VM_FIRMWARE_VARS},
    {"tpm2-state", VM_TPM_STATE},
    {VM_IMPORT_DISK, VM_OVERLAY},
};

char *vm_import_path(const struct paths *paths, const char *id, const char *name)
{
    return mem_printf("%s/imports/%s%s%s", paths->data_dir, id, name[0] ? "/" : "", name);
}

char *vm_import_volume_member(const char *volume)
{
    cleanup_free char *flat = vm_name_flat(volume);
    return mem_printf("%s%s%s", volume_prefix, flat, volume_suffix);
}

char *vm_import_volume_name(const char *member)
{
    size_t around = sizeof(volume_prefix) + sizeof(volume_suffix) - 2, n = strlen(member);
    if (n <= around || !text_starts_with(member, volume_prefix) ||
        !text_ends_with(member, volume_suffix)) {
        return NULL;
    }
    cleanup_free char *flat = mem_strndup(member + sizeof(volume_prefix) - 1, n - around);
    cleanup_free char *name = vm_name_of_flat(flat);
    return name && volume_name_is_valid(name) ? TAKE_PTR(name) : NULL;
}
