/* SPDX-License-Identifier: MPL-2.0 */
/* Which of the backups in a directory is the last one. */
#include "cli/archive/backup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/archive/archive_write.h"
#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_spec.h"

static char directory[32];

static int setup(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/vmctl-backup-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
    struct error err = {0};
    (void)state;
    return fs_remove_beneath("/", "tmp", directory + strlen("/tmp/"), &err);
}

/* The settings of a backup whose disk is STEM.qcow2, on the disk PARENT; NULL: on none. */
static void make_backup(const char *stem, const char *parent, int64_t created_ms)
{
    const struct cli cli = {.is_quiet = true};
    struct error err = {0};
    cleanup_with(archive_parts_clear) struct archive_parts parts = {.manifest.n_members = 1};
    struct manifest *manifest = &parts.manifest;
    cleanup_free char *path = mem_printf("%s/%s" BACKUP_SETTINGS, directory, stem);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    parts.files[0].fd = -1;
    manifest->vm = mem_strdup("web");
    manifest->created_ms = created_ms;
    manifest->spec = vm_spec_new("web");
    manifest->spec->image.location = mem_strdup("/i.qcow2");
    manifest->snapshot = fields_new(&vm_snapshot_fields);
    (void)snprintf(manifest->members[0].tar.name, TAR_NAME_SIZE, "%s", "id_ed25519");
    digest_text("", manifest->members[0].sha256);
    manifest->disk.file = mem_printf("%s" BACKUP_DISK, stem);
    manifest->disk.bytes = 1;
    digest_text("x", manifest->disk.sha256);
    manifest->disk.parent = mem_strdup(parent);
    strcpy(manifest->disk.bitmap, "~1");
    strcpy(manifest->disk.uid, "u");
    manifest->volumes[manifest->n_volumes++] = (struct manifest_disk){.volume = mem_strdup("data"),
        .file = backup_disk_name(stem, "data"),
        .bytes = 2,
        .bitmap = "~2",
        .uid = "u"};
    digest_text("y", manifest->volumes[0].sha256);
    if (archive_write(&cli, &parts, fd, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

static void assert_last(const char *stem)
{
    static const char *const vms[] = {"web", NULL};
    for (size_t i = 0; i < ARRAY_LEN(vms); i++) {
        struct error err = {0};
        cleanup_with(backup_clear) struct backup last = {.path = NULL};
        cleanup_free char *file = mem_printf("%s" BACKUP_DISK, stem);
        if (backup_find_last(directory, vms[i], &last, &err) < 0) {
            fail_msg("%s", err.message);
        }
        assert_non_null(last.path);
        assert_string_equal(last.manifest.disk.file, file);
        const struct manifest_disk *volume = manifest_disk_of(&last.manifest, "data");
        cleanup_free char *of_volume = mem_printf("%s.data" BACKUP_DISK, stem);
        assert_non_null(volume);
        assert_string_equal(volume->file, of_volume);
        assert_null(volume->parent);
        assert_string_equal(volume->bitmap, "~2");
        assert_true(manifest_has_volume(&last.manifest, "shop/data"));
        assert_null(manifest_disk_of(&last.manifest, "other"));
        assert_ptr_equal(manifest_disk_of(&last.manifest, NULL), &last.manifest.disk);
    }
}

static void the_newest_is_the_last(void **state)
{
    (void)state;
    make_backup("web-20261130-100000-full", NULL, 1000);
    make_backup("web-20261130-110000-inc", "web-20261130-100000-full.qcow2", 2000);
    make_backup("web-20261130-120000-full", NULL, 3000);
    assert_last("web-20261130-120000-full");
}

/* The clock was ahead when the first was made. */
static void one_that_another_is_on_is_not_the_last(void **state)
{
    (void)state;
    make_backup("web-20301130-100000-full", NULL, 9000);
    assert_last("web-20301130-100000-full");
    make_backup("web-20261130-110000-inc", "web-20301130-100000-full.qcow2", 2000);
    assert_last("web-20261130-110000-inc");
    make_backup("web-20261130-120000-inc", "web-20261130-110000-inc.qcow2", 3000);
    assert_last("web-20261130-120000-inc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_newest_is_the_last, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_another_is_on_is_not_the_last, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
