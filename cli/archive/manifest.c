/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/manifest.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/spec_limits.h"
#include "specs/vm/vm_import.h"
#include "specs/vm/vm_spec.h"

static void disk_clear(struct manifest_disk *disk)
{
    free(disk->volume);
    free(disk->file);
    free(disk->parent);
}

void manifest_clear(struct manifest *manifest)
{
    free(manifest->vm);
    free(manifest->mac);
    vm_spec_free(manifest->spec);
    fields_free(&vm_snapshot_fields, manifest->snapshot);
    disk_clear(&manifest->disk);
    for (size_t i = 0; i < manifest->n_volumes; i++) {
        disk_clear(&manifest->volumes[i]);
    }
    *manifest = (struct manifest){.n_members = 0};
}

uint64_t manifest_bytes(const struct manifest *manifest)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < manifest->n_members; i++) {
        uint64_t size = manifest->members[i].tar.size;
        bytes = size > UINT64_MAX - bytes ? UINT64_MAX : bytes + size;
    }
    return bytes;
}

bool manifest_has_volume(const struct manifest *manifest, const char *volume)
{
    cleanup_free char *member = vm_import_volume_member(volume);
    bool is_there = manifest_disk_of(manifest, vm_name_plain(volume)) != NULL;
    for (size_t i = 0; i < manifest->n_members; i++) {
        is_there |= text_eq(manifest->members[i].tar.name, member);
    }
    return is_there;
}

const struct manifest_disk *manifest_disk_of(const struct manifest *manifest, const char *volume)
{
    const struct manifest_disk *found = NULL;
    for (size_t i = 0; volume && !found && i < manifest->n_volumes; i++) {
        found = text_eq(manifest->volumes[i].volume, volume) ? &manifest->volumes[i] : NULL;
    }
    return volume || !manifest->disk.file ? found : &manifest->disk;
}

/* ---- writing ---- */

static json_t *disk_to_json(const struct manifest_disk *disk)
{
    json_t *json = json_object();
    json_put_text(json, "name", disk->volume);
    json_put_text(json, "file", disk->file);
    json_put_int(json, "bytes", (int64_t)disk->bytes);
    json_put_text(json, "sha256", disk->sha256);
    json_put_text(json, "parent", disk->parent);
    json_put_text(json, "bitmap", disk->bitmap);
    json_put_text(json, "uid", disk->uid);
    return json;
}

void manifest_write(const struct manifest *manifest, struct buf *out)
{
    cleanup_json json_t *json = json_object();
    json_t *members = json_array();
    for (size_t i = 0; i < manifest->n_members; i++) {
        json_t *member = json_object();
        json_put_text(member, "name", manifest->members[i].tar.name);
        json_put_int(member, "size", (int64_t)manifest->members[i].tar.size);
        json_put_text(member, "sha256", manifest->members[i].sha256);
        (void)json_array_append_new(members, member);
    }
    json_put_int(json, "format", MANIFEST_FORMAT);
    json_put_text(json, "vmctl", VMCTL_VERSION);
    json_put_text(json, "vm", manifest->vm);
    json_put_int(json, "created", manifest->created_ms);
    json_put_text(json, "mac", manifest->mac);
    json_put(json, "members", members);
    if (manifest->disk.file) {
        json_put(json, "disk", disk_to_json(&manifest->disk));
    }
    json_t *volumes = json_array();
    for (size_t i = 0; i < manifest->n_volumes; i++) {
        (void)json_array_append_new(volumes, disk_to_json(&manifest->volumes[i]));
    }
    if (manifest->n_volumes > 0) {
        json_put(json, "volumes", volumes);
    } else {
        json_decref(volumes);
    }
    json_put(json, "spec", vm_spec_to_json(manifest->spec));
    json_put(json, "snapshot", fields_to_json(&vm_snapshot_fields, manifest->snapshot));
    cleanup_free char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    (void)buf_printf(out, "%s\n", text);
}

/* ---- reading ---- */

static int refuse_manifest(const char *title, const char *what, struct error *err)
{
    return error_set(err, ERR_ARCHIVE, "'%s' is not an export of vmctl: %s", title, what);
}

static bool is_member_name(const char *name)
{
    cleanup_free char *volume = vm_import_volume_name(name);
    bool is_known = volume != NULL;
    for (size_t i = 0; i < VM_IMPORT_FILES; i++) {
        is_known |= text_eq(name, vm_import_files[i].name);
    }
    return is_known;
}

static bool is_digest(const char *text)
{
    return text && strlen(text) == DIGEST_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == DIGEST_SIZE - 1;
}

/* What is before a colon names a protocol to QEMU, also in a backing file's name. */
static bool is_disk_name(const char *name)
{
    return fs_is_entry_name(name) && !strchr(name, ':') && text_ends_with(name, ".qcow2") &&
           strlen(name) < NAME_MAX;
}

static int read_disk_file(
    const json_t *disk, const char *title, struct manifest_disk *ret, struct error *err)
{
    const char *file = json_text(disk, "file"), *parent = json_text(disk, "parent");
    const char *sha256 = json_text(disk, "sha256"), *uid = json_text(disk, "uid");
    const char *bitmap = json_text(disk, "bitmap");
    int64_t bytes = json_int(disk, "bytes", -1);
    if (!file || !is_disk_name(file) || (parent && !is_disk_name(parent)) || !is_digest(sha256) ||
        bytes < 0 || !uid || strlen(uid) >= TEXT_ID_SIZE || !bitmap ||
        strlen(bitmap) >= SNAPSHOT_NAME_SIZE) {
        return refuse_manifest(title, "its manifest does not describe its disk", err);
    }
    *ret = (struct manifest_disk){
        .file = mem_strdup(file), .bytes = (uint64_t)bytes, .parent = mem_strdup(parent)};
    (void)snprintf(ret->sha256, DIGEST_SIZE, "%s", sha256);
    (void)snprintf(ret->bitmap, SNAPSHOT_NAME_SIZE, "%s", bitmap);
    (void)snprintf(ret->uid, TEXT_ID_SIZE, "%s", uid);
    return 0;
}

/* Those of a backup; of an export none. */
static int read_disks(
    const json_t *json, const char *title, struct manifest *ret, struct error *err)
{
    const json_t *disk = json_object_get(json, "disk"), *volumes = json_object_get(json, "volumes");
    size_t n = json_array_size(volumes);
    int rc = disk ? read_disk_file(disk, title, &ret->disk, err) : 0;
    if (rc == 0 && n > 0 && (!disk || n > VOLUMES_MAX)) {
        return refuse_manifest(title, "its manifest lists too many volumes", err);
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const json_t *volume = json_array_get(volumes, i);
        const char *name = json_text(volume, "name");
        if (!name || !vm_name_is_plain(name) || !volume_name_is_valid(name) ||
            manifest_disk_of(ret, name)) {
            return refuse_manifest(
                title, "its manifest lists an invalid volume, or one twice", err);
        }
        rc = read_disk_file(volume, title, &ret->volumes[i], err);
        if (rc == 0) {
            ret->volumes[i].volume = mem_strdup(name);
            ret->n_volumes++;
        }
    }
    return rc;
}

static int add_member(
    const json_t *json, const char *title, struct manifest *ret, struct error *err)
{
    struct manifest_member *member = &ret->members[ret->n_members];
    const char *name = json_text(json, "name"), *sha256 = json_text(json, "sha256");
    int64_t size = json_int(json, "size", -1);
    if (!name || strlen(name) >= TAR_NAME_SIZE || !is_member_name(name) || !is_digest(sha256) ||
        size < 0) {
        return refuse_manifest(title, "its manifest lists a file that a VM does not have", err);
    }
    for (size_t i = 0; i < ret->n_members; i++) {
        if (text_eq(ret->members[i].tar.name, name)) {
            return refuse_manifest(title, "its manifest lists a file twice", err);
        }
    }
    (void)snprintf(member->tar.name, sizeof(member->tar.name), "%s", name);
    (void)snprintf(member->sha256, sizeof(member->sha256), "%s", sha256);
    member->tar.size = (uint64_t)size;
    ret->n_members++;
    return 0;
}

static int read_members(
    const json_t *json, const char *title, struct manifest *ret, struct error *err)
{
    const json_t *members = json_object_get(json, "members");
    int rc = json_array_size(members) > MANIFEST_MEMBERS_MAX
                 ? refuse_manifest(title, "its manifest lists too many files", err)
                 : 0;
    bool has_disk = false;
    for (size_t i = 0; rc == 0 && i < json_array_size(members); i++) {
        rc = add_member(json_array_get(members, i), title, ret, err);
        has_disk |= rc == 0 && text_eq(ret->members[i].tar.name, VM_IMPORT_DISK);
    }
    return rc < 0 || has_disk != (ret->disk.file != NULL)
               ? rc
               : refuse_manifest(title, "its manifest has to list exactly one disk", err);
}

/* Only what a VM of this host may have of it: the steps that have run, and the sizes. */
static int read_snapshot(
    const json_t *json, const char *title, struct manifest *ret, struct error *err)
{
    struct error cause = {.code = ERR_NONE};
    const json_t *text = json_object_get(json, "snapshot");
    struct vm_snapshot *snapshot = fields_new(&vm_snapshot_fields);
    ret->snapshot = snapshot;
    if (!json_is_object(text) ||
        fields_from_json(&vm_snapshot_fields, text, snapshot, &cause) < 0) {
        return refuse_manifest(title, "its manifest does not describe the state of its disk", err);
    }
    struct vm_provision *provision = &snapshot->provision;
    if (provision->next_step > provision->total || provision->n_steps > provision->total) {
        return refuse_manifest(
            title, "its manifest contradicts itself about the steps that have run", err);
    }
    provision->run = (struct vm_step_run){.tries = 0};
    free(TAKE_PTR(snapshot->prepared.image_path));
    snapshot->prepared = (struct vm_prepared){.disk_gib = snapshot->prepared.disk_gib,
        .disk_bytes = snapshot->prepared.disk_bytes,
        .is_crash_consistent = snapshot->prepared.is_crash_consistent};
    snapshot->file[0] = '\0';
    snapshot->ends_ms = 0;
    return 0;
}

/* Or nothing. A VMFile's texts were checked where it was read. */
static bool is_word(const char *text)
{
    return !text || (text[0] && text[0] != '-' && strspn(text, SPEC_NAME_CHARS) == strlen(text));
}

/* These become words, or parts of words, of command lines: of QEMU's, where a comma begins another
 * option, of ssh's, and of what is written for cloud-init. */
static bool is_harmless(const struct vm_spec *spec)
{
    struct in_addr address;
    bool is_one = is_word(spec->machine) && is_word(spec->ssh.user) &&
                  is_word(spec->cloud_init.hostname) && is_word(spec->network.bridge) &&
                  is_word(spec->network.vnic) && is_word(spec->network.address);
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        is_one = is_one &&
                 inet_pton(AF_INET, forward_address(&spec->network.forwards[i]), &address) == 1;
    }
    return is_one;
}

static bool is_within(uint64_t value, uint64_t least, uint64_t most)
{
    return value >= least && value <= most;
}

/* The numbers that a VMFile's reader bounds. */
static bool is_in_range(const struct vm_spec *spec)
{
    bool is_one = is_within(spec->vcpus, 1, SPEC_VCPUS_MAX) &&
                  is_within(spec->memory_mib, 1, SPEC_MEMORY_MAX_MIB) &&
                  is_within(spec->max_vcpus, 0, SPEC_VCPUS_MAX) &&
                  is_within(spec->max_memory_mib, 0, SPEC_MEMORY_MAX_MIB) &&
                  is_within(spec->disk_gib, 0, SPEC_DISK_MAX_GIB) &&
                  is_within(spec->cpu_limit_milli, 0, SPEC_CPU_LIMIT_MAX_MILLI) &&
                  is_within(spec->memory_limit_mib, 0, SPEC_MEMORY_LIMIT_MAX_MIB) &&
                  is_within(spec->io_limit.read_kib, 0, SPEC_RATE_MAX_KIB) &&
                  is_within(spec->io_limit.write_kib, 0, SPEC_RATE_MAX_KIB) &&
                  is_within(spec->io_limit.iops, 0, SPEC_IOPS_MAX) &&
                  is_within(spec->stop_timeout_s, 0, SPEC_STOP_TIMEOUT_MAX_S);
    for (size_t i = 0; i < ARRAY_LEN(spec->checks); i++) {
        const struct spec_check *check = &spec->checks[i];
        is_one = is_one && is_within(check->period_s, 1, SPEC_PERIOD_MAX_S) &&
                 is_within(check->timeout_s, 1, SPEC_PERIOD_MAX_S) &&
                 is_within(check->failures, 1, SPEC_FAILURES_MAX) &&
                 is_within(check->start_period_s, 0, SPEC_PERIOD_MAX_S);
    }
    for (size_t i = 0; i < spec->n_disks; i++) {
        is_one = is_one && is_within(spec->disks[i].size_gib, 0, SPEC_DISK_MAX_GIB);
    }
    for (size_t i = 0; i < spec->n_volumes; i++) {
        is_one = is_one && is_within(spec->volumes[i].size_gib, 0, SPEC_DISK_MAX_GIB);
    }
    return is_one;
}

static int read_spec(const json_t *json, const char *title, struct manifest *ret, struct error *err)
{
    struct error cause = {.code = ERR_NONE};
    const json_t *spec = json_object_get(json, "spec");
    cleanup_free char *text = spec ? json_dumps(spec, JSON_COMPACT) : NULL;
    ret->spec = text ? vm_spec_read((struct bytes){text, strlen(text)}, &cause) : NULL;
    if (!ret->spec || !vm_name_is_valid(ret->spec->name)) {
        return error_set(err, ERR_ARCHIVE,
            "'%s': its manifest does not describe a VM that this vmctl knows%s%s", title,
            cause.message[0] ? ": " : "", cause.message);
    }
    if (ret->spec->backend != BACKEND_QEMU) {
        return refuse_manifest(title, "it is not from a QEMU VM", err);
    }
    if (!is_harmless(ret->spec) || !is_in_range(ret->spec) ||
        (ret->mac && !mac_address_is_valid(ret->mac))) {
        return refuse_manifest(title, "its settings have values that no VMFile can have", err);
    }
    ret->vm = mem_strdup(ret->spec->name);
    return 0;
}

int manifest_read(
    const struct buf *text, const char *title, struct manifest *ret, struct error *err)
{
    cleanup_json json_t *json = json_loadb(buf_str(text), text->len, JSON_REJECT_DUPLICATES, NULL);
    int64_t format = json_int(json, "format", 0);
    if (format > MANIFEST_FORMAT) {
        const char *version = json_text(json, "vmctl");
        (void)error_set(err, ERR_ARCHIVE,
            "'%s' has format %lld, and this vmctl reads formats up to %d", title, (long long)format,
            MANIFEST_FORMAT);
        return error_help(err, "import it with the vmctl that made it, %.32s, or a newer one",
            version ? version : "?");
    }
    if (format < 1) {
        return refuse_manifest(title, "its manifest cannot be read", err);
    }
    ret->created_ms = json_int(json, "created", 0);
    ret->mac = json_copy_text(json, "mac");
    int rc = read_disks(json, title, ret, err);
    rc = rc < 0 ? rc : read_members(json, title, ret, err);
    rc = rc < 0 ? rc : read_spec(json, title, ret, err);
    return rc < 0 ? rc : read_snapshot(json, title, ret, err);
}

/* ---- what can be had here ---- */

static void drop(const struct cli *cli, const struct vm_spec *spec, char **path, const char *what)
{
    if (*path) {
        cli_note(
            cli, "%s: without %s '%s', a file of the host it came from", spec->name, what, *path);
        free(TAKE_PTR(*path));
    }
}

static void drop_further_user_data(const struct cli *cli, struct vm_spec *spec)
{
    struct spec_cloud_init *cloud_init = &spec->cloud_init;
    for (size_t i = 0; i < cloud_init->n_further_user_data; i++) {
        drop(cli, spec, &cloud_init->further_user_data[i].path, "user-data");
    }
    free(TAKE_PTR(cloud_init->further_user_data));
    cloud_init->n_further_user_data = 0;
}

static void settle_disks(
    const struct cli *cli, const struct manifest *manifest, struct vm_spec *spec)
{
    size_t n = 0;
    for (size_t i = 0; i < spec->n_volumes; i++) {
        struct spec_volume volume = spec->volumes[i];
        if (manifest_has_volume(manifest, volume.name)) {
            spec->volumes[n++] = volume;
            continue;
        }
        cli_note(cli, "%s: without volume '%s', which the archive does not hold", spec->name,
            volume.name);
        free(volume.name);
        free(volume.mount);
    }
    spec->n_volumes = n;
    n = 0;
    for (size_t i = 0; i < spec->n_disks; i++) {
        struct spec_disk disk = spec->disks[i];
        if (!disk.file) {
            spec->disks[n++] = disk;
            continue;
        }
        drop(cli, spec, &disk.file, "disk");
        free(disk.name);
    }
    spec->n_disks = n;
}

#define SWAP_LIST(a, b, items, count)                                                              \
    do {                                                                                           \
        __typeof__((a)->items) items_ = (a)->items;                                                \
        __typeof__((a)->count) count_ = (a)->count;                                                \
        (a)->items = (b)->items;                                                                   \
        (a)->count = (b)->count;                                                                   \
        (b)->items = items_;                                                                       \
        (b)->count = count_;                                                                       \
    } while (0)

/* A spec without them takes them with it. */
static void settle_lists(const struct cli *cli, struct vm_spec *spec)
{
    struct vm_spec *bare = vm_spec_new(spec->name);
    if (spec->n_steps > 0) {
        cli_note(cli,
            "%s: without its %zu provision steps; those that ran count as run when its "
            "VMFile is applied: vmctl up",
            spec->name, spec->n_steps);
    }
    for (size_t i = 0; i < spec->n_shares; i++) {
        cli_note(cli, "%s: without share '%s', a directory of the host it came from", spec->name,
            spec->shares[i].host);
    }
    SWAP_LIST(spec, bare, steps, n_steps);
    SWAP_LIST(spec, bare, shares, n_shares);
    SWAP_LIST(spec, bare, depends_on, n_depends_on);
    vm_spec_free(bare);
}

/* One of a project, which is this VM's alone. */
static void settle_project(struct vm_spec *spec, struct spec_network *network, size_t i)
{
    cleanup_free char *port = vm_name_of_socket(spec->name);
    free(network->project);
    free(network->network);
    network->project = mem_strdup(vm_name_plain(spec->name));
    network->network = mem_printf("import-%s.%zu", port, i);
}

/* A guest gets no further than it got where it was, and reaches nothing of this host. */
static void settle_network(const struct cli *cli, struct vm_spec *spec, size_t i)
{
    struct spec_network *network = i == 0 ? &spec->network : &spec->further_networks[i - 1];
    if (network->mode == NETWORK_PROJECT && spec->n_further_networks > 0) {
        cli_note(cli, "%s: on network %zu of its own, not its project's", spec->name, i + 1);
        settle_project(spec, network, i);
    } else if (network->mode == NETWORK_PROJECT &&
               (network->is_isolated || network->n_egress > 0)) {
        cli_note(cli, "%s: without a network: its project's let it out nowhere, or to few places",
            spec->name);
        network->mode = NETWORK_NONE;
    } else if (network->mode == NETWORK_PROJECT) {
        cli_note(cli, "%s: on a network of its own, not its project's", spec->name);
        network->mode = NETWORK_USER;
    } else if (network->mode == NETWORK_TAP) {
        cli_note(cli, "%s: on bridge '%s' of this host", spec->name, network->bridge);
    }
    if (network->n_services > 0) {
        cli_note(
            cli, "%s: without `host-services`: no port of this host is open to it", spec->name);
        network->n_services = 0; /* they own nothing */
    }
}

void manifest_settle_spec(
    const struct cli *cli, const struct manifest *manifest, struct vm_spec *spec)
{
    if (spec->network.n_sockets > 0) {
        cli_note(cli, "%s: without `forward socket`: the paths are of the host it came from",
            spec->name);
        vm_spec_leave_sockets(spec, true);
    }
    vm_spec_leave_identity(
        spec); /* an import brings the MAC address, or does not; see manifest.mac */
    settle_lists(cli, spec);
    settle_disks(cli, manifest, spec);
    drop(cli, spec, &spec->cloud_init.ssh_key.path, "ssh-key");
    drop(cli, spec, &spec->cloud_init.user_data.path, "user-data");
    drop_further_user_data(cli, spec);
    spec->cloud_init.is_joined = false;
    drop(cli, spec, &spec->cloud_init.vendor_data.path, "vendor-data");
    drop(cli, spec, &spec->cloud_init.network_config.path, "network-config");
    drop(cli, spec, &spec->ssh.private_key, "private-key");
    drop(cli, spec, &spec->vnc.password_file, "`vnc`, whose password is");
    spec->vnc.port = 0; /* never without one */
    spec->cloud_init.ssh_key.digest[0] = spec->cloud_init.user_data.digest[0] = '\0';
    spec->cloud_init.vendor_data.digest[0] = spec->cloud_init.network_config.digest[0] = '\0';
    spec->warm = WARM_NEVER;
    for (size_t i = 0; i <= spec->n_further_networks; i++) {
        settle_network(cli, spec, i);
    }
}
