/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl export: a VM as one file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive/archive_write.h"
#include "cli/archive/unnamed.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/origin.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"

struct export_values {
    struct follow_values follow;
    bool with_volumes;
};

static const struct arg_option options[] = {
    {"with-volumes", 0, ARG_FLAG, offsetof(struct export_values, with_volumes), NULL,
        "also export its volumes"},
    {"timeout", 0, ARG_DURATION, offsetof(struct export_values, follow.timeout_ms), "DURATION",
        "how long to wait for the copy of the disk [default: 1h]"},
    OPTIONS_END,
};

static const struct export_values defaults = {.follow.timeout_ms = INT64_C(3600) * 1000};

/* "-" is standard output. */
static int check_target(const char *file, struct error *err)
{
    struct stat st;
    if (text_eq(file, "-")) {
        return isatty(STDOUT_FILENO)
                   ? error_set(err, ERR_USAGE, "an archive is not written to a terminal")
                   : 0;
    }
    if (user_path_stat(file, &st) == 0) {
        (void)error_set(err, ERR_VM_CONFLICT, "'%s' exists", file);
        return error_help(err, "choose another name, or remove it first: rm %s", file);
    }
    return errno == ENOENT ? 0 : error_set_errno(err, ERR_IO, errno, "cannot create '%s'", file);
}

/* Before anything else is done. `ret` has no file where that is standard output. */
static int open_target(const char *file, struct unnamed *ret, struct error *err)
{
    const char *slash = strrchr(file, '/');
    cleanup_free char *directory =
        !slash ? mem_strdup(".") : mem_strndup(file, slash == file ? 1 : (size_t)(slash - file));
    int rc = check_target(file, err);
    if (rc < 0 || text_eq(file, "-")) {
        return rc;
    }
    rc = unnamed_open(directory, 0600, ret, err); /* it holds private keys */
    return rc < 0
               ? error_help(err,
                     "FILE needs an existing directory that you can write to: ls -ld %s", directory)
               : 0;
}

static int write_named(const struct cli *cli, const struct archive_parts *parts, const char *file,
    struct unnamed *target, struct error *err)
{
    int rc = archive_write(cli, parts, target->fd, err);
    if (rc < 0) {
        (void)error_wrap(err, "'%s'", file);
        return rc == -ERR_NO_SPACE
                   ? error_help(err, "make room there, then export it again; see: df -h")
                   : rc;
    }
    rc = unnamed_publish(target, file, err);
    return rc < 0 ? rc : fs_sync_dir_of(file, err);
}

static int export_origin(struct cli *cli, const struct export_values *values,
    const struct origin *origin, const char *file, struct unnamed *target, struct error *err)
{
    cleanup_with(archive_parts_clear) struct archive_parts parts = {.manifest.n_members = 0};
    const struct archive_content content = {.disk = true, .volumes = values->with_volumes};
    int rc = archive_collect(cli, origin, content, &parts, err);
    if (rc < 0) {
        return rc;
    }
    rc = target->fd < 0 ? archive_write(cli, &parts, STDOUT_FILENO, err)
                        : write_named(cli, &parts, file, target, err);
    if (rc == 0) {
        archive_note_left_out(cli, &parts.manifest);
    }
    return rc;
}

static int run(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct export_values *values = context;
    if (words->count != 2) {
        (void)error_set(err, ERR_USAGE, "export takes a VM and a file");
        return error_help(
            err, "vmctl export VM FILE, or of a snapshot: vmctl export VM@SNAPSHOT FILE");
    }
    const char *word = words->items[0], *file = words->items[1];
    cleanup_free char *vm = mem_strndup(word, strcspn(word, "@"));
    cleanup_with(origin_clear) struct origin origin = {.vm = NULL};
    cleanup_with(unnamed_clear) struct unnamed target = {.fd = -1};
    int rc = open_target(file, &target, err);
    rc = rc < 0 ? rc : origin_check_archivable(cli, vm, err);
    rc = rc != 0 ? rc : origin_find(cli, word, &values->follow, &origin, err);
    if (rc != 0) {
        return rc;
    }
    rc = export_origin(cli, values, &origin, file, &target, err);
    origin_release(cli, &origin);
    if (rc == 0) {
        cli_note(cli, "%s: exported; import it here or elsewhere with: vmctl import %s", origin.vm,
            file);
    }
    return rc;
}

const struct command command_export = {
    .name = "export",
    .summary = "Write a VM to one file, to import elsewhere",
    .usage = "[OPTIONS] VM[@SNAPSHOT] FILE",
    .details =
        "Writes FILE, a compressed archive (tar, zstd) of a VM's disk, or of one of its\n"
        "snapshots, with everything it shares with its image, and of the VM's settings and keys,\n"
        "each with its SHA-256; - is standard output. Its owner can log in to the VM. The file\n"
        "gets its name when it is complete. The disk of a running VM is copied as `snapshot\n"
        "create` does; with --with-volumes the VM has to be stopped during the export. Until it\n"
        "is done, the data directory needs room for another copy of the disk.",
    .examples = "  vmctl ssh web -- sync; vmctl export web web.vmctl\n"
                "  vmctl export web@clean - | ssh host vmctl import -",
    .options = options,
    .values_size = sizeof(struct export_values),
    .defaults = &defaults,
    .run = run,
};
