/* SPDX-License-Identifier: MPL-2.0 */
/* A public key of SSH as its files hold it: "TYPE BASE64 COMMENT" (sshd(8), AUTHORIZED_KEYS). */
#pragma once

#include <stdbool.h>

#include "specs/base/buf.h"

/* In SSH's wire format (RFC 4253, 6.6). */
struct public_key {
    char type[64]; /* "ssh-ed25519" */
    struct buf blob;
};

/* Reads the first line, which has no options; false, and nothing to clear, when it is none. */
bool public_key_parse(const char *text, struct public_key *ret);
void public_key_clear(struct public_key *key);

/* Appends "SHA256:…" as ssh-keygen -l shows it. */
void key_fingerprint(struct buf *out, const void *blob, size_t n);
