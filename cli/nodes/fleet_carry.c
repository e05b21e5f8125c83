/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/nodes/nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/archive/archive_read.h"
#include "cli/archive/archive_write.h"
#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "cli/nodes/parts.h"
#include "cli/request/origin.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/desired/pending.h"
#include "store/store.h"

extern char **environ;

/* ---- sending ---- */

/* As it stays until the move is over: vmctld has seen that it is to be off, and it is. */
static int check_sendable(
    const struct cli *cli, const struct vm_record *record, const char *token, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    cleanup_free char *lock = paths_vm(&cli->paths, record->name, VM_ALIVE_LOCK);
    if (!desired || !desired->fleet.move_to || !text_eq(desired->fleet.moved, token)) {
        return error_set(
            err, ERR_VM_CONFLICT, "vm '%s' is not moving by that request", record->name);
    }
    return record_is_at_rest(record) && !lockfile_is_held(lock)
               ? 0
               : error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is not off yet", record->name);
}

/* Whether snapshots would stay behind of which the request does not say so: such a one was made
 * since, or the request is that of a vmctl which did not ask. */
static int check_snapshots(
    const struct cli *cli, const struct vm_record *record, const char *token, struct error *err)
{
    const char *to = record->desired->fleet.move_to;
    cleanup_json json_t *incoming = NULL;
    cleanup_free char *row = fleet_row(FLEET_KIND_IN, to, record->name);
    int rc = store_get_json(cli->store, STORE_FLEET, row, &incoming, err);
    bool is_said = text_eq(json_text(incoming, "token"), token) &&
                   json_flag(incoming, "leavesSnapshots", false);
    bool has_any = record->status && record->status->n_snapshots > 0;
    return rc < 0 || is_said || !has_any ? rc : FLEET_SEND_SNAPSHOTS;
}

/* What was recorded of its disk, as of a snapshot of it, whose files are the present ones. */
static int send_disk(struct cli *cli, struct origin *origin, struct error *err)
{
    static const struct archive_content content = {.disk = true};
    cleanup_with(archive_parts_clear) struct archive_parts parts = {.manifest.n_members = 0};
    struct vm_status *status = origin->record.status;
    if (status->n_snapshots >= SNAPSHOTS_MAX) {
        return error_set(err, ERR_VM_INVALID_STATE, "vm '%s' has too many snapshots", origin->vm);
    }
    vm_status_add_snapshot(status, "moved", "", 0, clock_wall_ms(clock_system()));
    origin->of = (struct vm_origin){
        .vm = origin->vm, .is_taken = true, .snapshot = *vm_status_snapshot(status, "moved")};
    int rc = archive_collect(cli, origin, content, &parts, err);
    return rc < 0 ? rc : archive_write(cli, &parts, STDOUT_FILENO, err);
}

/* Without a record of it, as of a host that lost its store, it is not known what the file is: and
 * it must not be taken for a VM that has none, which gets another one where it goes. */
static int check_is_new(const struct cli *cli, const char *name, struct error *err)
{
    cleanup_free char *disk = paths_vm(&cli->paths, name, VM_OVERLAY);
    if (!fs_exists(disk)) {
        return FLEET_SEND_NOTHING;
    }
    (void)error_set(
        err, ERR_VM_INVALID_STATE, "vm '%s' has a disk without a record: '%s'", name, disk);
    return error_help(err, "let it start here once: vmctl move --cancel %s", name);
}

int fleet_send(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(origin_clear) struct origin origin = {.vm = mem_strdup(words->items[1])};
    (void)values;
    int rc = isatty(STDOUT_FILENO)
                 ? error_set(err, ERR_USAGE, "an archive is not written to a terminal")
                 : cli_open_store(cli, err);
    rc = rc < 0 ? rc : store_get(cli->store, origin.vm, &origin.record, err);
    rc = rc < 0 ? rc : check_sendable(cli, &origin.record, words->items[2], err);
    rc = rc < 0 ? rc : check_snapshots(cli, &origin.record, words->items[2], err);
    if (rc != 0) {
        return rc;
    }
    return origin.record.status->prepared.digest[0] ? send_disk(cli, &origin, err)
                                                    : check_is_new(cli, origin.vm, err);
}

/* ---- fetching ---- */

struct fetching {
    struct cli *cli;
    const char *name;
    char *row;      /* fetched/V */
    char *from;     /* the node that has it */
    char *token;    /* of the request */
    uint64_t needs; /* bytes that do not fit here; 0: that was not the trouble */
    int64_t reported_ms;
    pid_t ssh;
    int status; /* of that, once it has ended */
};

static int put_progress(struct fetching *fetching, json_t *json_take, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    json_put_text(json_take, "token", fetching->token);
    store_batch_put_json(batch, STORE_FLEET, fetching->row, json_take);
    int rc = store_commit(fetching->cli->store, batch, err);
    (void)bell_ring(&fetching->cli->paths, BELL_FLEET, &ignored); /* costs a delay */
    store_batch_free(batch);
    json_decref(json_take);
    return rc;
}

static void report_percent(void *context, int percent)
{
    enum { PAUSE_MS = 2000 };
    struct fetching *fetching = context;
    struct error ignored = {.code = ERR_NONE};
    int64_t now_ms = clock_monotonic_ms(clock_system());
    if (now_ms - fetching->reported_ms >= PAUSE_MS) {
        json_t *json = json_object();
        fetching->reported_ms = now_ms;
        json_put_int(json, "percent", percent);
        (void)put_progress(fetching, json, &ignored);
    }
}

/* Its standard output is *ret_fd. It ends with us: it cannot write any more. */
static int start_ssh(
    struct fetching *fetching, const struct node *node, int *ret_fd, struct error *err)
{
    const char *const words[] = {"fleet", "send", fetching->name, fetching->token, NULL};
    struct part *part = mem_calloc(1, sizeof(*part));
    posix_spawn_file_actions_t actions;
    int fds[2];
    *part = (struct part){.input_fd = -1, .limit_ms = 1}; /* it asks for no password */
    part_add_ssh(part, node, false, NULL, words);
    if (pipe2(fds, O_CLOEXEC) < 0) {
        parts_clear(part, 1);
        return error_set_errno(err, ERR_IO, errno, "cannot make a pipe");
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    int rc = posix_spawnp(
        &fetching->ssh, part->argv.words[0], &actions, NULL, part->argv.words, environ);
    posix_spawn_file_actions_destroy(&actions);
    parts_clear(part, 1);
    (void)close(fds[1]);
    *ret_fd = fds[0];
    return rc == 0 ? 0 : error_set_start(err, ERR_NODE, rc, "cannot run ssh");
}

static void await_ssh(struct fetching *fetching)
{
    int status = 0;
    while (fetching->ssh > 0 && waitpid(fetching->ssh, &status, 0) < 0 && errno == EINTR) {
    }
    fetching->ssh = 0;
    fetching->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* It has what it is from a VM of that name, and its files are complete. */
static int record_done(struct fetching *fetching, const struct archive *archive, struct error *err)
{
    json_t *json = json_object();
    if (archive) {
        struct vm_origin origin = {.vm = archive->manifest.vm,
            .is_taken = true,
            .import = (char *)(uintptr_t)archive->id,
            .mac = archive->manifest.mac,
            .snapshot = *archive->manifest.snapshot};
        origin.snapshot.prepared.disk_bytes = archive->disk_bytes;
        json_put(json, "origin", fields_to_json(&vm_origin_fields, &origin));
    }
    json_put_flag(json, "isDone", true);
    return put_progress(fetching, json, err);
}

static int unpack_all(struct fetching *fetching, int fd, struct error *err)
{
    struct cli *cli = fetching->cli;
    cleanup_with(archive_clear) struct archive archive = {
        .report = report_percent, .context = fetching};
    int rc = archive_open(fd, fetching->from, &archive, err);
    if (rc == 0 && !text_eq(archive.manifest.vm, fetching->name)) {
        rc = error_set(err, ERR_ARCHIVE, "node '%s' sent vm '%s', not '%s'", fetching->from,
            archive.manifest.vm, fetching->name);
    }
    rc = rc < 0 ? rc : archive_unpack_all(cli, &archive, err);
    if (rc == -ERR_NO_SPACE) {
        fetching->needs = manifest_bytes(&archive.manifest);
    }
    if (rc < 0) { /* it is not needed any more, and its own error is nearer to the cause */
        (void)close(fd);
        await_ssh(fetching);
        return rc;
    }
    await_ssh(fetching);
    if (fetching->status != 0) {
        return error_set(err, ERR_NODE, "node '%s' did not send all of it", fetching->from);
    }
    rc = archive_publish(cli, &archive, err);
    rc = rc < 0 ? rc : record_done(fetching, &archive, err);
    if (rc < 0) {
        archive_withdraw(cli, &archive);
    }
    return rc;
}

static int fetch_disk(struct fetching *fetching, struct error *err)
{
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    const struct node *node;
    int fd = -1;
    int rc = nodes_load_one(fetching->cli, fetching->from, &nodes, &node, err);
    rc = rc != 0 ? rc : start_ssh(fetching, node, &fd, err);
    rc = rc < 0 ? rc : unpack_all(fetching, fd, err);
    if (rc < 0 && fetching->status == FLEET_SEND_NOTHING) {
        error_clear(err);
        return record_done(fetching, NULL, err);
    }
    if (rc < 0 && fetching->status == FLEET_SEND_SNAPSHOTS) {
        error_clear(err);
        rc = error_set(err, ERR_VM_INVALID_STATE,
            "it has snapshots, which would stay behind: vmctl move --cancel %s", fetching->name);
    } else if (rc < 0 && fetching->status == 255) { /* ssh's own */
        error_clear(err);
        rc = error_set(err, ERR_NODE, "cannot reach node '%s' by ssh from here", fetching->from);
    } else if (rc < 0 && fetching->status != 0 && err->code == ERR_ARCHIVE) {
        error_clear(err);
        rc = error_set(err, ERR_NODE, "node '%s' did not send it", fetching->from);
    }
    return rc;
}

static int read_request(struct fetching *fetching, bool *ret_has_disk, struct error *err)
{
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    int rc = fleet_view_read(fetching->cli, &view, err);
    if (rc < 0 || !view.config) {
        return rc < 0 ? rc : error_set(err, ERR_FLEET_CONFIG, "this host has joined no fleet");
    }
    cleanup_free char *in_row = fleet_row(FLEET_KIND_IN, view.config->node, fetching->name);
    const json_t *incoming = fleet_view_row(&view, in_row);
    fetching->from = json_copy_text(incoming, "from");
    fetching->token = json_copy_text(incoming, "token");
    if (!fetching->from || !fetching->token || !json_flag(incoming, "offered", false)) {
        return error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is not moving here", fetching->name);
    }
    cleanup_free char *vm_row = fleet_row(FLEET_KIND_VM, fetching->from, fetching->name);
    const json_t *spec = json_object_get(fleet_view_row(&view, vm_row), "spec");
    *ret_has_disk = !text_eq(json_text(spec, "backend"), "noop");
    return 0;
}

/* What an earlier try found too large is asked for again only once it fits: its node reads the
 * whole disk for each answer. The disk is the same as long as the request is, as the VM is off. */
static int check_known_size(struct fetching *fetching, struct error *err)
{
    cleanup_json json_t *before = NULL;
    int rc = store_get_json(fetching->cli->store, STORE_FLEET, fetching->row, &before, err);
    if (rc < 0 || !text_eq(json_text(before, "token"), fetching->token)) {
        return rc;
    }
    int64_t needs = json_int(before, "needs", 0);
    rc = needs > 0 ? archive_check_room(fetching->cli, fetching->name, (uint64_t)needs, err) : 0;
    fetching->needs = rc < 0 ? (uint64_t)needs : 0;
    return rc;
}

int fleet_fetch(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    struct fetching fetching = {.cli = cli,
        .name = words->items[1],
        .row = fleet_row(FLEET_KIND_FETCHED, words->items[1], NULL),
        .reported_ms = INT64_MIN / 2};
    bool has_disk = true;
    (void)values;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* the next messenger begins another one */
    int rc = read_request(&fetching, &has_disk, err);
    rc = rc == 0 ? check_known_size(&fetching, err) : rc;
    if (rc == 0) {
        rc = has_disk ? fetch_disk(&fetching, err) : record_done(&fetching, NULL, err);
    }
    if (rc < 0 && fetching.token) {
        struct error ignored = {.code = ERR_NONE};
        json_t *json = json_object();
        json_put_text(json, "error", err->message);
        if (fetching.needs > 0) {
            json_put_int(
                json, "needs", fetching.needs < INT64_MAX ? (int64_t)fetching.needs : INT64_MAX);
        }
        (void)put_progress(&fetching, json, &ignored);
    }
    free(fetching.row);
    free(fetching.from);
    free(fetching.token);
    return rc;
}
