/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/user_path.h"
#include "store/desired/change.h"

enum { CONTENT_MAX = 16 << 20 };

static int read_file(struct spec_file *file, const struct vm_spec *spec, struct error *err)
{
    struct stat st;
    if (!file->path) {
        return 0;
    }
    if (user_path_stat(file->path, &st) < 0) {
        return error_set_errno(
            err, ERR_IO, errno, "vm '%s': cannot read '%s'", spec->name, file->path);
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(err, ERR_IO, "vm '%s': '%s' is not a file", spec->name, file->path);
    }
    if (st.st_size > CONTENT_MAX) {
        cleanup_free char *identity = mem_printf("%lld %lld.%09ld", (long long)st.st_size,
            (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        digest_text(identity, file->digest);
        return 0;
    }
    cleanup_buf struct buf content = BUF_INIT(CONTENT_MAX);
    int rc = user_path_read(file->path, &content, err);
    if (rc < 0) {
        return error_wrap(err, "vm '%s'", spec->name);
    }
    digest_bytes(buf_str(&content), content.len, file->digest);
    return 0;
}

int change_read_files(struct vm_spec *spec, struct error *err)
{
    struct spec_cloud_init *cloud_init = &spec->cloud_init;
    struct spec_file *const files[] = {&cloud_init->ssh_key, &cloud_init->user_data,
        &cloud_init->vendor_data, &cloud_init->network_config};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(files); i++) {
        rc = read_file(files[i], spec, err);
    }
    for (size_t i = 0; rc == 0 && i < cloud_init->n_further_user_data; i++) {
        rc = read_file(&cloud_init->further_user_data[i], spec, err);
    }
    for (size_t i = 0; rc == 0 && i < spec->n_steps; i++) {
        rc = read_file(&spec->steps[i].file, spec, err);
    }
    return rc;
}
