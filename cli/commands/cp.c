/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl cp: copies files to and from a VM, by the scp program. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/scp_ssh.sh.h"
#include "cli/guest/ssh_login.h"
#include "cli/nodes/spread.h"
#include "cli/options.h"
#include "cli/request/scope.h"
#include "cli/request/targets.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
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
        "copy directories recursively"},
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

struct copying {
    struct cli *cli;
    const struct cp_values *cp;
    const struct arg_strings *words;
    const struct nodes *nodes; /* that a path may name */
};

/* "shop/web:PATH", of which there is such a VM. */
static bool is_of_project(struct cli *cli, const char *word)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *name = mem_strndup(word, strcspn(word, ":"));
    bool is = false;
    return vm_name_is_valid(name) && cli_open_store(cli, &ignored) == 0 &&
           store_has(cli->store, name, &is, &ignored) == 0 && is;
}

/* Behind the colon of "VM:PATH" or "NODE/VM:PATH", NULL: a path of this host, as everything else
 * with a '/' before its first ':' is (scp(1)). */
static const char *remote_path(const struct copying *copying, const char *word)
{
    size_t n = strcspn(word, ":/");
    cleanup_free char *node = word[n] == '/' ? mem_strndup(word, n) : NULL;
    bool is_node = node && node_name_is_valid(node) && !fs_exists(word) &&
                   (nodes_find(copying->nodes, node) || !fs_exists(node));
    if (is_node || (node && is_of_project(copying->cli, word))) {
        n += 1 + strcspn(word + n + 1, ":/");
    }
    if (is_node && word[n] == '/' && nodes_find(copying->nodes, node)) {
        n += 1 + strcspn(word + n + 1, ":/"); /* NODE/PROJECT/VM */
    }
    return word[n] == ':' ? word + n + 1 : NULL;
}

/* The name before the colon, as it was written: "" means the VMFile's only VM. free() *ret. */
static int find_vm_word(const struct copying *copying, char **ret, struct error *err)
{
    const struct arg_strings *words = copying->words;
    cleanup_free char *found = NULL;
    for (size_t i = 0; i < words->count; i++) {
        const char *path = remote_path(copying, words->items[i]);
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
        return error_help(err, "write VM:PATH, such as: vmctl cp notes.txt web:/tmp/");
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
    const struct copying *copying, const char *vm_name, const char *word, bool is_target)
{
    const char *path = remote_path(copying, word);
    if (path) {
        struct buf out = BUF_INIT(0);
        cleanup_free char *host = vm_name_flat(vm_name); /* a '/' would make it a path of ours */
        buf_printf(&out, "%s:", host);
        add_remote_path(&out, path, copying->cp->uses_old_protocol, is_target);
        return buf_steal(&out);
    }
    return word[0] == '-' ? mem_printf("./%s", word) : mem_strdup(word);
}

/* ---- the call ---- */

static void add_words(const struct copying *copying, const char *vm_name, struct ssh_argv *argv)
{
    const struct cp_values *cp = copying->cp;
    const struct arg_strings *words = copying->words;
    const struct {
        bool is_set;
        const char *word;
    } flags[] = {{cp->is_recursive, "-r"}, {cp->keeps_times, "-p"}, {cp->uses_old_protocol, "-O"},
        {copying->cli->is_quiet, "-q"}, {true, "--"}};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].is_set) {
            ssh_argv_add(argv, mem_strdup(flags[i].word));
        }
    }
    for (size_t i = 0; i < words->count; i++) {
        ssh_argv_add(argv, scp_word(copying, vm_name, words->items[i], i + 1 == words->count));
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

static int copy(const struct copying *copying, const char *vm_name, struct error *err)
{
    struct cli *cli = copying->cli;
    const struct cp_values *cp = copying->cp;
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    cleanup_with(ssh_login_clear) struct ssh_login login = {.uses_agent = false};
    cleanup_with(ssh_argv_clear) struct ssh_argv argv = {.count = 0};
    int rc = ssh_login_await(cli, vm_name, cp->user != NULL || cp->key != NULL, AWAIT_MS, err);
    if (rc != 0 || (rc = store_get(cli->store, vm_name, &record, err)) < 0) {
        return rc;
    }
    rc = ssh_login_init(&login, cli, &record, cp->user, cp->key, err);
    if (rc < 0) {
        return rc;
    }
    ssh_argv_begin(&argv, "scp", &login, &cp->options);
    add_words(copying, vm_name, &argv);
    return become_scp(cli, &argv, err);
}

/* ---- the VM of another node, whose keys stay there ---- */

/* A program that scp finds as the path of a descriptor, which stays open. free() it. */
static char *open_scp_ssh(struct error *err)
{
    int fd = memfd_create("scp_ssh", 0);
    cleanup_free char *text = mem_printf("#!/bin/sh\n%s", scp_ssh_sh);
    if (fd < 0) {
        (void)error_set_errno(err, ERR_IO, errno, "cannot create the program that scp runs");
        return NULL;
    }
    return fs_write_all(fd, text, strlen(text), err) < 0 ? NULL
                                                         : mem_printf("/proc/self/fd/%d", fd);
}

static int copy_there(
    const struct copying *copying, const struct node *node, const char *vm_name, struct error *err)
{
    const struct cp_values *cp = copying->cp;
    cleanup_with(ssh_argv_clear) struct ssh_argv argv = {.count = 0};
    cleanup_buf struct buf line = BUF_INIT(0);
    if (cp->key || cp->options.count > 0) {
        (void)error_set(
            err, ERR_USAGE, "vm '%s' is on node '%s', which has its keys", vm_name, node->name);
        return error_help(err, "leave out --key and --ssh-opt");
    }
    cleanup_free char *program = open_scp_ssh(err);
    if (!program) {
        return -(int)err->code;
    }
    const char *const there[] = {node->program ? node->program : "vmctl", "ssh", vm_name,
        node->data_dir ? "--data-dir" : NULL, node->data_dir, cp->user ? "--user" : NULL, cp->user};
    for (size_t i = 0; i < ARRAY_LEN(there); i++) {
        if (there[i]) {
            buf_add_str(&line, i ? " " : "");
            text_add_shell_word(&line, there[i]);
        }
    }
    (void)setenv("VMCTL_SCP_ADDRESS", node->address, 1);
    (void)setenv("VMCTL_SCP_SSH", buf_str(&line), 1);
    ssh_argv_add(&argv, mem_strdup("scp"));
    ssh_argv_add(&argv, mem_strdup("-S"));
    ssh_argv_add(&argv, mem_strdup(program));
    add_words(copying, vm_name, &argv);
    return become_scp(copying->cli, &argv, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct cp_values *cp = values;
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    const struct copying copying = {.cli = cli, .cp = cp, .words = words, .nodes = &nodes};
    cleanup_free char *word = NULL, *name = NULL, *name_there = NULL;
    const struct node *node = NULL;
    if (words->count < 2) {
        return error_set(err, ERR_USAGE, "give a source and a target");
    }
    for (size_t i = 0; cp->uses_old_protocol && i < words->count; i++) {
        if (strchr(words->items[i], '\n')) { /* a request of it is one line */
            return error_set(err, ERR_USAGE, "with --old-protocol a name cannot have a line break");
        }
    }
    int rc = nodes_load(cli, &nodes, err);
    rc = rc == 0 ? find_vm_word(&copying, &word, err) : rc;
    if (rc == 0) {
        rc = spread_find_one(
            cli, &cp->which, word[0] ? word : NULL, &nodes, &node, &name_there, err);
    }
    if (rc != 0 || node) {
        return rc != 0 ? rc : copy_there(&copying, node, name_there, err);
    }
    cli->is_for_here = true;
    cleanup_free char *full = NULL;
    rc = word[0] ? scope_name(cli, &cp->which.files, word, &full, err) : 0;
    if (rc == 0) {
        rc = targets_find_one(cli, &cp->which, full, &name, err);
    }
    return rc != 0 ? rc : copy(&copying, name, err);
}

const struct command command_cp = {
    .name = "cp",
    .summary = "Copy files to or from a VM",
    .usage = "[OPTIONS] SOURCE... TARGET",
    .details =
        "Write a file in a VM as VM:PATH, or NODE/VM:PATH for a VM on another node. A relative\n"
        "PATH starts at the user's home; :PATH is in the VMFile's only VM. Write a file of this\n"
        "host whose name has a colon as ./NAME. Names are taken literally: '*', '?' and '[' are\n"
        "not patterns. Runs scp(1) with the keys of `vmctl ssh`, and exits with its status.",
    .examples = "  vmctl cp notes.txt web:/tmp/\n"
                "  vmctl cp -r web:/var/log/nginx .\n"
                "  vmctl cp site.conf :",
    .options = options,
    .values_size = sizeof(struct cp_values),
    .run = run,
};
