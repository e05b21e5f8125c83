/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/source/path_watch.h"

#include <sys/stat.h>

#include "specs/base/cleanup.h"
#include "tests/unit/controller/test_support.h"

static char *in(const char *dir, const char *name)
{
    return mem_printf("%s/%s", dir, name);
}

static void make_dir(const char *dir, const char *name)
{
    cleanup_free char *path = in(dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_file(const char *dir, const char *name)
{
    struct error err = {0};
    cleanup_free char *path = in(dir, name);
    assert_int_equal(fs_write_file(path, "", 0, 0600, &err), 0);
}

static void make_link(const char *dir, const char *name, const char *target)
{
    cleanup_free char *path = in(dir, name);
    assert_int_equal(symlink(target, path), 0);
}

/* "DIR/NAME" for each spot, relative to the scratch directory, one a line. */
static char *watch_points_of(const char *dir, const char *file, bool is_directory)
{
    cleanup_with(watch_points_clear) struct watch_point_list list = {.count = 0};
    cleanup_free char *path = in(dir, file);
    struct buf out = BUF_INIT(0);
    if (is_directory) {
        watch_points_add_directory(&list, path);
    } else {
        watch_points_add_file(&list, path);
    }
    for (size_t i = 0; i < list.count; i++) {
        const char *directory = list.items[i].directory;
        size_t n = strlen(dir);
        const char *shown = strncmp(directory, dir, n) == 0 ? directory + n : directory;
        buf_printf(&out, "%s/%s\n", shown, list.items[i].name ? list.items[i].name : "*");
    }
    return buf_steal(&out);
}

static void expect(const char *dir, const char *file, const char *expected)
{
    cleanup_free char *found = watch_points_of(dir, file, false);
    assert_string_equal(found, expected);
}

static void a_file_changes_in_its_directory(void **state)
{
    const char *dir = *state;
    make_file(dir, "VMFile.kdl");
    expect(dir, "VMFile.kdl", "/VMFile.kdl\n");
    expect(dir, "missing.kdl", "/missing.kdl\n");
}

static void a_link_changes_where_it_is_and_where_it_leads(void **state)
{
    const char *dir = *state;
    make_dir(dir, "real");
    make_file(dir, "real/VMFile.kdl");
    make_link(dir, "VMFile.kdl", "real/VMFile.kdl");
    expect(dir, "VMFile.kdl", "/VMFile.kdl\n/real/VMFile.kdl\n");
}

/* The way a mounted Kubernetes ConfigMap changes: "..data" is swapped. */
static void a_link_on_the_way_is_watched_too(void **state)
{
    const char *dir = *state;
    make_dir(dir, "..2026");
    make_file(dir, "..2026/VMFile.kdl");
    make_link(dir, "..data", "..2026");
    make_link(dir, "VMFile.kdl", "..data/VMFile.kdl");
    expect(dir, "VMFile.kdl", "/VMFile.kdl\n/..data\n/..2026/VMFile.kdl\n");
}

static void of_a_missing_way_the_first_missing_step_is_watched(void **state)
{
    const char *dir = *state;
    make_dir(dir, "a");
    expect(dir, "a/b/c/VMFile.kdl", "/a/b\n");
    make_link(dir, "dangling", "nowhere/VMFile.kdl");
    expect(dir, "dangling", "/dangling\n/nowhere\n");
}

static void steps_back_are_taken_from_where_a_link_leads(void **state)
{
    const char *dir = *state;
    make_dir(dir, "a");
    make_dir(dir, "a/b");
    make_file(dir, "a/VMFile.kdl");
    make_link(dir, "link", "a/b");
    expect(dir, "link/../VMFile.kdl", "/link\n/a/VMFile.kdl\n");
    expect(dir, "a/./b/../VMFile.kdl", "/a/VMFile.kdl\n");
}

static void links_in_a_circle_end(void **state)
{
    const char *dir = *state;
    make_link(dir, "a", "b");
    make_link(dir, "b", "a");
    expect(dir, "a", "/a\n/b\n");
}

static void of_a_directory_every_kdl_file_is_watched(void **state)
{
    const char *dir = *state;
    make_dir(dir, "vms");
    make_link(dir, "link", "vms");
    cleanup_free char *found = watch_points_of(dir, "link", true);
    assert_string_equal(found, "/link\n/vms\n/vms/*\n");
    cleanup_free char *missing = watch_points_of(dir, "missing", true);
    assert_string_equal(missing, "/missing\n");
}

static void only_names_at_a_watch_point_match(void **state)
{
    const char *dir = *state;
    cleanup_with(watch_points_clear) struct watch_point_list list = {.count = 0};
    cleanup_free char *file = in(dir, "VMFile.kdl"), *vms = in(dir, "vms");
    make_file(dir, "VMFile.kdl");
    make_dir(dir, "vms");
    watch_points_add_file(&list, file);
    watch_points_add_directory(&list, vms);
    assert_true(watch_points_match(&list, dir, "VMFile.kdl"));
    assert_false(watch_points_match(&list, dir, "VMFile.kdl.swp"));
    assert_false(watch_points_match(&list, "/elsewhere", "VMFile.kdl"));
    assert_true(watch_points_match(&list, dir, NULL));
    assert_true(watch_points_match(&list, vms, "web.kdl"));
    assert_false(watch_points_match(&list, vms, "web.txt"));
    assert_false(list.needs_polling);
}

static void a_file_in_the_root_has_the_root_as_its_directory(void **state)
{
    cleanup_with(watch_points_clear) struct watch_point_list list = {.count = 0};
    (void)state;
    watch_points_add_file(&list, "/VMFile-that-is-not-there.kdl");
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].directory, "/");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scratch_dir, remove_scratch_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_changes_in_its_directory),
        TEST(a_link_changes_where_it_is_and_where_it_leads),
        TEST(a_link_on_the_way_is_watched_too),
        TEST(of_a_missing_way_the_first_missing_step_is_watched),
        TEST(steps_back_are_taken_from_where_a_link_leads),
        TEST(links_in_a_circle_end),
        TEST(of_a_directory_every_kdl_file_is_watched),
        TEST(only_names_at_a_watch_point_match),
        TEST(a_file_in_the_root_has_the_root_as_its_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
