/* SPDX-License-Identifier: MPL-2.0 */
#include "store/session.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/proc_stat.h"
#include "store/store.h"

static uint64_t own_pid_namespace(void)
{
    struct stat file;
    return stat("/proc/self/ns/pid", &file) == 0 ? (uint64_t)file.st_ino : 0;
}

/* Distinguishes the directory from a copy of it; moved within its file system it stays the same. */
static char *directory_identity(const struct paths *paths)
{
    struct stat file;
    return stat(paths->data_dir, &file) == 0
               ? mem_printf(
                     "%llu:%llu", (unsigned long long)file.st_dev, (unsigned long long)file.st_ino)
               : mem_strdup("");
}

json_t *session_record(
    const struct paths *paths, const char *id, uint64_t start_ticks, const struct clock *clock)
{
    json_t *record = json_object();
    cleanup_free char *directory = directory_identity(paths);
    json_put_text(record, "session", id);
    json_put_int(record, "pid", getpid());
    json_put_int(record, "startTicks", (int64_t)start_ticks);
    json_put_int(record, "pidNamespace", (int64_t)own_pid_namespace());
    json_put_text(record, "version", VMCTL_VERSION);
    json_put_int(record, "startedAt", clock_wall_ms(clock));
    json_put_text(record, "bootId", clock_boot_id(clock));
    json_put_text(record, "directory", directory);
    json_put_flag(record, "renames", true);
    return record;
}

static void examine_process(const json_t *record, struct session *session)
{
    struct proc_look look;
    uint64_t start_ticks = (uint64_t)json_int(record, "startTicks", 0);
    uint64_t own_namespace = own_pid_namespace();
    session->pid_namespace = (uint64_t)json_int(record, "pidNamespace", (int64_t)own_namespace);
    if (session->pid_namespace != own_namespace) {
        session->state = SESSION_ELSEWHERE;
    } else if (proc_stat_look(session->pid, &look) && look.start_ticks == start_ticks) {
        session->state = look.is_ending ? SESSION_ENDING : SESSION_SERVES;
        session->is_stopped = look.is_stopped;
        session->is_traced = look.is_traced;
    }
}

int session_read(struct store *store, struct session *ret, struct error *err)
{
    cleanup_json json_t *record = NULL;
    *ret = (struct session){.state = SESSION_NONE};
    int rc = store_get_json(store, STORE_META, "controller", &record, err);
    pid_t pid = rc < 0 ? 0 : (pid_t)json_int(record, "pid", 0);
    if (pid <= 0 || !text_eq(json_text(record, "bootId"), clock_boot_id(clock_system()))) {
        return rc;
    }
    /* A record of an older version names neither directory nor namespace: it is taken for ours. */
    cleanup_free char *ours = directory_identity(store_paths(store));
    const char *directory = json_text(record, "directory");
    if (directory && !text_eq(directory, ours)) {
        return rc;
    }
    struct session session = {
        .state = SESSION_NONE, .pid = pid, .started_ms = json_int(record, "startedAt", 0)};
    examine_process(record, &session);
    if (session.state == SESSION_NONE) {
        return 0;
    }
    const char *version = json_text(record, "version");
    const char *id = json_text(record, "session");
    bool has_id = id && strlen(id) < sizeof(session.id);
    (void)snprintf(session.version, sizeof(session.version), "%s", version ? version : "0");
    (void)snprintf(session.id, sizeof(session.id), "%s", has_id ? id : "");
    session.has_observed_all = json_flag(record, SESSION_OBSERVED_ALL, false);
    session.can_rename = json_flag(record, "renames", false);
    *ret = session;
    return 0;
}
