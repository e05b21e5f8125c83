/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/seed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "reconcilers/archive/iso.h"
#include "reconcilers/media/new_file.h"
#include "reconcilers/media/user_data.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vmfile/guest_text.h"

enum {
    KEY_MAX = 64 * 1024,
    ISO_MAX = 5 * GUEST_TEXT_MAX,
};
#define VOLUME_ID "cidata"

struct seed_work {
    struct paths paths;
    struct vm_spec *spec;
    char *uid;
    bool is_clone;
    enum vm_file file;
};

char *seed_host_alias(const char *vm_name)
{
    char *alias = mem_printf("vmctl-%s", vm_name);
    vm_name_flatten(alias);
    return alias;
}

static int read_vm_file(const struct paths *paths, const struct vm_spec *spec, enum vm_file file,
    struct buf *out, struct error *err)
{
    cleanup_free char *path = paths_vm(paths, spec->name, file);
    if (fs_read_file(path, out, err) < 0) {
        err->code = ERR_SEED;
        return -ERR_SEED;
    }
    return 0;
}

/* One that the VMFile names: it may be on a file system that does not respond. */
static int read_user_file(const char *path, struct buf *out, struct error *err)
{
    return user_path_read(path, out, err);
}

/* ---- who may log in ---- */

static int check_public_keys(const char *path, const char *text, struct error *err)
{
    size_t count = 0;
    if (strstr(text, "PRIVATE KEY-----")) {
        error_set(err, ERR_KEY_UNREADABLE,
            "ssh-key '%s' is a private key; the guest needs the public one", path);
        return error_help(err, "write: ssh-key \"%s.pub\"", path);
    }
    for (const char *at = text; *at; at += strspn(at, "\r\n")) {
        cleanup_free char *line = mem_strndup(at, strcspn(at, "\r\n"));
        at += strlen(line);
        if (line[0] == '#' || line[0] == '\0') {
            continue;
        }
        if (!keys_is_public(line)) {
            return error_set(
                err, ERR_KEY_UNREADABLE, "ssh-key '%s' is not an SSH public key", path);
        }
        count++;
    }
    return count > 0 ? 0 : error_set(err, ERR_KEY_UNREADABLE, "ssh-key '%s' holds no key", path);
}

/* The VM's own key always: the private part of the user's may be one that only an agent has. */
int seed_read_authorized_keys(
    const struct paths *paths, const struct vm_spec *spec, struct buf *out, struct error *err)
{
    const char *path = spec->cloud_init.ssh_key.path;
    cleanup_buf struct buf users = BUF_INIT(KEY_MAX);
    if (path && read_user_file(path, &users, err) < 0) {
        err->code = ERR_KEY_UNREADABLE;
        return error_wrap(err, "ssh-key");
    }
    if ((path && check_public_keys(path, buf_str(&users), err) < 0) ||
        read_vm_file(paths, spec, VM_KEY_PUBLIC, out, err) < 0) {
        return -(int)err->code;
    }
    buf_printf(out, "\n%s", buf_str(&users));
    return 0;
}

/* ---- texts ---- */

char *seed_hostname(const struct vm_spec *spec)
{
    if (spec->cloud_init.hostname) {
        return mem_strdup(spec->cloud_init.hostname);
    }
    struct buf name = BUF_INIT(0);
    host_name_write(vm_name_plain(spec->name), &name);
    return buf_steal(&name);
}

static int generate_user_data(const struct seed_work *work, struct buf *out, struct error *err)
{
    cleanup_buf struct buf keys = BUF_INIT(2 * KEY_MAX), host_private = BUF_INIT(KEY_MAX),
                           host_public = BUF_INIT(KEY_MAX);
    if (seed_read_authorized_keys(&work->paths, work->spec, &keys, err) < 0 ||
        read_vm_file(&work->paths, work->spec, VM_HOST_KEY, &host_private, err) < 0 ||
        read_vm_file(&work->paths, work->spec, VM_HOST_KEY_PUBLIC, &host_public, err) < 0) {
        return -(int)err->code;
    }
    cleanup_free char *name = seed_hostname(work->spec);
    struct user_data data = {
        .hostname = name,
        .user = work->spec->ssh.user,
        .authorized_keys = buf_str(&keys),
        .host_key_private = buf_str(&host_private),
        .host_key_public = buf_str(&host_public),
        .is_clone = work->is_clone,
    };
    user_data_write(&data, out);
    return 0;
}

/* Appends the user's own, as it is; it may have been edited since it was applied. */
static int read_checked(const char *what, const char *path,
    int (*check)(const char *bytes, size_t n, struct error *err), struct buf *out,
    struct error *err)
{
    size_t before = out->len;
    if (path && read_user_file(path, out, err) < 0) {
        err->code = ERR_SEED;
        error_wrap(err, "%s", what);
        return out->is_full
                   ? error_help(err, "all files together may have 16 MiB")
                   : error_help(err, "check the path and permissions of %s in the VMFile", what);
    }
    if (path && check(buf_str(out) + before, out->len - before, err) < 0) {
        err->code = ERR_SEED;
        return error_wrap(err, "%s '%s'", what, path);
    }
    return 0;
}

/* All files of a VM in one buffer, each a part of it. */
static int join_user_data(const struct seed_work *work, struct buf *out, struct error *err)
{
    const struct spec_cloud_init *cloud_init = &work->spec->cloud_init;
    size_t ends[1 + USER_DATA_MAX], n = cloud_init->n_further_user_data + 1;
    struct bytes parts[USER_DATA_MAX];
    cleanup_buf struct buf theirs = BUF_INIT(GUEST_TEXT_MAX), ours = BUF_INIT(GUEST_TEXT_MAX);
    if (n > USER_DATA_MAX) {
        return error_set(err, ERR_SEED, "more than %d user-data", USER_DATA_MAX);
    }
    ends[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const char *path =
            i == 0 ? cloud_init->user_data.path : cloud_init->further_user_data[i - 1].path;
        if (read_checked("user-data", path, guest_text_check_user_data, &theirs, err) < 0) {
            return -(int)err->code;
        }
        ends[i + 1] = theirs.len;
    }
    for (size_t i = 0; i < n; i++) {
        parts[i] = (struct bytes){buf_str(&theirs) + ends[i], ends[i + 1] - ends[i]};
    }
    int rc = generate_user_data(work, &ours, err);
    if (rc == 0) {
        user_data_join(parts, n, buf_str(&ours), out);
    }
    return rc;
}

static int make_user_data(const struct seed_work *work, struct buf *out, struct error *err)
{
    const char *path = work->spec->cloud_init.user_data.path;
    if (!path) {
        return generate_user_data(work, out, err);
    }
    return vm_spec_has_our_seed(work->spec)
               ? join_user_data(work, out, err)
               : read_checked("user-data", path, guest_text_check_user_data, out, err);
}

void seed_name_cards(struct vm_spec *spec, const struct vm_status *status)
{
    for (size_t i = 0; spec->n_further_networks > 0 && i <= spec->n_further_networks; i++) {
        struct spec_network *network = i == 0 ? &spec->network : &spec->further_networks[i - 1];
        network->mac = network->mac ? network->mac : mem_strdup(vm_status_mac(status, i));
    }
}

/* ---- files ---- */

static int write_iso(
    const struct seed_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_buf struct buf user_data = BUF_INIT(2 * GUEST_TEXT_MAX), meta_data = BUF_INIT(KEY_MAX),
                           vendor_data = BUF_INIT(GUEST_TEXT_MAX),
                           network = BUF_INIT(GUEST_TEXT_MAX), iso = BUF_INIT(ISO_MAX);
    const struct spec_cloud_init *cloud_init = &work->spec->cloud_init;
    if (make_user_data(work, &user_data, err) < 0 ||
        read_checked("vendor-data", cloud_init->vendor_data.path, guest_text_check_user_data,
            &vendor_data, err) < 0 ||
        read_checked("network-config", cloud_init->network_config.path, guest_text_check_mapping,
            &network, err) < 0) {
        return -(int)err->code;
    }
    cleanup_free char *name = seed_hostname(work->spec);
    meta_data_write(work->uid, name, &meta_data);
    if (!cloud_init->network_config.path) {
        network_config_write(work->spec, &network);
    }
    struct iso_file files[4] = {
        {"meta-data", buf_str(&meta_data), meta_data.len},
        {"user-data", buf_str(&user_data), user_data.len},
    };
    size_t n_files = 2;
    if (cloud_init->vendor_data.path) {
        files[n_files++] = (struct iso_file){"vendor-data", buf_str(&vendor_data), vendor_data.len};
    }
    if (network.len > 0) {
        files[n_files++] = (struct iso_file){"network-config", buf_str(&network), network.len};
    }
    if (iso_write(VOLUME_ID, files, n_files, &iso, err) < 0) {
        return -(int)err->code;
    }
    cleanup_free char *path = paths_vm(&work->paths, work->spec->name, work->file);
    const struct file_part whole = {0, buf_str(&iso), iso.len};
    int rc = new_file_make(path, 0600, iso.len, &whole, 1, is_cancelled, err); /* a private key's */
    return rc < 0 ? rc : fs_sync_dir_of(path, err);
}

/* "vmctl-NAME ssh-ed25519 AAAA…": sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". A key that the guest made
 * itself and the user trusts comes before ours: the disk is the one that has it. */
int seed_write_known_hosts(const struct paths *paths, const char *vm_name, struct error *err)
{
    cleanup_buf struct buf key = BUF_INIT(KEY_MAX);
    cleanup_free char *trusted = paths_vm(paths, vm_name, VM_HOST_KEY_TRUSTED);
    cleanup_free char *ours = paths_vm(paths, vm_name, VM_HOST_KEY_PUBLIC);
    if (fs_read_file(fs_exists(trusted) ? trusted : ours, &key, err) < 0) {
        err->code = ERR_SEED;
        return -ERR_SEED;
    }
    const char *text = buf_str(&key);
    if (!keys_is_public(text)) {
        return error_set(err, ERR_SEED, "the host key of '%s' is damaged", vm_name);
    }
    size_t type = strcspn(text, " ");
    size_t n = type + 1 + strcspn(text + type + 1, " \r\n");
    cleanup_free char *alias = seed_host_alias(vm_name);
    cleanup_free char *line = mem_printf("%s %.*s\n", alias, (int)n, text);
    cleanup_free char *path = paths_vm(paths, vm_name, VM_KNOWN_HOSTS);
    return fs_write_file(path, line, strlen(line), 0600, err);
}

/* The seed last: that it is there says that all is. */
static int make(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct seed_work *work = context;
    if (work->file == VM_SEED && vm_spec_has_our_seed(work->spec) &&
        seed_write_known_hosts(&work->paths, work->spec->name, err) < 0) {
        return -(int)err->code;
    }
    return write_iso(work, is_cancelled, err);
}

static void free_work(void *context)
{
    struct seed_work *work = context;
    paths_clear(&work->paths);
    vm_spec_free(work->spec);
    free(work->uid);
    free(work);
}

struct op *seed_make(struct reconciler_host *host, const struct vm_spec *spec, const char *uid,
    bool is_clone, enum vm_file file, op_done_fn *done, void *context)
{
    struct seed_work *work = mem_new(struct seed_work);
    work->paths.data_dir = mem_strdup(host->paths->data_dir);
    work->spec = vm_spec_copy(spec);
    work->uid = mem_strdup(uid);
    work->is_clone = is_clone;
    work->file = file;
    return pool_start_in(host->pool, POOL_SOURCE, make, free_work, work, done, context);
}
