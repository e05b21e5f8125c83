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
        "back up the whole disk, not only what has changed"},
    {"with-volumes", 0, ARG_FLAG, offsetof(struct backup_values, with_volumes), NULL,
        "also back up its volumes: like the disk if the VM runs, else in full"},
    {"timeout", 0, ARG_DURATION, offsetof(struct backup_values, follow.timeout_ms), "DURATION",
        "how long to wait for the copy of the disk [default: 1h]"},
    OPTIONS_END,
};

static const struct backup_values defaults = {.follow.timeout_ms = INT64_C(3600) * 1000};

/* The disk, or a volume of a VM that runs: a file of its own. */
struct part {
    const char *volume;               /* its name, NULL: the disk; borrowed */
    const struct manifest_disk *last; /* what it can be on, NULL: nothing; borrowed */
    const char *why_whole; /* why it is on nothing, to be said; NULL: need not be; borrowed */
    struct error last_err; /* … in its words */
    struct origin origin;
    struct unnamed file;
};

struct job {
    struct cli *cli;
    const char *vm;
    bool with_volumes;
    bool is_full;
    char *directory;
    int lock_fd;
    struct backup last; /* the one before; path NULL: none was found */
    int64_t last_ms;    /* when it was made, by the clock of then; 0: none was */
    struct part disk;
    struct part volumes[VOLUMES_MAX];
    size_t n_volumes;
    char *stem; /* of its files, with the directory */
};

static void part_clear(struct part *part)
{
    unnamed_clear(&part->file);
    origin_clear(&part->origin);
}

static void job_clear(struct job *job)
{
    part_clear(&job->disk);
    for (size_t i = 0; i < job->n_volumes; i++) {
        part_clear(&job->volumes[i]);
    }
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
        rc = error_help(err, "give a directory: vmctl backup %s DIRECTORY", job->vm);
    }
    if (rc == 0 && flock(job->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        (void)error_set(err, ERR_VM_CONFLICT, "another backup to '%s' is in progress", word);
        rc = error_help(err, "wait until it is done, or use another directory");
    }
    return rc;
}

static void give_last_up(struct part *part, const char *why)
{
    part->why_whole = why;
    part->last = NULL;
}

static const char *plain_volume(const struct part *part)
{
    return part->volume ? vm_name_plain(part->volume) : NULL;
}

/* What is not there whole, or cannot be read, is nothing to build on; nor are backups of another VM
 * of that name: bitmaps do not show whose they are, and a clone has those of its source. */
static void choose_last(struct job *job, struct part *part, const char *uid)
{
    size_t length = 0;
    bool is_there = job->last.path != NULL;
    part->last = is_there ? manifest_disk_of(&job->last.manifest, plain_volume(part)) : NULL;
    if (!part->last) {
        return;
    }
    if (job->is_full) {
        give_last_up(part, NULL); /* as was asked for */
    } else if (!text_eq(part->last->uid, uid)) {
        give_last_up(part, "the earlier backups are of another VM of that name");
    } else if (backup_check(job->cli, &job->last, plain_volume(part), &length, &part->last_err) <
               0) {
        give_last_up(part, part->last_err.message);
    } else if (length == BACKUP_CHAIN_MAX) {
        give_last_up(part, "the chain of backups has reached its maximum length");
    }
}

/* Before what has changed since the last one is asked for. */
static int find_last(struct job *job, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    struct error *why = &job->disk.last_err;
    int rc = backup_find_last(job->directory, job->vm, &job->last, why);
    job->last_ms = job->last.path ? job->last.manifest.created_ms : 0;
    if (rc < 0) {
        free(TAKE_PTR(job->last.path));
        give_last_up(&job->disk, job->is_full ? NULL : why->message);
        return 0;
    }
    rc = job->last.path ? store_get(job->cli->store, job->vm, &record, err) : 0;
    const struct vm_status *status = rc == 0 && record.desired ? record_status(&record) : NULL;
    if (rc == 0) {
        choose_last(job, &job->disk, status ? status->uid : "");
    }
    return rc;
}

/* What can be built on is known only when it was copied: which VM that was, and what its machine
 * recorded. */
static void settle_last(struct part *part)
{
    const struct vm_snapshot *snapshot = &part->origin.of.snapshot;
    if (part->last && !text_eq(part->last->uid, part->origin.record.status->uid)) {
        give_last_up(part, "the earlier backups are of another VM of that name");
    }
    if (part->last && snapshot->was_used && !snapshot->since[0]) {
        give_last_up(part,
            snapshot->whole_because ? snapshot->whole_because : "it was started as a full one");
    }
}

/* A copy of it, as it is at that moment. */
static int copy_part(
    struct job *job, struct part *part, const struct follow_values *follow, struct error *err)
{
    int rc = origin_back_up(job->cli, job->vm, part->volume, part->last ? part->last->bitmap : "",
        follow, &part->origin, err);
    if (rc == 0 && !text_eq(part->origin.of.snapshot.volume, part->volume)) {
        (void)error_set(err, ERR_CONTROLLER, "the running controller cannot copy volumes");
        return error_help(err, "stop it (VMs keep running), then try again: vmctl controller stop");
    }
    if (rc == 0) {
        settle_last(part);
    }
    return rc;
}

/* The machine's, one after the other: each is as it was at a moment of its own. */
static int copy_volumes(struct job *job, const struct follow_values *follow, struct error *err)
{
    const struct vm_status *status = job->disk.origin.record.status;
    const struct vm_spec *running = vm_status_running_spec(status);
    int rc = 0;
    for (size_t i = 0; rc == 0 && running && i < running->n_volumes && i < VOLUMES_MAX; i++) {
        struct part *part = &job->volumes[job->n_volumes++];
        *part = (struct part){.volume = running->volumes[i].name, .file.fd = -1};
        choose_last(job, part, status->uid);
        rc = copy_part(job, part, follow, err);
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
static int write_difference(const struct job *job, const char *last, const char *copy,
    const struct qemu_img_target *target, struct error *err)
{
    cleanup_free char *parent = fs_join(job->directory, last);
    const char *const create[] = {"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
        copy, QEMU_IMG_TARGET, NULL};
    const char *const rebase[] = {"qemu-img", "rebase", "-p", "-f", "qcow2", "-F", "qcow2", "-b",
        parent, QEMU_IMG_TARGET, NULL};
    int rc = qemu_img_run(create, target, err);
    return rc < 0 ? rc : qemu_img_run(rebase, target, err);
}

static int write_part(struct job *job, struct part *part, struct error *err)
{
    const struct vm_snapshot *snapshot = &part->origin.of.snapshot;
    const char *parent = part->last ? part->last->file : NULL;
    cleanup_free char *dir = paths_in_vm(&job->cli->paths, job->vm, "snapshots");
    cleanup_free char *copy = mem_printf("%s/%s.qcow2", dir, snapshot->file);
    cleanup_free char *what = part->volume ? mem_printf("volume '%s'", part->volume)
                                           : mem_printf("the disk of vm '%s'", job->vm);
    if (snapshot->since[0] && !parent) {
        (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' was replaced meanwhile", job->vm);
        return error_help(err, "try again");
    }
    int rc = unnamed_open(job->directory, 0600, &part->file, err);
    if (rc < 0) {
        return rc;
    }
    struct progress progress = progress_begin(
        job->cli, job->vm, part->volume ? "writing a volume's backup" : "writing its backup");
    const struct qemu_img_target target = {part->file.fd, job->directory, what, &progress};
    rc = snapshot->since[0] ? copy_file(copy, &target, err)
         : parent           ? write_difference(job, parent, copy, &target, err)
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
            "%s/%s-%s%s-%s", job->directory, flat, date, more, job->disk.last ? "inc" : "full");
        cleanup_free char *disk = mem_printf("%s" BACKUP_DISK, job->stem);
        cleanup_free char *settings = mem_printf("%s" BACKUP_SETTINGS, job->stem);
        is_taken = user_path_stat(disk, &st) == 0 || user_path_stat(settings, &st) == 0;
        for (size_t i = 0; i < job->n_volumes; i++) { /* of one that was killed */
            cleanup_free char *volume = backup_disk_name(job->stem, plain_volume(&job->volumes[i]));
            is_taken = is_taken || user_path_stat(volume, &st) == 0;
        }
    }
}

static char *path_of_part(const struct job *job, const struct part *part)
{
    return backup_disk_name(job->stem, plain_volume(part));
}

static int describe_part(
    const struct job *job, const struct part *part, struct manifest_disk *ret, struct error *err)
{
    cleanup_free char *path = path_of_part(job, part);
    cleanup_free char *open_file = mem_printf("/proc/self/fd/%d", part->file.fd);
    ret->volume = mem_strdup(plain_volume(part));
    ret->file = mem_strdup(strrchr(path, '/') + 1);
    ret->bytes = (uint64_t)fs_size(open_file);
    ret->parent = mem_strdup(part->last ? part->last->file : NULL);
    memcpy(ret->bitmap, part->origin.of.snapshot.name, sizeof(ret->bitmap));
    memcpy(ret->uid, part->origin.record.status->uid, sizeof(ret->uid));
    return digest_file(open_file, NULL, ret->sha256, err);
}

static int publish_part(const struct job *job, struct part *part, struct error *err)
{
    cleanup_free char *path = path_of_part(job, part);
    return unnamed_publish(&part->file, path, err);
}

/* Nobody would ever look at it. What another made in its place has other names (choose_stem()). */
static void withdraw(const struct job *job, size_t n_volumes, bool has_disk)
{
    for (size_t i = 0; i < n_volumes; i++) {
        cleanup_free char *path = path_of_part(job, &job->volumes[i]);
        (void)unlink(path);
    }
    cleanup_free char *disk = path_of_part(job, &job->disk);
    if (has_disk) {
        (void)unlink(disk);
    }
}

/* The settings last: with them it is one. */
static int publish(struct job *job, struct archive_parts *parts, struct error *err)
{
    cleanup_free char *settings_path = mem_printf("%s" BACKUP_SETTINGS, job->stem);
    cleanup_with(unnamed_clear) struct unnamed settings = {.fd = -1};
    struct manifest *manifest = &parts->manifest;
    size_t n = 0;
    int rc = describe_part(job, &job->disk, &manifest->disk, err);
    for (size_t i = 0; rc == 0 && i < job->n_volumes; i++) {
        rc = describe_part(job, &job->volumes[i], &manifest->volumes[manifest->n_volumes++], err);
    }
    rc = rc < 0 ? rc : unnamed_open(job->directory, 0600, &settings, err);
    rc = rc < 0 ? rc : archive_write(job->cli, parts, settings.fd, err);
    while (rc == 0 && n < job->n_volumes && (rc = publish_part(job, &job->volumes[n], err)) == 0) {
        n++;
    }
    rc = rc < 0 ? rc : publish_part(job, &job->disk, err);
    if (rc < 0) {
        withdraw(job, n, false);
        return rc;
    }
    rc = fs_sync_dir_of(settings_path, err);
    rc = rc < 0 ? rc : unnamed_publish(&settings, settings_path, err);
    if (rc < 0) {
        withdraw(job, n, true);
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
    cleanup_free char *path = path_of_part(job, &job->disk);
    if (output_is_data(job->cli)) {
        cleanup_json json_t *json = json_object();
        json_put_text(json, "vm", job->vm);
        json_put_text(json, "file", path);
        json_put_int(json, "bytes", (int64_t)disk->bytes);
        json_put_text(json, "parent", disk->parent);
        json_put_text(json, "wholeBecause", job->disk.why_whole);
        json_put(json, "volumes", volumes_to_json(manifest));
        output_print(job->cli, json);
    } else if (job->cli->output == OUTPUT_NAME) {
        puts(path);
    } else if (!job->cli->is_quiet) {
        printf("%s: backed up to %s (%.2f MB, %s)\n", job->vm, path, (double)disk->bytes / 1e6,
            disk->parent ? "changes since the previous one" : "the whole disk");
    }
}

/* ---- the command ---- */

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
        "make room there (see: df -h %s), then try again; the existing backups are intact",
        job->directory);
}

static void note_whole(const struct job *job, const struct part *part)
{
    if (part->why_whole && part->volume) {
        cli_note(job->cli, "%s: a full backup of volume '%s': %s", job->vm, part->volume,
            part->why_whole);
    } else if (part->why_whole) {
        cli_note(job->cli, "%s: a full backup: %s", job->vm, part->why_whole);
    }
}

static int write_backup(struct job *job, struct error *err)
{
    cleanup_with(archive_parts_clear) struct archive_parts parts = {.manifest.n_members = 0};
    const struct vm_snapshot *snapshot = &job->disk.origin.of.snapshot;
    /* First: the snapshot goes after an hour, and its disk, open by then, may take longer. */
    const struct archive_content content = {.volumes = job->with_volumes && !snapshot->was_used};
    int rc = archive_collect(job->cli, &job->disk.origin, content, &parts, err);
    if (rc < 0) {
        return rc;
    }
    int64_t now_ms = snapshot->created_ms;
    /* Behind the one before, though the clock was ahead then: the last one is what is imported. */
    parts.manifest.created_ms = now_ms > job->last_ms ? now_ms : job->last_ms + 1;
    rc = write_part(job, &job->disk, err);
    for (size_t i = 0; rc == 0 && i < job->n_volumes; i++) {
        rc = write_part(job, &job->volumes[i], err);
    }
    choose_stem(job, now_ms);
    rc = rc < 0 ? rc : publish(job, &parts, err);
    if (rc < 0) {
        return explain_no_room(job, err);
    }
    note_whole(job, &job->disk);
    for (size_t i = 0; i < job->n_volumes; i++) {
        note_whole(job, &job->volumes[i]);
    }
    archive_note_left_out(job->cli, &parts.manifest);
    report(job, &parts.manifest);
    return 0;
}

/* Until one is removed no other can be requested: all at the end. */
static void release(struct job *job)
{
    for (size_t i = 0; i < job->n_volumes; i++) {
        origin_release(job->cli, &job->volumes[i].origin);
    }
    origin_release(job->cli, &job->disk.origin);
}

static int back_up(struct job *job, const struct backup_values *values, struct error *err)
{
    int rc = find_last(job, err);
    rc = rc < 0 ? rc : copy_part(job, &job->disk, &values->follow, err);
    if (rc != 0) {
        return rc;
    }
    if (job->with_volumes && job->disk.origin.of.snapshot.was_used) {
        rc = copy_volumes(job, &values->follow, err);
    }
    rc = rc != 0 ? rc : write_backup(job, err);
    release(job);
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
    cleanup_with(job_clear) struct job job = {.cli = cli,
        .vm = vm,
        .with_volumes = values->with_volumes,
        .is_full = values->is_full,
        .lock_fd = -1,
        .disk.file.fd = -1};
    int rc = origin_check_archivable(cli, vm, err);
    rc = rc != 0 ? rc : open_directory(&job, words->count > 1 ? words->items[1] : usual, err);
    return rc != 0 ? rc : back_up(&job, values, err);
}

const struct command command_backup = {
    .name = "backup",
    .summary = "Back up a VM's disk, in full or incrementally, while it runs",
    .usage = "[OPTIONS] VM [DIRECTORY]",
    .details =
        "The first backup in DIRECTORY [default: NAME-backup] has the whole disk; each later one\n"
        "has the changes since the previous backup and depends on it. The files,\n"
        "NAME-DATE-full.qcow2 and NAME-DATE-inc.qcow2, can be read by any program that reads\n"
        "qcow2. The .vmctl file beside each holds settings, keys and digests: its owner can log\n"
        "in to the VM. The guest keeps running, and the backup is the disk as after a power cut,\n"
        "so let the guest write its data first: vmctl ssh VM -- sync. For a stopped VM, vmctl\n"
        "compares its disk with the last backup.\n"
        "\n"
        "QEMU records the changes in the disk while it is in use. If that record is incomplete\n"
        "(QEMU was killed, the disk was replaced), an earlier file is missing or damaged, or the\n"
        "chain has 100 files, vmctl makes a full backup and reports why. A VM has one backup\n"
        "directory at a time: in another directory a full backup is made, too. Remove a full\n"
        "backup only together with those that depend on it. vmctl import DIRECTORY makes a VM\n"
        "from the last backup.\n"
        "\n"
        "Without --with-volumes, volumes are left out, with a note. With it, each volume of a\n"
        "running VM gets a file of its own beside the disk's, NAME-DATE-full.VOLUME.qcow2, in\n"
        "full or incrementally, copied shortly after the disk. The volumes of a stopped VM are\n"
        "stored in the .vmctl file, in full and compressed; the VM has to stay stopped during the\n"
        "backup. import restores them.",
    .examples = "  vmctl backup web /mnt/backups\n"
                "  vmctl backup web /mnt/backups --full\n"
                "  vmctl import /mnt/backups --name web2",
    .options = options,
    .values_size = sizeof(struct backup_values),
    .defaults = &defaults,
    .run = run,
};
