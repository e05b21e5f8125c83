/* SPDX-License-Identifier: MPL-2.0 */
/* SSH key files: whether a private one can be used, and the content of a public one. */
#pragma once

#include <stddef.h>

#include "specs/base/buf.h"

struct error;

/*
 * Checks a private key without using it: libssh2 reports missing, unreadable and encrypted files
 * alike. Returns 0 or -ERR_KEY_UNREADABLE; err->sys_errno is ENOENT when
 * there is no such file.
 */
int private_key_check(const char *path, struct error *err);

/* A public key in SSH's wire format (RFC 4253, 6.6). */
struct public_key {
    char type[64]; /* "ssh-ed25519" */
    struct buf blob;
};

/* Reads "TYPE BASE64 COMMENT" (sshd(8), AUTHORIZED_KEYS without options). ERR_KEY_UNREADABLE. */
int public_key_read(const char *path, struct public_key *ret, struct error *err);
void public_key_clear(struct public_key *key);

/* Appends "SHA256:…" as ssh-keygen -l shows it. */
void key_fingerprint(struct buf *out, const void *blob, size_t n);
