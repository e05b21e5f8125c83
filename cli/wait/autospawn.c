/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Starting vmctld when none runs, as tmux starts its server. The controller's lock is its life: it
 * is held exactly as long as the process lives, so "does one run?" has one answer, and of two that
 * are started at once one wins the lock and the other leaves quietly.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

extern char **environ;

char *cli_program_beside(const char *name)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0) {
        return mem_strdup(name);
    }
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    return fs_join(self, name);
}

static int redirect(posix_spawn_file_actions_t *actions, const char *log_path)
{
    int rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    rc |= posix_spawn_file_actions_addopen(
        actions, 1, log_path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
    rc |= posix_spawn_file_actions_adddup2(actions, 1, 2);
    rc |= posix_spawn_file_actions_addclosefrom_np(actions, 3);
    rc |= posix_spawn_file_actions_addchdir_np(actions, "/");
    return rc;
}

/* In a session of its own: the terminal's Ctrl-C and hang-up are not for it. */
static int spawn(const char *program, const char *data_dir, const char *log_path, pid_t *ret_pid)
{
    char *const argv[] = {
        mem_strdup(program), mem_strdup("--data-dir"), mem_strdup(data_dir), NULL};
    sigset_t none, all;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawn_file_actions_init(&actions);
    int rc = redirect(&actions, log_path);
    if (rc == 0) {
        rc = posix_spawn(ret_pid, program, &actions, &attributes, argv, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    for (size_t i = 0; argv[i]; i++) {
        free(argv[i]);
    }
    return rc;
}

/* Cuts off and returns the last line of the text; NULL when nothing is left. */
static char *cut_last_line(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '\n') {
        text[--n] = '\0';
    }
    char *line = strrchr(text, '\n');
    if (line) {
        *line++ = '\0';
        return line;
    }
    return n > 0 ? text : NULL;
}

/* The error of a vmctld that ended before it served. What it left in the
 * log last is its error with the help, or whatever there is. */
static int not_started(const char *log_path, int status, struct error *err)
{
    static const char help_mark[] = "  help: ";
    cleanup_buf struct buf log = BUF_INIT(0);
    struct error ignored = {.code = ERR_NONE};
    if (WIFSIGNALED(status)) {
        return error_set(err, ERR_CONTROLLER,
            "the controller (vmctld) was killed by signal %d (%s)", WTERMSIG(status),
            strsignal(WTERMSIG(status)));
    }
    (void)fs_read_file(log_path, &log, &ignored);
    cleanup_free char *text = buf_steal(&log);
    char *line = cut_last_line(text), *help = NULL;
    if (line && line != text && text_starts_with(line, help_mark)) {
        help = line + strlen(help_mark);
        line = cut_last_line(text);
    }
    const char *message = line ? strstr(line, "]: ") : NULL;
    bool is_error = message && text_starts_with(line, "error[");
    (void)error_set(err, ERR_CONTROLLER, "the controller (vmctld) did not start: %s",
        is_error ? message + strlen("]: ")
        : line   ? line
                 : "it wrote nothing to its log");
    return help ? error_help(err, "%s", help) : -ERR_CONTROLLER;
}

/* The vmctld that this command has started. */
struct own_child {
    pid_t pid;  /* 0: none is left */
    int status; /* as of the last one that ended */
    int n_started;
};

/* A controller that is killed while it starts is started again: the kill (of the kernel for want of
 * memory, of a user) was not meant for this command. One that exits with 0 found another. */
static int start_child(struct cli *cli, struct own_child *child, struct error *err)
{
    enum { ATTEMPTS = 5, CONTROLLER_LOG_MAX = 8 << 20 };
    cleanup_free char *program = cli_program_beside("vmctld");
    cleanup_free char *log_path = paths_path(&cli->paths, "controller.log");
    if (child->n_started > 0 && (child->n_started == ATTEMPTS || WEXITSTATUS(child->status) != 0)) {
        return not_started(log_path, child->status, err);
    }
    child->n_started++;
    (void)log_file_begin(log_path, CONTROLLER_LOG_MAX);
    int rc = spawn(program, cli->paths.data_dir, log_path, &child->pid);
    if (rc != 0) {
        (void)error_set_start(err, ERR_CONTROLLER, rc, "cannot start '%s'", program);
        return rc == ENOENT || rc == EACCES ? error_help(err, "install vmctld beside vmctl")
                                            : -ERR_CONTROLLER;
    }
    return 0;
}

static int give_up(struct cli *cli, const struct controller_process *process, struct error *err)
{
    const char *dir = cli->paths.data_dir;
    if (process->is_stopped) {
        (void)error_set(err, ERR_CONTROLLER,
            "the controller (process %d) was asked to end, but is stopped (SIGSTOP)",
            (int)process->pid);
        return error_help(err, "resume it, then it ends: kill -CONT %d", (int)process->pid);
    }
    (void)error_set(
        err, ERR_CONTROLLER, "a controller holds '%s/controller.lock', but does not serve", dir);
    return error_help(err,
        "see what it waits for: %s/controller.log; find it: fuser %s/controller.lock", dir, dir);
}

/* The variables are read by a vmctld when it starts. */
static void note_log_level(const struct cli *cli, bool is_late)
{
    static const char *const variables[] = {"VMCTL_LOG", "RUST_LOG"};
    for (size_t i = 0; is_late && i < ARRAY_LEN(variables); i++) {
        const char *value = getenv(variables[i]);
        if (value && value[0]) {
            cli_note(cli,
                "note: the controller runs already, with the log level it was started with; for "
                "%s=%s start another: vmctl controller stop (VMs keep running). It logs to "
                "%s/controller.log",
                variables[i], value, cli->paths.data_dir);
            return;
        }
    }
}

static int bring_up(struct cli *cli, bool must_serve, struct error *err)
{
    /* A vmctld that has just taken the lock has not yet replaced the session of the last one, which
     * may have served in another PID namespace. */
    enum { STEP_MS = 2, SESSION_MS = 500, LIMIT_MS = 30 * 1000 };
    struct own_child child = {.pid = 0};
    struct controller_process process;
    for (int waited_ms = 0;; waited_ms += STEP_MS) {
        bool is_running = child.pid > 0 && waitpid(child.pid, &child.status, WNOHANG) == 0;
        child.pid = is_running ? child.pid : 0;
        int rc = controller_find(cli, &process, err);
        if (rc == 0 && process.state == CONTROLLER_SERVES) {
            bool is_first = !cli->knows_controller;
            rc = controller_end_older(cli, err);
            if (rc == 0 && cli->knows_controller) {
                note_log_level(cli, is_first && child.n_started == 0);
                return 0;
            }
        } else if (rc == 0 && process.state == CONTROLLER_ELSEWHERE) {
            bool is_certain = !is_running && waited_ms >= SESSION_MS;
            rc = is_certain ? controller_elsewhere(cli, err) : 0;
        } else if (rc == 0 && process.state == CONTROLLER_NONE && !is_running) {
            rc = start_child(cli, &child, err);
        } else if (child.n_started == 0 && !must_serve) {
            return rc;
        }
        /* A wait holds back the signals that end it, to end in order. */
        sigset_t pending;
        bool is_interrupted =
            sigpending(&pending) == 0 &&
            (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
                sigismember(&pending, SIGHUP) == 1);
        if (rc < 0 || is_interrupted) {
            return rc;
        }
        if (waited_ms > LIMIT_MS) {
            return give_up(cli, &process, err);
        }
        (void)poll(NULL, 0, STEP_MS);
    }
}

int cli_start_controller(struct cli *cli, struct error *err)
{
    return bring_up(cli, false, err);
}

int cli_ensure_controller(struct cli *cli, struct error *err)
{
    return bring_up(cli, true, err);
}
