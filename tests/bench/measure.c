/* SPDX-License-Identifier: MPL-2.0 */
/*
 *   measure spawn RUNS A... -- B...
 *
 * runs the two commands in turn; "A B", in milliseconds, a line.
 *
 *   measure running COMMAND...
 *
 * starts a QEMU with -qmp stdio, and ends it by SIGTERM; "START END", the milliseconds until its
 * guest runs and until it is dead.
 *
 *   measure heal DATA-DIR VM
 *
 * kills the VM's process; the milliseconds until its successor runs.
 *
 *   measure death PID COMMAND...
 *
 * kills the process once COMMAND waits; "DEATH NOTICE", the milliseconds until it is dead and until
 * COMMAND exits or prints.
 *
 *   measure greeting PORT
 *
 * waits until an sshd greets there; seconds since the epoch.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/paths.h"
#include "specs/base/proc_stat.h"
#include "specs/base/text.h"
#include "store/bell.h"
#include "store/store.h"

extern char **environ;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double spawn_ms(char **argv)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    double start = now_ms();
    pid_t pid = -1;
    int status = 0;
    if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0) {
        fprintf(stderr, "'%s' failed\n", argv[0]);
        exit(1);
    }
    posix_spawn_file_actions_destroy(&actions);
    return now_ms() - start;
}

static int measure_spawn(int runs, char **a)
{
    char **b = a;
    while (*b && strcmp(*b, "--") != 0) {
        b++;
    }
    if (!*b) {
        return 2;
    }
    *b++ = NULL;
    (void)spawn_ms(a);
    (void)spawn_ms(b);
    for (int i = 0; i < runs; i++) {
        double a_ms = spawn_ms(a);
        printf("%.3f %.3f\n", a_ms, spawn_ms(b));
    }
    return 0;
}

/* The pid of the VM's running instance, 0 while there is none. */
static pid_t running_pid(struct store *store, const char *vm)
{
    struct error err = {.code = ERR_NONE};
    struct vm_record record = {.name = NULL};
    pid_t pid = 0;
    if (store_get(store, vm, &record, &err) == 0 && record.status &&
        vm_status_is_true(record.status, CONDITION_RUNNING)) {
        pid = record.status->instance.pid;
    }
    vm_record_clear(&record);
    return pid;
}

/* Blocks until an instance other than `old` runs. */
static pid_t await_running(struct store *store, struct bell_watch *watch, const char *vm, pid_t old)
{
    double deadline = now_ms() + 120000;
    while (now_ms() < deadline) {
        (void)bell_watch_drain(watch);
        pid_t pid = running_pid(store, vm);
        if (pid > 0 && pid != old) {
            return pid;
        }
        struct pollfd p = {.fd = watch->fd, .events = POLLIN};
        (void)poll(&p, 1, 100);
    }
    fprintf(stderr, "vm '%s' does not run\n", vm);
    exit(1);
}

static double heal_ms(struct store *store, struct bell_watch *watch, const char *vm)
{
    pid_t old = await_running(store, watch, vm, 0);
    cleanup_close int pidfd = pidfd_open(old, 0);
    struct pollfd death = {.fd = pidfd, .events = POLLIN};
    (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    (void)poll(&death, 1, -1);
    double start = now_ms();
    (void)await_running(store, watch, vm, old);
    return now_ms() - start;
}

/* A crash that follows a crash waits longer on purpose, so the counter is reset by a new generation
 * between the runs: the caller's command (vmctl wait, up) does that. */
static int measure_heal(const char *data_dir, const char *vm)
{
    struct error err = {.code = ERR_NONE};
    struct paths paths;
    struct store *store = NULL;
    struct bell_watch watch;
    if (paths_init(&paths, data_dir, &err) < 0 || store_open(&paths, &store, &err) < 0 ||
        bell_watch_open(&watch, &paths, BELL_STATUS, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%.1f\n", heal_ms(store, &watch, vm));
    bell_watch_close(&watch);
    store_close(store);
    paths_clear(&paths);
    return 0;
}

struct child {
    pid_t pid;
    int pidfd;
    int in;  /* writes what it reads */
    int out; /* reads what it prints */
};

static struct child spawn_child(char **argv)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    struct child child = {.pid = -1};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
        posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO) != 0 ||
        posix_spawnp(&child.pid, argv[0], &actions, NULL, argv, environ) != 0) {
        fprintf(stderr, "cannot start '%s'\n", argv[0]);
        exit(1);
    }
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    child.in = in[1];
    child.out = out[0];
    child.pidfd = pidfd_open(child.pid, 0);
    return child;
}

static void tell(const struct child *child, const char *line)
{
    if (write(child->in, line, strlen(line)) != (ssize_t)strlen(line)) {
        fprintf(stderr, "the command does not read\n");
        exit(1);
    }
}

static int measure_running(char **argv)
{
    char text[16384];
    size_t n = 0;
    double start = now_ms();
    struct child child = spawn_child(argv);
    tell(&child, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"cont\"}");
    do {
        ssize_t got = n + 1 < sizeof(text) ? read(child.out, text + n, sizeof(text) - 1 - n) : 0;
        if (got <= 0) {
            fprintf(stderr, "the guest does not run\n");
            return 1;
        }
        n += (size_t)got;
        text[n] = '\0';
    } while (!strstr(text, "\"RESUME\""));
    double running = now_ms();
    struct pollfd end = {.fd = child.pidfd, .events = POLLIN};
    (void)pidfd_send_signal(child.pidfd, SIGTERM, NULL, 0);
    (void)poll(&end, 1, -1);
    printf("%.3f %.3f\n", running - start, now_ms() - running);
    (void)waitpid(child.pid, NULL, 0);
    return 0;
}

/* Once it has slept for as long as a step: then it waits, and has printed what there was before. */
static void await_sleep(const struct child *child)
{
    enum { STEP_MS = 100 };
    char stat[PROC_STAT_MAX], before[PROC_STAT_MAX] = "", bytes[4096];
    struct pollfd out = {.fd = child->out, .events = POLLIN};
    struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
    while (proc_stat_read(child->pid, stat)) {
        bool is_quiet = poll(&out, 1, 0) == 0 || read(child->out, bytes, sizeof(bytes)) <= 0;
        if (is_quiet && *proc_stat_field(stat, PROC_STAT_STATE) == 'S' && text_eq(stat, before)) {
            return;
        }
        memcpy(before, stat, sizeof(before));
        if (poll(&end, 1, STEP_MS) != 0) {
            break;
        }
    }
    fprintf(stderr, "the command ended before anything had died\n");
    exit(1);
}

static int measure_death(pid_t pid, char **argv)
{
    enum { LIMIT_MS = 30 * 1000 };
    struct child child = spawn_child(argv);
    await_sleep(&child);
    struct pollfd waited[] = {{.fd = pidfd_open(pid, 0), .events = POLLIN},
        {.fd = child.out, .events = POLLIN}, {.fd = child.pidfd, .events = POLLIN}};
    double death_ms = 0, notice_ms = 0, start = now_ms();
    (void)pidfd_send_signal(waited[0].fd, SIGKILL, NULL, 0);
    while ((death_ms == 0 || notice_ms == 0) && poll(waited, ARRAY_LEN(waited), LIMIT_MS) > 0) {
        double ms = now_ms() - start;
        if (waited[0].revents) {
            death_ms = ms;
            waited[0].fd = -1;
        }
        bool has_ended = waited[2].revents, has_printed = waited[1].revents & POLLIN;
        if (notice_ms == 0 && (has_ended || has_printed)) {
            notice_ms = ms;
        }
        waited[1].fd = notice_ms > 0 || waited[1].revents ? -1 : waited[1].fd;
        waited[2].fd = notice_ms > 0 ? -1 : waited[2].fd;
    }
    (void)kill(child.pid, SIGTERM); /* our own child, not reaped yet */
    (void)waitpid(child.pid, NULL, 0);
    printf("%.3f %.3f\n", death_ms, notice_ms);
    return death_ms > 0 && notice_ms > 0 ? 0 : 1;
}

/* Whether an sshd greets within a second; slirp holds or drops the connection until one listens. */
static bool is_greeted(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char bytes[4] = "";
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
           poll(&p, 1, 1000) == 1 && recv(fd, bytes, sizeof(bytes), 0) == sizeof(bytes) &&
           memcmp(bytes, "SSH-", sizeof(bytes)) == 0;
}

static int measure_greeting(uint16_t port)
{
    struct timespec now;
    double deadline = now_ms() + 120000;
    while (!is_greeted(port)) {
        if (now_ms() > deadline) {
            fprintf(stderr, "no sshd on port %u\n", port);
            return 1;
        }
        (void)poll(NULL, 0, 10);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%lld.%06ld\n", (long long)now.tv_sec, now.tv_nsec / 1000);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 5 && text_eq(argv[1], "spawn")) {
        return measure_spawn(atoi(argv[2]), argv + 3);
    }
    if (argc == 4 && text_eq(argv[1], "heal")) {
        return measure_heal(argv[2], argv[3]);
    }
    if (argc > 2 && text_eq(argv[1], "running")) {
        return measure_running(argv + 2);
    }
    if (argc > 3 && text_eq(argv[1], "death")) {
        return measure_death((pid_t)atoi(argv[2]), argv + 3);
    }
    if (argc == 3 && text_eq(argv[1], "greeting")) {
        return measure_greeting((uint16_t)atoi(argv[2]));
    }
    fprintf(stderr, "usage: measure spawn RUNS A... -- B... | running COMMAND... | "
                    "heal DATA-DIR VM | death PID COMMAND... | greeting PORT\n");
    return 2;
}
