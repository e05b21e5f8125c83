/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/applied_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/vm/vm_spec.h"

/* DATA/applied leads to DATA/elsewhere, where a folder of the VM's name has a file. */
static int set_up(void **state)
{
    struct paths *paths = mem_new(struct paths);
    char template[] = "/tmp/vmctl-test-applied-XXXXXX";
    struct error err = {.code = ERR_NONE};
    paths->data_dir = mem_strdup(mkdtemp(template));
    cleanup_free char *folder = paths_path(paths, "elsewhere/web");
    cleanup_free char *file = paths_path(paths, "elsewhere/web/precious");
    cleanup_free char *applied = paths_path(paths, "applied");
    assert_int_equal(fs_make_dirs(folder, 0700, &err), 0);
    assert_int_equal(fs_write_file(file, "x", 1, 0600, &err), 0);
    assert_int_equal(symlink("elsewhere", applied), 0);
    *state = paths;
    return 0;
}

static int tear_down(void **state)
{
    struct paths *paths = *state;
    struct error err = {.code = ERR_NONE};
    int rc = fs_remove_tree(paths->data_dir, &err);
    paths_clear(paths);
    free(paths);
    return rc;
}

static void expect_precious(const struct paths *paths)
{
    cleanup_free char *file = paths_path(paths, "elsewhere/web/precious");
    assert_true(fs_exists(file));
}

static void forgetting_them_follows_no_link_out_of_the_data_directory(void **state)
{
    const struct paths *paths = *state;
    applied_files_forget(paths, "web");
    expect_precious(paths);
}

static void removing_those_that_are_not_wanted_any_more_follows_none(void **state)
{
    const struct paths *paths = *state;
    struct vm_spec *spec = vm_spec_new("web");
    applied_files_keep(paths, spec, true);
    vm_spec_free(spec);
    expect_precious(paths);
}

/* Its own folder, as it is when no link is in the way. */
static void what_is_there_is_removed(void **state)
{
    const struct paths *paths = *state;
    cleanup_free char *applied = paths_path(paths, "applied");
    cleanup_free char *aside = paths_path(paths, "elsewhere");
    cleanup_free char *folder = paths_path(paths, "applied/web");
    cleanup_free char *file = paths_path(paths, "applied/web/precious");
    struct vm_spec *spec = vm_spec_new("web");
    assert_int_equal(unlink(applied), 0);
    assert_int_equal(rename(aside, applied), 0);
    applied_files_keep(paths, spec, true);
    vm_spec_free(spec);
    assert_false(fs_exists(file));
    assert_true(fs_exists(folder));
    applied_files_forget(paths, "web");
    assert_false(fs_exists(folder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            forgetting_them_follows_no_link_out_of_the_data_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            removing_those_that_are_not_wanted_any_more_follows_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_there_is_removed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
