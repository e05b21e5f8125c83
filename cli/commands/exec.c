/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl exec: a command in the guest, its words kept as they are; by SSH, or by the agent in the
 * guest (guest-exec). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/wait/wakeup.h"
#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/agent_protocol.h"
#include "store/desired/pending.h"
#include "store/store.h"

struct exec_values {
    struct which_values which;
    const char *user;
    const char *key;
    struct arg_strings options;
    bool wants_terminal;
    bool uses_agent;
    bool passes_input;
};

static const struct arg_option options[] = {
    {"user", 'u', ARG_TEXT, offsetof(struct exec_values, user), "USER",
        "the guest's user [default: the VMFile's, vm]"},
    {"key", 'i', ARG_TEXT, offsetof(struct exec_values, key), "PATH", "private key to try first"},
    {"tty", 't', ARG_FLAG, offsetof(struct exec_values, wants_terminal), NULL,
        "allocate a terminal for the command"},
    OPTION_SSH_OPT(struct exec_values),
    {"agent", 0, ARG_FLAG, offsetof(struct exec_values, uses_agent), NULL,
        "run it through qemu-guest-agent, which needs no network"},
    {"stdin", 0, ARG_FLAG, offsetof(struct exec_values, passes_input), NULL,
        "with --agent: send standard input, up to its end"},
    OPTIONS_END,
};

/* ---- by the agent ---- */

enum {
    BOOT_MS = 60 * 1000, /* an agent that has not answered by then is none */
    CALL_MS = 10 * 1000,
    RETRY_MS = 50,
    /* The command's end is asked for at growing intervals. After the first second vmctld, too, has
     * its turn in between: QEMU serves one client at a time. */
    POLL_FIRST_MS = 10,
    POLL_MAX_MS = 500,
    HELD_MS = 1000,
    INPUT_MAX = 64 << 10,  /* fits the socket's buffer, so that sending it never waits */
    ANSWER_MAX = 60 << 20, /* an agent keeps 16 MiB of stdout and of stderr, in base64 here */
};

struct agent_command {
    const char *vm_name;
    const char *const *words; /* the program and its arguments */
    size_t count;
    bool passes_input; /* our standard input, up to its end, is the command's */
};

struct link {
    struct wakeup *wakeup;
    const char *vm_name;
    char *path;
    int fd; /* -1: not connected */
    struct agent_stream stream;
    int signal; /* that came meanwhile; 0: none */
};

static void link_hang_up(struct link *link)
{
    if (link->fd >= 0) {
        agent_stream_clear(&link->stream);
        close(TAKE_FD(link->fd));
    }
}

static void link_clear(struct link *link)
{
    link_hang_up(link);
    free(link->path);
}

static int64_t link_now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

/* False: a signal came. */
static bool link_wait(struct link *link, int fd, int64_t limit_ms)
{
    link->wakeup->process_fd = fd;
    link->signal = wakeup_wait(link->wakeup, limit_ms);
    link->wakeup->process_fd = -1;
    return link->signal == 0;
}

static int fail_silent(const struct link *link, struct error *err)
{
    error_clear(err);
    return error_set(err, ERR_AGENT, "the agent in vm '%s' does not answer", link->vm_name);
}

static int link_send(struct link *link, const struct buf *line, struct error *err)
{
    ssize_t n = send(link->fd, line->data, line->len, MSG_NOSIGNAL);
    return n == (ssize_t)line->len ? 0 : fail_silent(link, err);
}

/* 1: there is an answer; -ERR_INTERRUPTED: a signal came. */
static int link_receive(
    struct link *link, int64_t deadline_ms, struct agent_answer *ret, struct error *err)
{
    char chunk[1 << 16];
    for (;;) {
        int rc = agent_stream_next(&link->stream, ret, err);
        if (rc != 0) {
            return rc;
        }
        ssize_t n = recv(link->fd, chunk, sizeof(chunk), 0);
        if (n > 0 && (rc = agent_stream_feed(&link->stream, chunk, (size_t)n, err)) < 0) {
            return rc;
        }
        bool is_over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
        int64_t left_ms = deadline_ms - link_now_ms();
        if (is_over || left_ms <= 0) {
            return fail_silent(link, err);
        }
        if (n < 0 && !link_wait(link, link->fd, left_ms)) {
            return error_set(err, ERR_INTERRUPTED, "interrupted");
        }
    }
}

/* A queue that is full empties as soon as QEMU has served the one before. */
static int link_open(struct link *link, int64_t deadline_ms, struct error *err)
{
    static int64_t n_opened;
    cleanup_buf struct buf line = BUF_INIT(0);
    struct agent_answer answer = {.object = NULL};
    while (fs_connect_unix(link->path, &link->fd, err) < 0) {
        if (link_now_ms() >= deadline_ms) {
            return fail_silent(link, err);
        }
        error_clear(err);
        if (!link_wait(link, -1, RETRY_MS)) {
            return error_set(err, ERR_INTERRUPTED, "interrupted");
        }
    }
    int64_t id = ((int64_t)getpid() << 8) + ++n_opened;
    agent_stream_init(&link->stream, id & INT32_MAX, ANSWER_MAX);
    agent_add_sync(&line, link->stream.id);
    int rc = link_send(link, &line, err);
    return rc < 0 ? rc : link_receive(link, deadline_ms, &answer, err);
}

/* `*ret` is owned by the caller; NULL: not wanted. */
static int link_call(
    struct link *link, const char *command, json_t *arguments_take, json_t **ret, struct error *err)
{
    int64_t deadline_ms = link_now_ms() + CALL_MS;
    cleanup_buf struct buf line = BUF_INIT(0);
    struct agent_answer answer = {.object = NULL};
    agent_add_command(&line, command, arguments_take);
    int rc = link->fd >= 0 ? 0 : link_open(link, deadline_ms, err);
    rc = rc < 0 ? rc : link_send(link, &line, err);
    rc = rc < 0 ? rc : link_receive(link, deadline_ms, &answer, err);
    if (rc < 0) {
        link_hang_up(link);
    } else if (answer.text) {
        rc = error_set(err, ERR_AGENT, "the agent in vm '%s' refused '%s': %s", link->vm_name,
            command, answer.text);
        (void)error_help(err, "try it by SSH: vmctl exec %s", link->vm_name);
    } else if (ret) {
        *ret = json_incref((json_t *)(uintptr_t)answer.value);
    }
    agent_answer_clear(&answer);
    return rc < 0 ? rc : 0;
}

/* ---- before ---- */

/* Whether it answers; 0: not yet. */
static int look_for_agent(struct cli *cli, const char *name, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(cli->store, name, &record, err);
    if (rc < 0) {
        return rc;
    }
    const struct vm_status *status = record.status;
    if (!record_has_instance(&record)) {
        (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is not running", name);
        return error_help(err, "start it: vmctl up, or vmctl start %s", name);
    }
    if (status->agent) {
        return 1;
    }
    if (status->instance.pid && !status->instance.has_agent) {
        (void)error_set(err, ERR_AGENT, "vm '%s' has no channel to a guest agent", name);
        return error_help(
            err, "a VM of backend \"qemu\" gets one at its next start: vmctl restart %s", name);
    }
    int64_t since_ms = clock_wall_ms(clock_system()) - status->instance.started_at_ms;
    if (!status->instance.pid || (since_ms >= 0 && since_ms < BOOT_MS)) {
        return 0;
    }
    (void)error_set(err, ERR_AGENT, "no guest agent answers in vm '%s'", name);
    return error_help(err,
        "install the package qemu-guest-agent in the guest and start it; or use SSH: vmctl exec %s",
        name);
}

/* False: a signal came, or an error. */
static int await_agent(struct cli *cli, struct link *link, struct error *err)
{
    int rc;
    while ((rc = look_for_agent(cli, link->vm_name, err)) == 0) {
        if (!link_wait(link, -1, WAKEUP_MAX_MS)) {
            return error_set(err, ERR_INTERRUPTED, "interrupted");
        }
    }
    return rc < 0 ? rc : 0;
}

static int add_input(json_t *arguments, struct error *err)
{
    cleanup_buf struct buf input = BUF_INIT(INPUT_MAX), text = BUF_INIT(0);
    char chunk[4096];
    ssize_t n;
    while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0) {
        if (!buf_add(&input, chunk, (size_t)n)) {
            (void)error_set(
                err, ERR_USAGE, "the guest agent accepts at most %d KiB of input", INPUT_MAX >> 10);
            return error_help(err, "use SSH: leave out --agent");
        }
    }
    if (n < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read standard input");
    }
    base64_encode(&text, input.data, input.len);
    buf_add(&text, "==", (3 - input.len % 3) % 3);
    json_put_text(arguments, "input-data", buf_str(&text));
    return 0;
}

/* ---- the command ---- */

static int begin(
    struct link *link, const struct agent_command *command, int64_t *ret_pid, struct error *err)
{
    cleanup_json json_t *value = NULL;
    json_t *arguments = json_object(), *words = json_array();
    for (size_t i = 1; i < command->count; i++) {
        (void)json_array_append_new(words, json_of_text(command->words[i]));
    }
    json_put_text(arguments, "path", command->words[0]);
    json_put(arguments, "arg", words);
    json_put_flag(arguments, "capture-output", true);
    int rc = command->passes_input ? add_input(arguments, err) : 0;
    if (rc < 0) {
        json_decref(arguments);
        return rc;
    }
    rc = link_call(link, "guest-exec", arguments, &value, err);
    *ret_pid = json_int(value, "pid", -1);
    return rc;
}

/* The agent cannot end a command, but it can run what does. */
static void end_command(struct link *link, int64_t pid)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *number = mem_printf("%lld", (long long)pid);
    json_t *arguments = json_pack("{s:s, s:[s]}", "path", "kill", "arg", number);
    (void)link_call(link, "guest-exec", arguments, NULL, &ignored);
}

static int write_output(const struct link *link, const json_t *status, const char *key,
    const char *cut_key, int fd, struct error *err)
{
    cleanup_buf struct buf bytes = BUF_INIT(0);
    const char *text = json_text(status, key);
    if (!base64_decode(&bytes, text ? text : "", text ? strlen(text) : 0)) {
        return error_set(
            err, ERR_AGENT, "the agent in vm '%s' sent output that is not base64", link->vm_name);
    }
    int rc = fs_write_all(fd, bytes.data, bytes.len, err);
    if (rc == 0 && json_flag(status, cut_key, false)) {
        (void)error_set(err, ERR_AGENT,
            "the command wrote more than the agent in vm '%s' keeps: the rest of the output is "
            "lost",
            link->vm_name);
        return error_help(
            err, "write the output to a file, or use SSH: vmctl exec %s", link->vm_name);
    }
    return rc;
}

static int report_end(const struct link *link, const json_t *status, struct error *err)
{
    int rc = write_output(link, status, "out-data", "out-truncated", STDOUT_FILENO, err);
    rc = rc < 0 ? rc : write_output(link, status, "err-data", "err-truncated", STDERR_FILENO, err);
    int64_t signal_number = json_int(status, "signal", 0);
    return rc < 0              ? rc
           : signal_number > 0 ? wakeup_exit_status((int)(signal_number & 0x7f))
                               : (int)(json_int(status, "exitcode", 1) & 0xff);
}

static int await_end(struct link *link, int64_t pid, struct error *err)
{
    int64_t began_ms = link_now_ms();
    for (int64_t pause_ms = POLL_FIRST_MS;;) {
        cleanup_json json_t *status = NULL;
        json_t *arguments = json_pack("{s:I}", "pid", (json_int_t)pid);
        int rc = link_call(link, "guest-exec-status", arguments, &status, err);
        if (rc < 0 || json_flag(status, "exited", false)) {
            return rc < 0 ? rc : report_end(link, status, err);
        }
        if (link_now_ms() - began_ms > HELD_MS) {
            link_hang_up(link);
        }
        if (!link_wait(link, -1, pause_ms)) {
            return error_set(err, ERR_INTERRUPTED, "interrupted");
        }
        pause_ms = pause_ms < POLL_MAX_MS / 2 ? pause_ms * 2 : POLL_MAX_MS;
    }
}

/* Waits for the agent of a guest that was started a short while ago, and for the end of the
 * command; then writes what it has written. Returns its exit status, or 128 + the number of the
 * signal that ended it or the wait. -ERR_AGENT: no agent answers, or it cannot run the command;
 * -ERR_VM_INVALID_STATE: the guest does not run. */
static int exec_by_agent(
    struct cli *cli, const struct agent_command *command, struct wakeup *wakeup, struct error *err)
{
    cleanup_with(link_clear) struct link link = {.wakeup = wakeup,
        .vm_name = command->vm_name,
        .path = paths_vm(&cli->paths, command->vm_name, VM_AGENT_SOCKET),
        .fd = -1};
    int64_t pid = -1;
    int rc = await_agent(cli, &link, err);
    rc = rc < 0 ? rc : begin(&link, command, &pid, err);
    rc = rc < 0 ? rc : await_end(&link, pid, err);
    if (rc == -ERR_INTERRUPTED) {
        int number = link.signal;
        if (pid >= 0) {
            end_command(&link, pid);
        }
        error_clear(err);
        wakeup_end_line(number);
        return wakeup_exit_status(number);
    }
    return rc;
}

/* ---- the command line ---- */

static int check_options(const struct exec_values *exec, struct error *err)
{
    bool has_ssh = exec->user || exec->key || exec->options.count > 0 || exec->wants_terminal;
    if (exec->uses_agent && has_ssh) {
        (void)error_set(err, ERR_USAGE, "--agent excludes --user, --key, --tty and --ssh-opt");
        return error_help(err, "the agent runs the command as its own user, usually root");
    }
    if (exec->passes_input && !exec->uses_agent) {
        (void)error_set(err, ERR_USAGE, "--stdin needs --agent");
        return error_help(err, "without --agent, standard input is always sent");
    }
    return 0;
}

static int run_by_agent(struct cli *cli, const struct exec_values *exec, const char *name,
    const char *const *words, size_t count, struct error *err)
{
    struct wakeup wakeup;
    const struct agent_command command = {
        .vm_name = name, .words = words, .count = count, .passes_input = exec->passes_input};
    wakeup_open(&wakeup, &cli->paths);
    int rc = exec_by_agent(cli, &command, &wakeup, err);
    wakeup_close(&wakeup);
    if (rc == -ERR_AGENT) {
        cli_print_error(cli, err);
        rc = SSH_TRANSPORT_FAILED;
    }
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct exec_values *exec = values;
    cleanup_free char *name = NULL;
    cleanup_buf struct buf line = BUF_INIT(0);
    bool has_dashes = words->count > 1 && text_eq(words->items[1], "--");
    size_t first = has_dashes ? 2 : 1;
    if (words->count <= first) {
        (void)error_set(err, ERR_USAGE, "exec needs a VM and a command");
        return error_help(err, "such as: vmctl exec web -- uname -a");
    }
    int rc = check_options(exec, err);
    rc = rc < 0 ? rc : targets_find_one(cli, &exec->which, words->items[0], &name, err);
    if (rc != 0) {
        return rc;
    }
    if (exec->uses_agent) {
        return run_by_agent(cli, exec, name, words->items + first, words->count - first, err);
    }
    ssh_login_quote(&line, words->items + first, words->count - first);
    const char *command = buf_str(&line);
    const struct ssh_call call = {
        .vm_name = name,
        .user = exec->user,
        .key = exec->key,
        .options = &exec->options,
        .wants_terminal = exec->wants_terminal,
        .words = &command,
        .n_words = 1,
    };
    struct wakeup wakeup;
    wakeup_open(&wakeup, &cli->paths);
    rc = ssh_login_run(cli, &call, &wakeup, err);
    wakeup_close(&wakeup);
    if (rc == -ERR_SSH) {
        cli_print_error(cli, err);
        rc = SSH_TRANSPORT_FAILED;
    }
    return rc;
}

const struct command command_exec = {
    .name = "exec",
    .summary = "Run a command in a VM",
    .usage = "[OPTIONS] VM [--] COMMAND [ARGS...]",
    .details =
        "Like `vmctl ssh VM -- COMMAND`, but the guest's shell does not interpret the arguments.\n"
        "Exits with the command's status, or with 255 if the connection failed. Ctrl-C, SIGTERM\n"
        "and SIGHUP end the command in the guest: exit status 130, 143, 129.\n"
        "\n"
        "With --agent, qemu-guest-agent runs the command as its own user, without a network and\n"
        "without SSH. The output appears when the command has ended, at most 16 MiB of it;\n"
        "standard input is empty without --stdin.",
    .examples = "  vmctl exec web -- sh -c 'echo $HOME'\n"
                "  vmctl exec --agent web -- cat /etc/os-release",
    .reach = REACH_ONE,
    .options = options,
    .values_size = sizeof(struct exec_values),
    .stops_at_positional = true,
    .run = run,
};
