/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl backup: the disk of a VM, or what of it has changed, as files of a directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/archive/archive_write.h"
#include "cli/archive/backup.h"
#include "cli/archive/flatten.h"
#include "cli/archive/progress.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/origin.h"
#include "cli/show/output.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/base/vm_name.h"
#include "store/desired/impact.h"
#include "store/store.h"

struct backup_values {
    struct follow_values follow;
    bool is_full;
    bool with_volumes;
};

static const struct arg_option options[] = {
    {"full", 0, ARG_FLAG, offsetof(struct backup_values, is_full), NULL,
        "all of the disk, on no backup before it"},
    {"with-volumes", 0, ARG_FLAG, offsetof(struct backup_values, with_volumes), NULL,
        "its volumes, too, all of each: of a VM that is stopped all the while"},
    {"timeout", 0, ARG_DURATION, offsetof(struct backup_values, follow.timeout_ms), "DURATION",
        "wait so long for a copy of its disk [default: 1h]"},
    OPTIONS_END,
};

static const struct backup_values defaults = {.follow.timeout_ms = INT64_C(3600) * 1000};

struct job {
    struct cli *cli;
    const char *vm;
    bool with_volumes;
    char *directory;
    int lock_fd;
    struct backup last;    /* what this one can be on; path NULL: nothing */
    int64_t last_ms;       /* when the one before was made, by the clock of then; 0: none was */
    const char *why_whole; /* why it is on nothing, to be said; NULL: need not be */
    struct error last_err; /* … in its words */
    struct origin origin;
    struct unnamed disk;
    char *stem; /* of its files, with the directory */
};

static void job_clear(struct job *job)
{
    unnamed_clear(&job->disk);
    origin_clear(&job->origin);
    backup_clear(&job->last);
    cleanup_close_(&job->lock_fd);
    free(job->directory);
    free(job->stem);
}

/* ---- the directory ---- */

/* Locked: of two at a time each would be on the same one before it. */
static int open_directory(struct job *job, const char *word, struct error *err)
{
    struct stat st;
    int rc = user_path_stat(word, &st) == 0 ? 0 : fs_make_dirs(word, 0700, err);
    job->directory = rc < 0 ? NULL : realpath(word, NULL);
    job->lock_fd = job->directory ? open(job->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (rc == 0 && job->lock_fd < 0) {
        (void)error_set_errno(err, ERR_IO, errno, "cannot use '%s' for backups", word);
        rc = error_help(err, "name a directory: vmctl backup %s DIRECTORY", job->vm);
    }
    if (rc == 0 && flock(job->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        (void)error_set(err, ERR_VM_CONFLICT, "another backup to '%s' is under way", word);
        rc = error_help(err, "wait until it is done, or name another directory");
    }
    return rc;
}

static void give_last_up(struct job *job, const char *why)
{
    job->why_whole = why;
    free(TAKE_PTR(job->last.path));
}

/* What is not there whole, or cannot be read, is nothing to build on. */
static void find_last(struct job *job, bool is_full)
{
    struct error *why = &job->last_err;
    size_t length = 0;
    int rc = backup_find_last(job->directory, job->vm, &job->last, why);
    job->last_ms = job->last.path ? job->last.manifest.created_ms : 0;
    if (is_full) {
        give_last_up(job, NULL); /* as was asked for */
    } else if (rc < 0 ||
               (job->last.path && backup_check(job->cli, &job->last, false, &length, why) < 0)) {
        give_last_up(job, why->message);
    } else if (length == BACKUP_CHAIN_MAX) {
        give_last_up(job, "the one before is on as many as may be");
    }
}

/* Bitmaps do not show whose they are: a clone has those of its source. */
static void check_owner(struct job *job, const struct vm_record *record)
{
    const struct vm_status *status = record_status(record);
    if (job->last.path && !(status && text_eq(job->last.manifest.disk.uid, status->uid))) {
        give_last_up(job, "the ones before are of another VM of that name");
    }
}

/* Before what has changed since the last one is asked for. */
static int check_last(struct job *job, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = job->last.path ? store_get(job->cli->store, job->vm, &record, err) : 0;
    if (rc == 0) {
        check_owner(job, &record);
    }
    return rc;
}

/* ---- the disk ---- */

static int copy_piece(int from, int to, int64_t at, int64_t end, struct error *err)
{
    enum { PIECE = 1 << 20 };
    cleanup_free char *bytes = mem_calloc(1, PIECE);
    while (at < end) {
        ssize_t n = fs_read_at(from, bytes, end - at < PIECE ? (size_t)(end - at) : PIECE, at);
        if (n <= 0 || lseek(to, at, SEEK_SET) < 0) {
            return error_set_errno(err, ERR_IO, n == 0 ? EIO : errno, "cannot read the copy");
        }
        int rc = fs_write_all(to, bytes, (size_t)n, err);
        if (rc < 0) {
            return rc;
        }
        at += n;
    }
    return 0;
}

/* Only what is not a hole. */
static int copy_file(const char *path, const struct qemu_img_target *target, struct error *err)
{
    enum { BLOCK = 512 };
    struct stat st;
    int64_t at = 0, end = 0;
    int rc = 0, found = 0;
    cleanup_close int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0 || fstat(from, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot copy '%s'", path);
    }
    uint64_t bytes = (uint64_t)st.st_blocks * BLOCK;
    if (!fs_has_room(target->fd, bytes)) {
        return qemu_img_has_no_room(target, bytes, err);
    }
    if (ftruncate(target->fd, st.st_size) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot write to '%s'", target->directory);
    }
    while (rc == 0 && (found = fs_next_data(from, &at, &end)) > 0) {
        rc = copy_piece(from, target->fd, at, end, err);
        at = end;
        progress_show(target->progress, (double)at, (double)st.st_size);
    }
    return found < 0 ? error_set_errno(err, ERR_IO, errno, "cannot copy '%s'", path) : rc;
}

/* `parent` as a program that reads the backup is to open it: from beside it. */
static int put_on(const char *parent, const struct qemu_img_target *target, struct error *err)
{
    const char *const argv[] = {"qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b",
        parent, QEMU_IMG_TARGET, NULL};
    return qemu_img_run(argv, target, err);
}

/* Of a VM that was stopped nothing recorded what changed: that is what differs. */
static int write_difference(const struct job *job, const char *copy,
    const struct qemu_img_target *target, struct error *err)
{
    cleanup_free char *parent = fs_join(job->directory, job->last.manifest.disk.file);
    const char *const create[] = {"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
        copy, QEMU_IMG_TARGET, NULL};
    const char *const rebase[] = {"qemu-img", "rebase", "-p", "-f", "qcow2", "-F", "qcow2", "-b",
        parent, QEMU_IMG_TARGET, NULL};
    int rc = qemu_img_run(create, target, err);
    return rc < 0 ? rc : qemu_img_run(rebase, target, err);
}

static int write_disk(struct job *job, struct error *err)
{
    const struct vm_snapshot *snapshot = &job->origin.of.snapshot;
    const char *parent = job->last.path ? job->last.manifest.disk.file : NULL;
    cleanup_free char *dir = paths_in_vm(&job->cli->paths, job->vm, "snapshots");
    cleanup_free char *copy = mem_printf("%s/%s.qcow2", dir, snapshot->file);
    cleanup_free char *what = mem_printf("the disk of vm '%s'", job->vm);
    if (snapshot->since[0] && !parent) {
        (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' was replaced meanwhile", job->vm);
        return error_help(err, "try again");
    }
    int rc = unnamed_open(job->directory, 0600, &job->disk, err);
    if (rc < 0) {
        return rc;
    }
    struct progress progress = progress_begin(job->cli, job->vm, "writing its backup");
    const struct qemu_img_target target = {job->disk.fd, job->directory, what, &progress};
    rc = snapshot->since[0] ? copy_file(copy, &target, err)
         : parent           ? write_difference(job, copy, &target, err)
                            : flatten(copy, &target, err);
    progress_end(&progress);
    return rc < 0 || !parent ? rc : put_on(parent, &target, err);
}

/* ---- its names ---- */

/* Two may be made in one second. */
static void choose_stem(struct job *job, int64_t created_ms)
{
    char date[sizeof("20261231-235959")];
    time_t seconds = (time_t)(created_ms / 1000);
    struct tm utc, *ret = gmtime_r(&seconds, &utc);
    (void)strftime(date, sizeof(date), "%Y%m%d-%H%M%S", ret);
    struct stat st;
    bool is_taken = true;
    cleanup_free char *flat = vm_name_flat(job->vm);
    for (unsigned n = 1; is_taken; n++) {
        cleanup_free char *more = n > 1 ? mem_printf("-%u", n) : mem_strdup("");
        free(job->stem);
        job->stem = mem_printf(
            "%s/%s-%s%s-%s", job->directory, flat, date, more, job->last.path ? "inc" : "full");
        cleanup_free char *disk = mem_printf("%s" BACKUP_DISK, job->stem);
        cleanup_free char *settings = mem_printf("%s" BACKUP_SETTINGS, job->stem);
        is_taken = user_path_stat(disk, &st) == 0 || user_path_stat(settings, &st) == 0;
    }
}

/* The settings last: with them it is one. */
static int publish(struct job *job, struct archive_parts *parts, struct error *err)
{
    cleanup_free char *disk_path = mem_printf("%s" BACKUP_DISK, job->stem);
    cleanup_free char *settings_path = mem_printf("%s" BACKUP_SETTINGS, job->stem);
    cleanup_free char *open_file = mem_printf("/proc/self/fd/%d", job->disk.fd);
    cleanup_with(unnamed_clear) struct unnamed settings = {.fd = -1};
    struct manifest_disk *disk = &parts->manifest.disk;
    const struct vm_snapshot *snapshot = &job->origin.of.snapshot;
    disk->file = mem_strdup(strrchr(disk_path, '/') + 1);
    disk->bytes = (uint64_t)fs_size(open_file);
    disk->parent = mem_strdup(job->last.path ? job->last.manifest.disk.file : NULL);
    memcpy(disk->bitmap, snapshot->name, sizeof(disk->bitmap));
    memcpy(disk->uid, job->origin.record.status->uid, sizeof(disk->uid));
    int rc = digest_file(open_file, NULL, disk->sha256, err);
    rc = rc < 0 ? rc : unnamed_open(job->directory, 0600, &settings, err);
    rc = rc < 0 ? rc : archive_write(job->cli, parts, settings.fd, err);
    rc = rc < 0 ? rc : unnamed_publish(&job->disk, disk_path, err);
    if (rc < 0) {
        return rc;
    }
    rc = fs_sync_dir_of(disk_path, err);
    rc = rc < 0 ? rc : unnamed_publish(&settings, settings_path, err);
    if (rc < 0) {
        (void)unlink(disk_path); /* nobody would ever look at it */
        return rc;
    }
    return fs_sync_dir_of(settings_path, err);
}

static json_t *volumes_to_json(const struct manifest *manifest)
{
    json_t *names = json_array();
    for (size_t i = 0; i < manifest->spec->n_volumes; i++) {
        const char *name = manifest->spec->volumes[i].name;
        if (manifest_has_volume(manifest, name)) {
            (void)json_array_append_new(names, json_string(name));
        }
    }
    return names;
}

static void report(const struct job *job, const struct manifest *manifest)
{
    const struct manifest_disk *disk = &manifest->disk;
    cleanup_free char *path = mem_printf("%s" BACKUP_DISK, job->stem);
    if (output_is_data(job->cli)) {
        cleanup_json json_t *json = json_object();
        json_put_text(json, "vm", job->vm);
        json_put_text(json, "file", path);
        json_put_int(json, "bytes", (int64_t)disk->bytes);
        json_put_text(json, "parent", disk->parent);
        json_put_text(json, "wholeBecause", job->why_whole);
        json_put(json, "volumes", volumes_to_json(manifest));
        output_print(job->cli, json);
    } else if (job->cli->output == OUTPUT_NAME) {
        puts(path);
    } else if (!job->cli->is_quiet) {
        printf("%s: backed up to %s (%.2f MB, %s)\n", job->vm, path, (double)disk->bytes / 1e6,
            disk->parent ? "what has changed since the one before" : "all of its disk");
    }
}

/* ---- the command ---- */

/* What can be built on is known only now: which VM was copied, and what its machine recorded. */
static void settle_last(struct job *job)
{
    const struct vm_snapshot *snapshot = &job->origin.of.snapshot;
    check_owner(job, &job->origin.record);
    if (job->last.path && snapshot->was_used && !snapshot->since[0]) {
        give_last_up(
            job, snapshot->whole_because ? snapshot->whole_because : "it was begun as one");
    }
}

/* A write that failed says neither where nor what for. */
static int explain_no_room(const struct job *job, struct error *err)
{
    if (err->code != ERR_NO_SPACE) {
        return -(int)err->code;
    }
    if (err->sys_errno) {
        error_clear(err);
        (void)error_set(err, ERR_NO_SPACE, "there is no room in '%s' for a backup of vm '%s'",
            job->directory, job->vm);
    }
    return error_help(err,
        "make room there (see: df -h %s), then try again; the backups that are there are whole",
        job->directory);
}

static int write_backup(struct job *job, struct error *err)
{
    cleanup_with(archive_parts_clear) struct archive_parts parts = {.manifest.n_members = 0};
    settle_last(job);
    /* First: the snapshot goes after an hour, and its disk, open by then, may take longer. */
    const struct archive_content content = {.volumes = job->with_volumes};
    int rc = archive_collect(job->cli, &job->origin, content, &parts, err);
    if (rc < 0) {
        return rc;
    }
    int64_t now_ms = job->origin.of.snapshot.created_ms;
    /* Behind the one before, though the clock was ahead then: the last one is what is imported. */
    parts.manifest.created_ms = now_ms > job->last_ms ? now_ms : job->last_ms + 1;
    rc = write_disk(job, err);
    choose_stem(job, now_ms);
    rc = rc < 0 ? rc : publish(job, &parts, err);
    if (rc < 0) {
        return explain_no_room(job, err);
    }
    if (job->why_whole) {
        cli_note(job->cli, "%s: a full backup: %s", job->vm, job->why_whole);
    }
    archive_note_left_out(job->cli, &parts.manifest);
    report(job, &parts.manifest);
    return 0;
}

static int back_up(struct job *job, const struct backup_values *values, struct error *err)
{
    find_last(job, values->is_full);
    int rc = check_last(job, err);
    const char *since = job->last.path ? job->last.manifest.disk.bitmap : "";
    rc = rc < 0 ? rc : origin_back_up(job->cli, job->vm, since, &values->follow, &job->origin, err);
    if (rc != 0) {
        return rc;
    }
    rc = write_backup(job, err);
    origin_release(job->cli, &job->origin);
    return rc;
}

static int run(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    if (words->count < 1 || words->count > 2) {
        (void)error_set(err, ERR_USAGE, "backup takes a VM and a directory");
        return error_help(err, "vmctl backup VM DIRECTORY");
    }
    const struct backup_values *values = context;
    const char *vm = words->items[0];
    cleanup_free char *usual = mem_printf("%s-backup", vm);
    cleanup_with(job_clear) struct job job = {
        .cli = cli, .vm = vm, .with_volumes = values->with_volumes, .lock_fd = -1, .disk.fd = -1};
    int rc = origin_check_archivable(cli, vm, err);
    rc = rc != 0 ? rc : open_directory(&job, words->count > 1 ? words->items[1] : usual, err);
    return rc != 0 ? rc : back_up(&job, values, err);
}

const struct command command_backup = {
    .name = "backup",
    .summary = "Back up the disk of a VM, or what of it has changed, while it runs",
    .usage = "[OPTIONS] VM [DIRECTORY]",
    .details =
        "The first backup in DIRECTORY [default: NAME-backup] has all of the disk, each later one\n"
        "what has changed since, and is on that before it: NAME-DATE-full.qcow2,\n"
        "NAME-DATE-inc.qcow2, files that any program for qcow2 reads, each with its settings,\n"
        "keys and digests beside it (.vmctl: it lets its owner log in to the VM). The guest runs\n"
        "meanwhile; the disk is as a lost power would have left it then, so let it write first\n"
        "what it has not: vmctl ssh VM -- sync. Of a stopped VM both disks are compared.\n"
        "\n"
        "What has changed is recorded in the disk while it is in use. If that is not whole (QEMU\n"
        "was killed, the disk was replaced), a file of those before is missing or damaged, or 100\n"
        "of them are on each other, a full one follows, and is said to. Each VM has one directory\n"
        "at a time: in another one a full one begins, too. Remove a full one only with all that\n"
        "are on it. vmctl import DIRECTORY makes a VM of the last one.\n"
        "\n"
        "Volumes are not in it, and that is said; with --with-volumes the .vmctl has all of each,\n"
        "compressed, of a VM that is stopped all the while, and import brings them back.",
    .examples = "  vmctl backup web /mnt/backups\n"
                "  vmctl backup web /mnt/backups --full\n"
                "  vmctl import /mnt/backups --name web2",
    .options = options,
    .values_size = sizeof(struct backup_values),
    .defaults = &defaults,
    .run = run,
};
