/* SPDX-License-Identifier: MPL-2.0 */
/* `vm "name" { … }`: the table of its fields, and the fields that are a single value. */
#include "specs/vmfile/vmfile_reader.h"

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum {
    VCPUS_MAX = 1024,
    MEMORY_MAX_MIB = 16 << 20, /* 16 TiB */
    DISK_MAX_GIB = 64 << 10,   /* 64 TiB */
    STOP_TIMEOUT_MAX_S = 24 * 3600,
};

static struct vm_spec *spec_of(void *target)
{
    return ((struct vmfile_vm *)target)->spec;
}

static void read_vcpus(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_integer(reader, field, 1, VCPUS_MAX, &spec_of(target)->vcpus);
}

static void read_memory(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_size(reader, field, 'M', MEMORY_MAX_MIB, &spec_of(target)->memory_mib);
}

static void read_max_vcpus(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_integer(reader, field, 1, VCPUS_MAX, &spec_of(target)->max_vcpus);
}

static void read_max_memory(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_size(reader, field, 'M', MEMORY_MAX_MIB, &spec_of(target)->max_memory_mib);
}

static void read_disk(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_size(reader, field, 'G', DISK_MAX_GIB, &spec_of(target)->disk_gib);
}

static void read_restart(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    int policy;
    if (vmfile_word(reader, field, &restart_policy_words, &policy)) {
        spec_of(target)->restart = (enum restart_policy)policy;
    }
}

static void read_accel(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    int accel;
    if (vmfile_word(reader, field, &accel_mode_words, &accel)) {
        spec_of(target)->accel = (enum accel_mode)accel;
    }
}

static void read_firmware(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    int firmware;
    if (vmfile_word(reader, field, &firmware_words, &firmware)) {
        spec_of(target)->firmware = (enum firmware)firmware;
    }
}

static void read_stop_timeout(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_seconds(reader, field, STOP_TIMEOUT_MAX_S, &spec_of(target)->stop_timeout_s);
}

static void read_backend(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct vmfile_vm *vm = target;
    int backend;
    if (vmfile_word(reader, field, &backend_kind_words, &backend)) {
        vm->spec->backend = (enum backend_kind)backend;
    } else {
        vm->is_ambiguous = true;
    }
}

static const struct vmfile_rule rules[VM_FIELD_COUNT_] = {
    [VM_IMAGE] = {"image", "image \"path\"", .read_node = vmfile_read_image},
    [VM_IMAGE_URL] = {"image-url", "image-url \"https://…\"", .read_node = vmfile_read_image_url},
    [VM_VCPUS] = {"vcpus", "vcpus 2", .read_value = read_vcpus},
    [VM_MEMORY] = {"memory", "memory 2048", .read_value = read_memory},
    [VM_MAX_VCPUS] = {"max-vcpus", "max-vcpus 4", .read_value = read_max_vcpus},
    [VM_MAX_MEMORY] = {"max-memory", "max-memory 8192", .read_value = read_max_memory},
    [VM_DISK] = {"disk", "disk 20", .read_value = read_disk},
    [VM_NETWORK] = {"network", "network \"user\"", .read_node = vmfile_read_network},
    [VM_CLOUD_INIT] = {"cloud-init", "cloud-init { hostname \"myvm\" }",
        .read_node = vmfile_read_cloud_init},
    [VM_SSH] = {"ssh", "ssh { user \"ubuntu\" }", .read_node = vmfile_read_ssh},
    [VM_PROVISION] = {"provision", "provision \"shell\" { inline \"command\" }", .is_list = true,
        .read_node = vmfile_read_provision},
    [VM_RESTART] = {"restart", "restart \"on-failure\"", .read_value = read_restart},
    [VM_FORWARD] = {"forward", "forward host=8080 guest=80", .is_list = true,
        .read_node = vmfile_read_forward},
    [VM_READY] = {"ready", "ready { tcp 80 }", .read_node = vmfile_read_ready},
    [VM_LIVE] = {"live", "live { tcp 80 }", .read_node = vmfile_read_live},
    [VM_DEPENDS_ON] = {"depends-on", "depends-on \"db\"", .is_list = true,
        .read_node = vmfile_read_depends_on},
    [VM_ACCEL] = {"accel", "accel \"auto\"", .read_value = read_accel},
    [VM_FIRMWARE] = {"firmware", "firmware \"uefi\"", .read_value = read_firmware},
    [VM_STOP_TIMEOUT] = {"stop-timeout", "stop-timeout 30", .read_value = read_stop_timeout},
    [VM_BACKEND] = {"backend", "backend \"qemu\"", .read_value = read_backend},
};

static const struct vmfile_shape shape = {"vm \"name\" { … }", 1, 1, rules, VM_FIELD_COUNT_};

/* A name that is not valid is reported here and stands for itself in later messages. */
static const char *read_name(
    struct vmfile_reader *reader, const struct kdl_node *node, struct kdl_pos *ret_pos)
{
    struct vmfile_field field;
    if (!vmfile_argument(node, 0, &field)) {
        return NULL;
    }
    *ret_pos = field.value->pos;
    const char *name = vmfile_line(reader, &(struct vmfile_field){"name", field.value});
    if (name && !vm_spec_name_is_valid(name)) {
        vmfile_report(reader, field.value->pos,
            "letters, digits, '.', '_' and '-', a letter or digit first, at most 63 characters",
            "\"%s\" cannot be the name of a VM", name);
    }
    return name;
}

static struct vmfile_vm *add_vm(
    struct vmfile_reader *reader, const struct kdl_node *node, const char *name)
{
    struct vmfile *file = reader->file;
    size_t n = file->n_vms++;
    mem_grow(file->vms, n);
    mem_grow(file->positions, n);
    mem_grow(reader->vms, n);
    file->vms[n] = vm_spec_new(name ? name : "");
    file->positions[n] = node->pos;
    reader->vms[n] = (struct vmfile_vm){.spec = file->vms[n]};
    return &reader->vms[n];
}

void vmfile_read_vm(struct vmfile_reader *reader, const struct kdl_node *node)
{
    struct kdl_pos name_pos = node->pos;
    const char *name = read_name(reader, node, &name_pos);
    struct vmfile_vm *vm = add_vm(reader, node, name);
    vm->pos = name_pos;
    vmfile_read_node(reader, node, &shape, vm, vm->seen);
    vmfile_check_vm(reader, vm);
}
