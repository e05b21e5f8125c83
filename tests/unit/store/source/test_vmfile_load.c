/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/vmfile_load.h"

#include <errno.h>

#include "tests/unit/store/source/source_fixture.h"

static const struct vmfile_inputs no_inputs = {.given = NULL};

static void a_vmfile_is_read_with_all_that_it_names(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    cleanup_free char *path = project_file(f, "VMFile.kdl"), *image = project_file(f, "image");
    cleanup_free char *script = project_file(f, "s.sh");
    char sha[DIGEST_SIZE];
    static const char text[] = VM("web", "provision \"shell\" { script \"s.sh\" }");
    write_image(f);
    write_project(f, "s.sh", "true");
    write_project(f, "VMFile.kdl", text);
    must(vmfile_load(path, "VMFile.kdl", &no_inputs, &load, &err), &err);
    assert_int_equal(load.file->n_diagnostics, 0);
    assert_int_equal(load.file->n_vms, 1);
    assert_int_equal(load.named.count, 2);
    assert_true(strings_have(&load.named, image));
    assert_true(strings_have(&load.named, script));
    digest_text(text, sha);
    assert_string_equal(load.sha256, sha);
}

static void digest_now(const char *path, char *ret)
{
    struct error err = {0};
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    must(vmfile_load(path, path, &no_inputs, &load, &err), &err);
    must(vmfile_load_referenced(&load, ret, &err), &err);
}

static void the_digest_is_of_the_file_and_of_what_it_names(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    char first[DIGEST_SIZE], same[DIGEST_SIZE], other[DIGEST_SIZE];
    write_image(f);
    write_project(f, "s.sh", "one");
    write_project(f, "VMFile.kdl", VM("web", "provision \"shell\" { script \"s.sh\" }"));
    digest_now(path, first);
    digest_now(path, same);
    assert_string_equal(first, same);
    write_project(f, "s.sh", "two");
    digest_now(path, other);
    assert_string_not_equal(first, other);
}

static void a_broken_vmfile_is_read_and_rendered(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    cleanup_buf struct buf out = BUF_INIT(0);
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", "vm \"web\" {");
    must(vmfile_load(path, "./VMFile.kdl", &no_inputs, &load, &err), &err);
    assert_int_equal(load.file->n_diagnostics, 1);
    vmfile_load_render(&out, &load, "./VMFile.kdl", false, 0);
    assert_non_null(strstr(buf_str(&out), "--> ./VMFile.kdl:1:"));
}

static void a_file_that_cannot_be_read_is_told_from_one_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    struct vmfile_load load;
    struct error missing = {0}, not_dir = {0}, unreadable = {0}, directory = {0}, large = {0};
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    assert_int_equal(
        vmfile_load(path, "VMFile.kdl", &no_inputs, &load, &missing), -ERR_VMFILE_NOT_FOUND);
    assert_int_equal(missing.sys_errno, ENOENT);
    cleanup_free char *below = mem_printf("%s/x", path), *loop = project_file(f, "loop.kdl");
    write_project(f, "VMFile.kdl", "");
    assert_int_equal(vmfile_load(below, "x", &no_inputs, &load, &not_dir), -ERR_VMFILE_NOT_FOUND);
    assert_int_equal(symlink("loop.kdl", loop), 0);
    assert_int_equal(vmfile_load(loop, "./loop.kdl", &no_inputs, &load, &unreadable), -ERR_IO);
    assert_string_equal(unreadable.message,
        "cannot read the VMFile './loop.kdl': Too many levels of symbolic links");
    assert_int_equal(
        vmfile_load(f->dir, "d", &no_inputs, &load, &directory), -ERR_VMFILE_NOT_FOUND);
    assert_non_null(strstr(directory.message, "is a directory"));
    cleanup_free char *much = mem_calloc(VMFILE_LOAD_MAX + 2, 1);
    memset(much, ' ', VMFILE_LOAD_MAX + 1);
    write_project(f, "VMFile.kdl", much);
    assert_int_equal(
        vmfile_load(path, "VMFile.kdl", &no_inputs, &load, &large), -ERR_VMFILE_INVALID);
}

static void one_that_may_not_be_read_says_where_to_look(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(vmfile_load_refuse("/p/VMFile.kdl", EACCES, &err), -ERR_IO);
    assert_string_equal(err.message, "cannot read the VMFile '/p/VMFile.kdl': Permission denied");
    assert_non_null(strstr(err.help, "namei -l /p/VMFile.kdl"));
    error_clear(&err);
    assert_int_equal(vmfile_load_refuse("VMFile.kdl", EIO, &err), -ERR_IO);
    assert_string_equal(err.message, "cannot read the VMFile 'VMFile.kdl': Input/output error");
}

static void the_directory_of_a_file_in_the_root_is_the_root(void **state)
{
    (void)state;
    cleanup_free char *root = vmfile_load_directory("/VMFile.kdl");
    cleanup_free char *deep = vmfile_load_directory("/a/b/VMFile.kdl");
    assert_string_equal(root, "/");
    assert_string_equal(deep, "/a/b");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_vmfile_is_read_with_all_that_it_names),
        TEST(the_digest_is_of_the_file_and_of_what_it_names),
        TEST(a_broken_vmfile_is_read_and_rendered),
        TEST(a_file_that_cannot_be_read_is_told_from_one_that_is_not_there),
        TEST(one_that_may_not_be_read_says_where_to_look),
        TEST(the_directory_of_a_file_in_the_root_is_the_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
