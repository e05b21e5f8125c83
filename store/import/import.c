/* SPDX-License-Identifier: MPL-2.0 */
#include "store/import/import.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/lease_key.h"
#include "specs/vm/media_digest.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "store/batch.h"
#include "store/desired/change.h"
#include "store/desired/rename.h"
#include "store/import/import_disk.h"
#include "store/store.h"

/* ---- its files ---- */

/* A controller that found the directory without a record has moved it aside: quarantine/NAME-TIME.
 * The newest that has a disk; free() it. */
static char *find_quarantined(const struct paths *paths, const char *name)
{
    cleanup_free char *quarantine = paths_path(paths, "quarantine");
    cleanup_free char *prefix = mem_printf("%s-", name);
    char *found = NULL;
    DIR *dir = opendir(quarantine);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *time = entry->d_name + strlen(prefix);
        if (!text_starts_with(entry->d_name, prefix) ||
            strspn(time, "0123456789") != strlen(time)) {
            continue;
        }
        cleanup_free char *path = fs_join(quarantine, entry->d_name);
        cleanup_free char *overlay = fs_join(path, "overlay.qcow2");
        if (fs_exists(overlay) && (!found || strverscmp(path, found) > 0)) {
            free(found);
            found = TAKE_PTR(path);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

/* Where the files are that become ours: a directory of this VM alone. NULL: nowhere. free() it. */
static char *find_files(const struct paths *paths, const struct import_vm *vm)
{
    cleanup_free char *ending = mem_printf("/%s/overlay.qcow2", vm->name);
    const char *overlay = vm->overlay_path;
    if (overlay && text_ends_with(overlay, ending) && fs_exists(overlay)) {
        return mem_strndup(overlay, strlen(overlay) - strlen("/overlay.qcow2"));
    }
    return find_quarantined(paths, vm->name);
}

/* DATA/vms/NAME holds the disk afterwards. */
static int move_files(const struct paths *paths, const struct import_vm *vm, struct error *err)
{
    cleanup_free char *overlay = paths_vm(paths, vm->name, VM_OVERLAY);
    cleanup_free char *target = paths_vm(paths, vm->name, VM_DIR);
    cleanup_free char *parent = paths_path(paths, "vms");
    if (fs_exists(overlay)) {
        return 0;
    }
    cleanup_free char *from = find_files(paths, vm);
    if (!from) {
        (void)error_set(err, ERR_IMAGE_NOT_FOUND, "the disk of vm '%s' is missing%s%s", vm->name,
            vm->overlay_path ? ": " : "", vm->overlay_path ? vm->overlay_path : "");
        return error_help(err, "if the VM was destroyed, remove it from vms.json");
    }
    if (fs_make_dirs(parent, 0700, err) < 0) {
        return -(int)err->code;
    }
    if (rename(from, target) < 0) {
        (void)error_set_errno(err, ERR_IO, errno, "cannot move '%s' to '%s'", from, target);
        return error_help(err, "move it there yourself, then import again");
    }
    return fs_sync_dir_of(target, err);
}

/* ---- running ---- */

/* A process started for this VM has the path of its disk on its command line; a zombie has no
 * command line at all, and a process that was given the number later has another one. */
static bool is_process_of(int32_t pid, const char *overlay_path)
{
    enum { COMMAND_LINE_MAX = 1 << 20 };
    cleanup_buf struct buf words = BUF_INIT(COMMAND_LINE_MAX);
    cleanup_free char *path = mem_printf("/proc/%d/cmdline", (int)pid);
    struct error ignored = {.code = ERR_NONE};
    return pid > 0 && overlay_path && fs_read_file(path, &words, &ignored) == 0 &&
           memmem(buf_str(&words), words.len, overlay_path, strlen(overlay_path)) != NULL;
}

static int check_is_stopped(
    const struct paths *paths, const struct import_vm *vm, struct error *err)
{
    cleanup_free char *ours = paths_vm(paths, vm->name, VM_OVERLAY);
    cleanup_free char *files = find_files(paths, vm);
    cleanup_free char *theirs = files ? fs_join(files, "overlay.qcow2") : NULL;
    bool is_running = is_process_of(vm->pid, vm->overlay_path) || import_disk_is_open(ours) ||
                      (vm->overlay_path && import_disk_is_open(vm->overlay_path)) ||
                      (theirs && import_disk_is_open(theirs));
    if (!is_running) {
        return 0;
    }
    (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is running", vm->name);
    return error_help(
        err, "stop it with the vmctl that started it, then import again: vmctl stop %s", vm->name);
}

/* ---- its records ---- */

struct takeover {
    const struct import_request *request;
    const char *name; /* of the VM */
    struct store *store;
    struct import_disk disk;
    struct vm_desired *desired;
    struct vm_status *status;
    char *mark; /* key of the record that says it was imported */
};

static void takeover_clear(struct takeover *takeover)
{
    import_disk_clear(&takeover->disk);
    vm_desired_free(takeover->desired);
    vm_status_free(takeover->status);
    free(takeover->mark);
}

/* The seed stays attached: without it cloud-init takes the next boot for one of a new machine. */
static struct vm_spec *spec_from_handle(const struct takeover *takeover)
{
    const struct import_request *request = takeover->request;
    const struct paths *paths = store_paths(takeover->store);
    struct vm_spec *spec = vm_spec_copy(request->vm->spec);
    cleanup_free char *seed = paths_vm(paths, spec->name, VM_SEED);
    spec->image.kind = IMAGE_FILE;
    spec->image.location = mem_strdup(takeover->disk.backing);
    spec->cloud_init.is_set = fs_exists(seed);
    if (request->user) {
        free(spec->ssh.user);
        spec->ssh.user = mem_strdup(request->user);
        spec->ssh.is_set = true;
    }
    return spec;
}

static int make_desired(struct takeover *takeover, struct error *err)
{
    const struct import_request *request = takeover->request;
    struct vm_spec *spec = request->spec ? vm_spec_copy(request->spec) : spec_from_handle(takeover);
    int rc = change_read_files(spec, err);
    if (rc < 0) {
        vm_spec_free(spec);
        return rc;
    }
    takeover->desired = vm_desired_new(spec, clock_wall_ms(clock_system()));
    takeover->desired->generation = 1;
    takeover->desired->source = request->spec ? mem_strdup(request->source) : NULL;
    return 0;
}

static int make_status(struct takeover *takeover, struct error *err)
{
    int64_t now_ms = clock_wall_ms(clock_system());
    struct vm_status *status = vm_status_new(takeover->desired->uid);
    takeover->status = status;
    vm_status_set(status, CONDITION_IMAGE_READY, CONDITION_TRUE, REASON_LOCAL_FILE, NULL, now_ms);
    vm_status_set(status, CONDITION_PREPARED, CONDITION_TRUE, REASON_PREPARED, NULL, now_ms);
    vm_status_set(status, CONDITION_RUNNING, CONDITION_FALSE, REASON_STOPPED, NULL, now_ms);
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STOPPED, NULL, now_ms);
    struct vm_prepared *prepared = &status->prepared;
    if (!file_stamp(takeover->disk.backing, prepared->image_id)) {
        return error_set(err, ERR_IMAGE_NOT_FOUND, "the base image of vm '%s', '%s', is not a file",
            takeover->name, takeover->disk.backing);
    }
    spec_media_digest(takeover->desired->spec, prepared->digest);
    prepared->image_path = mem_strdup(takeover->disk.backing);
    prepared->disk_gib = (uint32_t)(takeover->disk.virtual_size >> 30);
    prepared->disk_bytes = takeover->disk.virtual_size;
    return 0;
}

/* An address that the VM had. It keeps it unless another VM has taken it: then the next start
 * chooses one. */
struct claim {
    char *key; /* of the lease */
    const char *purpose;
    bool needs_lease; /* no two VMs may have it */
};

/* Whether the VM keeps the address. */
static bool claim_address(const struct takeover *takeover, const struct lease_list *leases,
    struct store_batch *batch, const struct claim *claim)
{
    bool is_free = true;
    for (size_t i = 0; i < leases->count; i++) {
        is_free = is_free && !text_eq(leases->items[i].key, claim->key);
    }
    if (!claim->needs_lease || !is_free) {
        return !claim->needs_lease;
    }
    struct lease lease = {.key = claim->key,
        .vm_name = (char *)(uintptr_t)takeover->name,
        .purpose = (char *)(uintptr_t)claim->purpose};
    memcpy(lease.uid, takeover->desired->uid, sizeof(lease.uid));
    store_batch_take_lease(batch, &lease);
    return true;
}

static int keep_addresses(struct takeover *takeover, struct store_batch *batch, struct error *err)
{
    const struct import_vm *vm = takeover->request->vm;
    enum network_mode mode = takeover->desired->spec->network.mode;
    struct lease_list leases = {.count = 0};
    int rc = store_list_leases(takeover->store, NULL, &leases, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_free char *port_key = mem_printf("tcp/%u", vm->ssh_port);
    cleanup_free char *mac_key = mac_lease_key(vm->mac ? vm->mac : "");
    const struct claim port = {.key = port_key, .purpose = "ssh", .needs_lease = true};
    const struct claim mac = {.key = mac_key,
        .purpose = "mac",
        .needs_lease = mode == NETWORK_TAP || mode == NETWORK_VNIC};
    if (vm->ssh_port && mode == NETWORK_USER && claim_address(takeover, &leases, batch, &port)) {
        takeover->status->ssh_port = vm->ssh_port;
    }
    if (vm->mac && claim_address(takeover, &leases, batch, &mac)) {
        takeover->status->mac = mem_strdup(vm->mac);
    }
    lease_list_clear(&leases);
    return 0;
}

static int commit(struct takeover *takeover, struct error *err)
{
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *mark = json_object();
    json_put_text(mark, "uid", takeover->desired->uid);
    json_put_text(mark, "from", takeover->request->path);
    int rc = keep_addresses(takeover, batch, err);
    if (rc == 0) {
        store_batch_put_desired(batch, takeover->desired, 0);
        store_batch_put_status(batch, takeover->name, takeover->status);
        store_batch_put_json(batch, STORE_META, takeover->mark, mark);
        rc = store_commit(takeover->store, batch, err);
    }
    store_batch_free(batch);
    return rc;
}

/* ---- the whole ---- */

/* Whether there is anything left to do; then *ret is untouched. */
static int import_look(
    struct takeover *takeover, bool *ret_is_known, enum import_result *ret, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    cleanup_json json_t *mark = NULL;
    const struct paths *paths = store_paths(takeover->store);
    int rc = store_get(takeover->store, takeover->name, &record, err);
    if (rc < 0 ||
        (rc = store_get_json(takeover->store, STORE_META, takeover->mark, &mark, err)) < 0) {
        return rc;
    }
    const char *uid = json_text(mark, "uid");
    cleanup_free char *overlay = paths_vm(paths, takeover->name, VM_OVERLAY);
    cleanup_free char *files = find_files(paths, takeover->request->vm);
    *ret_is_known = true;
    if (record.desired && text_eq(record.desired->uid, uid)) {
        *ret = IMPORT_UNCHANGED;
    } else if (record.desired) {
        (void)error_set(err, ERR_VM_CONFLICT, "another vm '%s' exists already", takeover->name);
        return error_help(err, "destroy it first: vmctl destroy %s", takeover->name);
    } else if (mark && !files && !fs_exists(overlay)) {
        *ret = IMPORT_GONE;
    } else {
        *ret_is_known = false;
        return rename_check_free(takeover->store, takeover->name, err);
    }
    return 0;
}

static int take_over(struct takeover *takeover, struct error *err)
{
    const struct paths *paths = store_paths(takeover->store);
    cleanup_free char *overlay = paths_vm(paths, takeover->name, VM_OVERLAY);
    int rc = move_files(paths, takeover->request->vm, err);
    if (rc == 0) {
        rc = import_disk_read(overlay, &takeover->disk, err);
    }
    if (rc == 0) {
        rc = make_desired(takeover, err);
    }
    if (rc == 0) {
        rc = make_status(takeover, err);
    }
    return rc < 0 ? rc : commit(takeover, err);
}

int import_take_over(struct store *store, const struct import_request *request,
    enum import_result *ret, struct error *err)
{
    cleanup_with(takeover_clear) struct takeover takeover = {
        .request = request,
        .name = request->vm->name,
        .store = store,
        .mark = mem_printf("imported/%s", request->vm->name),
    };
    bool is_known = false;
    if (request->vm->problem.code != ERR_NONE) {
        *err = request->vm->problem;
        return -(int)err->code;
    }
    int rc = import_look(&takeover, &is_known, ret, err);
    if (rc < 0 || is_known) {
        return rc;
    }
    rc = check_is_stopped(store_paths(store), request->vm, err);
    if (rc == 0) {
        rc = take_over(&takeover, err);
    }
    if (rc == 0) {
        *ret = IMPORT_DONE;
    }
    return rc;
}
