/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/child.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "specs/base/cleanup.h"
#include "tests/unit/controller/test_support.h"

struct fixture {
    struct loop *loop;
    bool is_done;
    int n_done;
    struct error err; /* code ERR_NONE: success */
    char *output;
    char *dir;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    f->loop = new_loop();
    signal(SIGPIPE, SIG_IGN);
    *state = f;
    return make_scratch_dir((void **)&f->dir);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    loop_free(f->loop);
    free(f->output);
    int rc = remove_scratch_dir((void **)&f->dir);
    free(f);
    return rc;
}

static void on_done(void *context, const struct error *err, const char *output)
{
    struct fixture *f = context;
    f->is_done = true;
    f->n_done++;
    f->output = mem_strdup(output);
    if (err) {
        f->err = *err;
    }
}

static void must_not_be_called(void *context, const struct error *err, const char *output)
{
    (void)context;
    (void)err;
    (void)output;
    fail_msg("a cancelled operation completed");
}

static void run(struct fixture *f, const struct child_request *request)
{
    child_start(f->loop, request, on_done, f);
    assert_int_equal(f->n_done, 0); /* never from inside the call that started it */
    assert_true(run_until(f->loop, is_set, &f->is_done));
    assert_int_equal(f->n_done, 1);
}

static void run_shell(struct fixture *f, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    run(f, &(struct child_request){.argv = argv, .timeout_ms = TEST_DEADLINE_MS});
}

static bool has_no_children(void *context)
{
    (void)context;
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0;
}

static void output_and_errors_of_a_success_are_captured_in_order(void **state)
{
    struct fixture *f = *state;
    run_shell(f, "echo one; echo two >&2; echo three");
    assert_int_equal(f->err.code, ERR_NONE);
    assert_string_equal(f->output, "one\ntwo\nthree\n");
    assert_true(has_no_children(NULL));
}

static void a_failure_reports_the_status_and_the_last_line(void **state)
{
    struct fixture *f = *state;
    run_shell(f, "echo first; echo 'no such image'; echo; exit 3");
    assert_int_equal(f->err.code, ERR_IO);
    assert_string_equal(f->err.message, "'sh' exited with status 3: no such image");
    assert_string_equal(f->output, "first\nno such image\n\n");
}

static void a_silent_failure_reports_the_status_alone(void **state)
{
    struct fixture *f = *state;
    run_shell(f, "exit 1");
    assert_string_equal(f->err.message, "'sh' exited with status 1");
}

static void an_end_by_signal_is_told_as_such(void **state)
{
    struct fixture *f = *state;
    run_shell(f, "kill -SEGV $$");
    assert_int_equal(f->err.code, ERR_IO);
    assert_string_equal(f->err.message, "'sh' was ended by signal 11 (Segmentation fault)");
}

static void the_limit_of_a_file_is_told_as_such(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *script = mem_printf(
        "ulimit -f 1; exec dd if=/dev/zero of=%s/big bs=4096 count=9 2>/dev/null", f->dir);
    run_shell(f, script);
    assert_int_equal(f->err.code, ERR_IO);
    assert_string_equal(f->err.message, "'sh' wrote too much output: File too large (the file "
                                        "system's limit, or that of `ulimit -f`)");
    assert_non_null(strstr(f->err.help, "ulimit -f unlimited"));
    /* one that has the signal ignored, and its own words for it */
    struct rlimit before, some;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    some = (struct rlimit){1 << 20, before.rlim_max};
    f->err = (struct error){.code = ERR_NONE};
    f->n_done = 0;
    f->is_done = false;
    free(TAKE_PTR(f->output));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
    run_shell(f, "echo the image is too large for its format; exit 1");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(f->err.message, "too large for its format: File too large (the file"));
}

/* Root is above that limit: the test becomes a user who may have no process at all. */
static void the_limit_of_processes_is_told_as_such(void **state)
{
    struct fixture *f = *state;
    enum { NOBODY = 65534 };
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        const char *const argv[] = {"true", NULL};
        const struct rlimit none = {0, 0};
        bool is_user = geteuid() != 0 || setuid(NOBODY) == 0;
        f->loop = new_loop();
        if (is_user && setrlimit(RLIMIT_NPROC, &none) == 0) {
            run(f, &(struct child_request){.argv = argv, .timeout_ms = 1000});
        }
        bool is_told = strstr(f->err.message, "ulimit -u") && strstr(f->err.help, "ulimit -u");
        _exit(is_told ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void escape_sequences_do_not_reach_the_message(void **state)
{
    struct fixture *f = *state;
    run_shell(f, "printf '\\033[31mred'; exit 1");
    assert_null(strchr(f->err.message, '\033'));
    assert_non_null(strstr(f->err.message, "red"));
}

static void a_missing_program_is_told_with_the_package_that_has_it(void **state)
{
    struct fixture *f = *state;
    char *path = mem_strdup(getenv("PATH"));
    setenv("PATH", f->dir, 1);
    const char *const argv[] = {"qemu-img", "--version", NULL};
    run(f, &(struct child_request){.argv = argv, .timeout_ms = 1000});
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(f->err.code, ERR_IO);
    assert_string_equal(f->err.message, "cannot run 'qemu-img': not found in PATH");
    assert_string_equal(f->err.help, "apt-get install qemu-utils");
    assert_string_equal(f->output, "");
}

static void a_program_that_may_not_be_run_is_told_with_the_reason(void **state)
{
    struct fixture *f = *state;
    const char *const argv[] = {f->dir, NULL};
    run(f, &(struct child_request){.argv = argv, .timeout_ms = 1000});
    assert_int_equal(f->err.code, ERR_IO);
    assert_non_null(strstr(f->err.message, "Permission denied"));
}

static void standard_input_is_fed_and_then_closed(void **state)
{
    struct fixture *f = *state;
    enum { LENGTH = 200000 }; /* more than a pipe holds */
    char *input = mem_calloc(LENGTH + 1, 1);
    memset(input, 'x', LENGTH);
    const char *const argv[] = {"wc", "-c", NULL};
    run(f, &(struct child_request){
               .argv = argv, .timeout_ms = TEST_DEADLINE_MS, .standard_input = input});
    assert_int_equal(f->err.code, ERR_NONE);
    assert_string_equal(f->output, "200000\n");
    free(input);
}

static void a_child_that_ignores_its_input_is_judged_by_its_exit(void **state)
{
    struct fixture *f = *state;
    char *input = mem_calloc(200001, 1);
    memset(input, 'x', 200000);
    const char *const argv[] = {"true", NULL};
    run(f, &(struct child_request){
               .argv = argv, .timeout_ms = TEST_DEADLINE_MS, .standard_input = input});
    assert_int_equal(f->err.code, ERR_NONE);
    free(input);
}

static void without_input_it_reads_the_end_of_file(void **state)
{
    struct fixture *f = *state;
    run_shell(f, "wc -c");
    assert_string_equal(f->output, "0\n");
}

static void output_beyond_the_maximum_is_read_and_dropped(void **state)
{
    struct fixture *f = *state;
    const char *const argv[] = {"sh", "-c", "yes 0123456789 | head -c 1000000", NULL};
    run(f, &(struct child_request){.argv = argv, .timeout_ms = TEST_DEADLINE_MS, .output_max = 25});
    assert_int_equal(f->err.code, ERR_NONE);
    assert_string_equal(f->output, "0123456789\n0123456789\n012");
}

static void a_child_out_of_time_is_killed_and_reaped(void **state)
{
    struct fixture *f = *state;
    const char *const argv[] = {"sh", "-c", "echo begun; while :; do sleep 100; done", NULL};
    run(f, &(struct child_request){.argv = argv, .timeout_ms = 300});
    assert_int_equal(f->err.code, ERR_TIMEOUT);
    assert_string_equal(f->err.message, "'sh' did not finish in time and was killed");
    assert_true(run_until(f->loop, has_no_children, NULL));
}

static void a_grandchild_with_the_pipe_cannot_hide_the_exit_beyond_the_deadline(void **state)
{
    struct fixture *f = *state;
    const char *const argv[] = {"sh", "-c", "echo told; sleep 100 & exit 0", NULL};
    run(f, &(struct child_request){.argv = argv, .timeout_ms = 500});
    assert_int_equal(f->err.code, ERR_NONE);
    assert_string_equal(f->output, "told\n");
}

static bool exists(void *path)
{
    return fs_exists(path);
}

static void a_cancelled_child_is_killed_and_reaped_and_not_told(void **state)
{
    struct fixture *f = *state;
    char *begun = mem_printf("%s/begun", f->dir);
    const char *const argv[] = {"sh", "-c", ": >\"$0\"; sleep 100", begun, NULL};
    struct child_request request = {.argv = argv, .timeout_ms = TEST_DEADLINE_MS};
    struct op *op = child_start(f->loop, &request, must_not_be_called, NULL);
    assert_true(run_until(f->loop, exists, begun));
    op_cancel(op);
    assert_true(run_until(f->loop, has_no_children, NULL));
    free(begun);
}

static void a_child_that_could_not_start_can_still_be_cancelled(void **state)
{
    struct fixture *f = *state;
    const char *const argv[] = {"/nonexistent", NULL};
    struct child_request request = {.argv = argv, .timeout_ms = 1000};
    op_cancel(child_start(f->loop, &request, must_not_be_called, NULL));
}

static void a_child_has_three_descriptors_and_default_signals(void **state)
{
    struct fixture *f = *state;
    int leaky = dup(STDERR_FILENO); /* not close-on-exec, as a careless library would */
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    /* Of the ignored ones the last 7 digits: glibc ignores its internal signals 32 and 33. */
    /* The shell's own look at the directory is descriptor 3; a pipeline would open more in passing.
     */
    run_shell(f, "for fd in /proc/$$/fd/*; do printf '%s ' ${fd##*/}; done;"
                 /* by builtins alone: a shell that forks blocks signals for that moment */
                 "while read -r name value; do case $name in"
                 "  SigBlk:) echo $value;; SigIgn:) echo ${value#?????????};;"
                 "esac; done </proc/self/status");
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(leaky);
    assert_string_equal(f->output, "0 1 2 3 0000000000000000\n0000000\n");
}

static size_t count_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}

static void no_descriptor_is_left_behind(void **state)
{
    struct fixture *f = *state;
    run_shell(f, "true");
    size_t before = count_descriptors();
    for (int i = 0; i < 5; i++) {
        f->is_done = false;
        f->n_done = 0;
        free(f->output);
        run_shell(f, "echo x");
    }
    assert_int_equal(count_descriptors(), before);
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(output_and_errors_of_a_success_are_captured_in_order),
        WITH_LOOP(a_failure_reports_the_status_and_the_last_line),
        WITH_LOOP(a_silent_failure_reports_the_status_alone),
        WITH_LOOP(an_end_by_signal_is_told_as_such),
        WITH_LOOP(the_limit_of_a_file_is_told_as_such),
        WITH_LOOP(the_limit_of_processes_is_told_as_such),
        WITH_LOOP(escape_sequences_do_not_reach_the_message),
        WITH_LOOP(a_missing_program_is_told_with_the_package_that_has_it),
        WITH_LOOP(a_program_that_may_not_be_run_is_told_with_the_reason),
        WITH_LOOP(standard_input_is_fed_and_then_closed),
        WITH_LOOP(a_child_that_ignores_its_input_is_judged_by_its_exit),
        WITH_LOOP(without_input_it_reads_the_end_of_file),
        WITH_LOOP(output_beyond_the_maximum_is_read_and_dropped),
        WITH_LOOP(a_child_out_of_time_is_killed_and_reaped),
        WITH_LOOP(a_grandchild_with_the_pipe_cannot_hide_the_exit_beyond_the_deadline),
        WITH_LOOP(a_cancelled_child_is_killed_and_reaped_and_not_told),
        WITH_LOOP(a_child_that_could_not_start_can_still_be_cancelled),
        WITH_LOOP(a_child_has_three_descriptors_and_default_signals),
        WITH_LOOP(no_descriptor_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
