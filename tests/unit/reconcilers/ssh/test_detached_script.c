/* SPDX-License-Identifier: MPL-2.0 */
/* The guest's side of a detached command, in the shells that guests have. */
#include "reconcilers/ssh/detached_script.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "tests/support/sshd.h"

enum { WAIT_MS = 60000 }; /* on a busy machine */

struct guest_shell {
    char *dir;         /* of the test, also the base of its runs */
    char *path;        /* PATH with the shell under test as `sh` */
    const char *login; /* the login shell, which reads the command lines */
};

/* A login shell's child, as sshd starts it. */
struct process {
    pid_t pid;
    int pidfd;
};

/* ---- the shells ---- */

static int setup_with(void **state, const char *program)
{
    struct guest_shell *guest = mem_new(struct guest_shell);
    guest->dir = test_dir_make();
    cleanup_free char *bin = mem_printf("%s/bin", guest->dir);
    cleanup_free char *link = mem_printf("%s/sh", bin);
    assert_int_equal(mkdir(bin, 0700), 0);
    assert_int_equal(symlink(program, link), 0);
    guest->login = "/bin/sh";
    guest->path = mem_printf("%s:/usr/sbin:/usr/bin:/sbin:/bin", bin);
    *state = guest;
    return 0;
}

static int setup_dash(void **state)
{
    return setup_with(state, "/bin/dash");
}

static int setup_bash(void **state)
{
    return setup_with(state, "/bin/bash");
}

static int setup_busybox(void **state)
{
    return setup_with(state, "/bin/busybox");
}

static int setup_csh(void **state)
{
    (void)setup_with(state, "/bin/dash");
    ((struct guest_shell *)*state)->login = "/bin/tcsh";
    return 0;
}

static int teardown(void **state)
{
    struct guest_shell *guest = *state;
    test_dir_remove(guest->dir);
    free(guest->path);
    free(guest);
    return 0;
}

/* ---- running ---- */

static char *file_of(const struct guest_shell *guest, const char *name)
{
    return mem_printf("%s/%s", guest->dir, name);
}

/* Runs the command line with `input`, its output appended to the file `out`. */
static struct process start(
    const struct guest_shell *guest, const char *command, const char *input, const char *out)
{
    int pipe_fds[2];
    cleanup_free char *out_path = file_of(guest, out);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(out_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        (void)setpgid(0, 0);
        (void)setenv("PATH", guest->path, 1);
        (void)setenv("SHELL", "/bin/sh", 1);
        (void)unsetenv("LD_PRELOAD");
        (void)dup2(pipe_fds[0], STDIN_FILENO);
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        (void)close_range(3, ~0u, 0);
        execl(guest->login, guest->login, "-c", command, (char *)NULL);
        _exit(127);
    }
    (void)setpgid(pid, pid);
    close(pipe_fds[0]);
    signal(SIGPIPE, SIG_IGN);
    size_t n = strlen(input);
    assert_true(n < 4096); /* fits into the pipe */
    (void)!write(pipe_fds[1], input, n);
    close(pipe_fds[1]);
    return (struct process){.pid = pid, .pidfd = pidfd_open(pid, 0)};
}

/* True when it ended within `ms`; *ret_status is its exit status. */
static bool has_ended(struct process *process, int ms, int *ret_status)
{
    struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};
    int status;
    if (poll(&ended, 1, ms) != 1) {
        return false;
    }
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    close(process->pidfd);
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return true;
}

static int wait_for(struct process *process)
{
    int status = -1;
    assert_true(has_ended(process, WAIT_MS, &status));
    return status;
}

/* As a connection that is cut: everything of it goes, the keeper is of another session. -1, or its
 * exit status when it was faster. */
static int cut(struct process *process)
{
    assert_int_equal(kill(-process->pid, SIGKILL), 0); /* not reaped yet: the group is still ours */
    return wait_for(process);
}

static struct detached_run a_run(const struct guest_shell *guest, const char *id, const char *input)
{
    return (struct detached_run){.base = guest->dir, .id = id, .size = strlen(input)};
}

static struct process begin(const struct guest_shell *guest, const struct detached_run *run,
    uint64_t offset, const char *input, const char *out)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    detached_script_follow(&command, run, offset);
    assert_null(strchr(buf_str(&command), '\n'));
    return start(guest, buf_str(&command), input, out);
}

static int follow(const struct guest_shell *guest, const struct detached_run *run,
    const char *input, const char *out)
{
    struct process process = begin(guest, run, 0, input, out);
    return wait_for(&process);
}

static void read_text(const struct guest_shell *guest, const char *name, struct buf *out)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = file_of(guest, name);
    buf_reset(out);
    assert_int_equal(fs_read_file(path, out, &err), 0);
}

static void assert_text(const struct guest_shell *guest, const char *name, const char *text)
{
    cleanup_buf struct buf have = BUF_INIT(0);
    read_text(guest, name, &have);
    assert_string_equal(buf_str(&have), text);
}

static void assert_answer(
    const struct guest_shell *guest, const struct detached_run *run, const char *answer)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    cleanup_free char *path = file_of(guest, "answer");
    detached_script_ask(&command, run);
    assert_null(strchr(buf_str(&command), '\n'));
    (void)unlink(path);
    struct process process = start(guest, buf_str(&command), "", "answer");
    (void)wait_for(&process);
    cleanup_free char *line = mem_printf("%s\n", answer);
    assert_text(guest, "answer", line);
}

static char *run_file(
    const struct guest_shell *guest, const struct detached_run *run, const char *name)
{
    return mem_printf("%s/vmctl-%u/%s/%s", guest->dir, (unsigned)getuid(), run->id, name);
}

/* Something the guest does soon: polled, because nothing of it can be waited for. */
static void await_file(const char *path)
{
    for (int i = 0; i < WAIT_MS / 10 && !fs_exists(path); i++) {
        (void)poll(NULL, 0, 10);
    }
    assert_true(fs_exists(path));
}

static void await_size(const struct guest_shell *guest, const char *name, int64_t size)
{
    cleanup_free char *path = file_of(guest, name);
    for (int i = 0; i < WAIT_MS / 10 && fs_size(path) < size; i++) {
        (void)poll(NULL, 0, 10);
    }
    assert_true(fs_size(path) >= size);
}

/* ---- tests ---- */

static void a_command_runs_once_and_reports_how_it_ended(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *good = mem_printf("echo x >>%s/n; echo out; echo err >&2", guest->dir);
    const char *bad = "echo it\\'s; exit 7";
    struct detached_run first = a_run(guest, "g-1", good), second = a_run(guest, "g-2", bad);
    assert_answer(guest, &first, "free");
    assert_int_equal(follow(guest, &first, good, "out1"), DETACHED_SUCCEEDED);
    assert_text(guest, "out1", "out\nerr\n");
    assert_int_equal(follow(guest, &first, good, "out2"), DETACHED_SUCCEEDED);
    assert_text(guest, "out2", "out\nerr\n");
    assert_answer(guest, &first, "0");
    assert_answer(guest, &first, "0");
    assert_text(guest, "n", "x\n");
    assert_int_not_equal(follow(guest, &second, bad, "out3"), DETACHED_SUCCEEDED);
    assert_text(guest, "out3", "it's\n");
    assert_answer(guest, &second, "7");
}

/* In variables, and of what the run leaves in the guest nothing has them. */
static void a_run_has_its_secrets_from_standard_input(void **state)
{
    const struct guest_shell *guest = *state;
    const char *command = "printf '<%s>' \"$A\" \"$B\"", *lines = " a b\\n\nc !\n\nd\n";
    cleanup_free char *input = mem_printf("%s%s", lines, command);
    cleanup_free char *id = mem_printf("g%d-1", (int)getpid()); /* /dev/shm is everybody's */
    cleanup_free char *next_id = mem_printf("g%d-2", (int)getpid());
    struct detached_run run = a_run(guest, id, command), next = a_run(guest, next_id, "true");
    run.n_secret_lines = 4;
    run.take_secrets = "take 1; secret_1=$st; take 3; secret_2=$st; ";
    run.environment = "A=$secret_1 B=$secret_2 ";
    assert_int_equal(follow(guest, &run, input, "out1"), DETACHED_SUCCEEDED);
    assert_text(guest, "out1", "< a b\\n><c !\n\nd>");
    cleanup_free char *log = run_file(guest, &run, "log");
    cleanup_free char *kept = mem_printf("/dev/shm/vmctl-%u/%s", (unsigned)getuid(), id);
    struct stat st;
    assert_int_equal(lstat(log, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_true(fs_exists(kept));
    assert_int_equal(follow(guest, &run, input, "out2"), DETACHED_SUCCEEDED);
    assert_text(guest, "out2", "< a b\\n><c !\n\nd>");
    assert_int_equal(follow(guest, &next, "true", "out3"), DETACHED_SUCCEEDED);
    assert_false(fs_exists(kept));
}

static void a_script_runs_under_its_name_and_leaves_nothing(void **state)
{
    const struct guest_shell *guest = *state;
    const char *script = "#!/bin/sh\necho \"$0\"\ncat\numask\nexit 3\n";
    cleanup_free char *path = file_of(guest, "setup.sh");
    struct detached_run run = a_run(guest, "g-1", script);
    run.script_path = path;
    mode_t before = umask(0027);
    (void)follow(guest, &run, script, "out");
    (void)umask(before);
    cleanup_free char *text = mem_printf("%s\n0027\n", path);
    assert_text(guest, "out", text);
    assert_false(fs_exists(path));
    assert_answer(guest, &run, "3");
}

static void a_signal_of_the_command_is_its_status(void **state)
{
    const struct guest_shell *guest = *state;
    const char *term = "kill -TERM $$", *interrupt = "kill -INT $$; echo ignored";
    struct detached_run first = a_run(guest, "g-1", term), second = a_run(guest, "g-2", interrupt);
    (void)follow(guest, &first, term, "out1");
    assert_answer(guest, &first, "143");
    (void)follow(guest, &second, interrupt, "out2");
    assert_answer(guest, &second, "130");
}

/* Before the claim, between claim and output, before and after the result. */
static void cut_at_any_moment_it_runs_once_and_no_output_is_lost_or_doubled(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *command =
        mem_printf("echo x >>%s/n; for i in 1 2 3 4 5 6; do echo $i; sleep 0.03; done", guest->dir);
    cleanup_free char *out = file_of(guest, "out");
    struct detached_run run = a_run(guest, "g-1", command);
    int status = -1;
    for (int ms = 0; status < 0; ms += 2 + ms / 5) {
        int64_t offset = fs_size(out);
        struct process process =
            begin(guest, &run, offset > 0 ? (uint64_t)offset : 0, command, "out");
        if (!has_ended(&process, ms, &status)) {
            status = cut(&process);
        }
    }
    assert_int_equal(status, DETACHED_SUCCEEDED);
    assert_text(guest, "out", "1\n2\n3\n4\n5\n6\n");
    assert_text(guest, "n", "x\n");
}

static void two_at_once_run_it_once(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *command = mem_printf("echo x >>%s/n; sleep 0.2; echo done", guest->dir);
    struct detached_run run = a_run(guest, "g-1", command);
    struct process processes[6];
    for (size_t i = 0; i < ARRAY_LEN(processes); i++) {
        processes[i] = begin(guest, &run, 0, command, i == 0 ? "first" : "others");
    }
    for (size_t i = 0; i < ARRAY_LEN(processes); i++) {
        (void)wait_for(&processes[i]);
    }
    assert_text(guest, "n", "x\n");
    assert_int_equal(follow(guest, &run, command, "after"), DETACHED_SUCCEEDED);
    assert_text(guest, "after", "done\n");
}

static void a_newer_reader_ends_the_older_one(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *gate = file_of(guest, "gate");
    cleanup_free char *command = mem_printf(
        "echo begun; while [ -d %s ] && ! [ -e %s ]; do sleep 0.02; done", guest->dir, gate);
    struct error err = {.code = ERR_NONE};
    struct detached_run run = a_run(guest, "g-1", command);
    struct process older = begin(guest, &run, 0, command, "older");
    await_size(guest, "older", 6); /* it reads */
    struct process newer = begin(guest, &run, 0, command, "newer");
    await_size(guest, "newer", 6);
    assert_int_equal(fs_write_file(gate, "", 0, 0600, &err), 0);
    assert_int_equal(wait_for(&newer), DETACHED_SUCCEEDED);
    (void)wait_for(&older);
    assert_text(guest, "newer", "begun\n");
}

static void a_keeper_that_was_killed_is_told_and_not_replaced(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *command = mem_printf("echo x >>%s/n; kill -KILL 0", guest->dir);
    struct detached_run run = a_run(guest, "g-1", command);
    assert_int_not_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    assert_int_not_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    assert_answer(guest, &run, "killed");
    assert_text(guest, "n", "x\n");
    const char *goes_down = "kill -TERM 0; sleep 20"; /* as init does it at a shutdown */
    struct detached_run next = a_run(guest, "g-2", goes_down);
    assert_int_not_equal(follow(guest, &next, goes_down, "out"), DETACHED_SUCCEEDED);
    assert_answer(guest, &next, "killed");
    assert_int_not_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    assert_answer(guest, &run, "killed");
    cleanup_free char *claim = run_file(guest, &run, "claim");
    assert_int_equal(unlink(claim), 0);
    assert_int_equal(symlink("1.1.another-boot", claim), 0); /* its pid is somebody else's now */
    assert_answer(guest, &run, "rebooted");
}

static void a_timeout_ends_the_whole_group(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *command = mem_printf(
        "echo begun; (sleep 20; : >%s/late) & sleep 20; : >%s/late", guest->dir, guest->dir);
    struct detached_run run = a_run(guest, "g-1", command);
    run.timeout_s = 1;
    assert_int_not_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    assert_answer(guest, &run, "timeout");
    cleanup_buf struct buf out = BUF_INIT(0);
    read_text(guest, "out", &out);
    assert_true(text_starts_with(buf_str(&out), "begun\n"));
    cleanup_free char *count = mem_printf("pgrep -fc '[:] >%s/late' || true", guest->dir);
    struct process process = start(guest, count, "", "count");
    (void)wait_for(&process);
    assert_text(guest, "count", "0\n");
}

static void a_command_in_time_leaves_no_watch_behind(void **state)
{
    const struct guest_shell *guest = *state;
    const char *command = "echo quick";
    struct detached_run run = a_run(guest, "g-1", command);
    run.timeout_s = 86399;
    assert_int_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    cleanup_free char *count =
        mem_printf("i=0; while pgrep -f '%s[/].*keep' >/dev/null && [ $i -lt 500 ]; do sleep 0.02; "
                   "i=$((i + 1)); done; pgrep -fc '%s[/].*keep'",
            guest->dir, guest->dir);
    struct process process = start(guest, count, "", "count");
    (void)wait_for(&process);
    assert_text(guest, "count", "0\n");
}

static void another_run_of_the_group_is_ended_first_and_no_other(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *loop =
        mem_printf("echo begun >%s/begun-$VM; while [ -d %s ]; do sleep 0.02; "
                   "done",
            guest->dir, guest->dir);
    cleanup_free char *mine =
        mem_printf("VM=mine; trap 'echo term >%s/ended; exit' TERM; %s", guest->dir, loop);
    cleanup_free char *others = mem_printf("VM=others; %s", loop);
    struct detached_run old = a_run(guest, "g-1", mine), other = a_run(guest, "h-1", others);
    struct detached_run new = a_run(guest, "g-2", "echo new");
    cleanup_free char *begun_mine = file_of(guest, "begun-mine");
    cleanup_free char *begun_others = file_of(guest, "begun-others");
    struct process reader = begin(guest, &old, 0, mine, "out1");
    struct process other_reader = begin(guest, &other, 0, others, "out2");
    await_file(begun_mine);
    await_file(begun_others);
    (void)cut(&reader);
    (void)cut(&other_reader);
    assert_int_equal(follow(guest, &new, "echo new", "out3"), DETACHED_SUCCEEDED);
    assert_text(guest, "ended", "term\n");
    assert_answer(guest, &old, "free"); /* nothing of it is left */
    assert_answer(guest, &other, "running");
}

static void what_an_ended_command_left_running_is_left_alone(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *daemon = mem_printf("(trap ': >%s/killed; exit' TERM; : >%s/up; "
                                           "while [ -d %s ]; do sleep 0.02; done) & "
                                           "until [ -e %s/up ]; do sleep 0.02; done",
        guest->dir, guest->dir, guest->dir, guest->dir);
    const char *next = "echo next";
    cleanup_free char *killed = file_of(guest, "killed");
    struct detached_run first = a_run(guest, "g-1", daemon), second = a_run(guest, "g-2", next);
    assert_int_equal(follow(guest, &first, daemon, "out"), DETACHED_SUCCEEDED);
    assert_int_equal(follow(guest, &second, next, "out"), DETACHED_SUCCEEDED);
    assert_false(fs_exists(killed));
}

static void a_command_that_removes_everything_is_done_all_the_same(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *command =
        mem_printf("echo a; rm -rf %s/vmctl-*; echo b; exit 6", guest->dir);
    struct detached_run run = a_run(guest, "g-1", command);
    assert_int_not_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    assert_text(guest, "out", "a\nb\n");
    assert_answer(guest, &run, "6");
}

static void a_running_command_that_removed_everything_is_not_begun_again(void **state)
{
    const struct guest_shell *guest = *state;
    cleanup_free char *gate = file_of(guest, "gate"), *gone = file_of(guest, "gone");
    cleanup_free char *command = mem_printf(
        "echo x >>%s/n; rm -rf %s/vmctl-*; : >%s; while [ -d %s ] && ! [ -e %s ]; do sleep 0.02; "
        "done; exit 6",
        guest->dir, guest->dir, gone, guest->dir, gate);
    struct error err = {.code = ERR_NONE};
    struct detached_run run = a_run(guest, "g-1", command);
    struct process first = begin(guest, &run, 0, command, "out");
    await_file(gone);
    (void)cut(&first);
    assert_answer(guest, &run, "running");
    struct process second = begin(guest, &run, 0, command, "out");
    assert_int_equal(fs_write_file(gate, "", 0, 0600, &err), 0);
    (void)wait_for(&second);
    assert_answer(guest, &run, "6");
    assert_text(guest, "n", "x\n");
}

static void a_log_without_end_is_cut_behind_its_beginning(void **state)
{
    enum { LOG_MAX = SSH_DETACHED_LOG_MIB << 20 };
    const struct guest_shell *guest = *state;
    cleanup_free char *gate = file_of(guest, "gate");
    cleanup_free char *command = mem_printf("echo first; head -c 50000000 /dev/zero; "
                                            "while [ -d %s ] && ! [ -e %s ]; do sleep 0.02; done; "
                                            "echo last; exit 5",
        guest->dir, gate);
    struct error err = {.code = ERR_NONE};
    struct detached_run run = a_run(guest, "g-1", command);
    cleanup_free char *log = run_file(guest, &run, "log");
    struct process reader = begin(guest, &run, 0, command, "out");
    await_size(guest, "out", LOG_MAX);
    for (int i = 0; i < WAIT_MS / 10 && fs_size(log) != LOG_MAX; i++) {
        (void)poll(NULL, 0, 10);
    }
    assert_int_equal(fs_size(log), LOG_MAX);
    assert_int_equal(fs_write_file(gate, "", 0, 0600, &err), 0);
    (void)wait_for(&reader);
    char beginning[6] = "";
    cleanup_close int fd = open(log, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, beginning, 5), 5);
    assert_string_equal(beginning, "first");
    assert_answer(guest, &run, "5");
}

static void half_of_a_command_never_runs(void **state)
{
    const struct guest_shell *guest = *state;
    const char *half = "echo ran";
    struct detached_run run = a_run(guest, "g-1", half);
    run.size += 5;
    assert_int_not_equal(follow(guest, &run, half, "out"), DETACHED_SUCCEEDED);
    assert_text(guest, "out", "");
    assert_answer(guest, &run, "free");
}

static void without_a_place_or_where_it_must_exist_nothing_is_begun(void **state)
{
    const struct guest_shell *guest = *state;
    const char *command = "echo ran";
    struct detached_run run = a_run(guest, "g-1", command);
    cleanup_free char *foreign = file_of(guest, "foreign");
    cleanup_free char *link = mem_printf("%s/vmctl-%u", foreign, (unsigned)getuid());
    assert_int_equal(mkdir(foreign, 0700), 0);
    assert_int_equal(symlink(guest->dir, link), 0); /* somebody was there first */
    run.must_exist = true;
    assert_int_not_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    run.must_exist = false;
    run.base = "/nowhere";
    assert_int_not_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    assert_answer(guest, &run, "free");
    run.base = foreign;
    assert_int_not_equal(follow(guest, &run, command, "out"), DETACHED_SUCCEEDED);
    assert_text(guest, "out", "");
}

#define in_shell(name, shell)                                                                      \
    {                                                                                              \
#name " (" #shell ")", name, setup_##shell, teardown, NULL                                 \
    }
#define TEST(name) in_shell(name, dash), in_shell(name, busybox), in_shell(name, bash)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_command_runs_once_and_reports_how_it_ended),
        in_shell(a_command_runs_once_and_reports_how_it_ended, csh),
        in_shell(a_timeout_ends_the_whole_group, csh),
        TEST(a_run_has_its_secrets_from_standard_input),
        in_shell(a_run_has_its_secrets_from_standard_input, csh),
        TEST(a_script_runs_under_its_name_and_leaves_nothing),
        TEST(a_signal_of_the_command_is_its_status),
        TEST(cut_at_any_moment_it_runs_once_and_no_output_is_lost_or_doubled),
        TEST(two_at_once_run_it_once),
        TEST(a_newer_reader_ends_the_older_one),
        TEST(a_keeper_that_was_killed_is_told_and_not_replaced),
        TEST(a_timeout_ends_the_whole_group),
        TEST(a_command_in_time_leaves_no_watch_behind),
        TEST(another_run_of_the_group_is_ended_first_and_no_other),
        TEST(what_an_ended_command_left_running_is_left_alone),
        TEST(a_command_that_removes_everything_is_done_all_the_same),
        TEST(a_running_command_that_removed_everything_is_not_begun_again),
        TEST(a_log_without_end_is_cut_behind_its_beginning),
        TEST(half_of_a_command_never_runs),
        TEST(without_a_place_or_where_it_must_exist_nothing_is_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
