/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Options that several commands share: the values they fill, and rows for the commands' tables.
 * `type` is the command's values struct; it holds a `struct which_values which` and, to follow, a
 * `struct follow_values follow`.
 */
#pragma once

#include <stddef.h>

#include "cli/args.h"

/* Which VMs are meant: see cli/request/targets.h. */
struct which_values {
    struct arg_strings files; /* --file, in order; none: see cli/request/project.h */
    struct arg_strings names;
    const char *selector; /* NULL: not given */
    bool is_all;
};

/* Whether, and for how long, the command follows its request. */
struct follow_values {
    bool is_detached;
    int64_t timeout_ms;
};

/* Ten minutes, and a millisecond that distinguishes the default from `--timeout 10m`. */
enum { FOLLOW_TIMEOUT_MS = 10 * 60 * 1000 + 1 };

#define OPTION_FILE(type, letter_or_0)                                                             \
    {                                                                                              \
        "file", letter_or_0, ARG_REPEATED, offsetof(type, which.files), "PATH",                    \
            "the VMFile, its directory, or - for standard input; later ones override it "          \
            "[default: $VMCTL_FILE, VMFile.kdl here or above]"                                     \
    }
#define OPTION_NAME(type)                                                                          \
    {"name", 0, ARG_REPEATED, offsetof(type, which.names), "VM", "only this VM; may be repeated"}, \
    {                                                                                              \
        "selector", 'l', ARG_TEXT, offsetof(type, which.selector), "LABELS",                       \
            "only VMs with these labels: tier=web,env!=prod"                                       \
    }
/* Of a command that means one VM. */
#define OPTION_ONE_NAME(type)                                                                      \
    {                                                                                              \
        "name", 0, ARG_REPEATED, offsetof(type, which.names), "VM", "which VM"                     \
    }
/* A `struct arg_strings shares`, for shares_add(). */
#define OPTION_SHARE(type)                                                                         \
    {                                                                                              \
        "share", 0, ARG_REPEATED, offsetof(type, shares), "HOST:GUEST[:ro]",                       \
            "share a directory of this host with the guest; may be repeated"                       \
    }
/* A `struct arg_strings options`, for ssh_argv_begin(). */
#define OPTION_SSH_OPT(type)                                                                       \
    {                                                                                              \
        "ssh-opt", 0, ARG_REPEATED, offsetof(type, options), "OPTION",                             \
            "an option for ssh: Keyword=VALUE, or -L8080:localhost:80; repeatable"                 \
    }
#define OPTION_ALL(type)                                                                           \
    {                                                                                              \
        "all", 0, ARG_FLAG, offsetof(type, which.is_all), NULL, "all VMs, or all of --project"     \
    }
#define OPTIONS_FOLLOW(type)                                                                       \
    {"detach", 'd', ARG_FLAG, offsetof(type, follow.is_detached), NULL,                            \
        "return as soon as the request is recorded"},                                              \
        {"no-wait", 0, ARG_FLAG, offsetof(type, follow.is_detached), NULL, NULL},                  \
    {                                                                                              \
        "timeout", 0, ARG_DURATION, offsetof(type, follow.timeout_ms), "DURATION",                 \
            "stop following after this long [default: 10m]"                                        \
    }
/* A `bool is_sure`: see confirm_erasure(). */
#define OPTION_YES(type)                                                                           \
    {                                                                                              \
        "yes", 'y', ARG_FLAG, offsetof(type, is_sure), NULL, "do not ask before erasing a disk"    \
    }
/* A `const char *prune`: see prune_parse(). */
#define OPTION_PRUNE(type)                                                                         \
    {                                                                                              \
        "prune", 0, ARG_OPTIONAL, offsetof(type, prune), "stop|destroy",                           \
            "destroy, or just stop, VMs that the VMFile no longer names"                           \
    }
#define OPTION_WATCH(type)                                                                         \
    {                                                                                              \
        "watch", 0, ARG_FLAG, offsetof(type, watches), NULL,                                       \
            "do the same after every later change of the VMFile"                                   \
    }
#define OPTIONS_END                                                                                \
    {                                                                                              \
        NULL, 0, ARG_FLAG, 0, NULL, NULL                                                           \
    }
