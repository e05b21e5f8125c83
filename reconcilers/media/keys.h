/* SPDX-License-Identifier: MPL-2.0 */
/*
 * SSH key pairs of a VM, made by ssh-keygen(1) and never made again: the guest trusts the first
 * one. A private key is complete or absent (temporary file, fsync, rename); a lost public key is
 * derived from it again.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"

struct error;
struct reconciler_host;

struct key_pair {
    const char *private_path;
    const char *public_path;
    const char *comment; /* stands at the end of the public key */
};

bool keys_exist(const struct key_pair *pair);

/* Makes what is missing of `pair` (copied; the directory exists). Errors: -ERR_KEYGEN,
 * -ERR_NO_SPACE, -ERR_IO. */
struct op *keys_make(
    struct reconciler_host *host, const struct key_pair *pair, op_done_fn *done, void *context);

/* Pure. Whether a line is one public key: type, base64 and perhaps a comment (sshd(8)). */
bool keys_is_public(const char *line);
