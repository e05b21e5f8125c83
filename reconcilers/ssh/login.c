/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <string.h>

#include "reconcilers/ssh/opening.h"

static void note(struct opening *opening, const char *outcome)
{
    buf_printf(&opening->tried, "%s'%s' (%s)", opening->tried.len > 0 ? ", " : "",
        opening->keys[opening->current_key].path, outcome);
}

static enum ssh_progress next_key(struct opening *opening)
{
    opening->current_key++;
    opening->is_key_offered = false;
    return SSH_AGAIN;
}

/* A key that the user named must be usable; others are skipped, and mentioned if they exist. */
static enum ssh_progress check_key(struct opening *opening, struct error *err)
{
    const struct ssh_key *key = &opening->keys[opening->current_key];
    struct error cause = {.code = ERR_NONE};
    if (private_key_check(key->path, &cause) == 0) {
        opening->is_key_offered = true;
        return SSH_AGAIN;
    }
    if (key->is_explicit) {
        *err = cause;
        return SSH_FAILED;
    }
    if (cause.sys_errno != ENOENT) {
        const char *colon = strrchr(cause.message, ':');
        note(opening, colon ? colon + 2 : cause.message);
    }
    return next_key(opening);
}

static enum ssh_progress no_key_left(struct opening *opening, struct error *err)
{
    if (opening->tried.len == 0) { /* nothing that the guest could mend by booting on */
        error_set(err, ERR_KEY_UNREADABLE, "there is no private key to log in with");
        error_help(err, "name one in the VMFile: ssh { private-key \"~/.ssh/…\" }");
    } else {
        error_set(err, ERR_SSH_AUTH, "user '%s' was let in with none of these keys: %s",
            opening->user, buf_str(&opening->tried));
        error_help(err, "check `user` and the key in the VMFile (best an ed25519 key: newer guests "
                        "refuse RSA signatures of this libssh2); see: vmctl log NAME --console");
    }
    return SSH_FAILED;
}

/* The server may hang up on a client that tries too many keys (sshd_config(5), MaxAuthTries). */
static enum ssh_progress lost(struct opening *opening, struct error *err)
{
    if (!opening->is_any_refused) {
        return ssh_session_fail(opening->task.session, err, "login failed");
    }
    error_set(err, ERR_SSH_AUTH, "the guest hung up after refusing user '%s' these keys: %s",
        opening->user, buf_str(&opening->tried));
    return SSH_FAILED;
}

/* libssh2 could not use the file: a kind of key it does not know, or a damaged one. */
static enum ssh_progress unusable_key(struct opening *opening, struct error *err)
{
    const struct ssh_key *key = &opening->keys[opening->current_key];
    char *reason = NULL;
    (void)libssh2_session_last_error(opening->task.session->ssh, &reason, NULL, 0);
    if (key->is_explicit) {
        error_set(err, ERR_KEY_UNREADABLE, "cannot use key '%s': %s", key->path,
            reason && reason[0] ? reason : "unknown format");
        return SSH_FAILED;
    }
    note(opening, "unusable");
    return next_key(opening);
}

static enum ssh_progress offer_key(struct opening *opening, struct error *err)
{
    struct ssh_session *session = opening->task.session;
    int rc = libssh2_userauth_publickey_fromfile_ex(session->ssh, opening->user,
        (unsigned)strlen(opening->user), NULL, opening->keys[opening->current_key].path, NULL);
    if (rc == 0) {
        return SSH_DONE;
    }
    if (ssh_would_block(rc)) {
        return SSH_BLOCKED;
    }
    if (session->sys_errno || session->is_closed_by_peer) {
        return lost(opening, err);
    }
    if (rc == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED || rc == LIBSSH2_ERROR_AUTHENTICATION_FAILED) {
        opening->is_any_refused = true;
        note(opening, "refused");
        return next_key(opening);
    }
    return unusable_key(opening, err);
}

enum ssh_progress opening_step_login(struct opening *opening, struct error *err)
{
    if (opening->current_key == opening->n_keys) {
        return no_key_left(opening, err);
    }
    return opening->is_key_offered ? offer_key(opening, err) : check_key(opening, err);
}
