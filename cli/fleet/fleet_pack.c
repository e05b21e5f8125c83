/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_vms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/user_path.h"
#include "specs/fleet/fleet_files.h"
#include "specs/fleet/fleet_spec.h"
#include "specs/vm/vm_spec.h"

struct packing {
    json_t *files;
    size_t room;
};

static int refuse_size(const char *path, struct error *err)
{
    (void)error_set(err, ERR_VMFILE_INVALID,
        "'%s' is too large for the fleet: at most %d KiB a file, %d MiB a VM", path,
        FLEET_FILE_MAX >> 10, FLEET_FILES_MAX >> 20);
    return error_help(err, "have the guest fetch it in a step");
}

static int refuse_key(const char *path, struct error *err)
{
    (void)error_set(err, ERR_VMFILE_INVALID,
        "'%s' contains a private key, which every node could read in etcd", path);
    return error_help(err, "copy it to the guest: vmctl cp");
}

static int pack_file(void *context, struct spec_file *file, struct error *err)
{
    struct packing *packing = context;
    struct stat st;
    cleanup_buf struct buf bytes = BUF_INIT(FLEET_FILE_MAX + 1);
    cleanup_buf struct buf text = BUF_INIT(2 * FLEET_FILE_MAX);
    size_t room = packing->room < FLEET_FILE_MAX ? packing->room : FLEET_FILE_MAX;
    if (user_path_stat(file->path, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", file->path);
    }
    if ((uint64_t)st.st_size > room) {
        return refuse_size(file->path, err);
    }
    int rc = user_path_read(file->path, &bytes, err);
    if (rc < 0) {
        return rc;
    }
    if (bytes.len > room) {
        return refuse_size(file->path, err);
    }
    const char *begin = memmem(buf_str(&bytes), bytes.len, "-----BEGIN ", 11);
    if (begin &&
        memmem(begin, bytes.len - (size_t)(begin - buf_str(&bytes)), "PRIVATE KEY-----", 16)) {
        return refuse_key(file->path, err);
    }
    packing->room -= bytes.len;
    digest_bytes(buf_str(&bytes), bytes.len, file->digest);
    base64_encode(&text, buf_str(&bytes), bytes.len);
    json_put_text(packing->files, file->digest, buf_str(&text));
    char *path =
        fleet_file_path(file->digest, (st.st_mode & 0111) != 0, strrchr(file->path, '/') + 1);
    free(file->path);
    file->path = path;
    return 0;
}

int fleet_pack(struct vm_spec *spec, json_t *files, struct error *err)
{
    struct packing packing = {files, FLEET_FILES_MAX};
    int rc = fleet_files_each(spec, pack_file, &packing, err);
    const char *secret = rc == 0 ? fleet_spec_file(spec) : NULL;
    if (rc == 0 && secret) {
        (void)error_set(err, ERR_USAGE,
            "vm '%s' uses '%s': keys and secrets are not sent through etcd", spec->name, secret);
        return error_help(
            err, "run that step with vmctl exec once the VM is up, or name its node: node \"b\"");
    }
    return rc;
}
