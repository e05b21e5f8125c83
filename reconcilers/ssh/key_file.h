/* SPDX-License-Identifier: MPL-2.0 */
/* SSH key files: whether a private one can be used, and the content of a public one. */
#pragma once

#include "specs/base/public_key.h"

struct error;

/*
 * Checks a private key without using it: libssh2 reports missing, unreadable and encrypted files
 * alike. Returns 0 or -ERR_KEY_UNREADABLE; err->sys_errno is ENOENT when
 * there is no such file.
 */
int private_key_check(const char *path, struct error *err);

/* Reads a file with a public key in its first line. ERR_KEY_UNREADABLE. */
int public_key_read(const char *path, struct public_key *ret, struct error *err);
