/* SPDX-License-Identifier: MPL-2.0 */
/* Provision steps over a session with a real sshd, and what they leave in provision.log. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/guest/provision.h"
#include "reconcilers/guest/secret_mask.h"
#include "reconcilers/guest/step_secrets.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "tests/support/ssh_fixture.h"

struct provision_test {
    struct ssh_fixture fixture; /* first */
    char *log_path;
    char run_id[PROVISION_RUN_ID_SIZE]; /* of the run under way */
    uint64_t log_begin;
    int64_t started_at_ms;
    const char *guest_dir;
    bool must_exist;
    struct step_secrets *secrets;
    struct step_result result;
    struct buf log; /* of read_log() */
};

static int setup(void **state)
{
    struct provision_test *test = mem_new(struct provision_test);
    ssh_fixture_init(&test->fixture, (struct sshd_options){.dir = NULL});
    ssh_fixture_open(&test->fixture);
    test->log_path = mem_printf("%s/provision.log", test->fixture.dir);
    test->guest_dir = test->fixture.dir;
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    struct provision_test *test = *state;
    ssh_fixture_clear(&test->fixture);
    free(test->log_path);
    buf_clear(&test->log);
    free(test);
    return 0;
}

/* What the controller commits before a run is begun. */
static void intend(struct provision_test *test)
{
    char id[TEXT_ID_SIZE];
    int64_t size = fs_size(test->log_path);
    digest_random_id(id);
    snprintf(test->run_id, sizeof(test->run_id), "%.8s-%.24s", "0badcafe", id);
    test->log_begin = size > 0 ? (uint64_t)size : 0;
    test->started_at_ms = clock_wall_ms(clock_system());
}

/* Begins the run that is intended, or resumes it. */
static struct op *go_on(
    struct provision_test *test, const struct spec_step *step, uint32_t index, uint32_t total)
{
    struct provision_request request = {
        .loop = test->fixture.loop,
        .clock = clock_system(),
        .session = test->fixture.session,
        .vm_name = "web",
        .log_path = test->log_path,
        .step = step,
        .secrets = test->secrets,
        .index = index,
        .total = total,
        .run_id = test->run_id,
        .guest_dir = test->guest_dir,
        .must_exist = test->must_exist,
        .log_begin = test->log_begin,
        .started_at_ms = test->started_at_ms,
    };
    return provision_step_start(&request, &test->result, ssh_fixture_done, &test->fixture);
}

static struct op *start(
    struct provision_test *test, const struct spec_step *step, uint32_t index, uint32_t total)
{
    intend(test);
    return go_on(test, step, index, total);
}

static enum error_code run(
    struct provision_test *test, const struct spec_step *step, uint32_t index, uint32_t total)
{
    (void)start(test, step, index, total);
    return ssh_fixture_wait(&test->fixture);
}

/* The log with each duration replaced by "T". */
static const char *read_log(struct provision_test *test)
{
    struct error err = {.code = ERR_NONE};
    struct buf raw = BUF_INIT(0);
    assert_int_equal(fs_read_file(test->log_path, &raw, &err), 0);
    buf_reset(&test->log);
    for (const char *p = buf_str(&raw); *p;) {
        size_t n = strspn(p, "0123456789.");
        if (n >= 3 && text_starts_with(p + n, " s")) {
            buf_add_str(&test->log, "T");
            p += n;
        } else {
            buf_add(&test->log, p, n + 1);
            p += n + 1;
        }
    }
    buf_clear(&raw);
    return buf_str(&test->log);
}

static char *make_file(const struct provision_test *test, const char *name, const char *text)
{
    struct error err = {.code = ERR_NONE};
    char *path = mem_printf("%s/%s", test->fixture.dir, name);
    assert_int_equal(fs_write_file(path, text, strlen(text), 0640, &err), 0);
    return path;
}

static char text_one[] = "echo one; echo two >&2";
static char text_fails[] = "echo before; printf half; exit 3";

static void an_inline_step_runs_and_is_logged(void **state)
{
    struct provision_test *test = *state;
    struct spec_step step = {.kind = STEP_INLINE, .command = text_one};
    struct stat st;
    assert_int_equal(run(test, &step, 0, 3), ERR_NONE);
    assert_int_equal(test->result.exit_status, 0);
    const char *log = read_log(test);
    assert_non_null(strstr(log, "==> step 1/3: shell inline \"echo one; echo two >&2\"\n"));
    assert_non_null(strstr(log, "one\n"));
    assert_non_null(strstr(log, "two\n"));
    assert_true(text_ends_with(log, "==> step 1/3: done in T s\n"));
    assert_int_equal(stat(test->log_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void steps_follow_each_other_in_the_log(void **state)
{
    struct provision_test *test = *state;
    char first[] = "echo a", second[] = "echo b";
    struct spec_step one = {.kind = STEP_INLINE, .command = first};
    struct spec_step two = {.kind = STEP_INLINE, .command = second};
    assert_int_equal(run(test, &one, 0, 2), ERR_NONE);
    assert_int_equal(run(test, &two, 1, 2), ERR_NONE);
    assert_string_equal(read_log(test), "==> step 1/2: shell inline \"echo a\"\n"
                                        "a\n"
                                        "==> step 1/2: done in T s\n"
                                        "==> step 2/2: shell inline \"echo b\"\n"
                                        "b\n"
                                        "==> step 2/2: done in T s\n");
}

static void a_failing_step_reports_its_status(void **state)
{
    struct provision_test *test = *state;
    struct spec_step step = {.kind = STEP_INLINE, .command = text_fails};
    assert_int_equal(run(test, &step, 1, 3), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, 3);
    assert_string_equal(
        test->fixture.err.message, "step 2 of 3 (shell inline) of vm 'web' exited with status 3");
    assert_string_equal(read_log(test),
        "==> step 2/3: shell inline \"echo before; printf half; exit 3\"\n"
        "before\n"
        "half\n"
        "==> step 2/3: failed after T s: "
        "step 2 of 3 (shell inline) of vm 'web' exited with status 3\n");
}

static void a_step_ended_by_a_signal_says_so(void **state)
{
    struct provision_test *test = *state;
    char command[] = "kill -KILL $$";
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    assert_int_equal(run(test, &step, 0, 1), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, 128 + 9);
    assert_string_equal(test->fixture.err.message,
        "step 1 of 1 (shell inline) of vm 'web' was ended by signal KILL (status 137)");
}

static void a_command_of_several_lines_is_logged_by_its_first(void **state)
{
    struct provision_test *test = *state;
    char command[] = "\n  set -e\n  echo \"a b\"\n";
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    assert_int_equal(run(test, &step, 0, 1), ERR_NONE);
    assert_string_equal(read_log(test), "==> step 1/1: shell inline \"set -e …\"\n"
                                        "a b\n"
                                        "==> step 1/1: done in T s\n");
}

/* Steps far from those of other tests: the path in the guest is fixed, and this guest is the host.
 */
static uint32_t own_index(void)
{
    return 100000 + (uint32_t)getpid() % 1000000;
}

/* 30000 bytes are what one SSH request holds, 128 KiB what an argument of a program holds, and a
 * VMFile can hold nearly 1 MiB. */
static void run_commands_of_any_length(struct provision_test *test)
{
    static const int lengths[] = {30001, 100001, 131072, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        cleanup_free char *filling = mem_calloc((size_t)lengths[i] + 1, 1);
        memset(filling, ':', (size_t)lengths[i]);
        cleanup_free char *command = mem_printf("x=%s; echo ${#x}; cat; echo end", filling);
        cleanup_free char *output = mem_printf("\n%d\nend\n==> step 1/1: done", lengths[i]);
        struct spec_step step = {.kind = STEP_INLINE, .command = command};
        assert_int_equal(run(test, &step, 0, 1), ERR_NONE);
        assert_non_null(strstr(read_log(test), output));
    }
}

static void a_command_may_be_of_any_length(void **state)
{
    run_commands_of_any_length(*state);
}

static void a_guest_without_a_place_for_steps_runs_commands_of_any_length_too(void **state)
{
    struct provision_test *test = *state;
    test->guest_dir = "/nowhere";
    run_commands_of_any_length(test);
}

/* Nothing on the way to the command gives a character a meaning, and what vmctl's own programs call
 * their variables is not changed by them. */
static void check_environment(struct provision_test *test)
{
    static const char expected[] = "\n<it's $HOME `id` !! \\n \"q\" *> <\xc3\xa4> <> <1> <2>\n";
    static char names[][6] = {"TEXT", "UTF", "EMPTY", "r", "c"};
    static char values[][40] = {"it's $HOME `id` !! \\n \"q\" *", "\xc3\xa4", "", "1", "2"};
    struct spec_variable env[ARRAY_LEN(names)];
    char command[] = "printf '<%s> <%s> <%s> <%s> <%s>\\n' \"$TEXT\" \"$UTF\" \"${EMPTY?}\" $r $c";
    cleanup_free char *text = mem_printf("#!/bin/sh\n%s\n", command);
    cleanup_free char *path = make_file(test, "setup.sh", text);
    uint32_t index = own_index();
    for (size_t i = 0; i < ARRAY_LEN(env); i++) {
        env[i] = (struct spec_variable){names[i], values[i]};
    }
    struct spec_step step = {
        .kind = STEP_INLINE, .command = command, .env = env, .n_env = ARRAY_LEN(env)};
    assert_int_equal(run(test, &step, 0, 1), ERR_NONE);
    assert_non_null(strstr(read_log(test), expected));
    assert_int_equal(unlink(test->log_path), 0);
    step.kind = STEP_SCRIPT;
    step.file.path = path;
    assert_int_equal(run(test, &step, index, index + 1), ERR_NONE);
    assert_non_null(strstr(read_log(test), expected));
}

static void a_step_has_its_environment(void **state)
{
    check_environment(*state);
}

static void a_guest_without_a_place_for_steps_gives_them_their_environment_too(void **state)
{
    struct provision_test *test = *state;
    test->guest_dir = "/nowhere";
    check_environment(test);
}

/* Its output goes into the log as it is: `vmctl log` makes it printable. */
static void binary_output_without_a_newline_at_its_end_is_logged(void **state)
{
    struct provision_test *test = *state;
    char command[] = "printf 'a\\000b\\377\\r\\033[31mc'";
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf log = BUF_INIT(0);
    static const char expected[] = "\na\0b\377\r\033[31mc\n==> step 1/1: done";
    assert_int_equal(run(test, &step, 0, 1), ERR_NONE);
    assert_int_equal(fs_read_file(test->log_path, &log, &err), 0);
    assert_non_null(memmem(log.data, log.len, expected, sizeof(expected) - 1));
}

static void a_script_without_an_interpreter_or_a_last_newline_runs(void **state)
{
    struct provision_test *test = *state;
    uint32_t index = own_index();
    cleanup_free char *path = make_file(test, "setup.sh", "echo plain\nprintf last");
    struct spec_step step = {.kind = STEP_SCRIPT, .file = {.path = path}};
    assert_int_equal(run(test, &step, index, index + 1), ERR_NONE);
    assert_non_null(strstr(read_log(test), "\nplain\nlast\n==> step"));
}

static void a_script_is_uploaded_run_and_removed(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *path = make_file(
        test, "setup.sh", "#!/bin/sh\necho \"running $0\"\nls -l \"$0\" | cut -c1-10\nexit 0\n");
    struct spec_step step = {.kind = STEP_SCRIPT, .file = {.path = path}};
    uint32_t index = own_index();
    assert_int_equal(run(test, &step, index, index + 1), ERR_NONE);
    assert_int_equal(test->result.exit_status, 0);
    cleanup_free char *remote = mem_printf("/tmp/vmctl-provision-%u.sh", index + 1);
    cleanup_free char *line = mem_printf("running %s\n-rwxr-xr-x\n", remote);
    assert_non_null(strstr(read_log(test), line));
    assert_false(fs_exists(remote));
}

static void a_failing_script_is_named_and_removed_too(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *path = make_file(test, "setup.sh", "#!/bin/sh\nexit 4\n");
    struct spec_step step = {.kind = STEP_SCRIPT, .file = {.path = path}};
    uint32_t index = own_index();
    assert_int_equal(run(test, &step, index, index + 1), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, 4);
    cleanup_free char *message =
        mem_printf("step %u of %u (shell script '%s') of vm 'web' exited with status 4", index + 1,
            index + 1, path);
    assert_string_equal(test->fixture.err.message, message);
    cleanup_free char *remote = mem_printf("/tmp/vmctl-provision-%u.sh", index + 1);
    assert_false(fs_exists(remote));
}

static void a_missing_source_is_an_error_with_its_path(void **state)
{
    struct provision_test *test = *state;
    char missing[] = "/nowhere/setup.sh", destination[] = "/nowhere/x";
    struct spec_step script = {.kind = STEP_SCRIPT, .file = {.path = missing}};
    struct spec_step file = {
        .kind = STEP_FILE, .file = {.path = missing}, .destination = destination};
    assert_int_equal(run(test, &script, 0, 2), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, -1);
    assert_non_null(strstr(test->fixture.err.message, "cannot read '/nowhere/setup.sh': No such"));
    assert_int_equal(run(test, &file, 1, 2), ERR_PROVISION);
    assert_non_null(strstr(test->fixture.err.message, "cannot read '/nowhere/setup.sh': No such"));
    assert_true(ssh_session_is_usable(test->fixture.session));
}

static void a_file_is_uploaded_over_an_older_one_with_its_mode(void **state)
{
    struct provision_test *test = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *source = make_file(test, "app.conf", "new");
    cleanup_free char *destination = make_file(test, "it's there.conf", "old and longer");
    cleanup_free char *left = mem_printf("ls -A '%s' | grep -c vmctl-; true", test->fixture.dir);
    struct spec_step step = {
        .kind = STEP_FILE, .file = {.path = source}, .destination = destination};
    cleanup_buf struct buf text = BUF_INIT(0);
    struct stat st;
    struct ssh_exit exit;
    assert_int_equal(run(test, &step, 0, 1), ERR_NONE);
    assert_int_equal(fs_read_file(destination, &text, &err), 0);
    assert_string_equal(buf_str(&text), "new");
    assert_int_equal(stat(destination, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(ssh_fixture_exec(&test->fixture, left, &exit), ERR_NONE);
    assert_string_equal(buf_str(&test->fixture.output), "0\n"); /* no temporary name left */
}

static void a_file_into_a_missing_directory_is_an_error_that_names_it(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *source = make_file(test, "app.conf", "x");
    char destination[] = "/nowhere/app/app.conf";
    struct spec_step step = {
        .kind = STEP_FILE, .file = {.path = source}, .destination = destination};
    assert_int_equal(run(test, &step, 0, 1), ERR_PROVISION);
    assert_non_null(strstr(test->fixture.err.message, "cannot write '/nowhere/app/app.conf'"));
    assert_non_null(
        strstr(test->fixture.err.message, "directory '/nowhere/app' does not exist in the guest"));
    assert_true(ssh_session_is_usable(test->fixture.session));
}

static void a_file_over_a_directory_is_an_error(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *source = make_file(test, "app.conf", "x");
    struct spec_step step = {
        .kind = STEP_FILE, .file = {.path = source}, .destination = test->fixture.dir};
    assert_int_equal(run(test, &step, 0, 1), ERR_PROVISION);
    assert_non_null(strstr(test->fixture.err.message, "it is a directory in the guest"));
}

static void a_step_past_its_timeout_fails(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *still_runs = mem_printf("%s/still-runs", test->fixture.dir);
    cleanup_free char *command = mem_printf("echo begun; sleep 30; : >%s", still_runs);
    struct spec_step step = {.kind = STEP_INLINE, .command = command, .timeout_s = 1};
    int64_t began_ms = clock_wall_ms(clock_system());
    assert_int_equal(run(test, &step, 0, 1), ERR_PROVISION_TIMEOUT);
    assert_int_equal(test->result.exit_status, -1);
    assert_string_equal(
        test->fixture.err.message, "step 1 of 1 (shell inline) of vm 'web' did not end within 1 s");
    assert_non_null(strstr(read_log(test), "begun\n"));
    assert_non_null(strstr(read_log(test), "==> step 1/1: failed after T s: step 1 of 1"));
    assert_in_range(clock_wall_ms(clock_system()) - began_ms, 1000, 10000);
    assert_false(fs_exists(still_runs));
}

static void lose_connection(struct provision_test *test)
{
    ssh_session_close(TAKE_PTR(test->fixture.session));
    ssh_fixture_open(&test->fixture);
}

/* Runs the loop until the log has this line. */
static void await_line(struct provision_test *test, const char *line)
{
    cleanup_free char *wanted = mem_printf("\n%s\n", line);
    for (int i = 0; i < 1000; i++) {
        if (fs_exists(test->log_path) && strstr(read_log(test), wanted)) {
            return;
        }
        assert_false(ssh_fixture_run_ms(&test->fixture, 20));
    }
    fail_msg("no line '%s' in: %s", line, read_log(test));
}

/* Ends with the test's directory. */
static char *endless_command(const struct provision_test *test)
{
    return mem_printf("while [ -d %s ]; do echo x; sleep 0.05; done", test->fixture.dir);
}

/* Counts a line, then waits until the test makes `gate`. */
static char *gated_command(const struct provision_test *test, const char *gate)
{
    return mem_printf("echo x >>%s/runs; echo before; while [ -d %s ] && ! [ -e %s/%s ]; do "
                      "sleep 0.02; done; echo after; exit 5",
        test->fixture.dir, test->fixture.dir, test->fixture.dir, gate);
}

static void open_gate(const struct provision_test *test, const char *gate)
{
    free(make_file(test, gate, ""));
}

static void assert_ran_once(struct provision_test *test)
{
    cleanup_free char *runs = mem_printf("%s/runs", test->fixture.dir);
    assert_int_equal(fs_size(runs), 2);
    const char *log = read_log(test);
    const char *body = strchr(log, '\n');
    assert_non_null(body);
    assert_string_equal(body, "\nbefore\nafter\n==> step 1/1: failed after T s: "
                              "step 1 of 1 (shell inline) of vm 'web' exited with status 5\n");
}

static void a_connection_lost_mid_step_is_an_ssh_error(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *command = endless_command(test);
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    (void)start(test, &step, 0, 1);
    await_line(test, "x");
    sshd_kill(test->fixture.sshd);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_SSH);
    assert_int_equal(test->result.exit_status, -1);
    assert_non_null(strstr(test->fixture.err.message, "step 1 of 1 (shell inline) of vm 'web': "));
    assert_non_null(strstr(test->fixture.err.message, "the connection was lost while the command"));
    assert_null(strstr(read_log(test), "failed")); /* it continues */
}

static void a_cancelled_step_goes_on_and_is_found_again(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *command = gated_command(test, "gate");
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    unsigned before = count_open_descriptors();
    struct op *op = start(test, &step, 0, 1);
    for (int i = 0; i < 5; i++) { /* as often as the controller is killed */
        await_line(test, "before");
        op_cancel(op);
        assert_int_equal(test->fixture.n_done, 1 + (unsigned)i); /* the logins' */
        lose_connection(test);
        assert_int_equal(count_open_descriptors(), before);
        op = go_on(test, &step, 0, 1);
    }
    open_gate(test, "gate");
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, 5);
    assert_ran_once(test);
}

static void a_step_that_ended_meanwhile_is_found_with_its_result_and_output(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *command = gated_command(test, "gate");
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    struct op *op = start(test, &step, 0, 1);
    await_line(test, "before");
    op_cancel(op);
    lose_connection(test);
    open_gate(test, "gate");
    cleanup_free char *result = mem_printf("until [ -h %s/vmctl-$(id -u)/%s/rc ]; do sleep 0.02; "
                                           "done",
        test->fixture.dir, test->run_id);
    struct ssh_exit exit;
    assert_int_equal(ssh_fixture_exec(&test->fixture, result, &exit), ERR_NONE);
    (void)go_on(test, &step, 0, 1);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_PROVISION);
    assert_ran_once(test);
    (void)go_on(test, &step, 0, 1); /* killed before it was recorded */
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, 5);
    assert_ran_once(test);
}

/* Any moment: of the sending, of the begin, of the output, of the end. */
static void a_step_that_is_left_at_any_moment_runs_once_with_all_its_output(void **state)
{
    struct provision_test *test = *state;
    char command[512];
    snprintf(command, sizeof(command),
        "echo x >>%s/runs; for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.02; done",
        test->fixture.dir);
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    intend(test);
    for (int64_t ms = 0;; ms += 3 + ms / 6) {
        struct op *op = go_on(test, &step, 0, 1);
        if (ssh_fixture_run_ms(&test->fixture, ms)) {
            break;
        }
        op_cancel(op);
        lose_connection(test);
    }
    assert_string_equal(test->fixture.err.message, "");
    cleanup_free char *runs = mem_printf("%s/runs", test->fixture.dir);
    assert_int_equal(fs_size(runs), 2);
    const char *body = strchr(read_log(test), '\n');
    assert_non_null(body);
    assert_string_equal(body, "\nline 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\n"
                              "line 8\n==> step 1/1: done in T s\n");
}

static void a_new_request_ends_the_step_that_still_runs(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *ended = mem_printf("%s/ended", test->fixture.dir);
    cleanup_free char *command =
        mem_printf("trap ': >%s; exit' TERM; echo begun; while :; do sleep 0.02; done", ended);
    char second[] = "echo second";
    struct spec_step first_step = {.kind = STEP_INLINE, .command = command};
    struct spec_step second_step = {.kind = STEP_INLINE, .command = second};
    struct op *op = start(test, &first_step, 0, 1);
    await_line(test, "begun");
    op_cancel(op);
    lose_connection(test);
    assert_int_equal(run(test, &second_step, 0, 1), ERR_NONE);
    assert_true(fs_exists(ended));
    assert_true(text_ends_with(read_log(test), "\nsecond\n==> step 1/1: done in T s\n"));
}

/* ---- secrets ---- */

static char secret_names[][6] = {"TOKEN", "KEY", "v"};
static char secret_values[][40] = {
    "it's $HOME `id` !! \\n \"q\" *", " line one\n\nline two\n", "-n"};
enum { N_SECRETS = ARRAY_LEN(secret_names) };

static struct step_secrets *known_secrets(void)
{
    struct step_secrets *secrets = mem_new(struct step_secrets);
    secrets->count = N_SECRETS;
    secrets->values = mem_calloc(N_SECRETS, sizeof(*secrets->values));
    for (size_t i = 0; i < N_SECRETS; i++) {
        secrets->values[i] = mem_strdup(secret_values[i]);
    }
    secrets->mask = secret_mask_new((const char *const *)secrets->values, N_SECRETS);
    return secrets;
}

/* The guest has their bytes, and neither the log nor what vmctl leaves there does. */
static void check_secrets(struct provision_test *test)
{
    static const char names[] =
        "<***************************> <*********\n\n********\n> <**>\nline**\n"; /* "linev" */
    char command[] = "printf '<%s> <%s> <%s>\\nline%s\\n' \"$TOKEN\" \"$KEY\" \"$v\" \"$v\"; env | "
                     "grep -c '^TOKEN=\\|^KEY=\\|^v=\\|^secret_\\|^vmctl_'; echo out >&2";
    cleanup_free char *text = mem_printf("#!/bin/sh\n%s\n", command);
    cleanup_free char *path = make_file(test, "setup.sh", text);
    struct spec_secret named[N_SECRETS];
    uint32_t index = own_index();
    for (size_t i = 0; i < N_SECRETS; i++) {
        named[i] = (struct spec_secret){.name = secret_names[i]};
    }
    struct spec_step step = {
        .kind = STEP_INLINE, .command = command, .secrets = named, .n_secrets = N_SECRETS};
    for (int i = 0; i < 2; i++) {
        test->secrets = known_secrets();
        assert_int_equal(run(test, &step, index, index + 1), ERR_NONE);
        assert_non_null(strstr(read_log(test), names));
        assert_non_null(strstr(read_log(test), "\n3\nout\n==> step "));
        assert_int_equal(unlink(test->log_path), 0);
        step_secrets_free(TAKE_PTR(test->secrets));
        step.kind = STEP_SCRIPT;
        step.file.path = path;
    }
}

static void a_step_has_its_secrets_and_the_log_has_not(void **state)
{
    check_secrets(*state);
}

static void a_guest_without_a_place_for_steps_gives_them_their_secrets_too(void **state)
{
    struct provision_test *test = *state;
    test->guest_dir = "/nowhere";
    check_secrets(test);
}

static void a_step_whose_secrets_are_lost_is_followed_and_not_shown(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *gate = mem_printf("%s/gate", test->fixture.dir);
    cleanup_free char *command =
        mem_printf("echo begun $TOKEN; while ! [ -e %s ]; do sleep 0.02; done; echo $TOKEN", gate);
    struct error err = {.code = ERR_NONE};
    struct spec_secret named[] = {{.name = secret_names[0]}};
    struct spec_step step = {
        .kind = STEP_INLINE, .command = command, .secrets = named, .n_secrets = 1};
    test->secrets = known_secrets();
    struct op *op = start(test, &step, 0, 1);
    await_line(test, "begun ***************************");
    op_cancel(op);
    step_secrets_free(TAKE_PTR(test->secrets));
    lose_connection(test);
    assert_int_equal(fs_write_file(gate, "", 0, 0600, &err), 0);
    (void)go_on(test, &step, 0, 1);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_NONE);
    assert_non_null(strstr(read_log(test), "is not shown\n==> step 1/1: done in T s\n"));
    assert_null(strstr(read_log(test), "HOME"));
    assert_int_equal(run(test, &step, 0, 1), ERR_PROVISION_LOST); /* never begun without them */
}

static void a_step_whose_processes_were_killed_is_lost(void **state)
{
    struct provision_test *test = *state;
    char command[] = "echo begun; kill -KILL 0";
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    assert_int_equal(run(test, &step, 0, 1), ERR_PROVISION_LOST);
    assert_non_null(strstr(test->fixture.err.message,
        "step 1 of 1 (shell inline) of vm 'web' was interrupted: its processes"));
    assert_non_null(strstr(read_log(test), "begun\n==> step 1/1: failed after T s: step 1"));
}

static void a_step_of_another_instance_is_not_begun_again(void **state)
{
    struct provision_test *test = *state;
    struct spec_step step = {.kind = STEP_INLINE, .command = text_one};
    test->must_exist = true;
    assert_int_equal(run(test, &step, 0, 1), ERR_PROVISION_LOST);
    assert_null(strstr(read_log(test), "\none\n"));
}

static void a_guest_without_a_place_runs_steps_attached(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *path = make_file(test, "setup.sh", "#!/bin/sh\necho script\nexit 4\n");
    struct spec_step script = {.kind = STEP_SCRIPT, .file = {.path = path}};
    struct spec_step step = {.kind = STEP_INLINE, .command = text_one};
    uint32_t index = 200000 + (uint32_t)getpid() % 1000000;
    test->guest_dir = "/nowhere";
    assert_int_equal(run(test, &step, 0, 2), ERR_NONE);
    assert_int_equal(run(test, &script, index, index + 1), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, 4);
    assert_non_null(strstr(read_log(test), "\none\n"));
    assert_non_null(strstr(read_log(test), "\nscript\n"));
}

static void run_with_a_child(struct provision_test *test, struct spec_step *step)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf pid = BUF_INIT(0);
    cleanup_free char *child = mem_printf("%s/child", test->fixture.dir);
    cleanup_free char *text = mem_printf("sleep 500 & echo $! >'%s'; echo over; exit 3", child);
    cleanup_free char *script = mem_printf("#!/bin/sh\n%s\n", text);
    cleanup_free char *path = make_file(test, "setup.sh", script);
    *(step->kind == STEP_INLINE ? &step->command : &step->file.path) =
        step->kind == STEP_INLINE ? text : path;
    uint32_t index = own_index();
    assert_int_equal(run(test, step, index, index + 1), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, 3);
    assert_non_null(strstr(read_log(test), "\nover\n"));
    assert_null(strstr(read_log(test), "Killed")); /* as a shell says of what ended its pipeline */
    assert_int_equal(fs_read_file(child, &pid, &err), 0);
    assert_int_equal(kill(atoi(buf_str(&pid)), SIGKILL), 0);
}

static void a_step_ends_with_its_shell_whatever_that_left_in_the_background(void **state)
{
    struct provision_test *test = *state;
    static const enum step_kind kinds[] = {STEP_INLINE, STEP_SCRIPT};
    static const char *const places[] = {"/nowhere", NULL};
    for (size_t i = 0; i < 4; i++) {
        struct spec_step step = {.kind = kinds[i % 2]};
        test->guest_dir = places[i / 2] ? places[i / 2] : test->fixture.dir;
        run_with_a_child(test, &step);
    }
}

static void an_attached_step_that_loses_its_connection_is_lost(void **state)
{
    struct provision_test *test = *state;
    cleanup_free char *command = endless_command(test);
    struct spec_step step = {.kind = STEP_INLINE, .command = command};
    test->guest_dir = "/nowhere";
    (void)start(test, &step, 0, 1);
    await_line(test, "x");
    sshd_kill(test->fixture.sshd);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_PROVISION_LOST);
}

static void an_upload_that_is_done_again_leaves_no_temporary_file(void **state)
{
    struct provision_test *test = *state;
    struct ssh_fixture *fixture = &test->fixture;
    cleanup_free char *source = make_file(test, "source", "text");
    cleanup_free char *destination = mem_printf("%s/destination", fixture->dir);
    struct spec_step step = {
        .kind = STEP_FILE, .file = {.path = source}, .destination = destination};
    cleanup_free char *left = mem_printf("ls -A '%s' | grep -c destination", fixture->dir);
    struct ssh_exit exit;
    intend(test);
    for (int64_t ms = 0;; ms += 3 + ms / 4) {
        struct op *op = go_on(test, &step, 0, 1);
        if (ssh_fixture_run_ms(fixture, ms)) {
            break;
        }
        op_cancel(op);
        lose_connection(test);
    }
    assert_string_equal(fixture->err.message, "");
    assert_int_equal(ssh_fixture_exec(fixture, left, &exit), ERR_NONE);
    assert_string_equal(buf_str(&fixture->output), "1\n");
}

static void cancelling_any_kind_of_step_at_any_moment_leaves_nothing_open(void **state)
{
    struct provision_test *test = *state;
    struct ssh_fixture *fixture = &test->fixture;
    cleanup_free char *source = make_file(test, "source", "#!/bin/sh\nexit 0\n");
    cleanup_free char *destination = mem_printf("%s/destination", fixture->dir);
    struct spec_step steps[] = {
        {.kind = STEP_SCRIPT, .file = {.path = source}},
        {.kind = STEP_FILE, .file = {.path = source}, .destination = destination},
    };
    unsigned before = count_open_descriptors();
    uint32_t index = own_index();
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        for (int64_t ms = 0;; ms += 2 + ms / 4) {
            /* Each with a number of its own: what was cancelled may go on in the guest. */
            index++;
            struct op *op = start(test, &steps[i], index, index + 1);
            if (ssh_fixture_run_ms(fixture, ms)) {
                break;
            }
            op_cancel(op);
            assert_int_equal(count_open_descriptors(), before - 1);
            ssh_session_close(TAKE_PTR(fixture->session));
            ssh_fixture_open(fixture);
        }
        assert_int_equal(fixture->err.code, ERR_NONE);
    }
}

static void a_log_that_cannot_be_written_is_an_error(void **state)
{
    struct provision_test *test = *state;
    struct spec_step step = {.kind = STEP_INLINE, .command = text_one};
    free(test->log_path);
    test->log_path = mem_strdup("/nowhere/provision.log");
    assert_int_equal(run(test, &step, 0, 1), ERR_IO);
    assert_non_null(strstr(test->fixture.err.message, "/nowhere/provision.log"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(an_inline_step_runs_and_is_logged),
        test(steps_follow_each_other_in_the_log),
        test(a_failing_step_reports_its_status),
        test(a_step_ended_by_a_signal_says_so),
        test(a_command_of_several_lines_is_logged_by_its_first),
        test(a_command_may_be_of_any_length),
        test(a_guest_without_a_place_for_steps_runs_commands_of_any_length_too),
        test(a_step_has_its_environment),
        test(a_guest_without_a_place_for_steps_gives_them_their_environment_too),
        test(a_step_has_its_secrets_and_the_log_has_not),
        test(a_guest_without_a_place_for_steps_gives_them_their_secrets_too),
        test(a_step_whose_secrets_are_lost_is_followed_and_not_shown),
        test(binary_output_without_a_newline_at_its_end_is_logged),
        test(a_script_without_an_interpreter_or_a_last_newline_runs),
        test(a_script_is_uploaded_run_and_removed),
        test(a_failing_script_is_named_and_removed_too),
        test(a_missing_source_is_an_error_with_its_path),
        test(a_file_is_uploaded_over_an_older_one_with_its_mode),
        test(a_file_into_a_missing_directory_is_an_error_that_names_it),
        test(a_file_over_a_directory_is_an_error),
        test(a_step_past_its_timeout_fails),
        test(a_connection_lost_mid_step_is_an_ssh_error),
        test(a_cancelled_step_goes_on_and_is_found_again),
        test(a_step_that_ended_meanwhile_is_found_with_its_result_and_output),
        test(a_step_that_is_left_at_any_moment_runs_once_with_all_its_output),
        test(a_new_request_ends_the_step_that_still_runs),
        test(a_step_whose_processes_were_killed_is_lost),
        test(a_step_of_another_instance_is_not_begun_again),
        test(a_guest_without_a_place_runs_steps_attached),
        test(a_step_ends_with_its_shell_whatever_that_left_in_the_background),
        test(an_attached_step_that_loses_its_connection_is_lost),
        test(an_upload_that_is_done_again_leaves_no_temporary_file),
        test(cancelling_any_kind_of_step_at_any_moment_leaves_nothing_open),
        test(a_log_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
