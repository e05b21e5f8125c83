/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/trash/trash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/media_host.h"

static const enum vm_file files[] = {VM_OVERLAY, VM_SEED, VM_KEY, VM_CONSOLE_LOG};

static int setup(void **state)
{
    struct media_host *m = mem_new(struct media_host);
    struct error err = {0};
    media_host_setup(m);
    cleanup_free char *dir = paths_vm(&m->paths, "web", VM_DIR);
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        cleanup_free char *path = paths_vm(&m->paths, "web", files[i]);
        assert_int_equal(fs_write_file(path, "x", 1, 0600, &err), 0);
    }
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    media_host_teardown(*state);
    free(*state);
    return 0;
}

static bool has(struct media_host *m, enum vm_file file)
{
    cleanup_free char *path = paths_vm(&m->paths, "web", file);
    return fs_exists(path);
}

static size_t count_entries(const struct media_host *m, const char *name)
{
    cleanup_free char *path = paths_path(&m->paths, name);
    DIR *dir = opendir(path);
    size_t n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        n += entry->d_name[0] != '.';
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

static bool trash_is_empty(void *context)
{
    return count_entries(context, "trash") == 0;
}

static void discard(struct media_host *m, bool whole_dir)
{
    struct error err = {0};
    assert_int_equal(removal_discard(&m->host, "web", "0123", whole_dir, &err), 0);
}

static void only_disk_and_seed_go_and_the_keys_stay(void **state)
{
    struct media_host *m = *state;
    discard(m, false);
    assert_false(has(m, VM_OVERLAY));
    assert_false(has(m, VM_SEED));
    assert_true(has(m, VM_KEY));
    assert_true(has(m, VM_CONSOLE_LOG));
    assert_true(media_host_wait_for(m, trash_is_empty, m));
}

static void the_whole_directory_goes_at_once(void **state)
{
    struct media_host *m = *state;
    discard(m, true);
    assert_false(has(m, VM_DIR));
    assert_true(media_host_wait_for(m, trash_is_empty, m));
}

static void doing_it_twice_or_on_nothing_is_fine(void **state)
{
    struct media_host *m = *state;
    discard(m, true);
    discard(m, true);
    discard(m, false);
    assert_true(media_host_wait_for(m, trash_is_empty, m));
}

static void a_disk_without_a_seed_goes(void **state)
{
    struct media_host *m = *state;
    cleanup_free char *seed = paths_vm(&m->paths, "web", VM_SEED);
    assert_int_equal(unlink(seed), 0);
    discard(m, false);
    assert_false(has(m, VM_OVERLAY));
}

static void leftovers_of_a_killed_run_are_swept(void **state)
{
    struct media_host *m = *state;
    static const char *const left[] = {"trash/0123-1", "images/.part", "images/.by-source"};
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        cleanup_free char *dir = paths_path(&m->paths, left[i]);
        cleanup_free char *temporary = fs_join(dir, "abc.tmp-1");
        assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
        assert_int_equal(fs_write_file(temporary, "x", 1, 0600, &err), 0);
    }
    cleanup_free char *part = paths_path(&m->paths, "images/.part/abc.part");
    assert_int_equal(fs_write_file(part, "x", 1, 0600, &err), 0);
    removal_sweep(&m->host);
    assert_true(media_host_wait_for(m, trash_is_empty, m));
    assert_int_equal(count_entries(m, "images/.by-source"), 0);
    assert_int_equal(count_entries(m, "images/.part"), 1);
    assert_true(fs_exists(part));
    assert_true(has(m, VM_OVERLAY));
}

/* A link in the place of vms/ or of a VM's directory leads nowhere. */
static void nothing_is_removed_through_a_symbolic_link(void **state)
{
    struct media_host *m = *state;
    struct error err = {0};
    cleanup_free char *dir = paths_vm(&m->paths, "web", VM_DIR);
    cleanup_free char *outside = paths_path(&m->paths, "outside");
    cleanup_free char *disk = fs_join(outside, "overlay.qcow2");
    assert_int_equal(rename(dir, outside), 0);
    assert_int_equal(symlink(outside, dir), 0);
    assert_int_equal(removal_discard(&m->host, "web", "0123", false, &err), -ERR_IO);
    assert_non_null(strstr(err.message, "symbolic link"));
    error_clear(&err);
    discard(m, true); /* the link itself goes */
    assert_true(media_host_wait_for(m, trash_is_empty, m));
    assert_true(fs_exists(disk));
    cleanup_free char *vms = paths_path(&m->paths, "vms");
    cleanup_free char *aside = paths_path(&m->paths, "aside");
    cleanup_free char *victim = fs_join(outside, "web");
    assert_int_equal(fs_make_dirs(victim, 0700, &err), 0);
    assert_int_equal(rename(vms, aside), 0);
    assert_int_equal(symlink(outside, vms), 0);
    assert_int_equal(removal_discard(&m->host, "web", "0123", true, &err), -ERR_IO);
    assert_true(fs_exists(victim));
}

static void a_name_that_leads_outside_is_refused(void **state)
{
    static const char *const names[] = {"", ".", "..", "../images", "web/..", "a/b/c"};
    struct media_host *m = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct error err = {0};
        assert_int_equal(removal_discard(&m->host, names[i], "0123", true, &err), -ERR_STORE);
    }
    struct error err = {0};
    assert_int_equal(removal_discard(&m->host, "web", "../../x", true, &err), 0);
    assert_true(media_host_wait_for(m, trash_is_empty, m));
}

static void a_sweep_of_nothing_is_fine(void **state)
{
    struct media_host *m = *state;
    removal_sweep(&m->host);
    removal_sweep_temporary("/nowhere/at/all");
    assert_true(has(m, VM_OVERLAY));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(only_disk_and_seed_go_and_the_keys_stay),
        TEST(the_whole_directory_goes_at_once),
        TEST(doing_it_twice_or_on_nothing_is_fine),
        TEST(a_disk_without_a_seed_goes),
        TEST(leftovers_of_a_killed_run_are_swept),
        TEST(nothing_is_removed_through_a_symbolic_link),
        TEST(a_name_that_leads_outside_is_refused),
        TEST(a_sweep_of_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
