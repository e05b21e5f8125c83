/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/image/image_inspect.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/image/qcow2.h"
#include "tests/support/media_host.h"

#define GIB ((uint64_t)1 << 30)

struct fixture {
    struct media_host m;
    char *base;
    char *overlay;
    char *aside;
    bool has_vmfile;
};

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    f->base = media_host_path(&f->m, "base.qcow2");
    f->overlay = media_host_path(&f->m, "overlay.qcow2");
    f->aside = media_host_path(&f->m, "aside");
    const char *argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", f->base, "2G", NULL};
    assert_true(media_host_run(argv));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->base);
    free(f->overlay);
    free(f->aside);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

static enum error_code make(struct fixture *f, const char *base, uint32_t disk_gib, bool is_in_use)
{
    struct disk_request request = {
        .overlay_path = f->overlay,
        .image_path = base,
        .disk_gib = disk_gib,
        .is_in_use = is_in_use,
        .aside_path = f->aside,
    };
    (void)disk_make(&f->m.host, &request, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

static struct image_info inspect(const char *path)
{
    struct image_info info;
    struct error err = {0};
    assert_int_equal(image_inspect(path, &info, &err), 0);
    return info;
}

static void an_overlay_is_as_large_as_its_image_by_default(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(make(f, f->base, 0, false), ERR_NONE);
    struct image_info info = inspect(f->overlay);
    assert_int_equal(info.format, IMAGE_QCOW2);
    assert_int_equal(info.virtual_size, 2 * GIB);
    assert_string_equal(info.backing, f->base);
    assert_int_equal(stat(f->overlay, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void what_is_written_to_an_overlay_does_not_reach_its_image(void **state)
{
    struct fixture *f = *state;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    struct error err = {0};
    assert_int_equal(digest_file(f->base, NULL, before, &err), 0);
    assert_int_equal(make(f, f->base, 0, false), ERR_NONE);
    const char *fill[] = {"qemu-io", "-c", "write -P 0x5a 1M 64k", f->overlay, NULL};
    const char *look[] = {"sh", "-c",
        "qemu-io -r -c 'read -P 0x5a 1M 64k' \"$1\" | grep -q '^read 65536/65536' && "
        "qemu-io -r -c 'read -P 0 1M 64k' \"$2\" | grep -q '^read 65536/65536'",
        "sh", f->overlay, f->base, NULL};
    assert_true(media_host_run(fill));
    assert_true(media_host_run(look));
    assert_int_equal(digest_file(f->base, NULL, after, &err), 0);
    assert_string_equal(after, before);
}

static void a_raw_base_is_named_raw_to_qemu(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *raw = media_host_path(&f->m, "base.raw");
    const char *make_raw[] = {"truncate", "-s", "1G", raw, NULL};
    assert_true(media_host_run(make_raw));
    assert_int_equal(make(f, raw, 3, false), ERR_NONE);
    assert_int_equal(inspect(f->overlay).virtual_size, 3 * GIB);
    const char *check[] = {"qemu-img", "check", "-q", f->overlay, NULL};
    assert_true(media_host_run(check));
    const char *has_format[] = {"sh", "-c",
        "qemu-img info \"$1\" | grep -q 'backing file format: raw'", "sh", f->overlay, NULL};
    assert_true(media_host_run(has_format));
}

/* QEMU's own programs are the judges: of its tables, of what it says of itself, and of data that is
 * written at both ends of it. */
static void an_overlay_of_any_size_is_a_sound_qcow2(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *base_size;
        uint32_t disk_gib;
        const char *virtual_size;
    } cases[] = {
        {"1M", 0, "1048576"},
        {"536871424", 0, "536871424"}, /* a sector more than one L1 entry covers */
        {"1M", 1, "1073741824"},
        {"1M", 2048, "2199023255552"},
        {"1M", 4097, "4399120252928"}, /* an L1 table of two clusters */
        {"1M", 65536, "70368744177664"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *argv[] = {
            "qemu-img", "create", "-q", "-f", "qcow2", f->base, cases[i].base_size, NULL};
        assert_true(media_host_run(argv));
        assert_int_equal(make(f, f->base, cases[i].disk_gib, false), ERR_NONE);
        const char *judge[] = {"sh", "-ec",
            "qemu-img check -q \"$1\"\n"
            "qemu-img info --output json \"$1\" | grep -q \"\\\"virtual-size\\\": $3,\"\n"
            "qemu-img info \"$1\" | grep -q \"^backing file: $2\\$\"\n"
            "qemu-img info \"$1\" | grep -q '^backing file format: qcow2$'\n"
            "qemu-img info \"$1\" | grep -q 'compat: 1.1'\n"
            "for at in 0 $(($3 - 65536)); do\n"
            "    qemu-io -c \"write -P 90 $at 64k\" -c \"read -P 90 $at 64k\" \"$1\" |\n"
            "        grep -q '^read 65536/65536'\n"
            "done\n"
            "qemu-img check -q \"$1\"\n"
            "qemu-img resize -q \"$1\" +1G && qemu-img check -q \"$1\"\n",
            "sh", f->overlay, f->base, cases[i].virtual_size, NULL};
        assert_true(media_host_run(judge));
        assert_int_equal(unlink(f->overlay), 0);
    }
}

static void a_base_whose_path_does_not_fit_is_told(void **state)
{
    struct fixture *f = *state;
    char path[QCOW2_BACKING_MAX + 1], part[] = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    size_t n = strlen(f->m.dir);
    memcpy(path, f->m.dir, n);
    for (; n + strlen(part) + strlen("/disk") < sizeof(path); n += strlen(part)) {
        memcpy(path + n, part, sizeof(part));
        assert_int_equal(mkdir(path, 0700), 0);
    }
    memset(path + n, 'x', sizeof(path) - n);
    path[n] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(rename(f->base, path), 0);
    assert_int_equal(make(f, path, 0, false), ERR_NONE);
    assert_string_equal(inspect(f->overlay).backing, path);
    assert_int_equal(unlink(f->overlay), 0);
    cleanup_free char *longer = mem_printf("%sx", path);
    assert_int_equal(rename(path, longer), 0);
    assert_int_equal(make(f, longer, 0, false), ERR_OVERLAY);
    assert_non_null(strstr(f->m.error.message, "more than 1023"));
    assert_non_null(strstr(f->m.error.message, f->overlay));
    assert_false(fs_exists(f->overlay));
}

static void doing_it_again_changes_nothing(void **state)
{
    struct fixture *f = *state;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    struct error err = {0};
    assert_int_equal(make(f, f->base, 3, false), ERR_NONE);
    assert_int_equal(digest_file(f->overlay, NULL, before, &err), 0);
    assert_int_equal(make(f, f->base, 3, false), ERR_NONE);
    assert_int_equal(make(f, f->base, 0, true), ERR_NONE);
    assert_int_equal(digest_file(f->overlay, NULL, after, &err), 0);
    assert_string_equal(after, before);
}

static void a_disk_grows_to_the_absolute_size(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f, f->base, 0, false), ERR_NONE);
    assert_int_equal(make(f, f->base, 5, true), ERR_NONE);
    assert_int_equal(inspect(f->overlay).virtual_size, 5 * GIB);
    assert_int_equal(make(f, f->base, 5, true), ERR_NONE);
    assert_int_equal(inspect(f->overlay).virtual_size, 5 * GIB);
}

static void a_disk_never_shrinks(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f, f->base, 5, false), ERR_NONE);
    assert_int_equal(make(f, f->base, 4, true), ERR_DISK_SHRINK);
    assert_string_equal(f->m.error.message, "disk 4 GiB is smaller than the present disk's 5 GiB");
    assert_int_equal(inspect(f->overlay).virtual_size, 5 * GIB);
}

static void a_disk_smaller_than_its_image_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f, f->base, 1, false), ERR_DISK_SHRINK);
    assert_string_equal(f->m.error.message, "disk 1 GiB is smaller than the image's 2 GiB");
    assert_false(fs_exists(f->overlay));
}

static void a_used_overlay_stays_on_its_own_base(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f, f->base, 0, false), ERR_NONE);
    assert_int_equal(make(f, "/another/base.qcow2", 3, true), ERR_NONE);
    struct image_info info = inspect(f->overlay);
    assert_string_equal(info.backing, f->base);
    assert_int_equal(info.virtual_size, 3 * GIB);
}

static void an_overlay_follows_a_base_that_moved(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *moved = media_host_path(&f->m, "moved.qcow2");
    uint64_t bytes = 0;
    assert_int_equal(make(f, f->base, 3, false), ERR_NONE);
    assert_int_equal(rename(f->base, moved), 0);
    struct disk_request request = {
        .overlay_path = f->overlay,
        .image_path = moved,
        .disk_gib = 3,
        .is_in_use = true,
        .is_moved = true,
        .aside_path = f->aside,
        .ret_bytes = &bytes,
    };
    for (int again = 0; again < 2; again++) {
        (void)disk_make(&f->m.host, &request, media_host_done, &f->m);
        assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
        assert_string_equal(inspect(f->overlay).backing, moved);
        assert_int_equal(bytes, 3 * GIB);
    }
}

static enum error_code check(struct fixture *f, uint64_t disk_bytes, uint64_t file_bytes)
{
    struct disk_record record = {
        .vm_name = "web",
        .has_vmfile = f->has_vmfile,
        .overlay_path = f->overlay,
        .image_path = f->base,
        .disk_bytes = disk_bytes,
        .file_bytes = file_bytes,
    };
    (void)disk_check(&f->m.host, &record, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

static void a_disk_that_is_not_the_one_that_was_used_is_told(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f, f->base, 3, false), ERR_NONE);
    const char *fill[] = {"qemu-io", "-c", "write 0 4M", f->overlay, NULL};
    assert_true(media_host_run(fill));
    uint64_t size = (uint64_t)fs_size(f->overlay);
    assert_int_equal(check(f, 3 * GIB, size), ERR_NONE);
    assert_int_equal(check(f, 0, 1), ERR_NONE);
    assert_int_equal(check(f, 3 * GIB, size + 4096), ERR_NONE); /* shorter, and complete */
    assert_int_equal(check(f, 4 * GIB, size), ERR_OVERLAY);
    assert_non_null(strstr(f->m.error.message, "smaller"));
    assert_int_equal(truncate(f->overlay, (off_t)(size - (2 << 20))), 0);
    assert_int_equal(check(f, 3 * GIB, size), ERR_OVERLAY);
    assert_non_null(strstr(f->m.error.message, "cut off"));
    assert_null(strstr(error_help_text(&f->m.error), "vmctl reload"));
    assert_non_null(strstr(error_help_text(&f->m.error), "vmctl destroy web"));
    f->has_vmfile = true;
    assert_int_equal(check(f, 3 * GIB, size), ERR_OVERLAY);
    assert_non_null(strstr(error_help_text(&f->m.error), "vmctl reload --name web"));
    assert_int_equal(unlink(f->overlay), 0);
    assert_int_equal(make(f, f->base, 3, false), ERR_NONE);
    assert_int_equal(check(f, 3 * GIB, size), ERR_OVERLAY);
    assert_non_null(strstr(f->m.error.message, "it is empty"));
    assert_int_equal(check(f, 3 * GIB, 0), ERR_NONE); /* as it was: nothing was ever written */
    assert_int_equal(truncate(f->overlay, 100), 0);
    assert_int_equal(check(f, 3 * GIB, size), ERR_OVERLAY);
    assert_int_equal(unlink(f->overlay), 0);
    assert_int_equal(check(f, 3 * GIB, size), ERR_OVERLAY);
    assert_non_null(strstr(f->m.error.message, "is gone"));
}

static void an_unused_overlay_on_another_base_is_set_aside(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *other = media_host_path(&f->m, "other.qcow2");
    cleanup_free char *kept = fs_join(f->aside, "overlay.qcow2");
    const char *argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", other, "1G", NULL};
    assert_true(media_host_run(argv));
    assert_int_equal(make(f, f->base, 0, false), ERR_NONE);
    assert_int_equal(make(f, other, 0, false), ERR_NONE);
    assert_string_equal(inspect(f->overlay).backing, other);
    assert_string_equal(inspect(kept).backing, f->base);
}

/* Who knows what has run on it. */
static void an_overlay_that_has_to_be_new_is_made(void **state)
{
    struct fixture *f = *state;
    struct stat before, after;
    cleanup_free char *kept = fs_join(f->aside, "overlay.qcow2");
    const struct disk_request request = {
        .overlay_path = f->overlay, .image_path = f->base, .is_new = true, .aside_path = f->aside};
    assert_int_equal(make(f, f->base, 0, false), ERR_NONE);
    assert_int_equal(stat(f->overlay, &before), 0);
    (void)disk_make(&f->m.host, &request, media_host_done, &f->m);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    assert_int_equal(stat(kept, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_string_equal(inspect(f->overlay).backing, f->base);
}

static void a_missing_base_is_told(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f, "/nowhere/base.qcow2", 0, false), ERR_IMAGE_NOT_FOUND);
    assert_false(fs_exists(f->overlay));
}

static void a_full_disk_is_told_as_such(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *dir = media_host_path(&f->m, "full");
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("vmctl-test", dir, "tmpfs", 0, "size=8k") < 0) {
        skip();
    }
    free(f->overlay);
    f->overlay = fs_join(dir, "overlay.qcow2");
    enum error_code code = make(f, f->base, 0, false);
    bool is_there = fs_exists(f->overlay);
    assert_int_equal(umount(dir), 0);
    assert_int_equal(code, ERR_NO_SPACE);
    assert_false(is_there);
}

static void a_cancelled_making_can_be_done_again(void **state)
{
    struct fixture *f = *state;
    struct disk_request request = {
        .overlay_path = f->overlay, .image_path = f->base, .aside_path = f->aside};
    op_cancel(disk_make(&f->m.host, &request, media_host_done, &f->m));
    assert_int_equal(make(f, f->base, 0, false), ERR_NONE);
}

static void the_size_of_a_disk_is_found_whatever_is_asked_for(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes = 0;
    struct disk_request request = {
        .overlay_path = f->overlay,
        .image_path = f->base,
        .disk_gib = 3,
        .aside_path = f->aside,
        .ret_bytes = &bytes,
    };
    (void)disk_make(&f->m.host, &request, media_host_done, &f->m);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    assert_int_equal(bytes, 3 * GIB);
    bytes = 0;
    request.disk_gib = 0; /* `disk` was taken out of the VMFile */
    request.is_in_use = true;
    (void)disk_make(&f->m.host, &request, media_host_done, &f->m);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    assert_int_equal(bytes, 3 * GIB);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_overlay_is_as_large_as_its_image_by_default),
        TEST(what_is_written_to_an_overlay_does_not_reach_its_image),
        TEST(a_raw_base_is_named_raw_to_qemu),
        TEST(an_overlay_of_any_size_is_a_sound_qcow2),
        TEST(a_base_whose_path_does_not_fit_is_told),
        TEST(doing_it_again_changes_nothing),
        TEST(a_disk_grows_to_the_absolute_size),
        TEST(a_disk_never_shrinks),
        TEST(the_size_of_a_disk_is_found_whatever_is_asked_for),
        TEST(a_disk_smaller_than_its_image_is_refused),
        TEST(a_used_overlay_stays_on_its_own_base),
        TEST(an_overlay_follows_a_base_that_moved),
        TEST(a_disk_that_is_not_the_one_that_was_used_is_told),
        TEST(an_unused_overlay_on_another_base_is_set_aside),
        TEST(an_overlay_that_has_to_be_new_is_made),
        TEST(a_missing_base_is_told),
        TEST(a_full_disk_is_told_as_such),
        TEST(a_cancelled_making_can_be_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
