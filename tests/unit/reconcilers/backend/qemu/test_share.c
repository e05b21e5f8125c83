/* SPDX-License-Identifier: MPL-2.0 */
/* The trial of virtiofsd with programs that play its part, and the pipes that show a server's end.
 * What a real one does with a guest: tests/e2e/shares.bats. */
#include "reconcilers/backend/qemu/share.h"

#include <errno.h>
#include <fcntl.h>
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
#include "specs/vm/vm_spec.h"
#include "tests/support/sshd.h"
#include "tests/unit/reconcilers/backend/qemu/test_qemu.h"

enum { PATIENCE_MS = 30000 };

struct world {
    struct loop *loop;
    char *dir;
    bool has_come;
    char *path, *fault;
    enum share_style style;
    unsigned n_changes;
};

static int set_up(void **state)
{
    struct world *world = mem_new(struct world);
    struct error err = {.code = ERR_NONE};
    assert_int_equal(loop_new(&world->loop, &err), 0);
    world->dir = test_dir_make();
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    loop_free(world->loop);
    test_dir_remove(world->dir);
    free(world->path);
    free(world->fault);
    free(world);
    return 0;
}

/* ---- the trial ---- */

static void probed(void *context, const struct share_program *program, const char *fault)
{
    struct world *world = context;
    world->has_come = true;
    world->path = mem_strdup(program->path);
    world->style = program->style;
    world->fault = mem_strdup(fault);
}

static bool has_come(void *context)
{
    return ((struct world *)context)->has_come;
}

static bool no_child_is_left(void *context)
{
    (void)context;
    return waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD;
}

/* In the namespace it is user 1000, with a connection waiting on descriptor 3. */
static void probe_with(struct world *world, const char *script)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = fs_join(world->dir, "virtiofsd");
    cleanup_free char *text = mem_printf("#!/bin/sh\n%s\n", script);
    assert_int_equal(chmod(world->dir, 0755), 0);
    assert_int_equal(fs_write_file(path, text, strlen(text), 0755, &err), 0);
    setenv("VMCTL_VIRTIOFSD", path, 1);
    assert_non_null(share_probe_start(world->loop, world->dir, probed, world));
    assert_false(world->has_come);
    assert_true(run_until(world->loop, has_come, world, PATIENCE_MS));
    assert_true(run_until(world->loop, no_child_is_left, NULL, PATIENCE_MS));
}

static void what_does_not_run_says_why(void **state)
{
    struct world *world = *state;
    probe_with(world, "echo first; echo 'no such thing' >&2; exit 1");
    assert_null(world->path);
    assert_non_null(strstr(world->fault, "virtiofsd does not run here: no such thing"));
}

static void what_dies_has_failed(void **state)
{
    struct world *world = *state;
    probe_with(world, "kill -9 $$");
    assert_non_null(strstr(world->fault, "does not run here: a signal ended it"));
}

static void one_that_is_not_there_is_not_installed(void **state)
{
    struct world *world = *state;
    setenv("VMCTL_VIRTIOFSD", "/does/not/exist", 1);
    assert_non_null(share_probe_start(world->loop, world->dir, probed, world));
    assert_true(run_until(world->loop, has_come, world, PATIENCE_MS));
    assert_string_equal(world->fault, "virtiofsd is not installed on this host");
}

static void a_cancelled_trial_leaves_no_process(void **state)
{
    struct world *world = *state;
    probe_with(world, "exit 1");
    world->has_come = false;
    struct op *op = share_probe_start(world->loop, world->dir, probed, world);
    op_cancel(op);
    assert_true(run_until(world->loop, no_child_is_left, NULL, PATIENCE_MS));
    assert_false(world->has_come);
}

/* Last, because what works is not tried again. Where there are no user namespaces none works. */
static void the_style_that_works_is_used(void **state)
{
    struct world *world = *state;
    probe_with(world, "case $* in *--shared-dir=*) [ \"$(id -u)\" = 1000 ];; *) exit 1;; esac");
    if (world->fault && strstr(world->fault, "user namespace")) {
        skip();
    }
    assert_null(world->fault);
    assert_int_equal(world->style, SHARE_STYLE_RUST);
    assert_non_null(strstr(world->path, "/virtiofsd"));
}

/* ---- the pipes ---- */

static void changed(void *context)
{
    ((struct world *)context)->n_changes++;
}

static bool has_changed(void *context)
{
    return ((struct world *)context)->n_changes > 0;
}

static void a_server_that_ends_is_seen_at_once_and_later(void **state)
{
    struct world *world = *state;
    struct spec_share shares[] = {{.host = world->dir, .guest = (char *)"/a", .tag = (char *)"a"},
        {.host = world->dir, .guest = (char *)"/b", .tag = (char *)"b"}};
    const struct vm_spec spec = {.shares = shares, .n_shares = 2};
    const struct share_program program = {"/bin/true", SHARE_STYLE_C};
    struct share_server servers[2];
    int connections[2];
    struct error err = {.code = ERR_NONE};
    for (size_t i = 0; i < 2; i++) {
        cleanup_free char *alive = share_alive_path(world->dir, shares[i].tag);
        assert_int_equal(share_prepare(&shares[i], &program, "1000:1000", alive, &servers[i],
                             &connections[i], &err),
            0);
    }
    struct share_watch *watch = share_watch_new(world->loop, world->dir, &spec, changed, world);
    assert_null(share_watch_lost(watch));
    share_clear(&servers[1]);
    assert_true(run_until(world->loop, has_changed, world, PATIENCE_MS));
    assert_string_equal(share_watch_lost(watch), "/b");
    assert_int_equal(world->n_changes, 1);
    share_watch_free(watch);
    watch = share_watch_new(world->loop, world->dir, &spec, changed, world);
    assert_string_equal(share_watch_lost(watch), "/b"); /* a later controller sees it, too */
    share_watch_free(watch);
    cleanup_free char *gone = share_alive_path(world->dir, "b");
    assert_int_equal(unlink(gone), 0);
    watch = share_watch_new(world->loop, world->dir, &spec, changed, world);
    assert_null(share_watch_lost(watch)); /* of one without a pipe nothing is known: 9p */
    share_watch_free(watch);
    share_clear(&servers[0]);
    close(connections[0]);
    close(connections[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_does_not_run_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_dies_has_failed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_not_there_is_not_installed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_trial_leaves_no_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_server_that_ends_is_seen_at_once_and_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_style_that_works_is_used, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
