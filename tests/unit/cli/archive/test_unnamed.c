/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/unnamed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static void grow_old(const char *path)
{
    enum { TWO_DAYS_S = 2 * 24 * 3600 };
    struct timespec then = {.tv_sec = time(NULL) - TWO_DAYS_S};
    assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){then, then}, 0), 0);
}

/* Where the file system knows no unnamed files. */
static void what_a_killed_one_left_goes_with_a_later_one(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct unnamed killed, other, now;
    cleanup_free char *own = fs_join(*state, "own");
    assert_int_equal(fs_write_file(own, "", 0, 0600, &err), 0);
    grow_old(own);
    assert_int_equal(unnamed_open_spare(*state, 0600, &killed, &err), 0);
    assert_int_equal(unnamed_open_spare(*state, 0600, &other, &err), 0);
    grow_old(killed.spare);
    assert_int_equal(unnamed_open_spare(*state, 0600, &now, &err), 0);
    assert_false(fs_exists(killed.spare));
    assert_true(fs_exists(other.spare)); /* it may be in use */
    assert_true(fs_exists(own));
    unnamed_clear(&killed);
    unnamed_clear(&other);
    unnamed_clear(&now);
    assert_true(now.fd < 0);
}

static void one_that_is_published_has_the_name_alone(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct unnamed made;
    cleanup_free char *path = fs_join(*state, "made");
    for (int is_spare = 0; is_spare < 2; is_spare++) {
        int rc = is_spare ? unnamed_open_spare(*state, 0600, &made, &err)
                          : unnamed_open(*state, 0600, &made, &err);
        assert_int_equal(rc, 0);
        cleanup_free char *spare = mem_strdup(made.spare);
        assert_int_equal(unnamed_publish(&made, path, &err), 0);
        unnamed_clear(&made);
        assert_true(fs_exists(path));
        assert_false(spare && fs_exists(spare));
        assert_int_equal(unnamed_open_spare(*state, 0600, &made, &err), 0);
        assert_int_equal(unnamed_publish(&made, path, &err), -ERR_VM_CONFLICT);
        unnamed_clear(&made);
        err = (struct error){.code = ERR_NONE};
        assert_int_equal(fs_remove_file(path, &err), 0);
    }
}

static void a_directory_that_is_not_there_is_named(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct unnamed made;
    (void)state;
    assert_int_equal(unnamed_open("/nowhere", 0600, &made, &err), -ERR_IO);
    assert_non_null(strstr(err.message, "'/nowhere'"));
}

static int set_up(void **state)
{
    static char dir[] = "/tmp/vmctl-test.XXXXXX";
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    struct error err = {.code = ERR_NONE};
    return fs_remove_tree(*state, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_killed_one_left_goes_with_a_later_one),
        cmocka_unit_test(one_that_is_published_has_the_name_alone),
        cmocka_unit_test(a_directory_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
