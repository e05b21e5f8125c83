/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/flatten.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/archive/unnamed.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/image/qcow2.h"

/* An overlay over a base that does not exist, and one without. */
static void make_disk(const char *path, const char *base)
{
    struct error err = {0};
    struct qcow2_overlay disk;
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(qcow2_make_overlay(base, base ? "qcow2" : NULL, 1 << 20, &disk, &err), 0);
    assert_int_equal(ftruncate(fd, (off_t)disk.file_size), 0);
    assert_int_equal(pwrite(fd, disk.head, sizeof(disk.head), 0), (ssize_t)sizeof(disk.head));
    assert_int_equal(pwrite(fd, disk.refcount_table, sizeof(disk.refcount_table), QCOW2_CLUSTER),
        (ssize_t)sizeof(disk.refcount_table));
    assert_int_equal(pwrite(fd, disk.refcounts, sizeof(disk.refcounts), 2 * QCOW2_CLUSTER),
        (ssize_t)sizeof(disk.refcounts));
}

static void a_chain_becomes_one_file(void **state)
{
    struct error err = {0};
    struct qcow2_header header;
    uint8_t head[QCOW2_HEADER_SIZE];
    cleanup_free char *base = fs_join(*state, "base"), *disk = fs_join(*state, "disk");
    cleanup_with(unnamed_clear) struct unnamed made = {.fd = -1};
    make_disk(base, NULL);
    make_disk(disk, base);
    assert_int_equal(unnamed_open(*state, 0600, &made, &err), 0);
    const struct qemu_img_target target = {made.fd, *state, "it", NULL};
    assert_int_equal(flatten(disk, &target, &err), 0);
    assert_int_equal(fs_read_at(made.fd, head, sizeof(head), 0), (ssize_t)sizeof(head));
    assert_int_equal(qcow2_parse(head, sizeof(head), &header, &err), 0);
    assert_int_equal(header.virtual_size, 1 << 20);
    assert_int_equal(header.backing_offset, 0);
}

static void the_error_is_what_qemu_img_complains_of(void **state)
{
    struct error err = {0};
    cleanup_free char *disk = fs_join(*state, "broken"), *gone = fs_join(*state, "gone");
    cleanup_with(unnamed_clear) struct unnamed made = {.fd = -1};
    make_disk(disk, gone);
    assert_int_equal(unnamed_open(*state, 0600, &made, &err), 0);
    const struct qemu_img_target target = {made.fd, *state, "it", NULL};
    assert_int_equal(flatten(disk, &target, &err), -ERR_OVERLAY);
    assert_non_null(strstr(err.message, "cannot copy it: "));
    assert_non_null(strstr(err.message, disk));
    assert_non_null(strstr(err.message, "No such file"));
}

static void a_file_gets_a_name_once_and_never_anothers(void **state)
{
    struct error err = {0};
    cleanup_free char *path = fs_join(*state, "named");
    cleanup_with(unnamed_clear) struct unnamed first = {.fd = -1}, second = {.fd = -1};
    assert_int_equal(unnamed_open(*state, 0600, &first, &err), 0);
    assert_int_equal(unnamed_open(*state, 0600, &second, &err), 0);
    assert_int_equal(fs_write_all(first.fd, "first", 5, &err), 0);
    assert_int_equal(unnamed_publish(&first, path, &err), 0);
    assert_int_equal(unnamed_publish(&second, path, &err), -ERR_VM_CONFLICT);
    assert_int_equal(fs_size(path), 5);
}

static int setup(void **state)
{
    char *dir = mem_strdup("/tmp/vmctl-flatten.XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    struct error err = {0};
    int rc = fs_remove_tree(*state, &err);
    free(*state);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_becomes_one_file),
        cmocka_unit_test(the_error_is_what_qemu_img_complains_of),
        cmocka_unit_test(a_file_gets_a_name_once_and_never_anothers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
