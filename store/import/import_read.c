/* SPDX-License-Identifier: MPL-2.0 */
/* vms.json to import_vms. Tolerant as the original reader: what is missing has its default. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_limits.h"
#include "store/import/import.h"

enum {
    FILE_MAX = 16 << 20,
};

/* ---- the fields of one handle ---- */

static int read_count(const json_t *handle, const char *key, int64_t otherwise, int64_t max,
    const char *name, uint32_t *ret, struct error *err)
{
    int64_t number = json_int(handle, key, otherwise);
    if (number < 0 || number > max) {
        return error_set(err, ERR_VMFILE_INVALID, "vm '%s': %s %lld is out of range", name, key,
            (long long)number);
    }
    *ret = (uint32_t)number;
    return 0;
}

static int read_sizes(const json_t *handle, struct vm_spec *spec, struct error *err)
{
    int rc = read_count(
        handle, "vcpus", SPEC_DEFAULT_VCPUS, SPEC_VCPUS_MAX, spec->name, &spec->vcpus, err);
    if (rc == 0) {
        rc = read_count(handle, "memory_mb", SPEC_DEFAULT_MEMORY_MIB, SPEC_MEMORY_MAX_MIB,
            spec->name, &spec->memory_mib, err);
    }
    if (rc == 0) {
        rc = read_count(handle, "disk_gb", 0, SPEC_DISK_MAX_GIB, spec->name, &spec->disk_gib, err);
    }
    return rc;
}

/* {"type": "Tap", "bridge": "br0"}; the words are those of the original's enum. */
static int read_network(const json_t *handle, struct vm_spec *spec, struct error *err)
{
    const json_t *network = json_object_get(handle, "network");
    const char *type = json_text(network, "type");
    if (!type || text_eq(type, "User")) {
        spec->network.mode = NETWORK_USER;
    } else if (text_eq(type, "None")) {
        spec->network.mode = NETWORK_NONE;
    } else if (text_eq(type, "Tap")) {
        const char *bridge = json_text(network, "bridge");
        spec->network.mode = NETWORK_TAP;
        spec->network.bridge = mem_strdup(bridge ? bridge : SPEC_DEFAULT_BRIDGE);
    } else {
        return error_set(
            err, ERR_BACKEND_UNAVAILABLE, "vm '%s' has a network of type '%s'", spec->name, type);
    }
    return 0;
}

static char *copy_mac(const json_t *handle)
{
    const char *mac = json_text(handle, "mac_addr");
    return mac && mac_address_is_valid(mac) ? mem_strdup(mac) : NULL;
}

static int64_t in_range(int64_t number, int64_t max)
{
    return number > 0 && number <= max ? number : 0;
}

static int read_handle(const json_t *handle, struct import_vm *vm, struct error *err)
{
    if (!vm_spec_name_is_valid(vm->name)) {
        return error_set(err, ERR_VMFILE_INVALID, "'%s' cannot be a VM's name", vm->name);
    }
    if (!json_is_object(handle)) {
        return error_set(err, ERR_VMFILE_INVALID, "vm '%s' is not a JSON object", vm->name);
    }
    vm->work_dir = json_copy_text(handle, "work_dir");
    vm->overlay_path = json_copy_text(handle, "overlay_path");
    vm->mac = copy_mac(handle);
    vm->pid = (int32_t)in_range(json_int(handle, "pid", 0), INT32_MAX);
    vm->ssh_port = (uint16_t)in_range(json_int(handle, "ssh_host_port", 0), UINT16_MAX);
    vm->spec->backend = BACKEND_QEMU;
    const char *backend = json_text(handle, "backend");
    if (backend && !text_eq(backend, "qemu")) {
        (void)error_set(
            err, ERR_BACKEND_UNAVAILABLE, "vm '%s' is of backend '%s'", vm->name, backend);
        return error_help(err, "only VMs of QEMU can be taken over");
    }
    int rc = read_sizes(handle, vm->spec, err);
    return rc < 0 ? rc : read_network(handle, vm->spec, err);
}

/* ---- the file ---- */

int import_read(const char *path, struct import_list *ret, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    json_error_t json_error;
    int rc = fs_read_file(path, &text, err);
    if (rc < 0) {
        return error_help(err, "give its path: vmctl import PATH");
    }
    cleanup_json json_t *root = json_loadb(buf_str(&text), text.len, 0, &json_error);
    if (!json_is_object(root)) {
        return error_set(err, ERR_VMFILE_INVALID,
            "'%s' is not a vms.json of the original vmctl: %s", path,
            root ? "it is not a JSON object" : json_error.text);
    }
    const char *name;
    json_t *handle;
    *ret = (struct import_list){.vms = mem_calloc(json_object_size(root), sizeof(*ret->vms))};
    json_object_foreach(root, name, handle)
    {
        struct import_vm *vm = &ret->vms[ret->count++];
        vm->name = mem_strdup(name);
        vm->spec = vm_spec_new(name);
        (void)read_handle(handle, vm, &vm->problem);
    }
    qsort(ret->vms, ret->count, sizeof(*ret->vms), text_compare);
    return 0;
}

void import_list_clear(struct import_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct import_vm *vm = &list->vms[i];
        free(vm->name);
        free(vm->work_dir);
        free(vm->overlay_path);
        free(vm->mac);
        vm_spec_free(vm->spec);
    }
    free(list->vms);
    *list = (struct import_list){.count = 0};
}
