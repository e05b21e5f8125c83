/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/action.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/serve/answer.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { ARGV_OWN = 8, ARGV_MAX = 14 };

/* Nothing of ours but its output; not the working directory, where a VMFile may be. */
static int prepare_spawn(posix_spawn_file_actions_t *actions, int output_fd)
{
    int rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    rc |= posix_spawn_file_actions_adddup2(actions, output_fd, 1);
    rc |= posix_spawn_file_actions_addclosefrom_np(actions, 3);
    rc |= posix_spawn_file_actions_addchdir_np(actions, "/");
    return rc;
}

/* SIGPIPE has its default again. */
static int spawn_vmctl(
    const struct cli *cli, const char *const *words, int output_fd, pid_t *ret_pid)
{
    cleanup_free char *program = cli_program_beside("vmctl");
    const char *argv[ARGV_MAX] = {program, "--data-dir", cli->paths.data_dir, "-q", "-o", "json",
        "--node=local", "--project="};
    for (size_t n = ARGV_OWN; *words; words++) {
        argv[n++] = *words;
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    int rc = prepare_spawn(&actions, output_fd);
    rc |= posix_spawnattr_setsigdefault(&attributes, &defaults);
    rc |= posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    rc = rc ? ENOMEM
            : posix_spawn(
                  ret_pid, program, &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return rc;
}

int action_start(const struct cli *cli, const char *verb, const char *vm_name, struct action *ret,
    struct error *err)
{
    cleanup_close int output_fd = memfd_create("answer", MFD_CLOEXEC);
    const char *const look[] = {verb, "--", vm_name, "-", NULL};
    const char *const change[] = {verb, "--detach", "--", vm_name, NULL};
    *ret =
        (struct action){.process_fd = -1, .output_fd = -1, .is_look = text_eq(verb, "screenshot")};
    int rc = output_fd < 0 ? errno
                           : spawn_vmctl(cli, ret->is_look ? look : change, output_fd, &ret->pid);
    if (rc == 0 && (ret->process_fd = pidfd_open(ret->pid, 0)) < 0) {
        rc = errno;
        (void)kill(ret->pid, SIGKILL);
        (void)waitpid(ret->pid, NULL, 0);
    }
    if (rc != 0) {
        return error_set_start(err, ERR_IO, rc, "cannot run vmctl %s", verb);
    }
    ret->output_fd = TAKE_FD(output_fd);
    return 0;
}

void action_kill(const struct action *action)
{
    (void)pidfd_send_signal(action->process_fd, SIGKILL, NULL, 0);
}

void action_abandon(struct action *action)
{
    (void)kill(
        action->pid, SIGKILL); /* a child not waited for yet: the pid cannot be another process's */
    (void)waitpid(action->pid, NULL, 0);
    (void)close(TAKE_FD(action->output_fd));
}

/* Of vmctl's exit status, see error_exit_status(). */
static unsigned http_status_of(const siginfo_t *ended)
{
    static const unsigned statuses[] = {202, 500, 400, 404, 504, 503, 409};
    bool is_known = ended->si_code == CLD_EXITED && ended->si_status >= 0 &&
                    (size_t)ended->si_status < ARRAY_LEN(statuses);
    return is_known ? statuses[ended->si_status] : 504;
}

void action_finish(struct action *action, struct answer *ret)
{
    enum { PIECE = 4096 };
    siginfo_t ended = {.si_code = 0};
    ssize_t n = 1;
    (void)waitid(P_PID, (id_t)action->pid, &ended, WEXITED);
    ret->status = http_status_of(&ended);
    if (action->is_look && ret->status == 202) {
        ret->status = 200;
        ret->type = "image/png";
    }
    for (int64_t at = 0; n > 0; at += n) {
        char piece[PIECE];
        n = fs_read_at(action->output_fd, piece, sizeof(piece), at);
        buf_add(&ret->body, piece, n > 0 ? (size_t)n : 0);
    }
    (void)close(TAKE_FD(action->output_fd));
    if (ret->body.len == 0) {
        struct error err = {.code = ERR_NONE};
        (void)error_set(
            &err, ERR_TIMEOUT, "vmctl did not answer within %d seconds", ACTION_LIMIT_S);
        answer_error(ret, ret->status, &err);
    }
}
