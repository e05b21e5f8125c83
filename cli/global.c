/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/global.h"

#include <stddef.h>

const struct arg_option global_options[] = {
    {"output", 'o', ARG_TEXT, offsetof(struct global_values, output), "FORMAT",
        "text (or table), wide, name, json or yaml"},
    {"quiet", 'q', ARG_FLAG, offsetof(struct global_values, is_quiet), NULL, "no progress"},
    {"color", 0, ARG_TEXT, offsetof(struct global_values, color), "WHEN",
        "auto, always or never (NO_COLOR is obeyed)"},
    {"data-dir", 0, ARG_TEXT, offsetof(struct global_values, data_dir), "DIR",
        "instead of $XDG_DATA_HOME/vmctl"},
    {"help", 'h', ARG_FLAG, offsetof(struct global_values, wants_help), NULL,
        "show the help of vmctl, or of a command"},
    {"version", 0, ARG_FLAG, offsetof(struct global_values, wants_version), NULL,
        "show the version"},
    {NULL, 0, ARG_FLAG, 0, NULL, NULL},
};
