/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/doctor/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/control_group.h"
#include "specs/base/data_trust.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/vm_name.h"
#include "store/bell.h"
#include "store/repair.h"
#include "store/store.h"

/* "web, db"; names of directories may hold anything. */
static void add_name(struct buf *names, const char *name)
{
    buf_add_str(names, names->len ? ", " : "");
    text_add_printable(names, name, strlen(name));
}

/* ---- the directory ---- */

struct foreign {
    char *name; /* NULL: none */
    uid_t uid;
};

/* The first thing of its entries that this user does not own: what neither `destroy` nor anything
 * else can remove. */
static void look_for_foreign(void *context, int dir_fd, const char *name)
{
    struct foreign *foreign = context;
    struct stat st;
    if (!foreign->name && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_uid != geteuid()) {
        foreign->name = mem_strdup(name);
        foreign->uid = st.st_uid;
    }
}

static void check_owners(struct doctor *doctor)
{
    static const char *const directories[] = {"vms", "images"};
    for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
        struct foreign foreign = {.name = NULL};
        cleanup_free char *path = paths_path(&doctor->cli->paths, directories[i]);
        fs_each_entry(path, look_for_foreign, &foreign);
        if (foreign.name) {
            cleanup_free char *help =
                mem_printf("take it over: sudo chown -R %u '%s'", (unsigned)geteuid(), path);
            doctor_add(doctor, "data-dir", DOCTOR_FAIL, help, "'%s/%s' belongs to %s (user %u)",
                path, foreign.name, foreign.uid == 0 ? "root" : "another user",
                (unsigned)foreign.uid);
        }
        free(foreign.name);
    }
}

/* False: nothing may be opened in it. */
static bool check_directory(struct doctor *doctor)
{
    const char *dir = doctor->cli->paths.data_dir;
    struct stat st;
    struct error err = {.code = ERR_NONE};
    if (data_trust_check(&doctor->cli->paths, &err) < 0) {
        doctor_add(doctor, "data-dir", DOCTOR_FAIL, error_help_text(&err), "%s", err.message);
        return false;
    }
    if (stat(dir, &st) < 0 || access(dir, R_OK | W_OK | X_OK) != 0) {
        doctor_add(doctor, "data-dir", DOCTOR_FAIL, "choose another one: --data-dir DIR",
            "'%s' cannot be written: %s", dir, strerror(errno));
    } else if (st.st_uid != geteuid() || (st.st_mode & 077)) {
        cleanup_free char *help =
            mem_printf("chown %u '%s' && chmod 700 '%s'", (unsigned)geteuid(), dir, dir);
        doctor_add(doctor, "data-dir", DOCTOR_WARN, help,
            "'%s' is open to others (owner %u, mode %04o): it holds keys and disks", dir,
            (unsigned)st.st_uid, (unsigned)st.st_mode & 07777);
    } else {
        doctor_add(doctor, "data-dir", DOCTOR_OK, NULL, "%s", dir);
    }
    bool is_open;
    if (data_trust_above(&doctor->cli->paths, &is_open, &err) < 0) {
        doctor_add(doctor, "data-dir", DOCTOR_WARN, error_help_text(&err), "%s", err.message);
    }
    check_owners(doctor);
    return true;
}

static void check_space(struct doctor *doctor)
{
    enum { LITTLE_MIB = 4096, NONE_MIB = 256 };
    struct statvfs fs;
    if (statvfs(doctor->cli->paths.data_dir, &fs) < 0) {
        doctor_add(
            doctor, "disk", DOCTOR_WARN, NULL, "cannot read its free space: %s", strerror(errno));
        return;
    }
    unsigned long long free_mib = (unsigned long long)fs.f_bavail * fs.f_frsize >> 20;
    enum doctor_verdict verdict = free_mib < NONE_MIB     ? DOCTOR_FAIL
                                  : free_mib < LITTLE_MIB ? DOCTOR_WARN
                                                          : DOCTOR_OK;
    doctor_add(doctor, "disk", verdict,
        verdict == DOCTOR_OK ? NULL : "remove images that no VM needs: vmctl image prune",
        "%llu MB free for images and disks", free_mib);
}

static void check_inotify(struct doctor *doctor)
{
    struct error err = {.code = ERR_NONE};
    struct bell_watch bell = {.fd = -1, .armed = -1};
    if (bell_watch_open(&bell, &doctor->cli->paths, BELL_DESIRED, &err) < 0) {
        doctor_add(doctor, "inotify", DOCTOR_WARN,
            "allow more: sudo sysctl fs.inotify.max_user_instances=1024",
            "exhausted, so changes are noticed later: %s", err.message);
    } else {
        doctor_add(doctor, "inotify", DOCTOR_OK, NULL, "changes are noticed at once");
    }
    bell_watch_close(&bell);
}

/* ---- store and controller ---- */

/* The whole of it is read once. */
static int check_store(struct doctor *doctor, struct vm_list *ret)
{
    struct error err = {.code = ERR_NONE};
    cleanup_with(strings_clear) struct strings damaged = {.count = 0};
    cleanup_buf struct buf names = BUF_INIT(0);
    int rc = store_check(&doctor->cli->paths, &err);
    rc = rc < 0 ? rc : cli_open_store(doctor->cli, &err);
    cleanup_with(repair_clear) struct repair repair = {.done = {.count = 0}};
    if (rc == 0 && doctor->repairs) {
        rc = store_repair(doctor->cli->store, &repair, &err);
    }
    for (size_t i = 0; i < repair.done.count; i++) {
        doctor_add(doctor, "repair", DOCTOR_WARN,
            "unreadable records are in quarantine/; to give a VM back to its VMFile: vmctl up "
            "--adopt; to watch a VMFile again: vmctl watch",
            "%s", repair.done.items[i]);
    }
    if (rc < 0 || (rc = store_list(doctor->cli->store, ret, &err)) < 0 ||
        (rc = store_find_damage(doctor->cli->store, &damaged, &err)) < 0) {
        doctor_add(doctor, "store", DOCTOR_FAIL, error_help_text(&err), "%s", err.message);
        return rc;
    }
    for (size_t i = 0; i < damaged.count; i++) {
        add_name(&names, damaged.items[i]);
    }
    for (size_t i = 0; i < ret->count; i++) {
        if (ret->records[i].desired) {
            doctor_note_needs(doctor, ret->records[i].desired->spec);
        }
    }
    if (damaged.count > 0) {
        const char *dir = doctor->cli->paths.data_dir;
        cleanup_free char *help = mem_printf(
            "%smove the store aside (the disks in vms/ stay untouched), then `vmctl up` with each "
            "VMFile: vmctl controller stop; mv '%s/store' '%s/store.broken'",
            doctor->repairs ? "" : "vmctl doctor --repair; for records that it cannot repair: ",
            dir, dir);
        doctor_add(
            doctor, "store", DOCTOR_FAIL, help, "records that cannot be read: %s", buf_str(&names));
    } else {
        doctor_add(doctor, "store", DOCTOR_OK, NULL, "%zu VMs", ret->count);
    }
    return 0;
}

/* Of vmctld, or of this process if none runs. Only two fields of a VMFile need it. */
static void check_limits(struct doctor *doctor, pid_t pid)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *group = control_group_find("/proc", pid, &err);
    doctor_add_optional(doctor, "limits", DOCTOR_NEED_LIMITS, group != NULL,
        group ? NULL : error_help_text(&err), "`cpu-limit` and `memory-limit` are %s%s",
        group ? "enforced" : "not enforced: ", group ? "" : err.message);
}

/* CONTROLLER_NONE when the store cannot be read. */
static enum controller_state check_controller(struct doctor *doctor)
{
    struct controller_process process;
    struct error err = {.code = ERR_NONE};
    if (controller_find(doctor->cli, &process, &err) < 0) {
        cleanup_free char *lock = paths_path(&doctor->cli->paths, "controller.lock");
        bool is_held = lockfile_is_held(lock); /* all that is known without the store */
        doctor_add(doctor, "controller", is_held ? DOCTOR_WARN : DOCTOR_OK, NULL, "%s",
            is_held ? "one runs, but the store cannot be read, so its pid is unknown"
                    : "not running; started when it is needed");
        return CONTROLLER_NONE;
    }
    if (process.state == CONTROLLER_NONE) {
        doctor_add(doctor, "controller", DOCTOR_OK, NULL, "not running; started when it is needed");
    } else if (process.state == CONTROLLER_ELSEWHERE) {
        (void)controller_elsewhere(doctor->cli, &err);
        doctor_add(doctor, "controller", DOCTOR_FAIL, error_help_text(&err), "%s", err.message);
    } else if (process.state == CONTROLLER_CHANGING) {
        doctor_add(doctor, "controller", DOCTOR_WARN, "check again: vmctl controller status",
            "is starting or ending");
    } else if (process.is_stopped) {
        cleanup_free char *help = mem_printf("resume it: kill -CONT %d", (int)process.pid);
        doctor_add(doctor, "controller", DOCTOR_FAIL, help,
            "pid %d is stopped (SIGSTOP): no VM is managed", (int)process.pid);
    } else if (!text_eq(process.version, VMCTL_VERSION)) {
        doctor_add(doctor, "controller", DOCTOR_WARN,
            "replace it, VMs keep running: vmctl controller stop",
            "pid %d is version %s, this vmctl is %s", (int)process.pid, process.version,
            VMCTL_VERSION);
    } else {
        doctor_add(doctor, "controller", DOCTOR_OK, NULL, "pid %d, version %s", (int)process.pid,
            process.version);
    }
    check_limits(doctor, process.state == CONTROLLER_NONE ? 0 : process.pid);
    return process.state;
}

/* ---- VMs ---- */

static void check_stalled(struct doctor *doctor, const struct vm_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct vm_record *record = &list->records[i];
        const struct vm_status *status = record->status;
        if (!record->desired || !status || !vm_status_is_true(status, CONDITION_STALLED)) {
            continue;
        }
        const char *message = status->blocker.message
                                  ? status->blocker.message
                                  : status->conditions[CONDITION_STALLED].message;
        cleanup_free char *help = mem_printf("vmctl status %s", record->name);
        doctor_add(doctor, "vms", DOCTOR_WARN, help, "'%s' is stalled: %s", record->name,
            message ? message : reason_name(status->conditions[CONDITION_STALLED].reason));
    }
}

static bool is_known(const struct vm_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (text_eq(list->records[i].name, name) &&
            (list->records[i].desired || list->records[i].is_damaged)) {
            return true;
        }
    }
    return false;
}

struct orphans {
    const struct doctor *doctor;
    const struct vm_list *list;
    json_t *old; /* the original tool's registry, {name: …}; NULL: there is none */
    struct buf living, lost, dead, importable;
};

static void look_at_directory(void *context, int dir_fd, const char *entry)
{
    struct orphans *orphans = context;
    cleanup_free char *full = vm_name_of_flat(entry);
    const char *name = full ? full : entry;
    (void)dir_fd;
    if (name[0] == '.' || is_known(orphans->list, name)) {
        return;
    }
    if (json_object_get(orphans->old, name)) {
        add_name(&orphans->importable, name);
        return;
    }
    cleanup_free char *lock = paths_vm(&orphans->doctor->cli->paths, name, VM_ALIVE_LOCK);
    add_name(lockfile_is_held(lock)                                   ? &orphans->living
             : store_may_have_lost(orphans->doctor->cli->store, name) ? &orphans->lost
                                                                      : &orphans->dead,
        name);
}

static void check_orphans(struct doctor *doctor, const struct vm_list *list)
{
    struct orphans orphans = {.doctor = doctor, .list = list};
    const struct {
        struct buf *names;
        const char *help, *text;
    } rows[] = {
        {&orphans.living,
            "`vmctl up` with the VM's VMFile starts a new process on its disk; to end one: "
            "qmp.sock in vms/NAME",
            "processes of VMs without a record, left alone"},
        {&orphans.lost,
            "they stay in vms/; `vmctl up` with a VM's VMFile takes its disk back; remove those "
            "you do not need",
            "VM directories from an earlier store"},
        {&orphans.dead, "a starting controller moves them to quarantine/: vmctl controller start",
            "directories without a record"},
        {&orphans.importable, "take them over: vmctl import", "VMs of the original vmctl"},
    };
    cleanup_free char *directory = paths_path(&doctor->cli->paths, "vms");
    cleanup_free char *registry = paths_path(&doctor->cli->paths, "vms.json");
    cleanup_buf struct buf text = BUF_INIT(0);
    struct error ignored = {.code = ERR_NONE};
    size_t n_findings = doctor->count;
    if (fs_read_file(registry, &text, &ignored) == 0) {
        orphans.old = json_loadb(buf_str(&text), text.len, 0, NULL);
    }
    fs_each_entry(directory, look_at_directory, &orphans);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].names->len > 0) {
            doctor_add(doctor, "orphans", DOCTOR_WARN, rows[i].help, "%s: %s", rows[i].text,
                buf_str(rows[i].names));
        }
        buf_clear(rows[i].names);
    }
    if (doctor->count == n_findings) {
        doctor_add(doctor, "orphans", DOCTOR_OK, NULL, "none");
    }
    json_decref(orphans.old);
}

static void count_entry(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    *(size_t *)context += name[0] != '.';
}

static void check_leftovers(struct doctor *doctor, bool has_controller)
{
    cleanup_free char *quarantine = paths_path(&doctor->cli->paths, "quarantine");
    cleanup_free char *trash = paths_path(&doctor->cli->paths, "trash");
    size_t n_quarantined = 0, n_trash = 0;
    fs_each_entry(quarantine, count_entry, &n_quarantined);
    fs_each_entry(trash, count_entry, &n_trash);
    if (n_quarantined > 0) {
        doctor_add(doctor, "quarantine", DOCTOR_WARN,
            "inspect them: vmctl quarantine list; then remove them: vmctl quarantine prune",
            "files without a VM: %zu", n_quarantined);
    }
    if (n_trash > 0 && !has_controller) {
        doctor_add(doctor, "trash", DOCTOR_WARN,
            "a starting controller clears it: vmctl controller start",
            "%zu deletions were not finished", n_trash);
    }
}

void doctor_check_data(struct doctor *doctor)
{
    cleanup_with(vm_list_clear) struct vm_list list = {.count = 0};
    if (!check_directory(doctor)) {
        return;
    }
    check_space(doctor);
    check_inotify(doctor);
    bool is_readable = check_store(doctor, &list) == 0;
    bool has_controller = check_controller(doctor) != CONTROLLER_NONE;
    if (is_readable) {
        check_stalled(doctor, &list);
        check_orphans(doctor, &list);
    }
    check_leftovers(doctor, has_controller);
}
