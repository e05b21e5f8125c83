/* SPDX-License-Identifier: MPL-2.0 */
/* Life and death of a machine of the QEMU backend, with a real QEMU and no guest: SeaBIOS finds
 * nothing to boot and waits, which is all that is needed here. */
#include "tests/unit/reconcilers/backend/qemu/test_qemu_machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/pool.h"
#include "specs/base/lockfile.h"
#include "specs/base/proc_stat.h"

/* ---- start ---- */

static void nothing_runs_at_first(void **state)
{
    struct machine_facts facts = observe(*state);
    assert_false(facts.is_alive);
    assert_false(facts.is_waiting);
    assert_int_equal(facts.run_state, RUN_STATE_UNKNOWN);
    assert_int_equal(facts.exit_status, -1);
    assert_null(facts.last_output);
}

static void a_launched_process_waits_and_holds_the_lock(void **state)
{
    struct fixture *f = *state;
    launch(f);
    struct machine_facts facts = observe(f);
    assert_true(facts.is_alive);
    assert_true(facts.is_waiting);
    const struct vm_instance *instance = &f->status->instance;
    uint64_t ticks = 0;
    assert_true(proc_stat_start_ticks(instance->pid, &ticks));
    assert_int_equal(ticks, instance->start_ticks);
    assert_string_equal(instance->boot_id, clock_boot_id(clock_system()));
    assert_string_equal(instance->accel, "tcg");
    cleanup_free char *pidfile = vm_path(f, VM_PIDFILE);
    assert_false(fs_exists(pidfile)); /* no QEMU yet */
}

static void a_controller_that_dies_before_release_leaves_no_process(void **state)
{
    struct fixture *f = *state;
    launch(f);
    ops()->close(f->machine); /* closes the go socket, as the end of the controller does */
    open_machine(f);
    assert_true(run_until(f->host.loop, is_dead, f, PATIENCE_MS));
    cleanup_free char *lock = vm_path(f, VM_ALIVE_LOCK);
    assert_false(lockfile_is_held(lock));
    while (waitpid(f->status->instance.pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

static void a_waiting_process_can_be_called_off(void **state)
{
    struct fixture *f = *state;
    launch(f);
    ops()->command(f->machine, &f->env, MACHINE_QUIT);
    expect_death(f, 0);
}

static void a_second_launch_is_refused_while_one_lives(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    struct vm_instance first = f->status->instance;
    f->status->instance.accel = NULL;
    try_launch(f);
    assert_int_equal(f->err.code, ERR_VM_CONFLICT);
    assert_null(f->status->instance.accel);
    f->status->instance = first;
    assert_int_equal(observe(f).run_state, RUN_STATE_RUNNING);
}

static void a_cancelled_launch_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    digest_random_id(f->status->instance.instance_id);
    op_cancel(ops()->launch(f->machine, &f->env, &f->status->instance, on_done, f));
    assert_false(observe(f).is_alive);
    assert_int_equal(f->status->instance.pid, 0);
}

static bool is_small(void *context)
{
    return fs_size(context) < CONSOLE_LOG_MAX;
}

/* It may have grown while no controller ran. */
static void the_console_log_of_a_vm_that_is_off_is_bounded(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *log = vm_path(f, VM_CONSOLE_LOG);
    cleanup_free char *bytes = mem_calloc(2, CONSOLE_LOG_MAX);
    cleanup_free char *older = mem_printf("%s.1", log);
    assert_int_equal(pool_new(f->host.loop, 1, &f->host.pool, &f->err), 0);
    assert_int_equal(fs_write_file(log, bytes, (size_t)2 * CONSOLE_LOG_MAX, 0600, &f->err), 0);
    ops()->close(f->machine);
    open_machine(f);
    assert_true(run_until(f->host.loop, is_small, log, PATIENCE_MS));
    assert_int_equal(fs_size(log), 0);
    assert_int_equal(fs_size(older), CONSOLE_LOG_MAX);
    ops()->close(f->machine); /* the rotation's end may not be reported yet */
    assert_true(pool_free(f->host.pool));
    open_machine(f);
}

static void a_missing_qemu_is_told_with_help(void **state)
{
    struct fixture *f = *state;
    setenv("VMCTL_QEMU", "/nonexistent/qemu", 1);
    try_launch(f);
    unsetenv("VMCTL_QEMU");
    assert_int_equal(f->err.code, ERR_QEMU_SPAWN);
    assert_string_equal(f->err.message, "cannot start QEMU for 'web': cannot find the program "
                                        "'/nonexistent/qemu' (from VMCTL_QEMU)");
    assert_string_equal(error_help_text(&f->err), "install it: apt-get install qemu-system-x86");
    assert_false(observe(f).is_alive);
}

static void a_network_of_another_platform_is_refused(void **state)
{
    struct fixture *f = *state;
    f->spec->network.mode = NETWORK_VNIC;
    try_launch(f);
    assert_int_equal(f->err.code, ERR_BACKEND_UNAVAILABLE);
}

static void a_missing_bridge_is_told_with_help(void **state)
{
    struct fixture *f = *state;
    f->spec->network.mode = NETWORK_TAP;
    free(f->spec->network.bridge);
    f->spec->network.bridge = mem_strdup("nobridge7");
    try_launch(f);
    assert_int_equal(f->err.code, ERR_QEMU_SPAWN);
    assert_string_equal(
        f->err.message, "cannot start QEMU for 'web': network bridge 'nobridge7' does not exist");
    assert_false(observe(f).is_alive);
}

static void a_qemu_that_refuses_its_command_line_says_why(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *overlay = vm_path(f, VM_OVERLAY);
    struct error err = {0};
    assert_int_equal(fs_write_file(overlay, "no disk", 7, 0600, &err), 0);
    launch(f);
    ops()->release(f->machine);
    expect_death(f, 1 << 8);
    assert_non_null(strstr(observe(f).last_output, "Image is not in qcow2 format"));
}

static void a_program_that_cannot_be_executed_is_told(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *program = fs_join(f->dir, "not-a-program");
    struct error err = {0};
    assert_int_equal(fs_write_file(program,
                         "\x7f"
                         "ELF",
                         4, 0700, &err),
        0);
    setenv("VMCTL_QEMU", program, 1);
    launch(f);
    unsetenv("VMCTL_QEMU");
    ops()->release(f->machine);
    expect_death(f, 127 << 8);
    cleanup_free char *expected = mem_printf("%s: Exec format error", program);
    assert_string_equal(observe(f).last_output, expected);
}

static void paths_may_be_long_and_strange(void **state)
{
    struct fixture *f = *state;
    assert_true(strlen(f->paths.data_dir) > 140);
    start_and_boot(f);
    cleanup_free char *answer = ask_user_socket(f, "{\"execute\":\"query-name\"}");
    assert_string_equal(answer, "{\"name\":\"web\"}");
    cleanup_free char *console = vm_path(f, VM_CONSOLE_LOG);
    assert_true(fs_exists(console));
}

/* ---- what QEMU inherits ---- */

static bool is_allowed(const char *target, const char *vm_dir)
{
    static const char *const kinds[] = {"anon_inode:", "socket:", "/dev/null", "/dev/ptmx"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strncmp(target, kinds[i], strlen(kinds[i])) == 0) {
            return true;
        }
    }
    return strncmp(target, vm_dir, strlen(vm_dir)) == 0;
}

static void qemu_inherits_nothing_but_what_it_is_given(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *vm_dir = vm_path(f, VM_DIR);
    cleanup_close int leak = open("/etc/passwd", O_RDONLY); /* not close-on-exec */
    assert_true(leak >= 0);
    start_and_boot(f);
    cleanup_free char *dir = mem_printf("/proc/%d/fd", f->status->instance.pid);
    DIR *fds = opendir(dir);
    assert_non_null(fds);
    const struct dirent *entry;
    int n = 0;
    while ((entry = readdir(fds)) != NULL) {
        char target[1024];
        ssize_t size = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);
        if (size < 0) {
            continue; /* "." and ".." */
        }
        target[size] = '\0';
        n++;
        if (!is_allowed(target, vm_dir)) {
            fail_msg("QEMU's descriptor %s is %s", entry->d_name, target);
        }
    }
    closedir(fds);
    assert_in_range(n, 7, 40);
}

static void qemu_leads_a_session_of_its_own(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(getsid(f->status->instance.pid), f->status->instance.pid);
}

static void what_qemu_makes_is_private(void **state)
{
    struct fixture *f = *state;
    start(f);
    static const enum vm_file files[] = {VM_ALIVE_LOCK, VM_CONTROL_SOCKET, VM_QMP_SOCKET,
        VM_CONSOLE_SOCKET, VM_CONSOLE_LOG, VM_QEMU_LOG, VM_PIDFILE};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        cleanup_free char *path = vm_path(f, files[i]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 077, 0);
    }
}

/* ---- commands ---- */

static void it_can_be_paused_and_resumed(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    ops()->command(f->machine, &f->env, MACHINE_PAUSE);
    await_state(f, RUN_STATE_PAUSED);
    ops()->command(f->machine, &f->env, MACHINE_RESUME);
    await_state(f, RUN_STATE_RUNNING);
}

static void quit_ends_it_with_status_0(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    ops()->command(f->machine, &f->env, MACHINE_POWERDOWN); /* no guest to hear it */
    ops()->command(f->machine, &f->env, MACHINE_QUIT);
    expect_death(f, 0);
}

static void sigterm_ends_it_with_status_0(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    ops()->command(f->machine, &f->env, MACHINE_TERMINATE);
    expect_death(f, 0);
    assert_non_null(strstr(observe(f).last_output, "terminating on signal 15"));
}

static void its_death_is_told_with_its_status(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    f->n_changed = 0;
    assert_int_equal(kill(f->status->instance.pid, SIGKILL), 0);
    assert_true(run_until(f->host.loop, has_changed, f, PATIENCE_MS));
    expect_death(f, SIGKILL);
    assert_null(observe(f).last_output); /* a line about VNC does not count as output */
}

static void it_can_start_again_after_a_death(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(kill(f->status->instance.pid, SIGKILL), 0);
    expect_death(f, SIGKILL);
    f->status->instance.pid = 0;
    start_and_boot(f);
    assert_int_equal(observe(f).run_state, RUN_STATE_RUNNING);
}

/* No test is in a control group of its own: they cannot be set here. */
static void limits_that_could_not_be_set_are_not_told_of_a_machine_without(void **state)
{
    struct fixture *f = *state;
    f->spec->cpu_limit_milli = 500;
    start_and_boot(f);
    struct machine_facts facts = observe(f);
    cleanup_free char *fault = mem_strdup(facts.limit_fault);
    assert_non_null(fault);
    assert_false(facts.is_limited);
    f->spec->cpu_limit_milli = 600;
    try_boot(f);
    expect_ok(f);
    assert_string_equal(facts.limit_fault, fault); /* the facts of a pass outlive what it does */
    assert_int_equal(kill(f->status->instance.pid, SIGKILL), 0);
    expect_death(f, SIGKILL);
    f->status->instance.pid = 0;
    f->spec->cpu_limit_milli = 0;
    start_and_boot(f);
    assert_null(observe(f).limit_fault);
    assert_false(observe(f).is_limited);
}

static void a_qemu_that_hangs_is_silent_and_speaks_again(void **state)
{
    struct fixture *f = *state;
    launch(f);
    assert_int_equal(kill(f->status->instance.pid, SIGSTOP), 0);
    ops()->release(f->machine);
    struct machine_facts facts = observe(f);
    assert_true(facts.is_alive);
    assert_true(facts.silent_ms > 0);
    assert_int_equal(facts.run_state, RUN_STATE_UNKNOWN);
    assert_int_equal(kill(f->status->instance.pid, SIGCONT), 0);
    await_state(f, RUN_STATE_PRELAUNCH);
    assert_int_equal(observe(f).silent_ms, 0);
}

static void the_user_has_a_qmp_socket_of_their_own(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    cleanup_free char *answer = ask_user_socket(f, "{\"execute\":\"stop\"}");
    assert_string_equal(answer, "{}");
    await_state(f, RUN_STATE_PAUSED); /* and we notice what is done there */
}

static void *take_all(void *context)
{
    const int *listener = context;
    char bytes[65536];
    cleanup_close int fd = accept(*listener, NULL, NULL);
    while (fd >= 0 && read(fd, bytes, sizeof(bytes)) > 0) {
    }
    return NULL;
}

static void a_guest_whose_memory_was_sent_away_is_not_a_paused_one(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    char dir[] = "/tmp/vmctl-memory-XXXXXX"; /* where a QEMU of another user may connect */
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chmod(dir, 0755), 0);
    cleanup_close int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(chmod(address.sun_path, 0777), 0);
    assert_int_equal(listen(listener, 1), 0);
    pthread_t taker;
    assert_int_equal(pthread_create(&taker, NULL, take_all, &listener), 0);
    cleanup_free char *command = mem_printf(
        "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"unix:%s\"}}", address.sun_path);
    cleanup_free char *answer = ask_user_socket(f, command);
    assert_string_equal(answer, "{}");
    await_state(f, RUN_STATE_POSTMIGRATE);
    assert_int_equal(pthread_join(taker, NULL), 0);
    assert_int_equal(unlink(address.sun_path), 0);
    assert_int_equal(rmdir(dir), 0);
    ops()->command(f->machine, &f->env, MACHINE_QUIT);
    expect_death(f, 0);
}

/* ---- adoption ---- */

static void restart_controller(struct fixture *f)
{
    ops()->close(f->machine);
    open_machine(f);
}

static void a_new_controller_takes_up_what_runs(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    restart_controller(f);
    assert_true(observe(f).is_alive);
    await_state(f, RUN_STATE_RUNNING);
    ops()->command(f->machine, &f->env, MACHINE_PAUSE);
    await_state(f, RUN_STATE_PAUSED);
    ops()->command(f->machine, &f->env, MACHINE_KILL);
    expect_death(f, SIGKILL);
}

/* As a cleaner of old files does it. */
static void without_its_lock_file_the_recorded_process_is_found(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    cleanup_free char *lock = vm_path(f, VM_ALIVE_LOCK);
    assert_int_equal(unlink(lock), 0);
    assert_true(observe(f).is_alive);
    restart_controller(f);
    assert_true(observe(f).is_alive);
    await_state(f, RUN_STATE_RUNNING);
    ops()->command(f->machine, &f->env, MACHINE_KILL);
    expect_death(f, SIGKILL);
}

/* Not of this boot, or with another start time, it is another process. */
static void without_its_lock_file_another_process_of_its_pid_is_not_taken_for_it(void **state)
{
    struct fixture *f = *state;
    struct vm_instance *instance = &f->status->instance;
    digest_random_id(instance->instance_id);
    instance->pid = getpid();
    instance->start_ticks = 1;
    (void)snprintf(
        instance->boot_id, sizeof(instance->boot_id), "%s", clock_boot_id(clock_system()));
    assert_false(observe(f).is_alive);
    assert_true(proc_stat_start_ticks(getpid(), &instance->start_ticks));
    instance->boot_id[0] ^= 1;
    assert_false(observe(f).is_alive);
    *instance = (struct vm_instance){.pid = 0};
}

static void a_new_controller_takes_up_a_prelaunched_one(void **state)
{
    struct fixture *f = *state;
    start(f);
    restart_controller(f);
    await_state(f, RUN_STATE_PRELAUNCH);
    try_boot(f);
    expect_ok(f);
}

static void without_a_pid_record_the_socket_reports_who_it_is(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    pid_t pid = f->status->instance.pid;
    f->status->instance.pid = 0;
    restart_controller(f);
    await_state(f, RUN_STATE_RUNNING);
    (void)observe(f);
    ops()->command(f->machine, &f->env, MACHINE_KILL);
    expect_death(f, SIGKILL);
    f->status->instance.pid = pid;
}

static void another_instance_is_left_alone(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    char instance_id[TEXT_ID_SIZE];
    memcpy(instance_id, f->status->instance.instance_id, sizeof(instance_id));
    digest_random_id(f->status->instance.instance_id);
    f->n_changed = 0;
    restart_controller(f);
    (void)observe(f);
    assert_true(run_until(f->host.loop, has_changed, f, PATIENCE_MS));
    struct machine_facts facts = observe(f);
    assert_true(facts.is_alive);
    assert_int_equal(facts.run_state, RUN_STATE_UNKNOWN);
    assert_true(facts.silent_ms > 0);
    ops()->command(f->machine, &f->env, MACHINE_QUIT); /* goes nowhere */
    memcpy(f->status->instance.instance_id, instance_id, sizeof(instance_id));
    await_state(f, RUN_STATE_RUNNING);
}

static void a_death_while_no_controller_ran_is_found(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    ops()->close(f->machine);
    assert_int_equal(kill(f->status->instance.pid, SIGKILL), 0);
    open_machine(f);
    expect_death(f, SIGKILL);
}

int main(void)
{
    if (!qemu_is_installed()) {
        fprintf(stderr, "qemu-system-x86_64 and qemu-img are needed: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        TEST(nothing_runs_at_first),
        TEST(a_launched_process_waits_and_holds_the_lock),
        TEST(a_controller_that_dies_before_release_leaves_no_process),
        TEST(a_waiting_process_can_be_called_off),
        TEST(a_second_launch_is_refused_while_one_lives),
        TEST(a_cancelled_launch_leaves_nothing),
        TEST(the_console_log_of_a_vm_that_is_off_is_bounded),
        TEST(a_missing_qemu_is_told_with_help),
        TEST(a_network_of_another_platform_is_refused),
        TEST(a_missing_bridge_is_told_with_help),
        TEST(a_qemu_that_refuses_its_command_line_says_why),
        TEST(a_program_that_cannot_be_executed_is_told),
        cmocka_unit_test_setup_teardown(paths_may_be_long_and_strange, set_up_long_path, tear_down),
        TEST(qemu_inherits_nothing_but_what_it_is_given),
        TEST(qemu_leads_a_session_of_its_own),
        TEST(what_qemu_makes_is_private),
        TEST(it_can_be_paused_and_resumed),
        TEST(quit_ends_it_with_status_0),
        TEST(sigterm_ends_it_with_status_0),
        TEST(its_death_is_told_with_its_status),
        TEST(it_can_start_again_after_a_death),
        TEST(limits_that_could_not_be_set_are_not_told_of_a_machine_without),
        TEST(a_qemu_that_hangs_is_silent_and_speaks_again),
        TEST(the_user_has_a_qmp_socket_of_their_own),
        TEST(a_guest_whose_memory_was_sent_away_is_not_a_paused_one),
        TEST(a_new_controller_takes_up_what_runs),
        TEST(without_its_lock_file_the_recorded_process_is_found),
        TEST(without_its_lock_file_another_process_of_its_pid_is_not_taken_for_it),
        TEST(a_new_controller_takes_up_a_prelaunched_one),
        TEST(without_a_pid_record_the_socket_reports_who_it_is),
        TEST(another_instance_is_left_alone),
        TEST(a_death_while_no_controller_ran_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
