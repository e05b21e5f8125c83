/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/disk_files.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "reconcilers/media/file_copy.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

static const struct disk_file {
    const char *in_vm, *ending;
    bool is_of_clones;
} files[] = {
    {"seed.iso", ".iso", false},
    {"uefi_vars.fd", ".fd", true},
    {"tpm/tpm2-00.permall", ".tpm", false},
};

static char *path_of_vm(const char *vm_dir, const struct disk_file *file)
{
    return fs_join(vm_dir, file->in_vm);
}

static char *path_of_snapshot(const char *stem, const struct disk_file *file)
{
    return mem_printf("%s%s", stem, file->ending);
}

int disk_files_save(
    const char *vm_dir, const char *stem, const atomic_bool *is_cancelled, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(files); i++) {
        cleanup_free char *from = path_of_vm(vm_dir, &files[i]);
        cleanup_free char *to = path_of_snapshot(stem, &files[i]);
        rc = fs_exists(from) ? file_copy(from, to, is_cancelled, err) : 0;
    }
    return rc;
}

/* All copies are there before the first takes its place: what does not fit replaces nothing. */
static int copy_to_vm(const char *vm_dir, const char *stem, bool is_clone,
    const atomic_bool *is_cancelled, struct error *err)
{
    char *made[ARRAY_LEN(files)] = {NULL};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(files); i++) {
        cleanup_free char *from = path_of_snapshot(stem, &files[i]);
        cleanup_free char *to = path_of_vm(vm_dir, &files[i]);
        cleanup_free char *directory = mem_strndup(to, (size_t)(strrchr(to, '/') - to));
        if ((is_clone && !files[i].is_of_clones) || !fs_exists(from)) {
            continue;
        }
        rc = fs_make_dirs(directory, 0700, err);
        rc = rc < 0 ? rc : file_copy_aside(from, to, &made[i], is_cancelled, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        cleanup_free char *to = path_of_vm(vm_dir, &files[i]);
        cleanup_free char *copy = TAKE_PTR(made[i]);
        rc = rc < 0 || !copy ? rc : fs_publish(copy, to, 0600, err);
        (void)(rc < 0 && copy && unlink(copy));
    }
    return rc;
}

int disk_files_restore(
    const char *vm_dir, const char *stem, const atomic_bool *is_cancelled, struct error *err)
{
    return copy_to_vm(vm_dir, stem, false, is_cancelled, err);
}

int disk_files_clone(
    const char *vm_dir, const char *stem, const atomic_bool *is_cancelled, struct error *err)
{
    return copy_to_vm(vm_dir, stem, true, is_cancelled, err);
}

int disk_files_remove(const char *stem, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(files); i++) {
        cleanup_free char *path = path_of_snapshot(stem, &files[i]);
        rc = fs_remove_file(path, err);
    }
    return rc;
}

int disk_files_forget(const char *vm_dir, struct error *err)
{
    cleanup_free char *variables = fs_join(vm_dir, "uefi_vars.fd");
    cleanup_free char *tpm = fs_join(vm_dir, "tpm");
    cleanup_free char *host_key = fs_join(vm_dir, "ssh_host_key_trusted.pub");
    int rc = fs_remove_file(host_key, err);
    rc = rc < 0 ? rc : fs_remove_file(variables, err);
    return rc < 0 ? rc : fs_remove_tree(tpm, err);
}
