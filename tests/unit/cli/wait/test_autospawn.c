/* SPDX-License-Identifier: MPL-2.0 */
/* With the real vmctld, which is beside this test as it is beside vmctl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/wait/controller_process.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "store/batch.h"
#include "store/store.h"

static int set_up(void **state)
{
    char template[] = "/tmp/vmctl-autospawn-XXXXXX";
    struct cli *cli = mem_new(struct cli);
    cli->is_quiet = true;
    cli->paths.data_dir = mkdtemp(template) ? mem_strdup(template) : NULL;
    *state = cli;
    return cli->paths.data_dir ? 0 : -1;
}

static int tear_down(void **state)
{
    struct cli *cli = *state;
    struct error err = {0};
    int rc = controller_end(cli, &err);
    store_close(cli->store);
    rc |= fs_remove_tree(cli->paths.data_dir, &err);
    paths_clear(&cli->paths);
    free(cli);
    return rc;
}

static void ensure(struct cli *cli)
{
    struct error err = {0};
    if (cli_ensure_controller(cli, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

/* Once it has written its record: it holds its lock before. */
static struct controller_process await_controller(struct cli *cli)
{
    enum { TRIES = 1000, STEP_MS = 10 };
    struct controller_process process = {.pid = 0};
    struct error err = {0};
    for (int i = 0; i < TRIES && process.pid == 0; i++) {
        assert_int_equal(controller_find(cli, &process, &err), 0);
        (void)poll(NULL, 0, STEP_MS);
    }
    assert_true(process.pid > 0);
    return process;
}

/* As if it were of another version. */
static void pretend_version(struct cli *cli, const char *version)
{
    struct error err = {0};
    cleanup_json json_t *record = NULL;
    struct store_batch *batch = store_batch_new();
    assert_int_equal(store_get_json(cli->store, STORE_META, "controller", &record, &err), 0);
    json_put(record, "version", version ? json_string(version) : json_null());
    store_batch_put_json(batch, STORE_META, "controller", record);
    assert_int_equal(store_commit(cli->store, batch, &err), 0);
    store_batch_free(batch);
    cli->knows_controller = false; /* as the next vmctl */
}

static void none_runs_so_one_is_started_and_then_left_alone(void **state)
{
    struct cli *cli = *state;
    ensure(cli);
    assert_true(controller_is_running(cli));
    struct controller_process first = await_controller(cli);
    assert_string_equal(first.version, VMCTL_VERSION);
    ensure(cli);
    assert_true(cli->knows_controller);
    assert_int_equal(await_controller(cli).pid, first.pid);
}

static void an_older_one_is_replaced(void **state)
{
    static const char *const older[] = {"0.0.9", "0", NULL};
    struct cli *cli = *state;
    for (size_t i = 0; i < sizeof(older) / sizeof(*older); i++) {
        ensure(cli);
        struct controller_process old = await_controller(cli);
        pretend_version(cli, older[i]);
        ensure(cli);
        struct controller_process new = await_controller(cli);
        assert_int_not_equal(new.pid, old.pid);
        assert_string_equal(new.version, VMCTL_VERSION);
    }
}

static void a_newer_one_is_left_alone(void **state)
{
    struct cli *cli = *state;
    ensure(cli);
    struct controller_process newer = await_controller(cli);
    pretend_version(cli, "1000.0.0");
    ensure(cli);
    assert_int_equal(await_controller(cli).pid, newer.pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            none_runs_so_one_is_started_and_then_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_one_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_one_is_left_alone, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
