/* SPDX-License-Identifier: MPL-2.0 */
/* The state of a session that is being opened, shared by connect.c and login.c. */
#pragma once

#include "reconcilers/ssh/key_file.h"
#include "reconcilers/ssh/session.h"

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
    bool is_done; /* the session is the caller's now */
    char *host, *user, *host_key_path;
    uint16_t port;
    int64_t connect_ms, banner_ms, login_ms;
    size_t n_banner_bytes;
    struct public_key pin;
    struct ssh_key keys[SSH_KEYS_MAX];
    size_t n_keys;
    size_t current_key;
    bool is_key_offered; /* the current key passed the check and is libssh2's */
    bool is_any_refused;
    struct buf tried; /* "'/a' (refused), '/b' (encrypted)" */
    struct ssh_session **ret_session;
};

/* Tries the keys one after the other (RFC 4252, 7). */
enum ssh_progress opening_step_login(struct opening *opening, struct error *err);
