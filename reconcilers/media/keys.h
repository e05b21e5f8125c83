/* SPDX-License-Identifier: MPL-2.0 */
/*
 * SSH key pairs of a VM, Ed25519 (RFC 8032) in the files of OpenSSH (its PROTOCOL.key), never made
 * again: the guest trusts the first one. A private key is complete or absent (new_file.h); a lost
 * public key is derived from it again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "controller/loop/op.h"

struct error;
struct reconciler_host;

struct key_pair {
    const char *private_path;
    const char *public_path;
    const char *comment; /* stands at the end of the public key */
};

bool keys_exist(const struct key_pair *pair);

/* Makes what is missing of the pairs (at most KEY_PAIRS_MAX, copied), which lie in one directory,
 * which exists. Errors: -ERR_KEYGEN, a private key that is damaged or is another one than is made
 * here; -ERR_NO_SPACE, -ERR_IO. */
enum { KEY_PAIRS_MAX = 2 };
struct op *keys_make(struct reconciler_host *host, const struct key_pair *pairs, size_t n,
    op_done_fn *done, void *context);

/* Pure. Whether a line is one public key: type, base64 and perhaps a comment (sshd(8)). */
bool keys_is_public(const char *line);
