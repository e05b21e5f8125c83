/* SPDX-License-Identifier: MPL-2.0 */
/* `vm "name" { … }`: the table of its fields, and the fields that are a single value. */
#include "specs/vmfile/vmfile_reader.h"

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_limits.h"

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

static void read_autostart(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    if (field->value->kind != KDL_BOOL) {
        vmfile_report(reader, field->value->pos, "write: autostart #false",
            "`autostart` must be #true or #false");
        return;
    }
    ((struct vmfile_vm *)target)->spec->autostart =
        field->value->boolean ? AUTOSTART_ON : AUTOSTART_OFF;
}

#define SPEC(member) .offset = offsetof(struct vm_spec, member)

static const struct vmfile_rule rules[VM_FIELD_COUNT_] = {
    [VM_IMAGE] = {"image", "image \"path\"", .read_node = vmfile_read_image},
    [VM_IMAGE_URL] = {"image-url", "image-url \"https://…\"", .read_node = vmfile_read_image_url},
    [VM_VCPUS] = {"vcpus", "vcpus 2", .kind = VMFILE_INTEGER, SPEC(vcpus), .min = 1,
        .max = SPEC_VCPUS_MAX},
    [VM_MEMORY] = {"memory", "memory 2048", .kind = VMFILE_MIB, SPEC(memory_mib),
        .max = SPEC_MEMORY_MAX_MIB},
    [VM_MAX_VCPUS] = {"max-vcpus", "max-vcpus 4", .kind = VMFILE_INTEGER, SPEC(max_vcpus), .min = 1,
        .max = SPEC_VCPUS_MAX},
    [VM_MAX_MEMORY] = {"max-memory", "max-memory 8192", .kind = VMFILE_MIB, SPEC(max_memory_mib),
        .max = SPEC_MEMORY_MAX_MIB},
    [VM_CPU_LIMIT] = {"cpu-limit", "cpu-limit 1.5", .read_value = vmfile_read_cpu_limit},
    [VM_MEMORY_LIMIT] = {"memory-limit", "memory-limit \"3G\"", .kind = VMFILE_MIB,
        SPEC(memory_limit_mib), .max = SPEC_MEMORY_LIMIT_MAX_MIB},
    [VM_DISK] = {"disk", "disk 20", .kind = VMFILE_GIB, SPEC(disk_gib), .max = SPEC_DISK_MAX_GIB,
        .read_form = vmfile_read_disk},
    [VM_IO_LIMIT] = {"io-limit", VMFILE_IO_LIMIT_USAGE, .read_node = vmfile_read_io_limit},
    [VM_VOLUME] = {"volume", "volume \"data\" size=20 mount=\"/data\"", .is_list = true,
        .read_node = vmfile_read_volume},
    [VM_SHARE] = {"share", "share \".\" \"/work\"", .is_list = true,
        .read_node = vmfile_read_share},
    [VM_NETWORK] = {"network", "network \"user\"", .is_whole = true,
        .read_node = vmfile_read_network},
    [VM_VNC] = {"vnc", "vnc port=5901 password-file=\"path\"", .read_node = vmfile_read_vnc},
    [VM_CLOUD_INIT] = {"cloud-init", "cloud-init { hostname \"myvm\" }",
        .read_node = vmfile_read_cloud_init},
    [VM_SSH] = {"ssh", "ssh { user \"ubuntu\" }", .read_node = vmfile_read_ssh},
    [VM_PROVISION] = {"provision", "provision \"shell\" { inline \"command\" }", .is_list = true,
        .read_node = vmfile_read_provision},
    [VM_RESTART] = {"restart", "restart \"on-failure\"", .kind = VMFILE_WORD, SPEC(restart),
        .words = &restart_policy_words},
    [VM_FORWARD] = {"forward", "forward host=8080 guest=80", .is_list = true,
        .read_node = vmfile_read_forward},
    [VM_READY] = {"ready", "ready { tcp 80 }", .read_node = vmfile_read_ready},
    [VM_LIVE] = {"live", "live { tcp 80 }", .read_node = vmfile_read_live},
    [VM_DEPENDS_ON] = {"depends-on", "depends-on \"db\"", .is_list = true,
        .read_node = vmfile_read_depends_on},
    [VM_LABEL] = {"label", "label \"tier\" \"web\"", .is_list = true,
        .read_node = vmfile_read_label},
    [VM_PROTECT] = {"protect", "protect", .read_node = vmfile_read_protect},
    [VM_ARCH] = {"arch", "arch \"aarch64\"", .kind = VMFILE_WORD, SPEC(image.arch),
        .words = &arch_words},
    [VM_ACCEL] = {"accel", "accel \"auto\"", .kind = VMFILE_WORD, SPEC(accel),
        .words = &accel_mode_words},
    [VM_MACHINE] = {"machine", "machine \"q35\"", .kind = VMFILE_NAME, SPEC(machine),
        .is_valid = vmfile_is_machine,
        .problem = "must be \"q35\" or a version of it, or of \"virt\", not",
        .hint = "write for example: machine \"pc-q35-7.2\""},
    [VM_FIRMWARE] = {"firmware", "firmware \"uefi\"", .kind = VMFILE_WORD, SPEC(firmware),
        .words = &firmware_words},
    [VM_TPM] = {"tpm", "tpm", .read_node = vmfile_read_tpm},
    [VM_AUTOSTART] = {"autostart", "autostart #false", .read_value = read_autostart},
    [VM_WARM] = {"warm", "warm \"disk\"", .kind = VMFILE_WORD, SPEC(warm), .words = &warm_words},
    [VM_STOP_TIMEOUT] = {"stop-timeout", "stop-timeout 30", .kind = VMFILE_SECONDS,
        SPEC(stop_timeout_s), .max = SPEC_STOP_TIMEOUT_MAX_S},
    [VM_BACKEND] = {"backend", "backend \"qemu\"", .read_value = read_backend},
    [VM_PROPOLIS_SERVER] = {"propolis-server", "propolis-server \"10.0.0.5:12400\"",
        .kind = VMFILE_NAME, SPEC(propolis_server), .is_valid = vmfile_is_server,
        .problem = "must be a host name or an IP address, with a port such as :12400, not"},
    [VM_PLACE] = {VMFILE_PLACE, "node \"b\"", .read_value = vmfile_read_place},
};

/* ---- volume ---- */

/* Of a volume or a further disk: its name is its serial number. */
static void read_disk_name(struct vmfile_reader *reader, const struct kdl_node *node,
    struct vmfile_vm *vm, char **ret_name)
{
    struct vmfile_field field;
    const char *name = vmfile_argument(node, 0, &field) ? vmfile_line(reader, &field) : NULL;
    if (!name) {
        return;
    }
    if (!vm_name_is_plain(name) || !volume_name_is_valid(name)) {
        vmfile_report(reader, field.value->pos,
            "letters, digits, '.', '_' and '-', a letter or digit first, at most 20 characters",
            "\"%s\" cannot be the name of a %s", name, node->name);
    } else if (vm_spec_disk(vm->spec, name) || vm_spec_volume(vm->spec, name)) {
        vmfile_report(reader, field.value->pos, "every disk of a VM needs a name of its own",
            "%s \"%s\" is named twice in VM \"%s\"", node->name, name, vm->spec->name);
    }
    *ret_name = mem_strdup(name);
}

static void read_true(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)target;
    if (field->value->kind != KDL_BOOL || !field->value->boolean) {
        vmfile_report(reader, field->value->pos, NULL, "`%s` must be #true", field->name);
    }
}

void vmfile_read_disk(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    enum { DISK_SIZE, DISK_EPHEMERAL, DISK_FILE, DISK_READONLY, DISK_FIELD_COUNT_ };
    static const char usage[] = "disk \"scratch\" size=5 ephemeral=#true";
    static const struct vmfile_rule disk_rules[DISK_FIELD_COUNT_] = {
        [DISK_SIZE] = {"size", .usage = "size=5", .kind = VMFILE_GIB,
            .offset = offsetof(struct spec_disk, size_gib), .max = SPEC_DISK_MAX_GIB},
        [DISK_EPHEMERAL] = {"ephemeral", .usage = "ephemeral=#true", .read_value = read_true},
        [DISK_FILE] = {"file", .usage = "file=\"data.img\"", .kind = VMFILE_PATH,
            .offset = offsetof(struct spec_disk, file)},
        [DISK_READONLY] = {"readonly", .usage = "readonly=#true", .read_value = read_true},
    };
    static const struct vmfile_shape disk_shape = {
        usage, 1, 1, disk_rules, DISK_FIELD_COUNT_, false};
    struct vmfile_vm *vm = target;
    struct vm_spec *spec = vm->spec;
    struct spec_disk disk = {.size_gib = 0};
    struct kdl_pos seen[DISK_FIELD_COUNT_] = {{0}};
    vm->disk = vm->disk.line ? vm->disk : node->pos;
    vmfile_read_node(reader, node, &disk_shape, &disk, seen);
    read_disk_name(reader, node, vm, &disk.name);
    bool is_scratch = seen[DISK_SIZE].line && seen[DISK_EPHEMERAL].line;
    bool is_file = seen[DISK_FILE].line && seen[DISK_READONLY].line;
    unsigned n_seen = 0;
    for (size_t i = 0; i < DISK_FIELD_COUNT_; i++) {
        n_seen += seen[i].line != 0;
    }
    if (n_seen != 2 || is_scratch == is_file) {
        vmfile_report(reader, node->pos, "one that is to stay is a `volume`",
            "a further `disk` has either size= and ephemeral=#true, or file= and readonly=#true");
    }
    if (disk.file && (text_ends_with(disk.file, ".qcow2") || text_ends_with(disk.file, ".vmdk"))) {
        vmfile_report(reader, seen[DISK_FILE], "convert it: qemu-img convert -O raw",
            "`file` of a further `disk` must be a raw image");
    }
    if (spec->n_disks == DISKS_MAX) {
        vmfile_report(reader, node->pos, "remove one", "VM \"%s\" has more than %d further disks",
            spec->name, DISKS_MAX);
    }
    mem_grow(spec->disks, spec->n_disks);
    spec->disks[spec->n_disks++] = disk;
}

void vmfile_read_volume(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    enum { VOLUME_SIZE, VOLUME_MOUNT, VOLUME_FIELD_COUNT_ };
    static const struct vmfile_rule volume_rules[VOLUME_FIELD_COUNT_] = {
        [VOLUME_SIZE] = {"size", .usage = "size=20", .kind = VMFILE_GIB,
            .offset = offsetof(struct spec_volume, size_gib), .max = SPEC_DISK_MAX_GIB},
        [VOLUME_MOUNT] = {"mount", .usage = "mount=\"/data\"", .kind = VMFILE_NAME,
            .offset = offsetof(struct spec_volume, mount), .is_valid = mount_point_is_valid,
            .problem = "must be the absolute path of a directory in the guest, not",
            .hint = "write for example: mount=\"/data\""},
    };
    static const struct vmfile_shape volume_shape = {
        "volume \"data\" size=20 mount=\"/data\"", 1, 1, volume_rules, VOLUME_FIELD_COUNT_, false};
    struct vmfile_vm *vm = target;
    struct vm_spec *spec = vm->spec;
    struct spec_volume volume = {.size_gib = 0};
    struct kdl_pos seen[VOLUME_FIELD_COUNT_] = {{0}};
    vmfile_read_node(reader, node, &volume_shape, &volume, seen);
    read_disk_name(reader, node, vm, &volume.name);
    if (spec->n_volumes == VOLUMES_MAX) {
        vmfile_report(reader, node->pos, "remove one", "VM \"%s\" has more than %d volumes",
            spec->name, VOLUMES_MAX);
    }
    mem_grow(vm->volumes, spec->n_volumes);
    vm->volumes[spec->n_volumes] = seen[VOLUME_MOUNT].line ? seen[VOLUME_MOUNT] : node->pos;
    mem_grow(spec->volumes, spec->n_volumes);
    spec->volumes[spec->n_volumes++] = volume;
}

void vmfile_read_share(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    enum { SHARE_READONLY, SHARE_TAG, SHARE_FIELD_COUNT_ };
    static const struct vmfile_rule share_rules[SHARE_FIELD_COUNT_] = {
        [SHARE_READONLY] = {"readonly", .usage = "readonly=#true", .kind = VMFILE_FLAG,
            .offset = offsetof(struct spec_share, is_readonly)},
        [SHARE_TAG] = {"tag", .usage = "tag=\"src\"", .kind = VMFILE_NAME,
            .offset = offsetof(struct spec_share, tag), .is_valid = share_tag_is_valid,
            .problem = "must be at most 31 letters, digits, '.', '_' and '-', not"},
    };
    static const struct vmfile_shape share_shape = {
        "share \".\" \"/work\"", 2, 2, share_rules, SHARE_FIELD_COUNT_, false};
    struct vmfile_vm *vm = target;
    struct vm_spec *spec = vm->spec;
    struct spec_share share = {.host = NULL};
    struct kdl_pos seen[SHARE_FIELD_COUNT_] = {{0}};
    struct vmfile_field host, guest;
    vmfile_read_node(reader, node, &share_shape, &share, seen);
    const char *directory = NULL;
    if (vmfile_argument(node, 0, &host) && vmfile_argument(node, 1, &guest)) {
        share.host = vmfile_directory(reader, &host);
        directory = vmfile_line(reader, &guest);
    }
    if (directory && !mount_point_is_valid(directory)) {
        vmfile_report(reader, guest.value->pos, "write for example: share \".\" \"/work\"",
            "the second value of `share` must be the absolute path of a directory in the guest, "
            "not \"%s\"",
            directory);
        directory = NULL;
    }
    if (spec->n_shares == SHARES_MAX) {
        vmfile_report(reader, node->pos, "remove one", "VM \"%s\" has more than %d shared folders",
            spec->name, SHARES_MAX);
    }
    share.guest = mem_strdup(directory ? directory : "/");
    share.tag = share.tag ? share.tag : share_default_tag(share.guest);
    mem_grow(vm->shares, spec->n_shares);
    vm->shares[spec->n_shares] = seen[SHARE_TAG].line ? seen[SHARE_TAG] : node->pos;
    mem_grow(spec->shares, spec->n_shares);
    spec->shares[spec->n_shares++] = share;
}

static const struct vmfile_shape shape = {
    "vm \"name\" { … }", 1, 1, rules, VM_FIELD_COUNT_, .is_indirect = true};

bool vmfile_vm_field_adds_up(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (text_eq(rules[i].name, name)) {
            return rules[i].is_list;
        }
    }
    return false;
}

/* Reports a name that is not valid; later messages quote it as it is written. */
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
    mem_grow(file->places, n);
    mem_grow(reader->vms, n);
    file->vms[n] = vm_spec_new(name ? name : "");
    file->positions[n] = node->pos;
    file->places[n] = reader->place ? mem_strdup(reader->place) : NULL;
    reader->vms[n] = (struct vmfile_vm){.spec = file->vms[n]};
    return &reader->vms[n];
}

void vmfile_read_vm(struct vmfile_reader *reader, const struct kdl_node *node)
{
    struct kdl_pos name_pos = node->pos;
    const char *name = read_name(reader, node, &name_pos);
    reader->place = vmfile_place_of(node);
    struct vmfile_vm *vm = add_vm(reader, node, name);
    vm->pos = name_pos;
    reader->is_image_meant = false;
    vmfile_take_named_image(reader, node, vm->spec);
    vmfile_read_node(reader, node, &shape, vm, vm->seen);
    enum firmware firmware = vm->spec->firmware;
    vm_spec_settle_arch(vm->spec);
    if (vm->seen[VM_FIRMWARE].line) {
        vm->spec->firmware = firmware;
    }
    vmfile_check_vm(reader, vm);
}
