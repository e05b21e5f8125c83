/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/work_tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/guest/child_run.h"
#include "cli/guest/ssh_login.h"
#include "cli/wait/wakeup.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"

int work_tree_check(struct error *err)
{
    cleanup_free char *program = fs_find_program("rsync");
    if (program) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "--sync needs rsync, which this host does not have");
    return error_help(err, "install it: apt-get install rsync");
}

const char *work_tree_copied(const char *line, bool *ret_is_new)
{
    enum { FLAGS = 11 }; /* "YXcstpoguax": the update, the kind of file, what differs */
    bool is_item = strnlen(line, FLAGS + 2) == FLAGS + 2 && line[FLAGS] == ' ' &&
                   strchr("<>ch", line[0]) && strchr("fL", line[1]);
    if (!is_item) {
        return NULL;
    }
    *ret_is_new = line[2] == '+';
    return line + FLAGS + 1;
}

/* rsync splits it at spaces, but for those within quotes; a quote within is doubled. */
static void add_remote_shell(const struct ssh_argv *ssh, struct buf *out)
{
    for (size_t i = 0; i < ssh->count; i++) {
        buf_add_str(out, i > 0 ? " '" : "'");
        for (const char *at = ssh->words[i]; *at; at++) {
            buf_add_str(out, *at == '\'' ? "'" : "");
            buf_add_char(out, *at);
        }
        buf_add_char(out, '\'');
    }
}

/* The command's stdin and stdout are not rsync's. What it copied goes to `output`; -1: nowhere. */
static int run_rsync(const struct cli *cli, const struct ssh_argv *argv, int output,
    struct wakeup *wakeup, struct error *err)
{
    pid_t pid = -1;
    int number = 0;
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int fds[] = {null, output < 0 ? null : output, STDERR_FILENO};
    mode_t own = umask(cli->caller_umask); /* the files are the caller's */
    int rc = child_spawn(argv->words, wakeup, fds, &pid);
    (void)umask(own);
    if (rc != 0) {
        return error_set_errno(err, ERR_SSH, rc, "cannot run rsync");
    }
    int status = child_await(pid, wakeup, NULL, &number);
    if (status == 0 || number > 0) {
        return status;
    }
    (void)error_set(
        err, ERR_SSH, "the work tree was not copied: rsync ended with status %d", status);
    return error_help(
        err, "the guest needs rsync, too: provision { inline \"sudo apt-get install -y rsync\" }");
}

static int copy(struct cli *cli, const struct ssh_call *call, const char *const *words,
    size_t n_words, int output, struct wakeup *wakeup, struct error *err)
{
    cleanup_with(ssh_login_clear) struct ssh_login login = {.uses_agent = false};
    cleanup_with(ssh_argv_clear) struct ssh_argv ssh = {.count = 0}, argv = {.count = 0};
    cleanup_buf struct buf shell = BUF_INIT(0);
    int rc = ssh_login_prepare(cli, call, &login, err);
    if (rc != 0) {
        return rc;
    }
    ssh_argv_begin(&ssh, "ssh", &login, NULL);
    add_remote_shell(&ssh, &shell);
    ssh_argv_add(&argv, mem_strdup("rsync"));
    ssh_argv_add(&argv, mem_printf("--rsh=%s", buf_str(&shell)));
    for (size_t i = 0; i < n_words; i++) {
        ssh_argv_add(&argv, mem_strdup(words[i]));
    }
    return run_rsync(cli, &argv, output, wakeup, err);
}

int work_tree_push(
    struct cli *cli, const struct ssh_call *call, struct wakeup *wakeup, struct error *err)
{
    cleanup_free char *host = vm_name_flat(call->vm_name);
    cleanup_free char *there = mem_printf("%s:" WORK_TREE "/", host);
    const char *const words[] = {"-rlptF", "--", "./", there};
    return copy(cli, call, words, ARRAY_LEN(words), -1, wakeup, err);
}

static void say_what_came(const struct cli *cli, const char *vm_name, char *lines)
{
    enum { SHOWN_MAX = 30 };
    size_t n = 0;
    char *rest = lines;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        bool is_new = false;
        const char *name = work_tree_copied(line, &is_new);
        if (name && n++ < SHOWN_MAX) {
            cli_note(cli, "%s: %s %s", vm_name, is_new ? "new:" : "changed:", name);
        }
    }
    if (n > SHOWN_MAX) {
        cli_note(cli, "%s: and %zu more", vm_name, n - SHOWN_MAX);
    } else if (n == 0) {
        cli_note(cli, "%s: nothing changed in the work tree", vm_name);
    }
}

int work_tree_pull(
    struct cli *cli, const struct ssh_call *call, struct wakeup *wakeup, struct error *err)
{
    enum { OUTPUT_MAX = 1 << 20 };
    cleanup_free char *host = vm_name_flat(call->vm_name);
    cleanup_free char *there = mem_printf("%s:" WORK_TREE "/", host);
    const char *const words[] = {
        "-rltEOuF", "--modify-window=-1", "--safe-links", "--out-format=%i %n", "--", there, "./"};
    cleanup_close int output = memfd_create("rsync", MFD_CLOEXEC); /* -1: nothing is named */
    cleanup_buf struct buf lines = BUF_INIT(OUTPUT_MAX);
    int rc = copy(cli, call, words, ARRAY_LEN(words), output, wakeup, err);
    if (rc < 0) {
        (void)error_wrap(err, "the result is still in the guest");
        return error_help(err,
            "copy it: vmctl cp -r %s:" WORK_TREE " result; then: vmctl destroy %s", call->vm_name,
            call->vm_name);
    }
    if (rc == 0) {
        char bytes[4096];
        ssize_t n;
        int64_t at = 0;
        while ((n = fs_read_at(output, bytes, sizeof(bytes), at)) > 0 &&
               buf_add(&lines, bytes, (size_t)n)) {
            at += n;
        }
        cleanup_free char *text = buf_steal(&lines);
        say_what_came(cli, call->vm_name, text);
    }
    return rc;
}
