/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/nodes/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/compat.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/nodes_file.h"

enum { CONNECT_S = 10 };

extern char **environ;

void part_add_ssh(struct part *part, const struct node *node, bool wants_terminal,
    const char *project, const char *const *words)
{
    static const char *const options[] = {"-oServerAliveInterval=15", "-oServerAliveCountMax=3"};
    struct buf line = BUF_INIT(0);
    if (project) {
        buf_add_str(&line, "env VMCTL_FILE=- VMCTL_PROJECT=");
        text_add_shell_word(&line, project);
        buf_add_char(&line, ' ');
    }
    text_add_shell_word(&line, node->program ? node->program : "vmctl");
    if (part->says_version) {
        buf_add_str(&line, " version && ");
        text_add_shell_word(&line, node->program ? node->program : "vmctl");
    }
    if (node->data_dir) {
        buf_add_str(&line, " --data-dir ");
        text_add_shell_word(&line, node->data_dir);
    }
    for (; *words; words++) {
        buf_add_char(&line, ' ');
        text_add_shell_word(&line, *words);
    }
    ssh_argv_add(&part->argv, mem_strdup("ssh"));
    ssh_argv_add(&part->argv,
        mem_printf("-oConnectTimeout=%u", part->connect_s ? part->connect_s : CONNECT_S));
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        ssh_argv_add(&part->argv, mem_strdup(options[i]));
    }
    if (wants_terminal) {
        ssh_argv_add(&part->argv, mem_strdup("-t"));
    } else if (!isatty(STDIN_FILENO) || part->limit_ms > 0) {
        ssh_argv_add(&part->argv, mem_strdup("-oBatchMode=yes"));
    }
    ssh_argv_add(&part->argv, mem_strdup("--"));
    ssh_argv_add(&part->argv, mem_strdup(node->address));
    ssh_argv_add(&part->argv, buf_steal(&line));
}

static void part_start(struct part *part)
{
    enum { CANNOT_START = 127 };
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    posix_spawn_file_actions_t actions;
    part->fds[0] = part->fds[1] = part->fds[2] = -1;
    part->pid = 0;
    posix_spawn_file_actions_init(&actions);
    int rc = pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 ? errno : 0;
    if (part->input_fd >= 0) {
        posix_spawn_file_actions_adddup2(&actions, part->input_fd, STDIN_FILENO);
    } else {
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
    rc = rc != 0 ? rc
                 : posix_spawnp(
                       &part->pid, part->argv.words[0], &actions, NULL, part->argv.words, environ);
    posix_spawn_file_actions_destroy(&actions);
    part->fds[0] = out[0];
    part->fds[1] = err[0];
    (void)close(out[1]);
    (void)close(err[1]);
    if (rc != 0) {
        part->pid = 0;
        part->status = CANNOT_START;
        buf_printf(&part->err, "cannot run %s: %s\n", part->argv.words[0], strerror(rc));
        return;
    }
    part->fds[2] = pidfd_open(part->pid, 0);
    for (int i = 0; i < 2; i++) {
        (void)fcntl(part->fds[i], F_SETFL, O_NONBLOCK);
    }
}

/* The whole lines; the rest, too, at the end. */
static void print_lines(struct part *part, struct buf *buf, FILE *stream, bool is_last)
{
    while (buf->len > 0) {
        const char *newline = memchr(buf->data, '\n', buf->len);
        if (!newline && !is_last) {
            return;
        }
        size_t n = newline ? (size_t)(newline - buf->data) : buf->len;
        fprintf(stream, "%s%s%.*s\n", part->title ? part->title : "", part->title ? ": " : "",
            (int)n, buf->data);
        if (stream == stderr) {
            buf_reset(&part->last);
            buf_add(&part->last, buf->data, n);
        }
        buf_consume(buf, n + (newline != NULL));
    }
    (void)fflush(stream);
}

static void part_read(struct part *part, int i, bool prints)
{
    char bytes[16 * 1024];
    ssize_t n;
    struct buf *buf = i == 0 ? &part->out : &part->err;
    while ((n = read(part->fds[i], bytes, sizeof(bytes))) > 0) {
        buf_add(buf, bytes, (size_t)n);
    }
    if (n == 0) {
        (void)close(TAKE_FD(part->fds[i]));
    }
    if (prints && !(i == 0 && part->keeps_out)) {
        print_lines(part, buf, i == 0 ? stdout : stderr, false);
    }
}

/* A connection that ssh leaves open for later calls keeps the pipes open: the end is that of the
 * process. */
static void part_end(struct part *part, bool prints)
{
    int status = 0;
    while (waitpid(part->pid, &status, 0) < 0 && errno == EINTR) {
    }
    part->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    part->pid = 0;
    for (int i = 0; i < 2; i++) {
        if (part->fds[i] >= 0) {
            part_read(part, i, prints);
        }
        if (prints && !(i == 0 && part->keeps_out)) {
            print_lines(part, i == 0 ? &part->out : &part->err, i == 0 ? stdout : stderr, true);
        }
    }
    for (int i = 0; i < 3; i++) {
        if (part->fds[i] >= 0) {
            (void)close(TAKE_FD(part->fds[i]));
        }
    }
}

/* Milliseconds until the first of them is late, -1: none will be. Ends those that are. */
static int end_late(struct part *parts, size_t count, int64_t begun_ms)
{
    int64_t passed_ms = clock_monotonic_ms(clock_system()) - begun_ms, next_ms = -1;
    for (size_t i = 0; i < count; i++) {
        struct part *part = &parts[i];
        int64_t left_ms = part->limit_ms - passed_ms;
        if (part->pid == 0 || part->limit_ms == 0 || part->is_late) {
            continue;
        }
        if (left_ms <= 0) {
            part->is_late = true;
            (void)kill(part->pid, SIGKILL); /* not reaped yet: the pid is its own */
        } else {
            next_ms = next_ms < 0 || left_ms < next_ms ? left_ms : next_ms;
        }
    }
    return (int)next_ms;
}

void parts_run(struct part *parts, size_t count, bool prints)
{
    int64_t begun_ms = clock_monotonic_ms(clock_system());
    cleanup_free struct pollfd *fds = mem_calloc(3 * count, sizeof(*fds));
    bool is_running = true;
    (void)fflush(stdout);
    for (size_t i = 0; i < count; i++) {
        part_start(&parts[i]);
    }
    while (is_running) {
        int limit_ms = end_late(parts, count, begun_ms);
        is_running = false;
        for (size_t i = 0; i < 3 * count; i++) {
            const struct part *part = &parts[i / 3];
            fds[i] = (struct pollfd){.fd = part->pid ? part->fds[i % 3] : -1, .events = POLLIN};
            is_running |= part->pid != 0;
        }
        if (!is_running || poll(fds, 3 * count, limit_ms) < 0) {
            continue;
        }
        for (size_t i = 0; i < 3 * count; i++) {
            struct part *part = &parts[i / 3];
            if (fds[i].revents && part->pid && i % 3 == 2) {
                part_end(part, prints);
            } else if (fds[i].revents && part->pid) {
                part_read(part, (int)(i % 3), prints);
                if (part->fds[0] < 0 && part->fds[1] < 0 && part->fds[2] < 0) {
                    part_end(part, prints); /* an old kernel gave no pidfd */
                }
            }
        }
    }
}

void parts_clear(struct part *parts, size_t count)
{
    for (size_t i = 0; parts && i < count; i++) {
        ssh_argv_clear(&parts[i].argv);
        buf_clear(&parts[i].out);
        buf_clear(&parts[i].err);
        buf_clear(&parts[i].last);
    }
    free(parts);
}
