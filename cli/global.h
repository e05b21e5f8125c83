/* SPDX-License-Identifier: MPL-2.0 */
/* The options that every command takes, before or after its name: parsed by main, printed by the
 * help, offered by the completion, from one table. */
#pragma once

#include <stdbool.h>

#include "cli/args.h"

struct global_values {
    const char *output;
    const char *color;
    const char *data_dir;
    bool is_quiet;
    bool wants_help;
    bool wants_version;
};

/* Offsets are into struct global_values; ends with a NULL name. */
extern const struct arg_option global_options[];
