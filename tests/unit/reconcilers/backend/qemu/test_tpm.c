/* SPDX-License-Identifier: MPL-2.0 */
/* The emulator of a TPM, with programs that play its part. What a real one does with a guest:
 * tests/e2e/slow/uefi.bats. */
#include "reconcilers/backend/qemu/tpm.h"

#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/backend/qemu/share_watch.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"
#include "tests/support/sshd.h"
#include "tests/unit/reconcilers/backend/qemu/test_qemu.h"

enum { PATIENCE_MS = 30000 };

struct world {
    struct loop *loop;
    struct paths paths;
    char *program, *output;
    struct tpm_emulator emulator;
    int connection;
    struct error err;
    unsigned n_changes;
};

static void make(const char *path, const char *text, mode_t mode)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(path, text, strlen(text), mode, &err), 0);
}

static int set_up(void **state)
{
    struct world *world = mem_new(struct world);
    world->paths.data_dir = test_dir_make();
    world->program = fs_join(world->paths.data_dir, "swtpm");
    world->output = fs_join(world->paths.data_dir, "output");
    world->emulator = (struct tpm_emulator){.directory_fd = -1, .control_fd = -1, .alive_fd = -1};
    world->connection = -1;
    cleanup_free char *vm = paths_vm(&world->paths, "web", VM_DIR);
    assert_int_equal(loop_new(&world->loop, &world->err), 0);
    assert_int_equal(fs_make_dirs(vm, 0700, &world->err), 0);
    cleanup_free char *script = mem_printf("#!/bin/sh\n"
                                           "{ pwd; id -u; echo \"$@\"; ls /proc/$$/fd | "
                                           "tr '\\n' ' '; env | grep -c SECRET; }  >%s || true\n",
        world->output);
    make(world->program, script, 0755);
    setenv("VMCTL_SWTPM", world->program, 1);
    setenv("SECRET", "of the controller", 1);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    tpm_clear(&world->emulator);
    cleanup_close_(&world->connection);
    loop_free(world->loop);
    test_dir_remove(world->paths.data_dir);
    free(world->program);
    free(world->output);
    free(world);
    unsetenv("VMCTL_SWTPM");
    return 0;
}

static int prepare_as(struct world *world, const char *user)
{
    tpm_clear(&world->emulator);
    cleanup_close_(&world->connection);
    world->err = (struct error){.code = ERR_NONE};
    return tpm_prepare(
        &world->paths, "web", user, &world->emulator, &world->connection, &world->err);
}

static int prepare(struct world *world)
{
    return prepare_as(world, NULL);
}

static void it_has_its_directory_and_two_descriptors(void **state)
{
    struct world *world = *state;
    cleanup_free char *directory = paths_vm(&world->paths, "web", VM_TPM_DIR);
    cleanup_buf struct buf text = BUF_INIT(0);
    struct stat st;
    int status = -1, parent = getpid();
    assert_int_equal(prepare(world), 0);
    assert_int_equal(stat(directory, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    pid_t pid = fork();
    if (pid == 0) {
        tpm_run(&world->emulator, parent);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(fs_read_file(world->output, &text, &world->err), 0);
    cleanup_free char *begin = mem_printf("%s\n%u\nsocket --tpm2 --tpmstate dir=.,mode=0600 "
                                          "--ctrl type=unixio,clientfd=3 --terminate\n0 1 ",
        directory, geteuid());
    assert_true(text_starts_with(buf_str(&text), begin));
    assert_non_null(strstr(buf_str(&text), " 3 4 "));
    assert_null(strstr(buf_str(&text), " 5 "));
    assert_true(text_ends_with(buf_str(&text), "0\n")); /* nothing of the environment */
}

/* After a change of user before exec, every process of that user may look into it: by its working
 * directory it has what the guest keeps in its TPM. */
static void under_root_swtpm_changes_its_user_itself(void **state)
{
    struct world *world = *state;
    int status = -1, parent = getpid();
    cleanup_buf struct buf text = BUF_INIT(0);
    if (geteuid() != 0 || !getpwuid(65534)) {
        skip();
    }
    assert_int_equal(prepare_as(world, "65534:65534"), 0);
    pid_t pid = fork();
    if (pid == 0) {
        tpm_run(&world->emulator, parent);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(fs_read_file(world->output, &text, &world->err), 0);
    assert_non_null(strstr(buf_str(&text), "\n0\nsocket "));
    assert_non_null(strstr(buf_str(&text), "--terminate --runas 65534\n"));
    assert_int_equal(prepare_as(world, "4000000001:65534"), 0);
    assert_string_equal(world->emulator.run_as, "");
}

static void without_the_program_its_package_is_named(void **state)
{
    struct world *world = *state;
    setenv("VMCTL_SWTPM", "/nonexistent/swtpm", 1);
    assert_int_equal(prepare(world), -ERR_BACKEND_UNAVAILABLE);
    assert_non_null(strstr(error_help_text(&world->err), "apt-get install swtpm"));
}

/* swtpm would wait at a pipe for ever, and write through a link. */
static void what_is_no_file_of_its_own_is_refused(void **state)
{
    struct world *world = *state;
    cleanup_free char *directory = paths_vm(&world->paths, "web", VM_TPM_DIR);
    cleanup_free char *file = paths_vm(&world->paths, "web", VM_TPM_STATE);
    cleanup_free char *other = fs_join(world->paths.data_dir, "other");
    make(other, "of somebody else", 0600);
    assert_int_equal(prepare(world), 0);
    assert_int_equal(mkfifo(file, 0600), 0);
    assert_int_equal(prepare(world), -ERR_IO);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink(other, file), 0);
    assert_int_equal(prepare(world), -ERR_IO);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(link(other, file), 0);
    assert_int_equal(prepare(world), -ERR_IO);
    assert_int_equal(unlink(file), 0);
    make(file, "state", 0600);
    assert_int_equal(prepare(world), 0);
    assert_int_equal(fs_remove_tree(directory, &world->err), 0);
    assert_int_equal(symlink(world->paths.data_dir, directory), 0);
    assert_int_equal(prepare(world), -ERR_IO);
    assert_int_equal(unlink(directory), 0);
    make(directory, "", 0600);
    assert_int_not_equal(prepare(world), 0);
}

static void changed(void *context)
{
    ((struct world *)context)->n_changes++;
}

static bool has_changed(void *context)
{
    return ((struct world *)context)->n_changes > 0;
}

static void its_end_is_seen_at_once_and_later(void **state)
{
    struct world *world = *state;
    const struct vm_spec spec = {.has_tpm = true}, without = {.has_tpm = false};
    cleanup_free char *vm = paths_vm(&world->paths, "web", VM_DIR);
    assert_int_equal(prepare(world), 0);
    struct share_watch *watch = share_watch_new(world->loop, vm, &spec, changed, world);
    assert_false(share_watch_is_tpm_lost(watch));
    tpm_clear(&world->emulator);
    assert_true(run_until(world->loop, has_changed, world, PATIENCE_MS));
    assert_true(share_watch_is_tpm_lost(watch));
    assert_null(share_watch_lost(watch));
    share_watch_free(watch);
    watch = share_watch_new(world->loop, vm, &spec, changed, world);
    assert_true(share_watch_is_tpm_lost(watch));
    share_watch_free(watch);
    watch = share_watch_new(world->loop, vm, &without, changed, world);
    assert_false(share_watch_is_tpm_lost(watch));
    share_watch_free(watch);
    assert_false(share_watch_is_tpm_lost(NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_has_its_directory_and_two_descriptors),
        TEST(under_root_swtpm_changes_its_user_itself),
        TEST(without_the_program_its_package_is_named),
        TEST(what_is_no_file_of_its_own_is_refused),
        TEST(its_end_is_seen_at_once_and_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
