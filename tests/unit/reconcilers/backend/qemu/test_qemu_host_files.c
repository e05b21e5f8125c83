/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/host_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "reconcilers/backend/qemu/run_state.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

struct fixture {
    char dir[64];
    char *path_before;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    strcpy(f->dir, "/tmp/vmctl-host-files-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path_before = mem_strdup(getenv("PATH"));
    unsetenv("VMCTL_QEMU");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    setenv("PATH", f->path_before ? f->path_before : "", 1);
    assert_int_equal(fs_remove_tree(f->dir, &err), 0);
    free(f->path_before);
    free(f);
    return 0;
}

/* Makes a file in the fixture's directory. Its path, free() it. */
static char *make_file(struct fixture *f, const char *name, const char *text, mode_t mode)
{
    struct error err = {0};
    char *path = fs_join(f->dir, name);
    assert_int_equal(fs_write_file(path, text, strlen(text), mode, &err), 0);
    return path;
}

static void qemu_is_found_in_path(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *program = make_file(f, "qemu-system-x86_64", "#!/bin/sh\n", 0755);
    cleanup_free char *path = mem_printf("/nonexistent::relative:%s:/bin", f->dir);
    setenv("PATH", path, 1);
    cleanup_free char *found = NULL;
    struct error err = {0};
    assert_int_equal(host_find_qemu(ARCH_HOST, &found, &err), 0);
    assert_string_equal(found, program);
}

/* $VMCTL_QEMU is one for this host's processor. */
static void a_guest_of_another_processor_has_another_qemu(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *found = NULL;
    struct error err = {0};
    if (!arch_is_foreign(ARCH_AARCH64)) {
        skip();
    }
    setenv("VMCTL_QEMU", "/bin/true", 1);
    setenv("PATH", f->dir, 1);
    assert_int_equal(host_find_qemu(ARCH_AARCH64, &found, &err), -ERR_QEMU_SPAWN);
    assert_string_equal(error_help_text(&err), "install it: apt-get install qemu-system-arm");
    cleanup_free char *program = make_file(f, "qemu-system-aarch64", "#!/bin/sh\n", 0755);
    assert_int_equal(host_find_qemu(ARCH_AARCH64, &found, &err), 0);
    assert_string_equal(found, program);
    unsetenv("VMCTL_QEMU");
}

static void a_file_that_is_not_executable_is_not_qemu(void **state)
{
    struct fixture *f = *state;
    free(make_file(f, "qemu-system-x86_64", "", 0644));
    setenv("PATH", f->dir, 1);
    char *found = NULL;
    struct error err = {0};
    assert_int_equal(host_find_qemu(ARCH_HOST, &found, &err), -ERR_QEMU_SPAWN);
    assert_string_equal(err.message, "cannot find the program 'qemu-system-x86_64' in PATH");
    assert_string_equal(error_help_text(&err), "install it: apt-get install qemu-system-x86");
}

static void the_environment_names_another_qemu(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *program = make_file(f, "my-qemu", "#!/bin/sh\n", 0755);
    cleanup_free char *found = NULL;
    struct error err = {0};
    setenv("VMCTL_QEMU", program, 1);
    assert_int_equal(host_find_qemu(ARCH_HOST, &found, &err), 0);
    assert_string_equal(found, program);
    setenv("VMCTL_QEMU", "my-qemu", 1);
    setenv("PATH", f->dir, 1);
    free(TAKE_PTR(found));
    assert_int_equal(host_find_qemu(ARCH_HOST, &found, &err), 0);
    assert_string_equal(found, program);
    unsetenv("VMCTL_QEMU");
}

static void qemus_run_states_become_ours(void **state)
{
    (void)state;
    assert_int_equal(run_state_from_qemu("prelaunch"), RUN_STATE_PRELAUNCH);
    assert_int_equal(run_state_from_qemu("running"), RUN_STATE_RUNNING);
    assert_int_equal(run_state_from_qemu("paused"), RUN_STATE_PAUSED);
    assert_int_equal(run_state_from_qemu("shutdown"), RUN_STATE_SHUTDOWN);
    assert_int_equal(run_state_from_qemu("guest-panicked"), RUN_STATE_PANICKED);
    assert_int_equal(run_state_from_qemu("io-error"), RUN_STATE_IO_ERROR);
    assert_int_equal(run_state_from_qemu("internal-error"), RUN_STATE_INTERNAL_ERROR);
    assert_int_equal(run_state_from_qemu("inmigrate"), RUN_STATE_INMIGRATE);
    assert_int_equal(run_state_from_qemu("postmigrate"), RUN_STATE_POSTMIGRATE);
    assert_int_equal(run_state_from_qemu("save-vm"), RUN_STATE_RUNNING);
    assert_int_equal(run_state_from_qemu("a word of the future"), RUN_STATE_UNKNOWN);
    assert_int_equal(run_state_from_qemu(NULL), RUN_STATE_UNKNOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(qemu_is_found_in_path),
        TEST(a_file_that_is_not_executable_is_not_qemu),
        TEST(a_guest_of_another_processor_has_another_qemu),
        TEST(the_environment_names_another_qemu),
        cmocka_unit_test(qemus_run_states_become_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
