/* SPDX-License-Identifier: MPL-2.0 */
/* SSH key files: whether a private one can be used, and the content of a public one. */
#pragma once

#include "specs/base/public_key.h"

struct buf;
struct error;

/*
 * Reads a private key and checks it: libssh2 reports missing, unreadable and encrypted files alike,
 * and would read them itself, which may block. Returns 0 with the text in *ret, which buf_wipe()
 * clears; or -ERR_KEY_UNREADABLE: err->sys_errno is ENOENT when there is no such file.
 */
int private_key_read(const char *path, struct buf *ret, struct error *err);

/* Reads a file with a public key in its first line. ERR_KEY_UNREADABLE. */
int public_key_read(const char *path, struct public_key *ret, struct error *err);
