/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Opening a session, stage by stage; each has its own deadline:
 *
 *   TCP        the connection: connect_ms
 *   BANNER     the line "SSH-2.0-…": banner_ms (slirp accepts before the guest listens)
 *   HANDSHAKE  the key exchange: login_ms, for all of the rest
 *   HOST_KEY   compares it with the pin; waits for nothing
 *   LOGIN      the response to the next key
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reconcilers/ssh/key_file.h"
#include "reconcilers/ssh/session.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum opening_stage {
    OPENING_TCP,
    OPENING_BANNER,
    OPENING_HANDSHAKE,
    OPENING_HOST_KEY,
    OPENING_LOGIN,
    OPENING_STAGE_COUNT_
};

enum {
    OPENING_BANNER_MAX = 8192, /* bytes until the identification is complete */
    OPENING_TRIED_MAX = 768,   /* of an error message */
};

struct opening {
    struct ssh_task task; /* first */
    enum opening_stage stage;
    bool is_done; /* the caller owns the session now */
    char *host, *user, *host_key_path;
    uint16_t port;
    int64_t connect_ms, banner_ms, login_ms;
    size_t n_banner_bytes;
    struct public_key pin;
    struct ssh_key keys[SSH_KEYS_MAX];
    size_t n_keys;
    size_t current_key;
    struct buf key;      /* the current one, which passed the check */
    bool is_key_offered; /* it is libssh2's */
    bool is_any_refused;
    struct buf tried; /* "'/a' (refused), '/b' (encrypted)" */
    struct ssh_session **ret_session;
};

static enum ssh_progress opening_enter(struct opening *opening, enum opening_stage stage)
{
    opening->stage = stage;
    if (stage == OPENING_BANNER) {
        ssh_task_set_deadline(&opening->task, opening->banner_ms);
    } else if (stage == OPENING_HANDSHAKE) {
        ssh_task_set_deadline(&opening->task, opening->login_ms);
    }
    return SSH_AGAIN;
}

/* ---- TCP ---- */

static int start_connection(struct opening *opening, struct error *err)
{
    struct addrinfo *address;
    char port[8];
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    (void)snprintf(port, sizeof(port), "%u", opening->port);
    if (getaddrinfo(opening->host, port, &hints, &address) != 0) {
        return error_set(err, ERR_SSH, "'%s' is not an IP address", opening->host);
    }
    cleanup_close int fd =
        socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1; /* small packets that wait for each other's answer: Nagle costs 40 ms for each */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    int rc = fd < 0 ? -1 : connect(fd, address->ai_addr, address->ai_addrlen);
    int sys_errno = errno;
    freeaddrinfo(address);
    if (rc < 0 && (fd < 0 || sys_errno != EINPROGRESS)) {
        return error_set_errno(err, ERR_SSH, sys_errno, "cannot connect");
    }
    return ssh_session_attach(opening->task.session, TAKE_FD(fd), err);
}

static enum ssh_progress step_tcp(struct opening *opening, struct error *err)
{
    struct ssh_session *session = opening->task.session;
    if (session->fd < 0) {
        opening->task.interest = LOOP_WRITE;
        return start_connection(opening, err) < 0 ? SSH_FAILED : SSH_BLOCKED;
    }
    int sys_errno = 0;
    socklen_t size = sizeof(sys_errno);
    if (getsockopt(session->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &size) < 0) {
        sys_errno = errno;
    }
    if (sys_errno) {
        error_set_errno(err, ERR_SSH, sys_errno, "cannot connect");
        return SSH_FAILED;
    }
    return opening_enter(opening, OPENING_BANNER);
}

/* ---- banner ---- */

/* Drops the lines that may precede the identification (RFC 4253, 4.2: other lines); true once that
 * line is complete, at the start of `early`. */
static bool find_identification(struct buf *early)
{
    for (;;) {
        const char *end = early->len > 0 ? memchr(early->data, '\n', early->len) : NULL;
        if (!end) {
            return false;
        }
        if (text_starts_with(early->data, "SSH-")) {
            return true;
        }
        buf_consume(early, (size_t)(end - early->data) + 1);
    }
}

static enum ssh_progress step_banner(struct opening *opening, struct error *err)
{
    struct ssh_session *session = opening->task.session;
    char bytes[1024];
    ssize_t n = ssh_session_receive(session, bytes, sizeof(bytes));
    if (n == -EAGAIN) {
        opening->task.interest = LOOP_READ;
        return SSH_BLOCKED;
    }
    if (n < 0 && n != -ECONNRESET) {
        error_set_errno(err, ERR_SSH, (int)-n, "no SSH banner");
        return SSH_FAILED;
    }
    if (n <= 0) {
        error_set(err, ERR_SSH, "the connection was closed before an SSH banner came");
        err->sys_errno = ECONNREFUSED; /* what slirp makes of the guest's RST */
        return SSH_FAILED;
    }
    opening->n_banner_bytes += (size_t)n;
    if (opening->n_banner_bytes > OPENING_BANNER_MAX) {
        error_set(err, ERR_SSH, "the port is not an SSH server");
        return SSH_FAILED;
    }
    buf_add(&session->early, bytes, (size_t)n);
    if (!find_identification(&session->early)) {
        return SSH_AGAIN;
    }
    const char *line = session->early.data;
    if (text_starts_with(line, "SSH-2.0-") || text_starts_with(line, "SSH-1.99-")) {
        return opening_enter(opening, OPENING_HANDSHAKE);
    }
    error_set(err, ERR_SSH, "the guest does not support SSH 2.0");
    return SSH_FAILED;
}

/* ---- key exchange and host key ---- */

/*
 * The pinned kind of key first, so that a server with several shows that one; the others stay
 * acceptable so that another server's key is a mismatch and not a failed negotiation. Only what
 * libssh2 supports is named: 1.10 removes the rest by an overlapping memcpy.
 */
static void prefer_pinned_type(struct opening *opening)
{
    LIBSSH2_SESSION *ssh = opening->task.session->ssh;
    cleanup_buf struct buf methods = BUF_INIT(0);
    const char **supported = NULL;
    int n = libssh2_session_supported_algs(ssh, LIBSSH2_METHOD_HOSTKEY, &supported);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++) {
            if (text_eq(supported[i], opening->pin.type) == (pass == 0)) {
                buf_printf(&methods, "%s%s", methods.len > 0 ? "," : "", supported[i]);
            }
        }
    }
    if (n > 0) {
        libssh2_free(ssh, __extension__(void *) supported);
        (void)libssh2_session_method_pref(ssh, LIBSSH2_METHOD_HOSTKEY, buf_str(&methods));
    }
}

static enum ssh_progress step_handshake(struct opening *opening, struct error *err)
{
    struct ssh_session *session = opening->task.session;
    if (opening->host_key_path && !opening->pin.type[0]) {
        if (public_key_read(opening->host_key_path, &opening->pin, err) < 0) {
            return SSH_FAILED;
        }
        prefer_pinned_type(opening);
    }
    int rc = libssh2_session_handshake(session->ssh, session->fd);
    if (rc != 0) {
        return ssh_blocked_or_fail(session, rc, err, "key exchange failed");
    }
    return opening_enter(opening, OPENING_HOST_KEY);
}

static enum ssh_progress step_host_key(struct opening *opening, struct error *err)
{
    if (!opening->host_key_path) {
        return opening_enter(opening, OPENING_LOGIN);
    }
    size_t n = 0;
    int type;
    const char *blob = libssh2_session_hostkey(opening->task.session->ssh, &n, &type);
    const struct buf *pin = &opening->pin.blob;
    if (blob && n == pin->len && memcmp(blob, pin->data, n) == 0) {
        return opening_enter(opening, OPENING_LOGIN);
    }
    cleanup_buf struct buf shown = BUF_INIT(0), wanted = BUF_INIT(0);
    key_fingerprint(&shown, blob ? blob : "", blob ? n : 0);
    key_fingerprint(&wanted, pin->data, pin->len);
    error_set(err, ERR_SSH_HOSTKEY, "the host key is %s, but this VM's is %s (%s)", buf_str(&shown),
        buf_str(&wanted), opening->host_key_path);
    return SSH_FAILED;
}

/* ---- login ---- */

static void note_key(struct opening *opening, const char *outcome)
{
    buf_printf(&opening->tried, "%s'%s' (%s)", opening->tried.len > 0 ? ", " : "",
        opening->keys[opening->current_key].path, outcome);
}

static enum ssh_progress next_key(struct opening *opening)
{
    buf_wipe(&opening->key);
    opening->current_key++;
    opening->is_key_offered = false;
    return SSH_AGAIN;
}

/* A key that the user named must be usable, unless the guest was offered one before: it may accept
 * that one once it has set up its user. */
static enum ssh_progress check_key(struct opening *opening, struct error *err)
{
    const struct ssh_key *key = &opening->keys[opening->current_key];
    struct error cause = {.code = ERR_NONE};
    if (private_key_read(key->path, &opening->key, &cause) == 0) {
        opening->is_key_offered = true;
        return SSH_AGAIN;
    }
    if (key->is_explicit && !opening->is_any_refused) {
        *err = cause;
        return SSH_FAILED;
    }
    if (key->is_explicit || cause.sys_errno != ENOENT) {
        const char *colon = strrchr(cause.message, ':');
        note_key(opening, colon ? colon + 2 : cause.message);
    }
    return next_key(opening);
}

static enum ssh_progress no_key_left(struct opening *opening, struct error *err)
{
    if (opening->tried.len == 0) { /* booting further cannot help */
        error_set(err, ERR_KEY_UNREADABLE, "there is no private key to log in with");
        error_help(err,
            "give a key that the guest accepts: `private-key` of `ssh` in the VMFile; or add "
            "`cloud-init`, which gives a new disk a key of vmctl: vmctl up --recreate");
    } else {
        error_set(err, ERR_SSH_AUTH, "the guest refused user '%s' with each of these keys: %s",
            opening->user, buf_str(&opening->tried));
        error_help(err, "check the user and the key (best an ed25519 key: newer guests refuse RSA "
                        "signatures of this libssh2); see: vmctl log NAME --console");
    }
    return SSH_FAILED;
}

/* libssh2 could not use the file: a kind of key it does not know, or a damaged one. */
static enum ssh_progress unusable_key(struct opening *opening, struct error *err)
{
    const struct ssh_key *key = &opening->keys[opening->current_key];
    char *reason = NULL;
    (void)libssh2_session_last_error(opening->task.session->ssh, &reason, NULL, 0);
    if (key->is_explicit && !opening->is_any_refused) {
        error_set(err, ERR_KEY_UNREADABLE, "cannot use key '%s': %s", key->path,
            reason && reason[0] ? reason : "unknown format");
        return SSH_FAILED;
    }
    note_key(opening, "unusable");
    return next_key(opening);
}

static enum ssh_progress offer_key(struct opening *opening, struct error *err)
{
    struct ssh_session *session = opening->task.session;
    int rc = libssh2_userauth_publickey_frommemory(session->ssh, opening->user,
        strlen(opening->user), NULL, 0, buf_str(&opening->key), opening->key.len, NULL);
    if (rc == 0) {
        return SSH_DONE;
    }
    if (ssh_would_block(rc)) {
        return SSH_BLOCKED;
    }
    if (session->sys_errno || session->is_closed_by_peer) {
        if (!opening->is_any_refused) {
            return ssh_session_fail(session, err, "login failed");
        }
        /* A server may hang up on a client that tries too many keys (sshd_config(5), MaxAuthTries).
         */
        error_set(err, ERR_SSH_AUTH,
            "the guest closed the connection after it refused these keys for user '%s': %s",
            opening->user, buf_str(&opening->tried));
        return SSH_FAILED;
    }
    if (rc == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED || rc == LIBSSH2_ERROR_AUTHENTICATION_FAILED) {
        opening->is_any_refused = true;
        note_key(opening, "refused");
        return next_key(opening);
    }
    return unusable_key(opening, err);
}

/* Tries the keys one after the other (RFC 4252, 7). */
static enum ssh_progress step_login(struct opening *opening, struct error *err)
{
    if (opening->current_key == opening->n_keys) {
        return no_key_left(opening, err);
    }
    return opening->is_key_offered ? offer_key(opening, err) : check_key(opening, err);
}

/* ---- the task ---- */

static enum ssh_progress connect_step(struct ssh_task *task, struct error *err)
{
    static enum ssh_progress (*const steps[])(struct opening *, struct error *) = {
        [OPENING_TCP] = step_tcp,
        [OPENING_BANNER] = step_banner,
        [OPENING_HANDSHAKE] = step_handshake,
        [OPENING_HOST_KEY] = step_host_key,
        [OPENING_LOGIN] = step_login,
    };
    _Static_assert(ARRAY_LEN(steps) == OPENING_STAGE_COUNT_, "every stage has a step");
    struct opening *opening = (struct opening *)(void *)task;
    enum ssh_progress progress = steps[opening->stage](opening, err);
    if (progress == SSH_FAILED) {
        error_wrap(err, "SSH to %s", task->session->name);
    } else if (progress == SSH_DONE) {
        *opening->ret_session = task->session;
        opening->is_done = true;
    }
    return progress;
}

static void connect_expire(struct ssh_task *task, struct error *err)
{
    const struct opening *opening = (struct opening *)(void *)task;
    const char *name = task->session->name;
    bool is_silent = opening->stage == OPENING_TCP || opening->stage == OPENING_BANNER;
    if (opening->stage == OPENING_TCP) {
        error_set(err, ERR_SSH, "SSH to %s: no connection within %lld ms", name,
            (long long)opening->connect_ms);
    } else if (opening->stage == OPENING_BANNER) {
        error_set(err, ERR_SSH, "SSH to %s: no SSH banner within %lld ms of the connection", name,
            (long long)opening->banner_ms);
    } else {
        error_set(err, ERR_SSH, "SSH to %s: %s took longer than %lld ms", name,
            opening->stage == OPENING_LOGIN ? "logging in" : "the key exchange",
            (long long)opening->login_ms);
    }
    err->sys_errno = is_silent ? ETIMEDOUT : 0;
}

static void connect_release(struct ssh_task *task)
{
    struct opening *opening = (struct opening *)(void *)task;
    if (!opening->is_done) {
        ssh_session_close(task->session);
    }
    for (size_t i = 0; i < opening->n_keys; i++) {
        free(opening->keys[i].path);
    }
    buf_clear(&opening->tried);
    buf_wipe(&opening->key);
    public_key_clear(&opening->pin);
    free(opening->host);
    free(opening->user);
    free(opening->host_key_path);
    free(opening);
}

static const struct ssh_task_kind kind = {.name = "login",
    .is_opening = true,
    .step = connect_step,
    .expire = connect_expire,
    .release = connect_release};

static struct ssh_session *session_for(struct loop *loop, const struct ssh_target *target)
{
    bool is_ipv6 = strchr(target->host, ':') != NULL;
    cleanup_free char *name = mem_printf("%s@%s%s%s:%u", target->user, is_ipv6 ? "[" : "",
        target->host, is_ipv6 ? "]" : "", target->port);
    struct ssh_session *session = ssh_session_new(loop, name);
    if (target->keepalive_ms > 0) {
        session->keepalive_ms = target->keepalive_ms;
    }
    return session;
}

struct op *ssh_session_open(struct loop *loop, const struct ssh_target *target,
    struct ssh_session **ret_session, op_done_fn *done, void *context)
{
    struct opening *opening = mem_new(struct opening);
    opening->host = mem_strdup(target->host);
    opening->user = mem_strdup(target->user);
    opening->host_key_path = mem_strdup(target->host_key_path);
    opening->port = target->port;
    for (; opening->n_keys < target->n_keys; opening->n_keys++) {
        const struct ssh_key *key = &target->keys[opening->n_keys];
        opening->keys[opening->n_keys] =
            (struct ssh_key){.path = mem_strdup(key->path), .is_explicit = key->is_explicit};
    }
    opening->tried = BUF_INIT(OPENING_TRIED_MAX);
    opening->connect_ms = target->connect_ms;
    opening->banner_ms = target->banner_ms;
    opening->login_ms = target->login_ms;
    opening->ret_session = ret_session;
    ssh_task_start(
        &opening->task, &kind, session_for(loop, target), target->connect_ms, done, context);
    return &opening->task.op;
}
