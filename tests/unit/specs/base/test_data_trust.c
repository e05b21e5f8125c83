/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/data_trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

static int set_up(void **state)
{
    char template[] = "/tmp/vmctl-trust-XXXXXX";
    struct paths *paths = mem_new(struct paths);
    struct error err = {.code = ERR_NONE};
    paths->data_dir = mem_strdup(mkdtemp(template));
    for (size_t i = 0; paths_folders[i]; i++) {
        cleanup_free char *path = paths_path(paths, paths_folders[i]);
        assert_int_equal(fs_make_dirs(path, 0700, &err), 0);
    }
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

static void expect_trust(const struct paths *paths)
{
    struct error err = {.code = ERR_NONE};
    if (data_trust_check(paths, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

static void expect_refusal(const struct paths *paths, const char *word, const char *help)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(data_trust_check(paths, &err), -ERR_STORE);
    if (!strstr(err.message, word) || !strstr(error_help_text(&err), help)) {
        fail_msg("%s; %s", err.message, error_help_text(&err));
    }
}

static void ones_own_directory_is_trusted_also_when_others_can_read_it(void **state)
{
    const struct paths *paths = *state;
    expect_trust(paths);
    assert_int_equal(chmod(paths->data_dir, 0755), 0);
    expect_trust(paths);
}

static void one_that_others_can_write_is_refused(void **state)
{
    const struct paths *paths = *state;
    static const mode_t modes[] = {0720, 0702, 01777};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(paths->data_dir, modes[i]), 0);
        expect_refusal(paths, "can be written by other users", "chmod -R go-w");
    }
    assert_int_equal(chmod(paths->data_dir, 0700), 0);
    for (size_t i = 0; paths_folders[i]; i++) {
        cleanup_free char *path = paths_path(paths, paths_folders[i]);
        assert_int_equal(chmod(path, 0770), 0);
        expect_refusal(paths, paths_folders[i], "chmod -R go-w");
        assert_int_equal(chmod(path, 0700), 0);
    }
    expect_trust(paths);
}

/* As they are made. */
static void the_key_and_the_socket_of_secrets_are_ones_own_alone(void **state)
{
    const struct paths *paths = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *key = paths_path(paths, "secrets.key");
    cleanup_free char *sock = paths_path(paths, PATHS_SECRETS_SOCKET);
    cleanup_close int fd = -1;
    assert_int_equal(fs_write_file(key, "key", 3, 0600, &err), 0);
    assert_int_equal(fs_listen_unix(sock, &fd, &err), 0);
    expect_trust(paths);
    assert_int_equal(chmod(key, 0620), 0);
    expect_refusal(paths, "secrets.key", "chmod -R go-w");
    assert_int_equal(unlink(key), 0);
    assert_int_equal(chmod(sock, 0602), 0);
    expect_refusal(paths, PATHS_SECRETS_SOCKET, "chmod -R go-w");
}

/* The directory itself may be reached through a link: a user keeps it on another disk. */
static void links_inside_are_refused_and_one_to_it_is_not(void **state)
{
    const struct paths *paths = *state;
    for (size_t i = 0; paths_folders[i]; i++) {
        cleanup_free char *path = paths_path(paths, paths_folders[i]);
        cleanup_free char *aside = mem_printf("%s.aside", path);
        assert_int_equal(rename(path, aside), 0);
        assert_int_equal(symlink(aside, path), 0);
        expect_refusal(paths, "is a symbolic link", "--data-dir");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rename(aside, path), 0);
    }
    struct paths linked = {.data_dir = mem_printf("%s.link", paths->data_dir)};
    assert_int_equal(symlink(paths->data_dir, linked.data_dir), 0);
    expect_trust(&linked);
    assert_int_equal(unlink(linked.data_dir), 0);
    paths_clear(&linked);
}

static void what_belongs_to_another_user_is_refused_with_the_owners_name(void **state)
{
    enum { NOBODY = 65534 };
    const struct paths *paths = *state;
    if (geteuid() != 0) {
        skip(); /* cannot give files away */
    }
    cleanup_free char *vms = paths_path(paths, "vms");
    assert_int_equal(chown(vms, NOBODY, (gid_t)-1), 0);
    expect_refusal(paths, "belongs to nobody, and vmctl runs as root", "sudo -u nobody vmctl");
    assert_int_equal(chown(vms, 0, (gid_t)-1), 0);
    assert_int_equal(chown(paths->data_dir, NOBODY, (gid_t)-1), 0);
    expect_refusal(paths, "belongs to nobody", "--data-dir");
    /* And the other way round: what root has left in a user's directory. */
    assert_int_equal(seteuid(NOBODY), 0);
    expect_refusal(paths, "belongs to root, and vmctl runs as nobody", "sudo chown -R nobody");
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(chown(paths->data_dir, 0, (gid_t)-1), 0);
    expect_trust(paths);
}

/* Who can write to a directory above it can put another in its place; not in a sticky one. */
static void what_is_above_it_counts(void **state)
{
    const struct paths *outer = *state;
    struct error err = {.code = ERR_NONE};
    struct paths paths = {.data_dir = mem_printf("%s/home/share/vmctl", outer->data_dir)};
    cleanup_free char *home = mem_printf("%s/home", outer->data_dir);
    bool is_open = true;
    assert_int_equal(fs_make_dirs(paths.data_dir, 0700, &err), 0);
    assert_int_equal(chmod(home, 01777), 0);
    expect_trust(&paths);
    assert_int_equal(chmod(home, 0777), 0);
    expect_refusal(&paths, "/home' can be written by every user (mode 0777)", "chmod go-w '");
    assert_int_equal(chmod(home, 0775), 0); /* of the user's own group */
    expect_trust(&paths);
    assert_int_equal(data_trust_above(&paths, &is_open, &err), 0);
    assert_false(is_open);
    if (geteuid() == 0) {
        enum { NOBODY = 65534 };
        assert_int_equal(chown(home, 0, NOBODY), 0);
        assert_int_equal(chmod(home, 0775), 0);
        expect_trust(&paths); /* to be warned of only */
        assert_int_equal(data_trust_above(&paths, &is_open, &err), -ERR_STORE);
        assert_non_null(strstr(err.message, "can be written by its group"));
        error_clear(&err);
        assert_int_equal(chown(home, NOBODY, 0), 0);
        expect_trust(&paths);
        assert_int_equal(data_trust_above(&paths, &is_open, &err), -ERR_STORE);
        assert_non_null(strstr(err.message, "/home' belongs to nobody"));
    }
    paths_clear(&paths);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(ones_own_directory_is_trusted_also_when_others_can_read_it),
        TEST(one_that_others_can_write_is_refused),
        TEST(links_inside_are_refused_and_one_to_it_is_not),
        TEST(the_key_and_the_socket_of_secrets_are_ones_own_alone),
        TEST(what_is_above_it_counts),
        TEST(what_belongs_to_another_user_is_refused_with_the_owners_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
