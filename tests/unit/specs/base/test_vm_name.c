/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/vm_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/image/volume_file.h"
#include "specs/vm/vm_import.h"

static void a_name_may_have_a_project(void **state)
{
    (void)state;
    static const char *const valid[] = {"web", "Web.1_a-", "shop/web", "job-17/Web", "0/0"};
    static const char *const bad[] = {"", "/", "/web", "shop/", "Shop/web", "shop-/web",
        "-shop/web", "shop/web/x", "shop/.web", "../web", "shop+web", "shop/../web", "~a",
        "shop/~a", "a b", "shop_1/web"};
    for (size_t i = 0; i < ARRAY_LEN(valid); i++) {
        assert_true(vm_name_is_valid(valid[i]));
        assert_int_equal(vm_name_is_plain(valid[i]), !strchr(valid[i], '/'));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(vm_name_is_valid(bad[i]));
    }
    assert_false(vm_name_is_valid(NULL));
}

static void names_are_bounded(void **state)
{
    (void)state;
    char longest[PROJECT_NAME_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[PROJECT_NAME_MAX] = '\0';
    cleanup_free char *both = mem_printf("%s/%s", longest, longest);
    assert_int_equal(strlen(both), VM_FULL_NAME_MAX);
    assert_true(vm_name_is_valid(both));
    cleanup_free char *socket = vm_name_of_socket(both);
    assert_true(strlen(socket) <= VM_NAME_MAX + 9); /* of the 108 bytes of a socket's path */
    longest[PROJECT_NAME_MAX] = 'a';
    longest[PROJECT_NAME_MAX + 1] = '\0';
    cleanup_free char *too_long = mem_printf("%s/web", longest);
    assert_false(vm_name_is_valid(too_long));
    assert_false(vm_name_is_plain(longest));
}

static void a_name_has_parts(void **state)
{
    (void)state;
    cleanup_free char *project = vm_name_project("shop/web");
    assert_string_equal(project, "shop");
    assert_null(vm_name_project("web"));
    assert_string_equal(vm_name_plain("shop/web"), "web");
    assert_string_equal(vm_name_plain("web"), "web");
    assert_true(vm_name_is_of("shop/web", "shop") && vm_name_is_of("web", NULL));
    assert_false(vm_name_is_of("shop/web", NULL) || vm_name_is_of("web", "shop"));
    assert_false(vm_name_is_of("shop2/web", "shop"));
    cleanup_free char *in = vm_name_in("shop", "web"), *same = vm_name_in("shop", "x/web");
    cleanup_free char *none = vm_name_in(NULL, "web");
    assert_string_equal(in, "shop/web");
    assert_string_equal(same, "x/web");
    assert_string_equal(none, "web");
}

/* No two names have the same files. */
static void no_two_names_have_the_same_files(void **state)
{
    (void)state;
    cleanup_free char *flat = vm_name_flat("shop/web"), *plain = vm_name_flat("web");
    assert_string_equal(flat, "shop+web");
    assert_string_equal(plain, "web");
    cleanup_free char *back = vm_name_of_flat(flat), *same = vm_name_of_flat("web");
    assert_string_equal(back, "shop/web");
    assert_string_equal(same, "web");
    static const char *const strangers[] = {"a+b+c", "+web", "shop+", "shop/web", "Shop+web", ".x"};
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        assert_null(vm_name_of_flat(strangers[i]));
    }
}

static void sockets_have_short_names(void **state)
{
    (void)state;
    cleanup_free char *global = vm_name_of_socket("web"), *a = vm_name_of_socket("a/web");
    cleanup_free char *b = vm_name_of_socket("b/web");
    assert_string_equal(global, "web");
    assert_true(strncmp(a, "web+", 4) == 0 && strlen(a) == 12 && strcmp(a, b) != 0);
}

static void paths_are_of_the_flat_name(void **state)
{
    (void)state;
    static const struct paths paths = {.data_dir = (char *)"/d"};
    cleanup_free char *lock = paths_vm(&paths, "shop/web", VM_ALIVE_LOCK);
    cleanup_free char *dir = paths_in_vm(&paths, "shop/web", "snapshots");
    cleanup_free char *volume = volume_path(&paths, "shop/data");
    cleanup_free char *scratch = scratch_path(&paths, "shop/web", "tmp");
    cleanup_free char *member = vm_import_volume_member("shop/data");
    cleanup_free char *name = vm_import_volume_name(member);
    assert_string_equal(lock, "/d/vms/shop+web/alive.lock");
    assert_string_equal(dir, "/d/vms/shop+web/snapshots");
    assert_string_equal(volume, "/d/volumes/shop+data/volume.qcow2");
    assert_string_equal(scratch, "/d/vms/shop+web/scratch-tmp.qcow2");
    assert_string_equal(member, "volume-shop+data.qcow2");
    assert_string_equal(name, "shop/data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_may_have_a_project),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(a_name_has_parts),
        cmocka_unit_test(no_two_names_have_the_same_files),
        cmocka_unit_test(sockets_have_short_names),
        cmocka_unit_test(paths_are_of_the_flat_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
