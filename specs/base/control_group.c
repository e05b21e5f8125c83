/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/control_group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/proc_stat.h"
#include "specs/base/text.h"

#define OWN "vmctld"             /* the child group of what has no limit */
#define CONTROL_GROUP ".control" /* where systemd runs ExecStopPost= of such a unit */

enum { FILE_MAX = 1 << 20 };

static const char *const controllers[] = {"cpu", "memory"};

/* ---- files ---- */

static int read_group_file(const char *dir, const char *name, struct buf *out, struct error *err)
{
    cleanup_free char *path = fs_join(dir, name);
    return fs_read_file(path, out, err);
}

/* Each write is one request to the kernel; `flags`: O_APPEND for a list, O_TRUNC for a value. */
static int write_text(
    const char *dir, const char *name, int flags, const char *text, struct error *err)
{
    cleanup_free char *path = fs_join(dir, name);
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    return n < 0 ? error_set_errno(err, ERR_IO, errno, "cannot write '%s'", path) : 0;
}

/* Whether the words of the file include this one. */
static bool lists_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += n) {
        bool begins = at == text || strchr(" \n", at[-1]);
        if (begins && (!at[n] || strchr(" \n", at[n]))) {
            return true;
        }
    }
    return false;
}

/* The first controller that the file does not name; NULL: it names all. */
static const char *missing_controller(const char *dir, const char *file)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    struct error ignored = {.code = ERR_NONE};
    (void)read_group_file(dir, file, &text, &ignored);
    for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
        if (!lists_word(buf_str(&text), controllers[i])) {
            return controllers[i];
        }
    }
    return NULL;
}

/* ---- finding ---- */

/* Where control groups of version 2 are mounted, from their root on; NULL: nowhere. */
static char *find_mount(const char *proc)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    struct error ignored = {.code = ERR_NONE};
    char *mount = NULL, *rest = NULL;
    if (read_group_file(proc, "self/mountinfo", &text, &ignored) < 0) {
        return NULL;
    }
    cleanup_free char *lines = buf_steal(&text);
    for (char *line = strtok_r(lines, "\n", &rest); line && !mount;
         line = strtok_r(NULL, "\n", &rest)) {
        char root[8], path[1024];
        bool is_read = sscanf(line, "%*s %*s %*s %7s %1023s", root, path) == 2;
        if (is_read && text_eq(root, "/") && strstr(line, " - cgroup2 ")) {
            mount = mem_strdup(path);
        }
    }
    return mount;
}

/* The process's, below the mount: "/user.slice/…"; NULL: it has none. */
static char *find_group(const char *proc, pid_t pid)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *file =
        pid > 0 ? mem_printf("%d/cgroup", (int)pid) : mem_strdup("self/cgroup");
    if (read_group_file(proc, file, &text, &ignored) < 0) {
        return NULL;
    }
    const char *line = buf_str(&text);
    while (line && !text_starts_with(line, "0::/")) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return line ? mem_strndup(line + strlen("0::"), strcspn(line, "\n") - strlen("0::")) : NULL;
}

/* The manager of a user marks nothing: all below it is the user's, and our unit is known by name.
 */
static bool is_users_unit(const char *dir)
{
    struct stat own;
    return strstr(dir, "/user@") && text_ends_with(dir, "/vmctld.service") &&
           stat(dir, &own) == 0 && own.st_uid == geteuid();
}

static bool is_delegated(const char *dir)
{
    static const char *const names[] = {"user.delegate", "trusted.delegate"};
    bool is = false;
    for (size_t i = 0; i < ARRAY_LEN(names) && !is; i++) {
        char value[2] = "";
        is = getxattr(dir, names[i], value, sizeof(value)) == 1 && value[0] == '1';
    }
    return is || is_users_unit(dir);
}

/* A manager of a user can give its units only what the system's gave it: before systemd 252 not the
 * controller cpu. */
static const char *help_with_delegation(const char *dir)
{
    const char *name = strstr(dir, "/user@");
    cleanup_free char *manager =
        name ? mem_strndup(dir, (size_t)(name - dir) + 1 + strcspn(name + 1, "/")) : NULL;
    return manager && missing_controller(manager, "cgroup.controllers")
               ? "as root, give user@.service: Delegate=cpu memory pids; then reboot"
               : "give the unit: Delegate=cpu memory";
}

static int refuse_group(struct error *err, const char *cause, const char *what, const char *help)
{
    (void)error_set(err, ERR_BACKEND_UNAVAILABLE, "%s%s", cause, what);
    return error_help(err, "%s", help);
}

static int check_mount(const char *mount, const char *group, struct error *err)
{
    static const char help[] = "boot the host with systemd.unified_cgroup_hierarchy=1";
    const char *missing = mount && group ? missing_controller(mount, "cgroup.controllers") : "";
    if (!missing) {
        return 0;
    }
    return missing[0] ? refuse_group(err, "this host's control groups of version 2 do not control ",
                            missing, help)
                      : refuse_group(err, "this host has no control groups of version 2", "", help);
}

char *control_group_find(const char *proc, pid_t pid, struct error *err)
{
    cleanup_free char *mount = find_mount(proc), *group = find_group(proc, pid);
    if (check_mount(mount, group, err) < 0) {
        return NULL;
    }
    char *slash = strrchr(group, '/');
    if (text_eq(slash, "/" OWN) || text_eq(slash, "/" CONTROL_GROUP)) {
        *slash = '\0';
    }
    char *path = mem_printf("%s%s", mount, group);
    const char *missing = missing_controller(path, "cgroup.controllers");
    if (!is_delegated(path)) {
        (void)refuse_group(err, "vmctld does not run as systemd's unit vmctld.service", "",
            geteuid() == 0 ? "systemctl enable --now vmctld"
                           : "systemctl --user enable --now vmctld");
    } else if (missing) {
        (void)refuse_group(
            err, "vmctld's unit does not control ", missing, help_with_delegation(path));
    } else {
        return path;
    }
    free(path);
    return NULL;
}

/* ---- processes ---- */

static int add_process(const char *group, const char *child, pid_t pid, struct error *err)
{
    cleanup_free char *dir = fs_join(group, child);
    char text[16];
    (void)snprintf(text, sizeof(text), "%d\n", (int)pid);
    int rc = write_text(dir, "cgroup.procs", O_APPEND, text, err);
    if (rc < 0 && err->sys_errno == ESRCH) { /* it has ended */
        error_clear(err);
        return 0;
    }
    return rc;
}

/* Moves what is in the group `from` into the child; `session`: its members alone, 0: all. */
static int move_processes(
    const char *from, const char *group, const char *child, pid_t session, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    int rc = read_group_file(from, "cgroup.procs", &text, err);
    char *rest = NULL;
    cleanup_free char *lines = rc == 0 ? buf_steal(&text) : NULL;
    for (char *line = lines ? strtok_r(lines, "\n", &rest) : NULL; line && rc == 0;
         line = strtok_r(NULL, "\n", &rest)) {
        enum { PROC_STAT_SESSION = 6 };
        char stat[PROC_STAT_MAX];
        pid_t pid = (pid_t)strtol(line, NULL, 10);
        const char *field = session > 0 && proc_stat_read(pid, stat)
                                ? proc_stat_field(stat, PROC_STAT_SESSION)
                                : NULL;
        if (session == 0 || (field && strtol(field, NULL, 10) == session)) {
            rc = add_process(group, child, pid, err);
        }
    }
    return rc;
}

static int make_child(const char *group, const char *name, struct error *err)
{
    cleanup_free char *dir = fs_join(group, name);
    return mkdir(dir, 0755) == 0 || errno == EEXIST
               ? 0
               : error_set_errno(err, ERR_IO, errno, "cannot make control group '%s'", dir);
}

/* Lets children have limits. A process may start another one in `group` meanwhile. */
static int open_group(const char *group, struct error *err)
{
    enum { TRIES = 10 };
    if (!missing_controller(group, "cgroup.subtree_control")) {
        return 0;
    }
    int rc = make_child(group, OWN, err);
    for (int i = 0; i < TRIES && rc == 0; i++) {
        rc = move_processes(group, group, OWN, 0, err);
        rc =
            rc < 0 ? rc : write_text(group, "cgroup.subtree_control", O_TRUNC, "+cpu +memory", err);
        if (rc == 0 || err->sys_errno != EBUSY) {
            break;
        }
        rc = i + 1 < TRIES ? 0 : rc;
        if (rc == 0) {
            error_clear(err);
        }
    }
    return rc;
}

/* ---- kills ---- */

/* The number after the word at the beginning of a line; 0: there is none. */
static uint64_t count_of(const char *lines, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = lines; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, word, n) == 0 && at[n] == ' ') {
            return strtoull(at + n, NULL, 10);
        }
    }
    return 0;
}

/* "oom" counts the group's own limit alone, "oom_kill" kills for any reason (cgroup-v2.rst). */
static enum oom_kill read_events(const char *dir)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    struct error ignored = {.code = ERR_NONE};
    if (read_group_file(dir, "memory.events", &text, &ignored) < 0 ||
        count_of(buf_str(&text), "oom_kill") == 0) {
        return OOM_KILL_NONE;
    }
    return count_of(buf_str(&text), "oom") > 0 ? OOM_KILL_BY_LIMIT : OOM_KILL_BY_HOST;
}

/* One letter, as keep_kill() writes it. */
static enum oom_kill read_kept(const char *kept, const char *name)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
    cleanup_free char *path = fs_join(kept, name);
    struct error ignored = {.code = ERR_NONE};
    bool is_read = fs_read_regular(path, &text, &ignored) == 0;
    return !is_read                       ? OOM_KILL_NONE
           : text_eq(buf_str(&text), "l") ? OOM_KILL_BY_LIMIT
           : text_eq(buf_str(&text), "h") ? OOM_KILL_BY_HOST
                                          : OOM_KILL_NONE;
}

enum oom_kill control_group_oom_kill(const char *group, const char *kept, const char *name)
{
    cleanup_free char *dir = fs_join(group, name);
    enum oom_kill counted = read_events(dir);
    return counted != OOM_KILL_NONE ? counted : read_kept(kept, name);
}

void control_group_remove(const char *group, const char *kept, const char *name)
{
    cleanup_free char *dir = fs_join(group, name), *file = fs_join(kept, name);
    (void)rmdir(dir);
    (void)unlink(file);
}

struct keeping {
    const char *group, *kept;
};

static void forget_kept(void *context, int dir_fd, const char *name)
{
    (void)context;
    (void)unlinkat(dir_fd, name, 0);
}

static void keep_kill(void *context, int dir_fd, const char *name)
{
    const struct keeping *keeping = context;
    struct error ignored = {.code = ERR_NONE};
    (void)dir_fd;
    if (!text_starts_with(name, CONTROL_GROUP_MACHINE)) {
        return;
    }
    cleanup_free char *dir = fs_join(keeping->group, name), *file = fs_join(keeping->kept, name);
    enum oom_kill kill = read_events(dir);
    if (kill != OOM_KILL_NONE && fs_make_dirs(keeping->kept, 0700, &ignored) == 0) {
        (void)fs_write_file(file, kill == OOM_KILL_BY_LIMIT ? "l" : "h", 1, 0600, &ignored);
    }
}

/* ---- limits ---- */

static int set_limits(const char *dir, const struct group_limits *limits, struct error *err)
{
    enum { PERIOD_US = 100000 };
    char cpu[48] = "max 100000", memory[32] = "max";
    if (limits->cpu_milli > 0) {
        (void)snprintf(cpu, sizeof(cpu), "%llu %d",
            (unsigned long long)limits->cpu_milli * (PERIOD_US / 1000), PERIOD_US);
    }
    if (limits->memory_mib > 0) {
        (void)snprintf(
            memory, sizeof(memory), "%llu", (unsigned long long)limits->memory_mib << 20);
    }
    int rc = write_text(dir, "cpu.max", O_TRUNC, cpu, err);
    rc = rc < 0 ? rc : write_text(dir, "memory.max", O_TRUNC, memory, err);
    /* A machine without one of its processes is none. */
    return rc < 0 ? rc : write_text(dir, "memory.oom.group", O_TRUNC, "1", err);
}

static int move_session(
    const char *group, const char *name, pid_t session, const char *proc, struct error *err)
{
    cleanup_free char *mount = find_mount(proc), *now = find_group(proc, session);
    const char *slash = now ? strrchr(now, '/') : NULL;
    if (slash && text_eq(slash + 1, name)) {
        return 0;
    }
    cleanup_free char *from = mount && now ? mem_printf("%s%s", mount, now) : NULL;
    int rc = add_process(group, name, session, err);
    return rc < 0 || !from ? rc : move_processes(from, group, name, session, err);
}

int control_group_limit(const char *group, const char *name, pid_t session,
    const struct group_limits *limits, struct error *err)
{
    cleanup_free char *dir = fs_join(group, name);
    int rc = open_group(group, err);
    rc = rc < 0 ? rc : make_child(group, name, err);
    rc = rc < 0 ? rc : set_limits(dir, limits, err);
    return rc < 0 ? rc : move_session(group, name, session, "/proc", err);
}

int control_group_release(const char *group, const char *name, struct error *err)
{
    static const struct group_limits none = {.cpu_milli = 0};
    cleanup_free char *dir = fs_join(group, name);
    if (!fs_exists(dir) || missing_controller(group, "cgroup.subtree_control")) {
        return 0;
    }
    return set_limits(dir, &none, err);
}

int control_group_lift(const char *group, const char *kept, struct error *err)
{
    if (kept) {
        fs_each_entry(kept, forget_kept, NULL);
        fs_each_entry(group, keep_kill, &(struct keeping){group, kept});
    }
    return write_text(group, "cgroup.subtree_control", O_TRUNC, "-cpu -memory", err);
}

static void sweep_child(void *context, int dir_fd, const char *name)
{
    const char *const *group = context;
    cleanup_free char *dir = fs_join(*group, name);
    if (text_starts_with(name, CONTROL_GROUP_MACHINE) && read_events(dir) == OOM_KILL_NONE) {
        (void)unlinkat(dir_fd, name, AT_REMOVEDIR);
    }
}

void control_group_sweep(const char *group)
{
    fs_each_entry(group, sweep_child, &group);
}
