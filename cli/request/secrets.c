/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"
#include "store/desired/change.h"
#include "store/source/vmfile_load.h"
#include "store/store.h"

extern char **environ;

/* The value of one source, which several VMs may have. */
struct found {
    char *place; /* its key, and the directory that its command is run in */
    char *value;
};

struct hand_over {
    struct cli *cli;
    struct found *found;
    size_t n_found;
    struct buf message;
};

static void hand_over_clear(struct hand_over *self)
{
    for (size_t i = 0; i < self->n_found; i++) {
        mem_wipe_text(self->found[i].value);
        free(self->found[i].place);
    }
    free(self->found);
    buf_wipe(&self->message);
}

/* ---- a program that prints it ---- */

static int spawn_command(const char *command, const char *directory, int out, pid_t *ret_pid)
{
    char *const argv[] = {"sh", "-c", mem_strdup(command), NULL};
    sigset_t none;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigemptyset(&none); /* a caller may hold back the signals that end it */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_init(&actions);
    int rc = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    rc |= posix_spawn_file_actions_adddup2(&actions, out, 1);
    rc |= posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    rc |= posix_spawn_file_actions_addchdir_np(&actions, directory);
    rc = rc ? rc : posix_spawn(ret_pid, "/bin/sh", &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    free(argv[2]);
    return rc;
}

/* Its standard error is ours: it may ask for a passphrase, or say what is wrong. */
static int run_command(
    const char *command, const char *directory, struct buf *out, struct error *err)
{
    int fds[2], status = -1;
    pid_t pid;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return error_set_errno(err, ERR_SECRET, errno, "cannot run a command");
    }
    int rc = spawn_command(command, directory, fds[1], &pid);
    cleanup_close int fd = fds[0];
    close(fds[1]);
    if (rc != 0) {
        return error_set_start(err, ERR_SECRET, rc, "cannot run \"%s\"", command);
    }
    char piece[4096];
    for (ssize_t n; (n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR);) {
        (void)buf_add(out, piece, n > 0 ? (size_t)n : 0);
    }
    explicit_bzero(piece, sizeof(piece));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        return error_set(err, ERR_SECRET, "\"%s\" was ended by signal %d (%s)", command,
            WTERMSIG(status), strsignal(WTERMSIG(status)));
    }
    return WEXITSTATUS(status) == 0 ? 0
                                    : error_set(err, ERR_SECRET, "\"%s\" exited with status %d",
                                          command, WEXITSTATUS(status));
}

/* ---- one secret ---- */

static int get_value(struct hand_over *self, const struct spec_secret *secret,
    const char *directory, struct buf *ret, struct error *err)
{
    if (secret->source == SECRET_FROM_COMMAND) {
        cleanup_buf struct buf shown = BUF_INIT(0);
        text_add_printable(&shown, secret->from, strlen(secret->from));
        cli_note(
            self->cli, "note: runs \"%s\" for the secret \"%s\"", buf_str(&shown), secret->name);
        return run_command(secret->from, directory, ret, err);
    }
    const char *value = getenv(secret->from);
    if (!value) {
        (void)error_set(err, ERR_SECRET, "%s is not in the environment", secret->from);
        return error_help(err, "set it for this command: %s=… vmctl %s …", secret->from,
            self->cli->command_word ? self->cli->command_word : "up");
    }
    (void)buf_add_str(ret, value);
    return 0;
}

/* Borrowed until the next. */
static int find_value(struct hand_over *self, const struct spec_secret *secret,
    const char *directory, const char **ret, struct error *err)
{
    enum { LINE_END_MAX = 2 };
    cleanup_free char *key = spec_secret_key(secret);
    cleanup_free char *place = mem_printf("%s %s", key, directory);
    for (size_t i = 0; i < self->n_found; i++) {
        if (text_eq(self->found[i].place, place)) {
            *ret = self->found[i].value;
            return 0;
        }
    }
    cleanup_with(buf_wipe) struct buf text = BUF_INIT(SECRETS_MAX_BYTES + LINE_END_MAX);
    int rc = get_value(self, secret, directory, &text, err);
    const char *problem = rc == 0 ? spec_secret_problem(secret, &text) : NULL;
    rc = problem ? error_set(err, ERR_SECRET, "%s", problem) : rc;
    if (rc == 0) {
        mem_grow(self->found, self->n_found);
        self->found[self->n_found++] =
            (struct found){TAKE_PTR(place), mem_strndup(text.data, text.len)};
        *ret = self->found[self->n_found - 1].value;
    }
    return rc;
}

/* ---- those of a VM ---- */

static bool is_of_command(const struct spec_secret *secret)
{
    return secret->source != SECRET_FROM_FILE;
}

static bool has_any(const struct vm_spec *spec, size_t from)
{
    bool has = false;
    for (size_t i = from; i < spec->n_steps; i++) {
        for (size_t k = 0; k < spec->steps[i].n_secrets; k++) {
            has |= is_of_command(&spec->steps[i].secrets[k]);
        }
    }
    return has;
}

static void add_part(struct buf *out, const char *text)
{
    (void)buf_add(out, text, strlen(text) + 1);
}

static int add_secrets(struct hand_over *self, const struct vm_spec *spec,
    const struct change_outcome *planned, const char *directory, struct error *err)
{
    for (size_t i = planned->steps_from; i < spec->n_steps; i++) {
        bool is_skipped = planned->skips_step && planned->skips_step[i];
        for (size_t k = 0; k < spec->steps[i].n_secrets; k++) {
            const struct spec_secret *secret = &spec->steps[i].secrets[k];
            const char *value = "";
            if (is_skipped || !is_of_command(secret)) {
                continue;
            }
            if (find_value(self, secret, directory, &value, err) < 0) {
                return error_wrap(
                    err, "step %zu of vm '%s': its secret \"%s\"", i + 1, spec->name, secret->name);
            }
            cleanup_free char *key = spec_secret_key(secret);
            add_part(&self->message, spec->name);
            add_part(&self->message, key);
            add_part(&self->message, value);
        }
    }
    return 0;
}

/* Those of the steps that are going to run, of the spec that the change leads to. */
static int add_vm(struct hand_over *self, const struct change *change,
    const struct change_outcome *planned, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    if (!change->spec && store_get(self->cli->store, change->name, &record, err) < 0) {
        return -(int)err->code;
    }
    const struct vm_spec *spec = change->spec     ? change->spec
                                 : record.desired ? record.desired->spec
                                                  : NULL;
    const char *source = change->spec     ? change->source
                         : record.desired ? record.desired->source
                                          : NULL;
    if (!spec || !has_any(spec, planned->steps_from)) {
        return 0;
    }
    cleanup_free char *directory = source ? vmfile_load_directory(source) : mem_strdup("/");
    return add_secrets(self, spec, planned, directory, err);
}

/* ---- vmctld ---- */

static bool is_answered(int fd)
{
    enum { ANSWER_MS = 5000 };
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    char bytes[4];
    return poll(&answer, 1, ANSWER_MS) == 1 && recv(fd, bytes, sizeof(bytes), 0) == 3;
}

/* The socket may be that of a vmctld that is just ending. */
static int send_message(const struct cli *cli, const struct buf *message, struct error *err)
{
    enum { TRIES = 20, PAUSE_MS = 50, SEND_MS = 5000 };
    cleanup_free char *path = paths_path(&cli->paths, PATHS_SECRETS_SOCKET);
    for (int i = 0; i < TRIES; i++) {
        cleanup_close int fd = -1;
        size_t sent = 0;
        error_clear(err);
        if (fs_connect_unix(path, &fd, err) == 0) {
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            for (ssize_t n = 0; n >= 0 && sent < message->len && poll(&room, 1, SEND_MS) == 1;) {
                n = send(fd, message->data + sent, message->len - sent, MSG_NOSIGNAL);
                sent += n > 0 ? (size_t)n : 0;
            }
            if (sent == message->len && shutdown(fd, SHUT_WR) == 0 && is_answered(fd)) {
                return 0;
            }
        }
        (void)poll(NULL, 0, PAUSE_MS);
    }
    error_clear(err);
    return error_set(err, ERR_CONTROLLER, "the controller (vmctld) does not take the secrets");
}

/* ---- all of them ---- */

static int find_secrets(
    struct hand_over *self, const struct change *changes, size_t count, struct error *err)
{
    struct change_outcome *planned = mem_calloc(count, sizeof(*planned));
    struct error ignored = {.code = ERR_NONE}; /* the change itself reports it */
    int rc = 0;
    if (change_plan(self->cli->store, changes, count, planned, &ignored) == 0) {
        for (size_t i = 0; rc == 0 && i < count; i++) {
            rc = add_vm(self, &changes[i], &planned[i], err);
        }
        for (size_t i = 0; i < count; i++) {
            change_outcome_clear(&planned[i]);
        }
    }
    free(planned);
    return rc;
}

/* Most requests are of VMs without secrets: that costs them nothing. Of a VM that is only prepared
 * no step runs until another command starts it. */
static bool may_need_secrets(const struct change *changes, size_t count)
{
    bool may = false;
    for (size_t i = 0; i < count; i++) {
        const struct change *change = &changes[i];
        bool is_only_prepared =
            change->wants_prepared && !change->sets_power && !change->starts_new;
        may |= change->spec ? !is_only_prepared && has_any(change->spec, 0)
                            : change->provision != PROVISION_KEEP && !change->deletes;
    }
    return may;
}

int secrets_hand_over(
    struct cli *cli, const struct change *changes, size_t count, struct error *err)
{
    cleanup_with(hand_over_clear) struct hand_over self = {.cli = cli, .message = BUF_INIT(0)};
    if (!may_need_secrets(changes, count)) {
        return 0;
    }
    int rc = find_secrets(&self, changes, count, err);
    if (rc < 0 || self.message.len == 0) {
        return rc;
    }
    rc = cli_ensure_controller(cli, err);
    return rc < 0 ? rc : send_message(cli, &self.message, err);
}
