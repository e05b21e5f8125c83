/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/import/running.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/import/qmp_client.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/proc_stat.h"
#include "specs/base/text.h"
#include "store/import/import.h"

enum { QMP_MS = 5000 };

static int refuse(struct error *err, const char *why)
{
    (void)error_set(err, ERR_VM_INVALID_STATE, "it cannot be taken over while it runs: %s", why);
    return error_help(err, "shut it down first: vmctl import --stop");
}

static int request(struct qmp_client *qmp, const char *command, json_t **ret, struct error *err)
{
    return qmp_client_execute(qmp, command, NULL, -1, ret, err);
}

/* ---- what it is ---- */

static int read_uuid(struct qmp_client *qmp, struct import_running *running, struct error *err)
{
    cleanup_json json_t *answer = NULL;
    int rc = request(qmp, "query-uuid", &answer, err);
    const char *uuid = json_text(answer, "UUID");
    size_t n = 0;
    for (; rc == 0 && uuid && *uuid && n < sizeof(running->instance_id) - 1; uuid++) {
        if (isxdigit((unsigned char)*uuid)) {
            running->instance_id[n++] = (char)tolower((unsigned char)*uuid);
        }
    }
    running->instance_id[n] = '\0';
    return rc == 0 && n != sizeof(running->instance_id) - 1 ? refuse(err, "it tells no UUID") : rc;
}

static int read_state(struct qmp_client *qmp, struct import_running *running, struct error *err)
{
    cleanup_json json_t *answer = NULL;
    int rc = request(qmp, "query-status", &answer, err);
    const char *word = json_text(answer, "status");
    running->is_paused = text_eq(word, "paused");
    if (rc == 0 && !running->is_paused && !text_eq(word, "running")) {
        cleanup_free char *why = mem_printf("its state is '%s'", word ? word : "unknown");
        return refuse(err, why);
    }
    return rc;
}

/* One without VNC refuses to tell, which is fine. */
static void read_vnc(struct qmp_client *qmp, struct import_running *running)
{
    cleanup_json json_t *answer = NULL;
    struct error ignored = {.code = ERR_NONE};
    (void)request(qmp, "query-vnc", &answer, &ignored);
    const char *host = json_text(answer, "host"), *service = json_text(answer, "service");
    if (json_flag(answer, "enabled", false) && host && service) {
        running->vnc = mem_printf("%s:%s", host, service);
    }
}

static int read_accel(struct qmp_client *qmp, struct import_running *running, struct error *err)
{
    cleanup_json json_t *answer = NULL;
    int rc = request(qmp, "query-kvm", &answer, err);
    running->accel = json_flag(answer, "enabled", false) ? "kvm" : "tcg";
    return rc;
}

/* Read while it holds the other end of our connection and answers later: so it was this process and
 * no other with its number. */
static int read_process(const struct qmp_client *qmp, const struct import_vm *vm,
    struct import_running *running, struct error *err)
{
    const struct clock *clock = clock_system();
    running->pid = qmp_client_peer(qmp);
    if (running->pid <= 0 || !proc_stat_start_ticks(running->pid, &running->start_ticks)) {
        return refuse(err, "its process is not to be seen");
    }
    if (!import_is_process_of(vm, running->pid)) {
        cleanup_free char *why = mem_printf(
            "process %d, which answers on its QMP socket, has not its disk", (int)running->pid);
        return refuse(err, why);
    }
    struct timespec now = {.tv_sec = 0}; /* as the ticks: also while the host was suspended */
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    int64_t started_ms = (int64_t)running->start_ticks * 1000 / sysconf(_SC_CLK_TCK);
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    running->started_at_ms = clock_wall_ms(clock) - (now_ms - started_ms);
    (void)snprintf(running->boot_id, sizeof(running->boot_id), "%s", clock_boot_id(clock));
    return 0;
}

static int look(struct qmp_client *qmp, const struct import_vm *vm,
    struct import_running *running, struct error *err)
{
    int rc = read_process(qmp, vm, running, err);
    if (rc == 0) {
        rc = read_uuid(qmp, running, err);
    }
    if (rc == 0) {
        rc = read_state(qmp, running, err);
    }
    if (rc == 0) {
        rc = read_accel(qmp, running, err);
    }
    read_vnc(qmp, running);
    return rc;
}

/* ---- making it ours ---- */

/* As ours are started: -no-shutdown, -action panic=pause. */
static int keep_when_guest_ends(struct qmp_client *qmp, struct error *err)
{
    json_t *arguments = json_object();
    json_put_text(arguments, "shutdown", "pause");
    json_put_text(arguments, "panic", "pause");
    int rc = qmp_client_execute(qmp, "set-action", arguments, -1, NULL, err);
    if (rc == -ERR_QMP_COMMAND) {
        error_clear(err);
        return refuse(err, "its QEMU is older than 6.0");
    }
    return rc;
}

/* By /proc/PID/fd (proc(5)): a lock file that is held tells nothing of who holds it. */
static bool has_open(int32_t pid, const char *path)
{
    char directory[64];
    struct stat wanted, found;
    bool is_found = false;
    snprintf(directory, sizeof(directory), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(directory);
    bool is_readable = dir && stat(path, &wanted) == 0;
    for (struct dirent *entry; is_readable && !is_found && (entry = readdir(dir));) {
        is_found = fstatat(dirfd(dir), entry->d_name, &found, 0) == 0 &&
                   found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino;
    }
    if (dir) {
        closedir(dir);
    }
    return is_found;
}

static int hand_over(struct qmp_client *qmp, int fd, struct error *err)
{
    json_t *arguments = json_object();
    json_put_text(arguments, "fdname", "vmctl-alive-lock");
    return qmp_client_execute(qmp, "getfd", arguments, fd, NULL, err);
}

/* Handed over before, by an import that did not come to its end: then there is nothing to do. */
static int give_lock(
    struct qmp_client *qmp, const char *path, int32_t pid, struct error *err)
{
    cleanup_close int fd = -1;
    if (lockfile_is_held(path) && has_open(pid, path)) {
        return 0;
    }
    int rc = lockfile_take(path, &fd, err);
    if (rc == 0) {
        rc = hand_over(qmp, fd, err);
    }
    if (rc == 0 && !has_open(pid, path)) {
        return refuse(err, "it did not take the lock");
    }
    return rc;
}

static int make_ours(struct qmp_client *qmp, const char *directory, int32_t pid, struct error *err)
{
    cleanup_free char *lock = fs_join(directory, "alive.lock");
    int rc = keep_when_guest_ends(qmp, err);
    return rc < 0 ? rc : give_lock(qmp, lock, pid, err);
}

/* ---- the whole ---- */

static int adopt_in(const char *directory, const struct import_vm *vm,
    struct import_running *ret, struct error *err)
{
    cleanup_with(qmp_client_close) struct qmp_client qmp = {.fd = -1};
    cleanup_with(import_running_clear) struct import_running running = {.pid = 0};
    cleanup_free char *socket = fs_join(directory, "qmp.sock");
    int rc = qmp_client_open(socket, QMP_MS, &qmp, err);
    if (rc == 0) {
        rc = look(&qmp, vm, &running, err);
    }
    if (rc == 0) {
        rc = make_ours(&qmp, directory, running.pid, err);
    }
    if (rc == 0) {
        *ret = running;
        running.vnc = NULL;
    }
    return rc;
}

int adopt_running(const struct cli *cli, const struct import_vm *vm, struct import_running *ret,
    struct error *err)
{
    cleanup_free char *directory = import_directory(&cli->paths, vm);
    int rc = directory ? adopt_in(directory, vm, ret, err) : refuse(err, "its files are not there");
    return rc < 0 ? error_wrap(err, "vm '%s'", vm->name) : 0;
}
