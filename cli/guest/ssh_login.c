/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/ssh_login.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/guest/child_run.h"
#include "cli/guest/end_command.sh.h"
#include "cli/guest/relay.h"
#include "cli/wait/follow.h"
#include "cli/wait/wakeup.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "store/store.h"

/* ---- options ---- */

static void add_key_if_there(struct ssh_login *login, const char *path)
{
    if (path && access(path, R_OK) == 0) {
        ssh_options_add_path(&login->options, "IdentityFile", path);
    }
}

/*
 * A private key that others may read (a git checkout, a mount without modes) is one that ssh
 * refuses: it gets a copy of its own, in the VM's directory, made again for each login because the
 * file may have changed. vmctld uses the file itself.
 */
static void add_named_key(
    struct ssh_login *login, const struct cli *cli, const char *vm_name, const char *path)
{
    enum { KEY_MAX = 64 * 1024 };
    struct stat st;
    char digest[DIGEST_SIZE];
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf key = BUF_INIT(KEY_MAX);
    bool is_open = path && stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0 &&
                   st.st_uid == getuid();
    if (is_open && fs_read_regular(path, &key, &ignored) == 0) {
        digest_text(path, digest);
        cleanup_free char *dir = paths_vm(&cli->paths, vm_name, VM_DIR);
        cleanup_free char *copy = mem_printf("%s/private-key-%.8s", dir, digest);
        if (fs_write_file(copy, buf_str(&key), key.len, 0600, &ignored) == 0) {
            add_key_if_there(login, copy);
            return;
        }
    }
    add_key_if_there(login, path);
}

/* The VM's own: ssh refuses it when others may read it, and it is vmctl's to put that right. */
static void add_generated_key(
    struct ssh_login *login, const struct cli *cli, const char *vm_name, const char *path)
{
    struct stat st;
    bool is_open = lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0;
    if (is_open && st.st_uid == getuid() && chmod(path, 0600) == 0) {
        cli_note(cli, "%s: the key '%s' was readable by others; now it is not", vm_name, path);
    }
    add_key_if_there(login, path);
}

static bool is_refused(const struct vm_record *record)
{
    enum reason reason = record->status->conditions[CONDITION_GUEST_REACHABLE].reason;
    return reason == REASON_AUTH_FAILED || reason == REASON_KEY_UNREADABLE;
}

/*
 * A guest that lets in the VM's own key needs no agent, which might ask for a confirmation or a
 * touch each time. Of any other guest, an agent's keys may be the only ones it knows; without a key
 * of its own all of them are tried.
 */
static void add_agent(
    struct ssh_login *login, const struct vm_record *record, const char *key, const char *generated)
{
    const struct vm_spec *spec = record->desired->spec;
    bool is_ours = vm_spec_has_our_seed(spec);
    bool has_own_key = is_ours && fs_exists(generated) && !is_refused(record);
    bool tries_all = !key && !is_ours && !spec->ssh.private_key && getenv("SSH_AUTH_SOCK");
    login->uses_agent = key || !has_own_key;
    ssh_options_add(&login->options, "IdentitiesOnly", mem_strdup(tries_all ? "no" : "yes"));
}

/* A key the user names is used first; then those the controller itself would try. */
static int add_keys(struct ssh_login *login, const struct cli *cli, const struct vm_record *record,
    const char *key, struct error *err)
{
    const struct vm_spec *spec = record->desired->spec;
    cleanup_free char *beside = vm_spec_key_beside(spec);
    cleanup_free char *generated = paths_vm(&cli->paths, record->name, VM_KEY);
    if (key && access(key, R_OK) < 0) {
        (void)error_set_errno(err, ERR_KEY_UNREADABLE, errno, "cannot read the key '%s'", key);
        return error_help(err, "give the path of a private key that you may read: --key PATH");
    }
    add_named_key(login, cli, record->name, key);
    add_generated_key(login, cli, record->name, generated);
    add_named_key(login, cli, record->name, spec->ssh.private_key);
    if (beside && access(beside, R_OK) == 0) {
        add_named_key(login, cli, record->name, beside);
    } else { /* a public key names the private one that an agent has */
        add_key_if_there(login, spec->cloud_init.is_set ? spec->cloud_init.ssh_key.path : NULL);
    }
    for (size_t i = 0; i < SSH_STANDARD_KEYS; i++) {
        cleanup_free char *path = mem_printf("%s/.ssh/%s", paths_home(), ssh_standard_keys[i]);
        add_key_if_there(login, path);
    }
    add_agent(login, record, key, generated);
    return 0;
}

static int ssh_login_refuse(const struct vm_record *record, struct error *err)
{
    bool has_network = record->desired->spec->network.mode != NETWORK_NONE;
    (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' %s", record->name,
        has_network ? "has no address: it is not running" : "has no network");
    return has_network ? error_help(err, "start it: vmctl start %s", record->name)
                       : -ERR_VM_INVALID_STATE;
}

int ssh_login_init(struct ssh_login *login, struct cli *cli, const struct vm_record *record,
    const char *user, const char *key, struct error *err)
{
    const struct vm_status *status = record->status;
    *login = (struct ssh_login){.uses_agent = false};
    if (!record->desired) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", record->name);
    }
    if (!ssh_options_has_address(status)) {
        return ssh_login_refuse(record, err);
    }
    ssh_options_add_guest(&login->options, &cli->paths, record->desired->spec, status, user);
    login->is_foreign = !key && !vm_spec_expects_ssh(record->desired->spec);
    return add_keys(login, cli, record, key, err);
}

void ssh_login_clear(struct ssh_login *login)
{
    ssh_options_clear(&login->options);
}

/* ---- waiting ---- */

/* ssh can do what the controller cannot: use an agent, ask the user for a password. */
static bool knows_more(void)
{
    return getenv("SSH_AUTH_SOCK") || isatty(STDIN_FILENO);
}

static bool is_reachable(const struct vm_record *record, bool is_explicit)
{
    const struct condition *conditions = record->status ? record->status->conditions : NULL;
    return conditions &&
           (conditions[CONDITION_GUEST_REACHABLE].state == CONDITION_TRUE ||
               (is_refused(record) &&
                   (is_explicit ||
                       (knows_more() && conditions[CONDITION_STALLED].state == CONDITION_TRUE))));
}

static int refuse_power(const struct vm_record *record, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is not running", record->name);
    return desired->power == POWER_SUSPENDED
               ? error_help(err, "resume it: vmctl resume %s", record->name)
               : error_help(err, "start it: vmctl start %s", record->name);
}

static int await(
    struct cli *cli, const struct vm_record *record, int64_t timeout_ms, struct error *err)
{
    struct follow_target target = {
        .name = record->name,
        .goal = {.kind = GOAL_CONDITION,
            .type = CONDITION_GUEST_REACHABLE,
            .state = CONDITION_TRUE},
    };
    memcpy(target.uid, record->desired->uid, TEXT_ID_SIZE);
    int rc = cli_start_controller(cli, err);
    return rc < 0 ? rc : follow(cli, &target, 1, timeout_ms, err);
}

int ssh_login_await(
    struct cli *cli, const char *vm_name, bool is_explicit, int64_t timeout_ms, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(cli->store, vm_name, &record, err);
    if (rc < 0) {
        return rc;
    }
    if (!record.desired) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", vm_name);
    }
    if (record.desired->power != POWER_RUNNING) {
        return refuse_power(&record, err);
    }
    if (is_reachable(&record, is_explicit)) {
        return 0;
    }
    rc = await(cli, &record, timeout_ms, err);
    cleanup_with(vm_record_clear) struct vm_record now = {.name = NULL};
    struct error ignored = {.code = ERR_NONE};
    bool is_found = rc > 0 && store_get(cli->store, vm_name, &now, &ignored) == 0 && now.status;
    return is_found && knows_more() && is_refused(&now) ? 0 : rc;
}

/* ---- the call ---- */

void ssh_argv_add(struct ssh_argv *argv, char *word_take)
{
    argv->words = mem_resize(argv->words, argv->count + 2, sizeof(*argv->words));
    argv->words[argv->count++] = word_take;
    argv->words[argv->count] = NULL;
}

void ssh_argv_clear(struct ssh_argv *argv)
{
    for (size_t i = 0; i < argv->count; i++) {
        free(argv->words[i]);
    }
    free(argv->words);
    *argv = (struct ssh_argv){.count = 0};
}

void ssh_argv_begin(struct ssh_argv *argv, const char *program, const struct ssh_login *login,
    const struct arg_strings *options)
{
    ssh_argv_add(argv, mem_strdup(program));
    ssh_argv_add(argv, mem_strdup("-F"));
    ssh_argv_add(argv, mem_strdup("/dev/null"));
    for (size_t i = 0; options && i < options->count; i++) {
        const char *option = options->items[i];
        ssh_argv_add(argv, mem_printf("%s%s", option[0] == '-' ? "" : "-o", option));
    }
    for (size_t i = 0; i < login->options.count; i++) {
        const struct ssh_option *option = &login->options.items[i];
        ssh_argv_add(argv, mem_strdup("-o"));
        ssh_argv_add(argv, mem_printf("%s=%s", option->keyword, option->value));
    }
    if (!login->uses_agent) {
        ssh_argv_add(argv, mem_strdup("-o"));
        ssh_argv_add(argv, mem_strdup("IdentityAgent=none"));
    }
}

static void make_argv(
    const struct ssh_login *login, const struct ssh_call *call, struct ssh_argv *argv)
{
    ssh_argv_begin(argv, "ssh", login, call->options);
    if (call->wants_terminal) {
        ssh_argv_add(argv, mem_strdup("-t"));
    }
    ssh_argv_add(argv, mem_strdup("--"));
    ssh_argv_add(argv, vm_name_flat(call->vm_name));
    for (size_t i = 0; i < call->n_words; i++) {
        ssh_argv_add(argv, mem_strdup(call->words[i]));
    }
}

int ssh_login_prepare(
    struct cli *cli, const struct ssh_call *call, struct ssh_login *login, struct error *err)
{
    enum { TIMEOUT_MS = 30 * 1000 };
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = ssh_login_await(
        cli, call->vm_name, call->user != NULL || call->key != NULL, TIMEOUT_MS, err);
    if (rc != 0 || (rc = store_get(cli->store, call->vm_name, &record, err)) < 0) {
        return rc;
    }
    return ssh_login_init(login, cli, &record, call->user, call->key, err);
}

static int run_argv(char *const *argv, struct wakeup *wakeup, int *ret_signal, struct error *err)
{
    pid_t pid = -1;
    struct relay relay;
    (void)fflush(stdout);
    relay_open(&relay);
    const int fds[] = {STDIN_FILENO, relay.output, STDERR_FILENO};
    int rc = child_spawn(argv, wakeup, fds, &pid);
    relay_close_output(&relay);
    if (rc != 0) {
        (void)relay_close(&relay, err);
        (void)error_set_start(err, ERR_SSH, rc, "cannot run ssh");
        return error_help(err, "install the SSH client (package openssh-client)");
    }
    rc = child_await(pid, wakeup, &relay, ret_signal);
    if (relay_close(&relay, err) < 0 && *ret_signal == 0) {
        return -ERR_IO;
    }
    return rc < 0 ? SSH_TRANSPORT_FAILED : rc;
}

/* As a child: a guest without a key of ours says only that permission is denied, and of output that
 * cannot be written ssh says nothing. */
static int run_child(struct cli *cli, const struct ssh_login *login, const char *vm_name,
    char *const *argv, struct error *err)
{
    struct wakeup wakeup;
    int number = 0;
    wakeup_open(&wakeup, &cli->paths);
    int rc = run_argv(argv, &wakeup, &number, err);
    wakeup_close(&wakeup);
    if (rc == SSH_TRANSPORT_FAILED && login->is_foreign) {
        (void)error_set(err, ERR_SSH,
            "vm '%s' was created without cloud-init, so its guest does not have vmctl's key",
            vm_name);
        (void)error_help(err,
            "add `cloud-init {}` to its VMFile, then: vmctl reload %s; or use a key that the guest "
            "accepts: --key PATH; or its console: vmctl console %s",
            vm_name, vm_name);
    }
    if (rc == -ERR_SSH || (rc == SSH_TRANSPORT_FAILED && login->is_foreign)) {
        cli_print_error(cli, err);
        return SSH_TRANSPORT_FAILED;
    }
    return rc;
}

/* A session that a person types in stays ssh's own: its keys suspend it and bring it back. */
static bool is_typed_in(const struct ssh_call *call)
{
    return isatty(STDIN_FILENO) && (call->n_words == 0 || call->wants_terminal);
}

int ssh_login_exec(struct cli *cli, const struct ssh_call *call, struct error *err)
{
    cleanup_with(ssh_login_clear) struct ssh_login login = {.uses_agent = false};
    cleanup_with(ssh_argv_clear) struct ssh_argv argv = {.count = 0};
    int rc = ssh_login_prepare(cli, call, &login, err);
    if (rc != 0) {
        return rc;
    }
    make_argv(&login, call, &argv);
    (void)fflush(stdout);
    store_close(cli->store); /* its reader slot is this process's */
    cli->store = NULL;
    (void)umask(cli->caller_umask);
    if (login.is_foreign || (relay_is_wanted() && !is_typed_in(call))) {
        return run_child(cli, &login, call->vm_name, argv.words, err);
    }
    (void)execvp("ssh", argv.words);
    (void)error_set_errno(err, ERR_SSH, errno, "cannot run ssh");
    (void)error_help(err, "install the SSH client (package openssh-client)");
    cli_print_error(cli, err);
    return SSH_TRANSPORT_FAILED;
}

void ssh_login_quote(struct buf *out, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (out->len > 0) {
            buf_add_char(out, ' ');
        }
        text_add_shell_word(out, words[i]);
    }
}

/* ---- as a child, to be ended in the guest ---- */

/* By another connection: the first is gone, and sshd does not signal what ran in it. */
static void end_in_guest(const struct ssh_login *login, const struct ssh_call *call,
    const char *token, struct wakeup *wakeup)
{
    enum { LIMIT_MS = 15000 };
    cleanup_with(ssh_argv_clear) struct ssh_argv argv = {.count = 0};
    cleanup_buf struct buf command = BUF_INIT(0);
    const char *const words[] = {end_command_sh, "vmctl", token};
    pid_t pid = -1;
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int mute[] = {null, null, null};
    buf_add_str(&command, "exec sh -c");
    ssh_login_quote(&command, words, ARRAY_LEN(words));
    ssh_argv_begin(&argv, "ssh", login, NULL);
    cleanup_free char *host = vm_name_flat(call->vm_name);
    const char *const rest[] = {
        "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", host, buf_str(&command)};
    for (size_t i = 0; i < ARRAY_LEN(rest); i++) {
        ssh_argv_add(&argv, mem_strdup(rest[i]));
    }
    if (null < 0 || child_spawn(argv.words, wakeup, mute, &pid) != 0) {
        return;
    }
    cleanup_close int pidfd = pidfd_open(pid, 0);
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    if (pidfd >= 0 && poll(&fd, 1, LIMIT_MS) <= 0) {
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* The command with a token by which end_command.sh finds it: in the command line of a shell that
 * stays its parent, and in its environment. A terminal's interrupt would reach that shell as well,
 * so with one the command stays as it is. */
static char *tokened(const char *command, const char *token)
{
    cleanup_free char *name = mem_printf("vmctl-exec-%s", token);
    const char *const words[] = {
        "VMCTL_EXEC=\"$0\" \"${SHELL:-/bin/sh}\" -c \"$1\"; exit \"$?\"", name, command};
    struct buf out = BUF_INIT(0);
    buf_add_str(&out, "exec sh -c");
    ssh_login_quote(&out, words, ARRAY_LEN(words));
    return buf_steal(&out);
}

int ssh_login_run(
    struct cli *cli, const struct ssh_call *call, struct wakeup *wakeup, struct error *err)
{
    char token[TEXT_ID_SIZE];
    int number = 0;
    cleanup_with(ssh_login_clear) struct ssh_login login = {.uses_agent = false};
    cleanup_with(ssh_argv_clear) struct ssh_argv argv = {.count = 0};
    int rc = ssh_login_prepare(cli, call, &login, err);
    if (rc != 0) {
        return rc;
    }
    digest_random_id(token);
    bool has_command = call->n_words > 0;
    cleanup_free char *line = !has_command           ? NULL
                              : call->wants_terminal ? mem_strdup(call->words[0])
                                                     : tokened(call->words[0], token);
    const char *word = line;
    struct ssh_call wrapped = *call;
    wrapped.words = &word;
    make_argv(&login, &wrapped, &argv);
    rc = run_argv(argv.words, wakeup, &number, err);
    if (number > 0 && has_command && !call->wants_terminal) {
        end_in_guest(&login, call, token, wakeup);
    }
    return rc;
}
