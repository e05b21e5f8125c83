/* SPDX-License-Identifier: MPL-2.0 */
/* The options of vmctl-serve, which `vmctl serve` takes, checks and completes, too. */
#pragma once

#include "cli/args.h"

struct serve_values {
    const char *listen;     /* NULL: the unix socket */
    const char *token_file; /* NULL: DATA/serve.token */
    const char *tls_cert, *tls_key;
    struct arg_strings hosts;
    bool allows_changes;
};

extern const struct arg_option serve_options[];
extern const char serve_usage[], serve_details[];
