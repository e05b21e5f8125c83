/* SPDX-License-Identifier: MPL-2.0 */
/*
 * SSH (RFC 4251-4254) to one guest, on the loop: log in, run commands, upload files.
 * The only folder that knows libssh2; nothing here blocks and nothing here decides to retry.
 *
 * A session serves one operation at a time. An operation that fails or is cancelled ends the
 * session with it, because libssh2 cannot abandon a half-done call: see
 * ssh_session_is_usable().
 * A turn of the loop moves at most 256 KiB each way, so that one busy guest does not hold up the
 * others.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/loop/op.h"

struct loop;
struct ssh_session;

struct ssh_key {
    char *path; /* of an unencrypted private key: OpenSSH's format or PEM */
    /* The user named it: when it is unusable and no key before it was refused, that is an error.
     * All others are skipped, and mentioned if they exist. */
    bool is_explicit;
};

enum { SSH_KEYS_MAX = 6 }; /* sshd drops a client after MaxAuthTries, by default 6 */

struct ssh_target {
    const char *host; /* numeric IPv4 or IPv6 address: nothing is resolved, that would block */
    uint16_t port;
    const char *user;
    struct ssh_key keys[SSH_KEYS_MAX]; /* tried in this order */
    size_t n_keys;
    const char *host_key_path; /* OpenSSH public key file the server must prove; NULL: any */
    /* Each stage has its own limit, so that a port that accepts before the guest listens (slirp)
     * costs no more than the banner's. */
    int64_t connect_ms;
    int64_t banner_ms; /* from the connection to the server's identification line */
    int64_t login_ms;  /* key exchange, host key and authentication together */
    int64_t
        keepalive_ms; /* three of these without a byte, while an operation runs, end it; 0: 15 s */
};

/* Once a process; again is fine. Before any thread uses libssh2. */
void ssh_library_init(void);

/*
 * Connects and logs in. *ret_session (borrowed until `done`) is set on success; ssh_session_close()
 * it. The target is copied. Errors: ERR_SSH not reachable or not SSH, with sys_errno ECONNREFUSED
 * when nothing listens and ETIMEDOUT when nothing came before the banner; ERR_SSH_HOSTKEY another
 * key than the pinned one; ERR_SSH_AUTH no key was accepted; ERR_KEY_UNREADABLE an explicit key, or
 * the pinned one, cannot be used.
 */
struct op *ssh_session_open(struct loop *loop, const struct ssh_target *target,
    struct ssh_session **ret_session, op_done_fn *done, void *context);

/* No operation may be under way. NULL is fine. */
void ssh_session_close(struct ssh_session *session);

/* False once an operation failed or the peer closed the connection. A guest that vanished silently
 * is not noticed. */
bool ssh_session_is_usable(struct ssh_session *session);

/* The command's standard output and standard error in the order in which they arrive, which is why
 * they are not distinguished. May not cancel or close anything. */
typedef void ssh_output_fn(void *context, const char *bytes, size_t n);

struct ssh_exec_request {
    const char *command;    /* for the user's login shell, at most 30000 bytes; copied */
    const char *input_text; /* sent to its standard input; copied … */
    const char *input_path; /* … and then this local file; both NULL: it is empty; copied */
    ssh_output_fn *output;  /* NULL: dropped */
    void *output_context;
    int64_t timeout_ms; /* 0: no limit */
};

struct ssh_exit {
    int status;      /* 0…255; -1: ended by `signal` */
    char signal[16]; /* "KILL", "" none (RFC 4254, 6.10) */
};

/* Runs a command. Any exit status is a success of the operation: it is in *result (borrowed until
 * `done`).
 * Errors: ERR_SSH connection lost; ERR_TIMEOUT; ERR_IO `input_path` cannot be read. */
struct op *ssh_exec(struct ssh_session *session, const struct ssh_exec_request *request,
    struct ssh_exit *result, op_done_fn *done, void *context);

struct ssh_dial_request {
    uint16_t port;       /* of the guest, on its 127.0.0.1 */
    const char *request; /* sent once connected; NULL: connecting is all; copied */
    bool (*is_complete)(const char *answer); /* of what has been answered to it */
    int64_t timeout_ms;
};

struct buf;

/*
 * Connects from within the guest, by the server's TCP forwarding (RFC 4254, 7.2), and with a
 * request collects the response: until it is complete, `answer` (bounded by the caller, borrowed
 * until `done`) is full, or the other side closes. Errors: ERR_PROBE nothing
 * listens, or sshd forwards no TCP, the session still usable; ERR_SSH connection lost;
 * ERR_TIMEOUT.
 */
struct op *ssh_dial(struct ssh_session *session, const struct ssh_dial_request *request,
    struct buf *answer, op_done_fn *done, void *context);

struct ssh_upload_request {
    const char *local_path;
    const char *remote_path; /* replaced in place: give a temporary name and rename it */
    unsigned mode;           /* permission bits of the remote file */
    int64_t timeout_ms;      /* 0: no limit */
};

/*
 * Copies a file over SFTP, or through `cat` where the server has no SFTP; synced if the server can
 * (fsync@openssh.com). Errors: ERR_IO the local file; ERR_PROVISION the guest refuses, with its
 * reason, the partial file removed and the session still usable; ERR_SSH connection lost;
 * ERR_TIMEOUT.
 */
struct op *ssh_upload(struct ssh_session *session, const struct ssh_upload_request *request,
    op_done_fn *done, void *context);

/* ---- commands that outlive the connection ---- */

enum detached_end {
    DETACHED_EXITED,
    DETACHED_TIMED_OUT,
    DETACHED_KILLED,    /* its keeper ended without a result: killed, or the disk was reset */
    DETACHED_REBOOTED,  /* the same, and the guest was started since */
    DETACHED_NOT_BEGUN, /* as `must_exist` wants it, or the guest has no POSIX shell or no place */
};

/* MiB of its output that the guest keeps for the reader; output beyond that may be lost. */
#define SSH_DETACHED_LOG_MIB 33

struct ssh_detached_request {
    const char
        *base;      /* a directory of the guest that every user may write to, on disk: "/var/tmp" */
    const char *id; /* "GROUP-NAME" of this run only: letters and digits, up to 33 */
    const char *command;     /* for the user's login shell */
    const char *local_path;  /* or this local script, which runs in the guest as … */
    const char *script_path; /* … this file, removed afterwards */
    const char *environment; /* "A='1' B='2' ", words of a shell; NULL: none; without '!' */
    const char *secrets;   /* lines before the command or script on its way there; NULL: none … */
    size_t n_secret_lines; /* … so many; kept in memory alone, as is then the output … */
    const char *take_secrets; /* … and see detached_script.h */
    uint64_t offset;          /* bytes of its output to skip */
    uint32_t timeout_s;       /* kept in the guest; 0: no limit */
    bool must_exist;          /* it was begun before: not begun again when nothing is left of it */
    bool is_last;             /* no other run follows: cleans up in the guest after a success too */
    ssh_output_fn *output;
    void *output_context;
};

struct ssh_detached_result {
    enum detached_end end;
    int status; /* DETACHED_EXITED: 0…255; above 128 usually ended by signal status - 128 */
};

/*
 * Begins a command in the guest, or finds the one that any controller began under this ID, and
 * follows its output until it is over. Losing the connection or the caller does not end it; calling
 * this again resumes it. Beginning one ends the others of its group (detached_script.h). Standard
 * output and standard error come in the order in which they were written; standard input is empty.
 * The request is copied. Any end of the command is a success of the operation.
 *
 * Errors: ERR_SSH the connection was lost, or another reader follows now; ERR_IO the local script.
 */
struct op *ssh_detached(struct ssh_session *session, const struct ssh_detached_request *request,
    struct ssh_detached_result *result, op_done_fn *done, void *context);
