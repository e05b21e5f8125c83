/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/ssh_login.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/wait/follow.h"
#include "cli/wait/wakeup.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "store/store.h"

/* ---- options ---- */

static void ssh_login_add(struct ssh_login *login, const char *keyword, char *value_take)
{
    mem_grow(login->options, login->count);
    login->options[login->count++] = (struct ssh_option){keyword, value_take};
}

/* ssh expands '%' in paths and splits at spaces outside of quotes. */
static char *quoted_path(const char *path)
{
    struct buf out = BUF_INIT(0);
    buf_add_char(&out, '"');
    for (; *path; path++) {
        if (*path == '%' || *path == '"' || *path == '\\') {
            buf_add_char(&out, *path == '%' ? '%' : '\\');
        }
        buf_add_char(&out, *path);
    }
    buf_add_char(&out, '"');
    return buf_steal(&out);
}

static void add_key_if_there(struct ssh_login *login, const char *path)
{
    if (path && access(path, R_OK) == 0) {
        ssh_login_add(login, "IdentityFile", quoted_path(path));
    }
}

/* A key the user names is used first; then those the controller itself would try. */
static int add_keys(struct ssh_login *login, const struct cli *cli, const struct vm_record *record,
    const char *key, struct error *err)
{
    static const char *const standard[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
    cleanup_free char *generated = paths_vm(&cli->paths, record->name, VM_KEY);
    if (key && access(key, R_OK) < 0) {
        return error_set_errno(err, ERR_KEY_UNREADABLE, errno, "cannot read the key '%s'", key);
    }
    add_key_if_there(login, key);
    add_key_if_there(login, generated);
    add_key_if_there(login, record->desired->spec->ssh.private_key);
    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        cleanup_free char *path = mem_printf("%s/.ssh/%s", paths_home(), standard[i]);
        add_key_if_there(login, path);
    }
    ssh_login_add(login, "IdentitiesOnly", mem_strdup("yes"));
    return 0;
}

/* With user-data of the user's own, or without a seed, the guest makes its host keys itself; a file
 * left over from an earlier spec does not apply. */
static void add_host_key(
    struct ssh_login *login, const struct cli *cli, const struct vm_record *record)
{
    const struct vm_spec *spec = record->desired->spec;
    cleanup_free char *known_hosts = paths_vm(&cli->paths, record->name, VM_KNOWN_HOSTS);
    bool is_pinned =
        spec->cloud_init.is_set && !spec->cloud_init.user_data.path && fs_exists(known_hosts);
    ssh_login_add(login, "UserKnownHostsFile",
        is_pinned ? quoted_path(known_hosts) : mem_strdup("/dev/null"));
    ssh_login_add(login, "GlobalKnownHostsFile", mem_strdup("/dev/null"));
    ssh_login_add(login, "StrictHostKeyChecking", mem_strdup(is_pinned ? "yes" : "no"));
    if (is_pinned) {
        ssh_login_add(login, "HostKeyAlias", mem_printf("vmctl-%s", record->name));
    }
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
    *login = (struct ssh_login){.count = 0};
    if (!record->desired) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", record->name);
    }
    if (!status || !status->ssh_host || !status->ssh_port || !status->instance.instance_id[0]) {
        return ssh_login_refuse(record, err);
    }
    const char *own_user = record->desired->spec->ssh.user;
    ssh_login_add(login, "HostName", mem_strdup(status->ssh_host));
    ssh_login_add(login, "Port", mem_printf("%u", status->ssh_port));
    ssh_login_add(login, "User", mem_strdup(user ? user : own_user ? own_user : SPEC_DEFAULT_USER));
    add_host_key(login, cli, record);
    ssh_login_add(login, "LogLevel", mem_strdup("ERROR"));
    return add_keys(login, cli, record, key, err);
}

void ssh_login_clear(struct ssh_login *login)
{
    for (size_t i = 0; i < login->count; i++) {
        free(login->options[i].value);
    }
    free(login->options);
    *login = (struct ssh_login){.count = 0};
}

/* ---- waiting ---- */

static bool is_reachable(const struct vm_record *record, bool is_explicit)
{
    const struct condition *reachable =
        record->status ? &record->status->conditions[CONDITION_GUEST_REACHABLE] : NULL;
    return reachable && (reachable->state == CONDITION_TRUE ||
                            (is_explicit && reachable->reason == REASON_AUTH_FAILED));
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
    int rc = cli_ensure_controller(cli, err);
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
    return is_reachable(&record, is_explicit) ? 0 : await(cli, &record, timeout_ms, err);
}

/* ---- the call ---- */

/* Ends with NULL. */
static char **make_argv(const struct ssh_login *login, const struct ssh_call *call)
{
    size_t room = 2 * login->count + call->n_words + 5, n = 0;
    char **argv = mem_calloc(room, sizeof(*argv));
    argv[n++] = mem_strdup("ssh");
    for (size_t i = 0; i < login->count; i++) {
        argv[n++] = mem_strdup("-o");
        argv[n++] = mem_printf("%s=%s", login->options[i].keyword, login->options[i].value);
    }
    if (call->wants_terminal) {
        argv[n++] = mem_strdup("-t");
    }
    argv[n++] = mem_strdup("--");
    argv[n++] = mem_strdup(call->vm_name);
    for (size_t i = 0; i < call->n_words; i++) {
        argv[n++] = mem_strdup(call->words[i]);
    }
    return argv;
}

void ssh_login_free_argv(char **argv)
{
    for (size_t i = 0; argv && argv[i]; i++) {
        free(argv[i]);
    }
    free(argv);
}

static int become_ssh(struct cli *cli, char **argv, struct error *err)
{
    (void)fflush(stdout);
    store_close(cli->store); /* its reader slot is this process's */
    cli->store = NULL;
    (void)execvp("ssh", argv);
    (void)error_set_errno(err, ERR_SSH, errno, "cannot run ssh");
    return error_help(err, "install the SSH client (package openssh-client)");
}

int ssh_login_prepare(
    struct cli *cli, const struct ssh_call *call, char ***ret_argv, struct error *err)
{
    enum { TIMEOUT_MS = 30 * 1000 };
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    cleanup_with(ssh_login_clear) struct ssh_login login = {.count = 0};
    int rc = ssh_login_await(
        cli, call->vm_name, call->user != NULL || call->key != NULL, TIMEOUT_MS, err);
    if (rc != 0 || (rc = store_get(cli->store, call->vm_name, &record, err)) < 0) {
        return rc;
    }
    rc = ssh_login_init(&login, cli, &record, call->user, call->key, err);
    if (rc == 0) {
        *ret_argv = make_argv(&login, call);
    }
    return rc;
}

int ssh_login_exec(struct cli *cli, const struct ssh_call *call, struct error *err)
{
    char **argv = NULL;
    int rc = ssh_login_prepare(cli, call, &argv, err);
    if (rc != 0) {
        return rc;
    }
    (void)become_ssh(cli, argv, err);
    ssh_login_free_argv(argv);
    cli_print_error(cli, err);
    return SSH_TRANSPORT_FAILED;
}

/* 'it'\''s' is the word "it's". */
static void add_quoted(struct buf *out, const char *word)
{
    buf_add_str(out, out->len ? " '" : "'");
    for (; *word; word++) {
        if (*word == '\'') {
            buf_add_str(out, "'\\''");
        } else {
            buf_add_char(out, *word);
        }
    }
    buf_add_char(out, '\'');
}

void ssh_login_quote(struct buf *out, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add_quoted(out, words[i]);
    }
}

/* ---- as a child ---- */

extern char **environ;

/* Restores the signal mask: ssh must receive SIGINT. */
static int spawn_ssh(char *const *argv, const struct wakeup *wakeup, pid_t *ret_pid)
{
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &wakeup->old_mask);
    int rc = posix_spawnp(ret_pid, argv[0], NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* Returns the signal that came first; 0: the child ended by itself. It is not reaped here, so its
 * pid cannot come to mean another process. */
static int await_end(pid_t pid, int pidfd, struct wakeup *wakeup)
{
    enum { GRACE_MS = 2000, NO_PIDFD_MS = 50 };
    struct pollfd fds[] = {
        {.fd = pidfd, .events = POLLIN}, {.fd = wakeup->signal_fd, .events = POLLIN}};
    siginfo_t ended = {.si_pid = 0};
    int number = 0, limit_ms = pidfd < 0 ? NO_PIDFD_MS : -1;
    while (
        waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0) {
        int n_ready = poll(fds, ARRAY_LEN(fds), limit_ms);
        int caught = n_ready > 0 && fds[1].revents ? wakeup_wait(wakeup, 0) : 0;
        if (caught > 0) {
            (void)kill(pid, SIGTERM);
            number = number ? number : caught;
            limit_ms = GRACE_MS;
        } else if (number > 0 && n_ready == 0) {
            (void)kill(pid, SIGKILL);
        }
    }
    return number;
}

int ssh_login_run(char *const *argv, struct wakeup *wakeup, struct error *err)
{
    pid_t pid = -1;
    (void)fflush(stdout);
    int rc = spawn_ssh(argv, wakeup, &pid);
    if (rc != 0) {
        (void)error_set_errno(err, ERR_SSH, rc, "cannot run ssh");
        return error_help(err, "install the SSH client (package openssh-client)");
    }
    cleanup_close int pidfd = pidfd_open(pid, 0);
    int number = await_end(pid, pidfd, wakeup), status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (number > 0) {
        return wakeup_exit_status(number);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : SSH_TRANSPORT_FAILED;
}
