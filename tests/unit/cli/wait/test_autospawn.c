/* SPDX-License-Identifier: MPL-2.0 */
/* With the real vmctld, which is beside this test as it is beside vmctl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/wait/controller_process.h"
#include "specs/base/error.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
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

static struct controller_process find(struct cli *cli)
{
    struct controller_process process;
    struct error err = {0};
    assert_int_equal(controller_find(cli, &process, &err), 0);
    return process;
}

static pid_t serving_pid(struct cli *cli)
{
    struct controller_process process = find(cli);
    assert_int_equal(process.state, CONTROLLER_SERVES);
    assert_true(process.pid > 0);
    return process.pid;
}

static void rewrite_record(struct cli *cli, const char *key, json_t *value_take)
{
    struct error err = {0};
    cleanup_json json_t *record = NULL;
    struct store_batch *batch = store_batch_new();
    assert_int_equal(store_get_json(cli->store, STORE_META, "controller", &record, &err), 0);
    json_put(record, key, value_take);
    store_batch_put_json(batch, STORE_META, "controller", record);
    assert_int_equal(store_commit(cli->store, batch, &err), 0);
    store_batch_free(batch);
}

/* As if it were of another version. */
static void pretend_version(struct cli *cli, const char *version)
{
    rewrite_record(cli, "version", version ? json_string(version) : json_null());
    cli->knows_controller = false; /* as the next vmctl */
}

static void none_runs_so_one_is_started_and_then_left_alone(void **state)
{
    struct cli *cli = *state;
    ensure(cli);
    struct controller_process first = find(cli);
    assert_string_equal(first.version, VMCTL_VERSION);
    ensure(cli);
    assert_true(cli->knows_controller);
    assert_int_equal(serving_pid(cli), first.pid);
}

static void an_older_one_is_replaced(void **state)
{
    static const char *const older[] = {"0.0.9", "0", NULL};
    struct cli *cli = *state;
    for (size_t i = 0; i < sizeof(older) / sizeof(*older); i++) {
        ensure(cli);
        pid_t old = serving_pid(cli);
        pretend_version(cli, older[i]);
        ensure(cli);
        struct controller_process new = find(cli);
        assert_int_not_equal(new.pid, old);
        assert_string_equal(new.version, VMCTL_VERSION);
    }
}

static void a_newer_one_is_left_alone(void **state)
{
    struct cli *cli = *state;
    ensure(cli);
    pid_t newer = serving_pid(cli);
    pretend_version(cli, "1000.0.0");
    ensure(cli);
    assert_int_equal(serving_pid(cli), newer);
}

/* Killed, asked to end or dying in any other way: from then on it does not count, and the next one
 * serves when the call returns. */
static void one_that_ends_does_not_count(void **state)
{
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT};
    enum { ROUNDS = 12 };
    struct cli *cli = *state;
    for (int i = 0; i < ROUNDS; i++) {
        ensure(cli);
        pid_t old = serving_pid(cli);
        assert_int_equal(kill(old, signals[i % 3]), 0);
        assert_int_not_equal(find(cli).state, CONTROLLER_SERVES);
        ensure(cli);
        assert_int_not_equal(serving_pid(cli), old);
    }
}

static void a_halted_one_is_not_waited_for_to_end(void **state)
{
    struct cli *cli = *state;
    struct error err = {0};
    ensure(cli);
    pid_t pid = serving_pid(cli);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    while (!find(cli).is_stopped) {
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(controller_end(cli, &err), -ERR_CONTROLLER);
    assert_non_null(strstr(err.message, "is halted by SIGSTOP"));
    assert_non_null(strstr(error_help_text(&err), "kill -CONT"));
    assert_int_equal(kill(pid, SIGCONT), 0);
}

/* A vmctld that only starts or ends holds the lock as well. */
static void a_lock_without_a_session_does_not_count(void **state)
{
    struct cli *cli = *state;
    struct error err = {0};
    int fd = -1;
    cleanup_free char *path = paths_path(&cli->paths, "controller.lock");
    assert_int_equal(lockfile_take(path, &fd, &err), 0);
    assert_int_equal(find(cli).state, CONTROLLER_CHANGING);
    close(fd);
    assert_int_equal(find(cli).state, CONTROLLER_NONE);
}

static void one_in_another_pid_namespace_is_named(void **state)
{
    struct cli *cli = *state;
    struct error err = {0};
    ensure(cli);
    json_t *own = NULL;
    assert_int_equal(store_get_json(cli->store, STORE_META, "controller", &own, &err), 0);
    json_int_t number = json_integer_value(json_object_get(own, "pidNamespace"));
    rewrite_record(cli, "pidNamespace", json_integer(4711));
    assert_int_equal(find(cli).state, CONTROLLER_ELSEWHERE);
    assert_int_equal(cli_ensure_controller(cli, &err), -ERR_CONTROLLER);
    assert_non_null(strstr(err.message, "another PID namespace (pid:[4711]"));
    error_clear(&err);
    assert_int_equal(controller_end(cli, &err), -ERR_CONTROLLER);
    rewrite_record(cli, "pidNamespace", json_integer(number));
    json_decref(own);
}

/* A record that was copied with its directory speaks of the original's vmctld. */
static void the_record_of_another_directory_does_not_count(void **state)
{
    struct cli *cli = *state;
    ensure(cli);
    rewrite_record(cli, "directory", json_string("1:1"));
    assert_int_equal(find(cli).state, CONTROLLER_CHANGING); /* by the lock alone */
    cleanup_free char *path = paths_path(&cli->paths, "");
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    cleanup_free char *own =
        mem_printf("%llu:%llu", (unsigned long long)file.st_dev, (unsigned long long)file.st_ino);
    rewrite_record(cli, "directory", json_string(own));
    assert_int_equal(find(cli).state, CONTROLLER_SERVES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            none_runs_so_one_is_started_and_then_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_one_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_one_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_ends_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_halted_one_is_not_waited_for_to_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lock_without_a_session_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_in_another_pid_namespace_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_record_of_another_directory_does_not_count, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
