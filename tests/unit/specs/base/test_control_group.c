/* SPDX-License-Identifier: MPL-2.0 */
/* On directories that look like the kernel's. What the kernel makes of it: the slow suite
 * "shutdown". */
#include "specs/base/control_group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

#define UNIT "app.slice/vmctld.service"

struct host {
    char dir[64];
    char *proc, *mount, *unit, *kept;
};

static void put(const char *dir, const char *name, const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = fs_join(dir, name);
    assert_int_equal(fs_write_file(path, text, strlen(text), 0600, &err), 0);
}

static void assert_file(const char *dir, const char *name, const char *expected)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(4096);
    cleanup_free char *path = fs_join(dir, name);
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    assert_string_equal(buf_str(&text), expected);
}

/* As the kernel fills a group. */
static void make_group(const char *dir, const char *controllers)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    put(dir, "cgroup.controllers", controllers);
    put(dir, "cgroup.subtree_control", "");
    put(dir, "cgroup.procs", "");
    put(dir, "cpu.max", "max 100000");
    put(dir, "memory.max", "max");
    put(dir, "memory.oom.group", "0");
}

static void be_in(const struct host *host, const char *group)
{
    cleanup_free char *text = mem_printf("9:cpu:/elsewhere\n0::/%s\n", group);
    put(host->proc, "self/cgroup", text);
}

static int set_up(void **state)
{
    struct host *host = mem_new(struct host);
    struct error err = {.code = ERR_NONE};
    strcpy(host->dir, "/tmp/vmctl-group-XXXXXX");
    assert_non_null(mkdtemp(host->dir));
    host->proc = fs_join(host->dir, "proc");
    host->mount = fs_join(host->dir, "mount");
    host->unit = fs_join(host->mount, UNIT);
    host->kept = fs_join(host->dir, "killed");
    cleanup_free char *self = fs_join(host->proc, "self");
    cleanup_free char *mounts =
        mem_printf("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
                   "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                   "41 31 0:38 / %s rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
            host->mount);
    assert_int_equal(fs_make_dirs(self, 0700, &err), 0);
    put(host->proc, "self/mountinfo", mounts);
    make_group(host->mount, "cpuset cpu io memory pids");
    make_group(host->unit, "cpu memory pids");
    be_in(host, UNIT);
    *state = host;
    return setxattr(host->unit, "user.delegate", "1", 1, 0) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    struct host *host = *state;
    struct error err = {.code = ERR_NONE};
    int rc = fs_remove_tree(host->dir, &err);
    free(host->proc);
    free(host->mount);
    free(host->unit);
    free(host->kept);
    free(host);
    return rc;
}

/* ---- finding ---- */

static void expect_unit(const struct host *host)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *found = control_group_find(host->proc, 0, &err);
    if (!found) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(found, host->unit);
}

static void expect_none(const struct host *host, const char *why)
{
    struct error err = {.code = ERR_NONE};
    assert_null(control_group_find(host->proc, 0, &err));
    assert_string_equal(err.message, why);
    assert_string_not_equal(error_help_text(&err), "");
}

static void the_units_group_is_found_from_it_and_from_below(void **state)
{
    const struct host *host = *state;
    expect_unit(host);
    be_in(host, UNIT "/vmctld");
    expect_unit(host);
    be_in(host, UNIT "/.control");
    expect_unit(host);
}

static void what_no_service_manager_gave_is_left_alone(void **state)
{
    const struct host *host = *state;
    assert_int_equal(setxattr(host->unit, "user.delegate", "0", 1, 0), 0);
    expect_none(host, "vmctld does not run as systemd's unit vmctld.service");
    assert_int_equal(removexattr(host->unit, "user.delegate"), 0);
    expect_none(host, "vmctld does not run as systemd's unit vmctld.service");
    be_in(host, "session-3.scope"); /* which is not there */
    expect_none(host, "vmctld does not run as systemd's unit vmctld.service");
}

static void what_the_host_lacks_is_told(void **state)
{
    const struct host *host = *state;
    put(host->unit, "cgroup.controllers", "cpu pids");
    expect_none(host, "vmctld's unit does not control memory");
    put(host->mount, "cgroup.controllers", "cpuset pids"); /* no word of these is "cpu" */
    expect_none(host, "this host's control groups of version 2 do not control cpu");
    put(host->proc, "self/cgroup", "9:cpu:/x\n");
    expect_none(host, "this host has no control groups of version 2");
    put(host->proc, "self/mountinfo", "");
    expect_none(host, "this host has no control groups of version 2");
}

/* Such a manager cannot write what the system's does. */
static void a_users_unit_is_known_by_its_name(void **state)
{
    const struct host *host = *state;
    cleanup_free char *unit = fs_join(host->mount, "user@7.service/app.slice/vmctld.service");
    struct error err = {.code = ERR_NONE};
    make_group(unit, "cpu memory pids");
    be_in(host, "user@7.service/app.slice/vmctld.service/vmctld");
    cleanup_free char *found = control_group_find(host->proc, 0, &err);
    assert_non_null(found);
    assert_string_equal(found, unit);
    cleanup_free char *other = fs_join(host->mount, "user@7.service/app.slice/run-1.scope");
    make_group(other, "cpu memory pids");
    be_in(host, "user@7.service/app.slice/run-1.scope");
    expect_none(host, "vmctld does not run as systemd's unit vmctld.service");
    put(unit, "cgroup.controllers", "memory pids"); /* the unit of an earlier version */
    be_in(host, "user@7.service/app.slice/vmctld.service");
    expect_none(host, "vmctld's unit does not control cpu");
}

static void who_has_to_delegate_is_told(void **state)
{
    const struct host *host = *state;
    cleanup_free char *manager = fs_join(host->mount, "user.slice/user@7.service");
    cleanup_free char *unit = fs_join(manager, "app.slice/vmctld.service");
    struct error err = {.code = ERR_NONE};
    make_group(unit, "memory pids");
    make_group(manager, "cpu memory pids");
    be_in(host, "user.slice/user@7.service/app.slice/vmctld.service");
    assert_null(control_group_find(host->proc, 0, &err));
    assert_string_equal(error_help_text(&err), "give the unit: Delegate=cpu memory");
    put(manager, "cgroup.controllers", "memory pids");
    error_clear(&err);
    assert_null(control_group_find(host->proc, 0, &err));
    assert_string_equal(error_help_text(&err),
        "as root, give user@.service: Delegate=cpu memory pids; then reboot");
}

/* ---- limits ---- */

static int limit(const struct host *host, struct group_limits limits)
{
    struct error err = {.code = ERR_NONE};
    return control_group_limit(host->unit, "vmctl-u1", getpid(), &limits, &err);
}

static void the_group_is_made_and_has_the_numbers(void **state)
{
    const struct host *host = *state;
    cleanup_free char *own = fs_join(host->unit, "vmctld");
    cleanup_free char *child = fs_join(host->unit, "vmctl-u1");
    cleanup_free char *pid = mem_printf("%d\n", (int)getpid());
    make_group(own, "");
    make_group(child, "");
    put(host->unit, "cgroup.procs", "100\n200\n");
    assert_int_equal(limit(host, (struct group_limits){1500, 3072}), 0);
    assert_file(host->unit, "cgroup.subtree_control", "+cpu +memory");
    assert_file(own, "cgroup.procs", "100\n200\n");
    assert_file(child, "cpu.max", "150000 100000");
    assert_file(child, "memory.max", "3221225472");
    assert_file(child, "memory.oom.group", "1");
    assert_file(child, "cgroup.procs", pid);
    /* once more, as after a kill, with other numbers */
    put(host->unit, "cgroup.subtree_control", "cpu memory\n");
    assert_int_equal(limit(host, (struct group_limits){10, 0}), 0);
    assert_file(own, "cgroup.procs", "100\n200\n"); /* once is enough */
    assert_file(child, "cpu.max", "1000 100000");
    assert_file(child, "memory.max", "max");
}

static void what_the_kernel_refuses_is_an_error(void **state)
{
    const struct host *host = *state;
    assert_int_equal(limit(host, (struct group_limits){1500, 0}), -ERR_IO); /* the group is empty */
}

static void a_released_group_has_no_limits_and_one_that_is_not_there_needs_none(void **state)
{
    const struct host *host = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *child = fs_join(host->unit, "vmctl-u1");
    assert_int_equal(control_group_release(host->unit, "vmctl-u1", &err), 0);
    make_group(child, "");
    put(child, "cpu.max", "1000 100000");
    assert_int_equal(control_group_release(host->unit, "vmctl-u1", &err), 0);
    assert_file(child, "cpu.max", "1000 100000"); /* lifted: the kernel has no such file */
    put(host->unit, "cgroup.subtree_control", "cpu memory\n");
    assert_int_equal(control_group_release(host->unit, "vmctl-u1", &err), 0);
    assert_file(child, "cpu.max", "max 100000");
}

static void lifting_takes_the_controllers_away(void **state)
{
    const struct host *host = *state;
    struct error err = {.code = ERR_NONE};
    put(host->unit, "cgroup.subtree_control", "cpu memory\n");
    assert_int_equal(control_group_lift(host->unit, host->kept, &err), 0);
    assert_file(host->unit, "cgroup.subtree_control", "-cpu -memory");
}

static void empty_groups_of_machines_are_swept_and_no_others(void **state)
{
    static const char *const names[] = {"vmctl-u1", "vmctld", "others", "vmctl-full"};
    const struct host *host = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cleanup_free char *child = fs_join(host->unit, names[i]);
        assert_int_equal(mkdir(child, 0700), 0);
    }
    cleanup_free char *full = fs_join(host->unit, "vmctl-full/cgroup.procs");
    put(host->unit, "vmctl-full/cgroup.procs", "1\n");
    control_group_sweep(host->unit);
    control_group_sweep(host->unit);
    cleanup_free char *swept = fs_join(host->unit, "vmctl-u1");
    cleanup_free char *own = fs_join(host->unit, "vmctld"), *other = fs_join(host->unit, "others");
    assert_false(fs_exists(swept));
    assert_true(fs_exists(full));
    assert_true(fs_exists(own));
    assert_true(fs_exists(other));
}

/* ---- kills ---- */

#define EVENTS "low 0\nhigh 0\nmax 40\n"

static enum oom_kill killed(const struct host *host)
{
    return control_group_oom_kill(host->unit, host->kept, "vmctl-u1");
}

static void forget(const struct host *host)
{
    control_group_remove(host->unit, host->kept, "vmctl-u1");
}

static void lift(const struct host *host)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(control_group_lift(host->unit, host->kept, &err), 0);
}

static void who_was_killed_for_whose_memory_is_read(void **state)
{
    static const struct {
        const char *events;
        enum oom_kill expected;
    } cases[] = {
        {"", OOM_KILL_NONE},
        {EVENTS "oom 0\noom_kill 0\noom_group_kill 0\n", OOM_KILL_NONE},
        {EVENTS "oom 3\noom_kill 0\n", OOM_KILL_NONE}, /* it only failed to get some */
        {EVENTS "oom 1\noom_kill 4\noom_group_kill 1\n", OOM_KILL_BY_LIMIT},
        {EVENTS "oom 0\noom_kill 1\noom_group_kill 1\n", OOM_KILL_BY_HOST},
        {"oom_killer 7\nx oom_kill 7\noom_kill", OOM_KILL_NONE},
    };
    const struct host *host = *state;
    cleanup_free char *child = fs_join(host->unit, "vmctl-u1");
    assert_int_equal(killed(host), OOM_KILL_NONE); /* no group */
    assert_int_equal(mkdir(child, 0700), 0);
    assert_int_equal(killed(host), OOM_KILL_NONE); /* no controller memory */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put(child, "memory.events", cases[i].events);
        assert_int_equal(killed(host), cases[i].expected);
    }
}

/* systemd removes the groups of a unit that has stopped. */
static void a_kill_outlives_the_units_stop_until_it_is_forgotten(void **state)
{
    const struct host *host = *state;
    cleanup_free char *child = fs_join(host->unit, "vmctl-u1");
    cleanup_free char *events = fs_join(child, "memory.events");
    assert_int_equal(mkdir(child, 0700), 0);
    put(child, "memory.events", EVENTS "oom 1\noom_kill 1\n");
    control_group_sweep(host->unit);
    assert_int_equal(killed(host), OOM_KILL_BY_LIMIT);
    lift(host);
    assert_int_equal(unlink(events), 0);
    assert_int_equal(rmdir(child), 0);
    assert_int_equal(killed(host), OOM_KILL_BY_LIMIT);
    assert_int_equal(mkdir(child, 0700), 0);
    put(child, "memory.events", EVENTS "oom 0\noom_kill 0\n");
    assert_int_equal(killed(host), OOM_KILL_BY_LIMIT);
    assert_int_equal(unlink(events), 0);
    forget(host);
    forget(host);
    assert_false(fs_exists(child));
    assert_int_equal(killed(host), OOM_KILL_NONE);
}

static void a_kill_that_nobody_reads_is_forgotten_with_the_second_stop(void **state)
{
    const struct host *host = *state;
    cleanup_free char *child = fs_join(host->unit, "vmctl-u1");
    cleanup_free char *events = fs_join(child, "memory.events");
    assert_int_equal(mkdir(child, 0700), 0);
    put(child, "memory.events", EVENTS "oom 0\noom_kill 1\n");
    lift(host);
    assert_int_equal(unlink(events), 0);
    assert_int_equal(killed(host), OOM_KILL_BY_HOST);
    lift(host);
    assert_int_equal(killed(host), OOM_KILL_NONE);
}

/* What somebody else put there: neither followed nor waited for. */
static void no_link_and_no_pipe_is_a_kill(void **state)
{
    const struct host *host = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *kept = fs_join(host->kept, "vmctl-u1");
    assert_int_equal(fs_make_dirs(host->kept, 0700, &err), 0);
    assert_int_equal(mkfifo(kept, 0600), 0);
    assert_int_equal(killed(host), OOM_KILL_NONE);
    assert_int_equal(unlink(kept), 0);
    put(host->dir, "elsewhere", "l");
    cleanup_free char *elsewhere = fs_join(host->dir, "elsewhere");
    assert_int_equal(symlink(elsewhere, kept), 0);
    lift(host);
    assert_true(fs_exists(elsewhere));
    assert_int_equal(killed(host), OOM_KILL_NONE);
}

/* Elsewhere than in a unit, and in a data directory that is not trusted. */
static void without_a_place_for_them_limits_are_lifted_all_the_same(void **state)
{
    const struct host *host = *state;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(control_group_lift(host->unit, NULL, &err), 0);
    assert_false(fs_exists(host->kept));
    assert_file(host->unit, "cgroup.subtree_control", "-cpu -memory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static bool has_user_attributes(void)
{
    char path[] = "/tmp/vmctl-xattr-XXXXXX";
    cleanup_close int fd = mkstemp(path);
    bool has = fd >= 0 && fsetxattr(fd, "user.delegate", "1", 1, 0) == 0;
    (void)unlink(path);
    return has;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_units_group_is_found_from_it_and_from_below),
        TEST(what_no_service_manager_gave_is_left_alone),
        TEST(a_users_unit_is_known_by_its_name),
        TEST(who_has_to_delegate_is_told),
        TEST(what_the_host_lacks_is_told),
        TEST(the_group_is_made_and_has_the_numbers),
        TEST(what_the_kernel_refuses_is_an_error),
        TEST(a_released_group_has_no_limits_and_one_that_is_not_there_needs_none),
        TEST(lifting_takes_the_controllers_away),
        TEST(empty_groups_of_machines_are_swept_and_no_others),
        TEST(who_was_killed_for_whose_memory_is_read),
        TEST(a_kill_outlives_the_units_stop_until_it_is_forgotten),
        TEST(a_kill_that_nobody_reads_is_forgotten_with_the_second_stop),
        TEST(no_link_and_no_pipe_is_a_kill),
        TEST(without_a_place_for_them_limits_are_lifted_all_the_same),
    };
    if (!has_user_attributes()) {
        fprintf(stderr, "/tmp has no extended attributes of users: skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
