/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl cp: copies files to and from a VM, by the scp program. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

enum { AWAIT_MS = 30 * 1000, TRANSPORT_FAILED = 255 };

struct cp_values {
    struct which_values which; /* for ":PATH", which names no VM */
    const char *user;
    const char *key;
    struct arg_strings options;
    bool is_recursive;
    bool keeps_times;
    bool uses_old_protocol;
};

static const struct arg_option options[] = {
    {"recursive", 'r', ARG_FLAG, offsetof(struct cp_values, is_recursive), NULL,
        "copy directories with all they hold"},
    {"preserve", 'p', ARG_FLAG, offsetof(struct cp_values, keeps_times), NULL,
        "keep times and modes"},
    {"user", 'u', ARG_TEXT, offsetof(struct cp_values, user), "USER",
        "the guest's user [default: the VMFile's, vm]"},
    {"key", 'i', ARG_TEXT, offsetof(struct cp_values, key), "PATH", "private key to try first"},
    {"old-protocol", 'O', ARG_FLAG, offsetof(struct cp_values, uses_old_protocol), NULL,
        "for guests without an SFTP server (scp -O)"},
    OPTION_SSH_OPT(struct cp_values),
    OPTION_FILE(struct cp_values, 'f'),
    OPTIONS_END,
};

/* ---- where from, where to ---- */

/* Behind the colon of "VM:PATH", NULL: a path of this host, as everything with a '/' before its
 * first ':' is (scp(1)). */
static const char *remote_path(const char *word)
{
    size_t n = strcspn(word, ":/");
    return word[n] == ':' ? word + n + 1 : NULL;
}

/* The name before the colon, as it was written: "" means the VMFile's only VM. free() *ret. */
static int find_vm_word(const struct arg_strings *words, char **ret, struct error *err)
{
    cleanup_free char *found = NULL;
    for (size_t i = 0; i < words->count; i++) {
        const char *path = remote_path(words->items[i]);
        if (!path) {
            continue;
        }
        cleanup_free char *name =
            mem_strndup(words->items[i], (size_t)(path - 1 - words->items[i]));
        if (found && !text_eq(found, name)) {
            (void)error_set(err, ERR_USAGE, "cannot copy from one VM to another");
            return error_help(err, "copy to this host first, then to the other VM");
        }
        free(found);
        found = TAKE_PTR(name);
    }
    if (!found) {
        (void)error_set(err, ERR_USAGE, "none of the paths is in a VM");
        return error_help(err, "write it as VM:PATH, such as: vmctl cp notes.txt web:/tmp/");
    }
    *ret = TAKE_PTR(found);
    return 0;
}

/*
 * A path of the guest as scp is to read it: over SFTP scp itself takes it for a pattern, unless it
 * is where to copy to; with the old protocol the guest's shell reads it. A '~' at the beginning
 * stays what it is.
 */
static void add_remote_path(struct buf *out, const char *path, bool is_old, bool is_target)
{
    static const char safe[] = "+,-./:=@_~";
    for (const char *at = path; *at; at++) {
        bool is_plain = (*at & 0x80) || isalnum((unsigned char)*at) || strchr(safe, *at);
        if (is_old ? !is_plain : !is_target && strchr("*?[]\\", *at)) {
            buf_add_char(out, '\\');
        }
        buf_add_char(out, *at);
    }
}

/* As scp is to read it; what begins like an option is made a path. free() it. */
static char *scp_word(
    const struct cp_values *cp, const char *vm_name, const char *word, bool is_target)
{
    const char *path = remote_path(word);
    if (path) {
        struct buf out = BUF_INIT(0);
        buf_printf(&out, "%s:", vm_name);
        add_remote_path(&out, path, cp->uses_old_protocol, is_target);
        return buf_steal(&out);
    }
    return word[0] == '-' ? mem_printf("./%s", word) : mem_strdup(word);
}

/* ---- the call ---- */

static void make_argv(const struct cli *cli, const struct cp_values *cp, const char *vm_name,
    const struct ssh_login *login, const struct arg_strings *words, struct ssh_argv *argv)
{
    const struct {
        bool is_set;
        const char *word;
    } flags[] = {{cp->is_recursive, "-r"}, {cp->keeps_times, "-p"}, {cp->uses_old_protocol, "-O"},
        {cli->is_quiet, "-q"}, {true, "--"}};
    ssh_argv_begin(argv, "scp", login, &cp->options);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].is_set) {
            ssh_argv_add(argv, mem_strdup(flags[i].word));
        }
    }
    for (size_t i = 0; i < words->count; i++) {
        ssh_argv_add(argv, scp_word(cp, vm_name, words->items[i], i + 1 == words->count));
    }
}

static int become_scp(struct cli *cli, const struct ssh_argv *argv, struct error *err)
{
    (void)fflush(stdout);
    store_close(cli->store); /* its reader slot is this process's */
    cli->store = NULL;
    (void)umask(cli->caller_umask);
    (void)execvp("scp", argv->words);
    (void)error_set_errno(err, ERR_SSH, errno, "cannot run scp");
    (void)error_help(err, "install the SSH client (package openssh-client)");
    cli_print_error(cli, err);
    return TRANSPORT_FAILED;
}

static int copy(struct cli *cli, const struct cp_values *cp, const char *vm_name,
    const struct arg_strings *words, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    cleanup_with(ssh_login_clear) struct ssh_login login = {.count = 0};
    cleanup_with(ssh_argv_clear) struct ssh_argv argv = {.count = 0};
    int rc = ssh_login_await(cli, vm_name, cp->user != NULL || cp->key != NULL, AWAIT_MS, err);
    if (rc != 0 || (rc = store_get(cli->store, vm_name, &record, err)) < 0) {
        return rc;
    }
    rc = ssh_login_init(&login, cli, &record, cp->user, cp->key, err);
    if (rc < 0) {
        return rc;
    }
    make_argv(cli, cp, vm_name, &login, words, &argv);
    return become_scp(cli, &argv, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct cp_values *cp = values;
    cleanup_free char *word = NULL, *name = NULL;
    if (words->count < 2) {
        return error_set(err, ERR_USAGE, "name what to copy, and where to");
    }
    for (size_t i = 0; cp->uses_old_protocol && i < words->count; i++) {
        if (strchr(words->items[i], '\n')) { /* a request of it is one line */
            return error_set(err, ERR_USAGE, "with --old-protocol no name may have a line end");
        }
    }
    int rc = find_vm_word(words, &word, err);
    if (rc == 0) {
        rc = targets_find_one(cli, &cp->which, word[0] ? word : NULL, &name, err);
    }
    return rc != 0 ? rc : copy(cli, cp, name, words, err);
}

const struct command command_cp = {
    .name = "cp",
    .summary = "Copy files to or from a VM",
    .usage = "[OPTIONS] SOURCE... TARGET",
    .details =
        "Files in a VM are written VM:PATH; a relative PATH starts at the user's home, :PATH is "
        "in\n"
        "the VMFile's only VM. A file of this host with a colon in its name is written ./NAME.\n"
        "Names are taken as they are: '*', '?' and '[' in them are no patterns.\n"
        "Becomes scp(1), with the keys of `vmctl ssh`, and ends with its exit status.",
    .examples = "  vmctl cp notes.txt web:/tmp/\n"
                "  vmctl cp -r web:/var/log/nginx .\n"
                "  vmctl cp site.conf :",
    .options = options,
    .values_size = sizeof(struct cp_values),
    .run = run,
};
