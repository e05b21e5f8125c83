/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/applied_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_spec.h"

enum { TEXT_MAX = 256 << 10 };

static char *directory_of(const struct paths *paths, const char *vm_name)
{
    cleanup_free char *relative = mem_printf("applied/%s", vm_name);
    vm_name_flatten(relative + strlen("applied/"));
    return paths_path(paths, relative);
}

size_t applied_files_count(const struct vm_spec *spec)
{
    return 1 + spec->n_steps + spec->cloud_init.n_further_user_data;
}

const struct spec_file *applied_files_at(const struct vm_spec *spec, size_t i)
{
    const struct spec_cloud_init *cloud_init = &spec->cloud_init;
    const struct spec_file *file = &cloud_init->user_data;
    if (i > spec->n_steps) {
        size_t further = i - spec->n_steps - 1;
        file = further < cloud_init->n_further_user_data ? &cloud_init->further_user_data[further]
                                                         : NULL;
    } else if (i > 0) {
        file = spec->steps[i - 1].kind == STEP_SCRIPT ? &spec->steps[i - 1].file : NULL;
    }
    return file && file->path && file->digest[0] ? file : NULL;
}

bool applied_files_read(const struct paths *paths, const char *vm_name, const char *path,
    const char *digest, struct buf *out)
{
    cleanup_free char *directory = directory_of(paths, vm_name);
    cleanup_free char *kept = path ? mem_strdup(path) : fs_join(directory, digest);
    cleanup_buf struct buf text = BUF_INIT(TEXT_MAX);
    struct error ignored = {.code = ERR_NONE};
    char found[DIGEST_SIZE];
    if (fs_size(kept) > TEXT_MAX || fs_read_file(kept, &text, &ignored) < 0) {
        return false;
    }
    digest_bytes(buf_str(&text), text.len, found);
    bool is_it = text_eq(found, digest) && !memchr(buf_str(&text), '\0', text.len);
    return is_it && buf_add(out, buf_str(&text), text.len);
}

/* Killed in its middle, it leaves a name that is no digest: the next one takes it. */
static void keep_file(const char *directory, const char *digest, const struct buf *text)
{
    cleanup_free char *kept = fs_join(directory, digest), *part = fs_join(directory, "part");
    struct error ignored = {.code = ERR_NONE};
    cleanup_close int fd =
        fs_make_dirs(directory, 0700, &ignored) < 0
            ? -1
            : open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && fs_write_all(fd, buf_str(text), text->len, &ignored) == 0) {
        (void)!rename(part, kept);
    }
}

static void prune_entry(void *context, int dir_fd, const char *name)
{
    const struct vm_spec *spec = *(const struct vm_spec *const *)context;
    for (size_t i = 0; i < applied_files_count(spec); i++) {
        const struct spec_file *file = applied_files_at(spec, i);
        if (file && text_eq(file->digest, name)) {
            return;
        }
    }
    (void)unlinkat(dir_fd, name, 0);
}

void applied_files_keep(const struct paths *paths, const struct vm_spec *spec, bool prunes)
{
    cleanup_free char *directory = directory_of(paths, spec->name);
    for (size_t i = 0; i < applied_files_count(spec); i++) {
        const struct spec_file *file = applied_files_at(spec, i);
        cleanup_free char *kept = file ? fs_join(directory, file->digest) : NULL;
        cleanup_buf struct buf text = BUF_INIT(TEXT_MAX);
        if (kept && !fs_exists(kept) &&
            applied_files_read(paths, spec->name, file->path, file->digest, &text)) {
            keep_file(directory, file->digest, &text);
        }
    }
    if (prunes) {
        cleanup_free char *relative = mem_printf("applied/%s", spec->name);
        vm_name_flatten(relative + strlen("applied/"));
        fs_each_beneath(paths->data_dir, relative, prune_entry, &spec);
    }
}

void applied_files_forget(const struct paths *paths, const char *vm_name)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *flat = vm_name_flat(vm_name);
    (void)fs_remove_beneath(paths->data_dir, "applied", flat, &ignored);
}
