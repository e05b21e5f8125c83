/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl import: makes VMs of what `vmctl export` wrote, or takes over those of the original vmctl.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive/archive_read.h"
#include "cli/archive/backup.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/origin.h"
#include "cli/request/project.h"
#include "cli/request/run_vms.h"
#include "cli/request/scope.h"
#include "cli/request/vm_request.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_desired.h"
#include "store/bell.h"
#include "store/import/import.h"
#include "store/store.h"

/* ---- an archive ---- */

struct import_vm_values {
    const char *name; /* of the new VM; NULL: the archive's */
    bool starts;
    struct follow_values follow;
};

static int check_new_name(struct cli *cli, const char *name, const char *word, struct error *err)
{
    int rc = vm_request_check_is_new(cli, name, err);
    return rc == -ERR_VM_CONFLICT
               ? error_help(err, "import it under another name: vmctl import --name NEW %s", word)
               : rc;
}

/* Ports of this host that another VM holds are exchanged for free ones. */
static int settle_ports(struct cli *cli, struct vm_spec *spec, struct error *err)
{
    uint32_t cursor = 0;
    (void)!getrandom(&cursor, sizeof(cursor), 0);
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        struct spec_forward *forward = &spec->network.forwards[i];
        char uid[TEXT_ID_SIZE];
        cleanup_free char *key = forward_lease_key(forward), *holder = NULL;
        if (store_lease_holder(cli->store, key, uid, &holder, err) < 0) {
            return -(int)err->code;
        }
        if (holder) {
            uint16_t before = forward->host_port;
            forward->host_port = free_port_next(forward->protocol, &cursor);
            cli_note(cli, "%s: guest port %u is at host port %u: vm '%s' has %u", spec->name,
                forward->guest_port, forward->host_port, holder, before);
        }
    }
    return 0;
}

static void name_volumes(struct vm_spec *spec, const char *project)
{
    for (size_t i = 0; i < spec->n_volumes; i++) {
        cleanup_free char *before = spec->volumes[i].name;
        spec->volumes[i].name = vm_name_in(project, vm_name_plain(before));
    }
}

/* The spec and the origin of the VM that is to be. */
static int settle(struct cli *cli, const struct archive *archive, const char *name,
    struct vm_spec *spec, struct vm_origin *ret, struct error *err)
{
    free(spec->name);
    spec->name = mem_strdup(name);
    manifest_settle_spec(cli, &archive->manifest, spec);
    name_volumes(spec, archive->project);
    *ret = (struct vm_origin){.vm = archive->manifest.vm,
        .is_taken = true,
        .import = (char *)(uintptr_t)archive->id,
        .mac = archive->manifest.mac,
        .snapshot = *archive->manifest.snapshot};
    ret->snapshot.prepared.disk_bytes = archive->disk_bytes;
    return settle_ports(cli, spec, err);
}

/* Whether the controller has it from now on, whatever became of the command. */
static bool is_recorded(struct cli *cli, const char *name, const struct archive *archive)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    struct error ignored = {.code = ERR_NONE};
    const struct vm_origin *origin =
        store_get(cli->store, name, &record, &ignored) == 0 && record.desired
            ? record.desired->origin
            : NULL;
    return ignored.code != ERR_NONE || (origin && text_eq(origin->import, archive->id));
}

static int make_vm(struct cli *cli, const struct import_vm_values *values, struct archive *archive,
    const char *name, struct error *err)
{
    static const struct origin_words words = {"importing", "imported", "imported and started"};
    struct vm_origin origin;
    struct vm_spec *spec = vm_spec_copy(archive->manifest.spec);
    int rc = archive_publish(cli, archive, err);
    rc = rc < 0 ? rc : settle(cli, archive, name, spec, &origin, err);
    rc = rc < 0 ? rc
                : origin_create_vm(
                      cli, spec, &origin, NULL, values->starts, &words, &values->follow, err);
    if (rc != 0 && !is_recorded(cli, name, archive)) {
        archive_withdraw(cli, archive);
    }
    vm_spec_free(spec);
    return rc;
}

static int check_backup(const struct archive *archive, const char *directory, struct error *err)
{
    if (directory || !archive->manifest.disk.file) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "the archive holds the settings of a backup, not its disk");
    return error_help(err, "import it from its directory: vmctl import DIRECTORY");
}

/* `directory`: where the archive is; NULL: it comes through a pipe. */
static int import_open(struct cli *cli, const struct import_vm_values *values, int fd,
    const char *title, const char *directory, struct error *err)
{
    cleanup_with(archive_clear) struct archive archive = {.disk_bytes = 0};
    const char *word = directory ? title : "-";
    int rc = cli_open_store(cli, err);
    cleanup_free char *given = NULL;
    rc = rc == 0 && values->name ? scope_name(cli, NULL, values->name, &given, err) : rc;
    rc = rc == 0 && given ? check_new_name(cli, given, word, err) : rc;
    rc = rc < 0 ? rc : archive_open(fd, title, &archive, err);
    const char *name = given ? given : archive.manifest.vm;
    rc = rc < 0 ? rc : check_new_name(cli, name, word, err);
    rc = rc < 0 ? rc : check_backup(&archive, directory, err);
    archive.project = rc < 0 ? NULL : vm_name_project(name);
    rc = rc < 0 ? rc : archive_unpack_all(cli, &archive, err);
    if (rc == 0 && archive.manifest.disk.file) {
        rc = backup_unpack_disk(cli, directory, &archive, err);
    }
    return rc < 0 ? rc : make_vm(cli, values, &archive, name, err);
}

static int import_vm(
    struct cli *cli, const struct import_vm_values *values, const char *path, struct error *err)
{
    if (text_eq(path, "-")) {
        return isatty(STDIN_FILENO)
                   ? error_set(err, ERR_USAGE, "an archive is not read from a terminal")
                   : import_open(cli, values, STDIN_FILENO, "standard input", NULL, err);
    }
    const char *slash = strrchr(path, '/');
    cleanup_free char *beside = mem_strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
    cleanup_close int fd = user_path_answers(path) < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    /* Of a relative one "12:00/" would be a protocol to qemu-img, and "-x/" an option. */
    cleanup_free char *directory = fd < 0 ? NULL : realpath(beside[0] ? beside : ".", NULL);
    return directory ? import_open(cli, values, fd, path, directory, err)
                     : error_set_errno(err, ERR_IO, errno, "cannot read '%s'", path);
}

/* The last backup in a directory. */
static int import_last(
    struct cli *cli, const struct import_vm_values *values, const char *word, struct error *err)
{
    cleanup_with(backup_clear) struct backup last = {.path = NULL};
    cleanup_free char *directory = realpath(word, NULL);
    int rc = backup_find_last(directory ? directory : word, NULL, &last, err);
    if (rc == 0 && !last.path) {
        (void)error_set(err, ERR_ARCHIVE, "there is no backup in '%s'", word);
        rc = error_help(err, "make one: vmctl backup VM %s", word);
    }
    return rc < 0 ? rc : import_vm(cli, values, last.path, err);
}

/* Beside the disk of one, which people name as well; NULL: it is no such file. free() it. */
static char *settings_beside(const char *word)
{
    struct stat st;
    bool is_disk = text_ends_with(word, BACKUP_DISK);
    int n = (int)(strlen(word) - (is_disk ? strlen(BACKUP_DISK) : 0));
    cleanup_free char *path = is_disk ? mem_printf("%.*s" BACKUP_SETTINGS, n, word) : NULL;
    return path && user_path_stat(path, &st) == 0 ? TAKE_PTR(path) : NULL;
}

/* Options for one are given, and `word`, NULL: nothing, is none. */
static int refuse_word(const char *word, struct error *err)
{
    struct stat st;
    if (!word) {
        (void)error_set(err, ERR_USAGE, "--name, --start and --detach need an archive");
    } else if (user_path_stat(word, &st) < 0) {
        (void)error_set_errno(err, ERR_IO, errno, "cannot read '%s'", word);
    } else {
        (void)error_set(err, ERR_USAGE, "'%s' is not an archive of vmctl", word);
    }
    return error_help(err, "give a file that `vmctl export` wrote, or a directory with backups");
}

static int import_archive(struct cli *cli, const struct import_vm_values *values, const char *word,
    bool is_directory, struct error *err)
{
    cleanup_free char *settings = settings_beside(word);
    return is_directory ? import_last(cli, values, word, err)
                        : import_vm(cli, values, settings ? settings : word, err);
}

static bool is_archive(const char *word)
{
    cleanup_free char *settings = settings_beside(word);
    return settings || text_eq(word, "-") || archive_is_one(word);
}

/* ---- the original vmctl's ---- */

struct import_values {
    struct import_vm_values vm; /* of an archive */
    struct arg_strings files;
    const char *user;
};

static const struct arg_option options[] = {
    {"name", 0, ARG_TEXT, offsetof(struct import_values, vm.name), "NEW",
        "for an archive: the VM's new name [default: its old one]"},
    {"start", 0, ARG_FLAG, offsetof(struct import_values, vm.starts), NULL,
        "of an archive: start it and wait until it is ready"},
    {"detach", 'd', ARG_FLAG, offsetof(struct import_values, vm.follow.is_detached), NULL,
        "for an archive: return as soon as it is unpacked and recorded"},
    {"no-wait", 0, ARG_FLAG, offsetof(struct import_values, vm.follow.is_detached), NULL, NULL},
    {"timeout", 0, ARG_DURATION, offsetof(struct import_values, vm.follow.timeout_ms), "DURATION",
        "for an archive: stop following after this long [default: 10m]"},
    {"file", 'f', ARG_REPEATED, offsetof(struct import_values, files), "PATH",
        "the VMFile that describes the VMs from now on"},
    {"user", 'u', ARG_TEXT, offsetof(struct import_values, user), "USER",
        "the guest's user, for VMs in no VMFile"},
    OPTIONS_END,
};

static const struct import_values defaults = {.vm.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static const char *const results[] = {
    [IMPORT_DONE] = "imported, stopped",
    [IMPORT_UNCHANGED] = "imported before",
    [IMPORT_GONE] = "imported earlier and destroyed since",
};

static int import_all(struct cli *cli, const struct import_values *values, const char *path,
    const struct import_list *list, const struct project *project)
{
    int status = 0;
    for (size_t i = 0; i < list->count; i++) {
        enum import_result result = IMPORT_DONE;
        struct error err = {.code = ERR_NONE};
        struct import_request request = {
            .vm = &list->vms[i], .path = path, .source = project->path, .user = values->user};
        request.spec = project->file ? project_find_vm(project, request.vm->name, 0) : NULL;
        if (import_take_over(cli->store, &request, &result, &err) == 0) {
            printf("%s: %s\n", request.vm->name, results[result]);
        } else {
            cli_print_error(cli, &err);
            status = status ? status : error_exit_status(err.code);
        }
    }
    return status;
}

static int import_file(struct cli *cli, const struct import_values *values, const char *path,
    const struct project *project, struct error *err)
{
    cleanup_with(import_list_clear) struct import_list list = {.count = 0};
    int rc = import_read(path, &list, err);
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    int status = import_all(cli, values, path, &list, project);
    struct error ignored = {.code = ERR_NONE}; /* costs the controller's delay, not the import */
    (void)bell_ring(&cli->paths, BELL_DESIRED, &ignored);
    if (list.count == 0) {
        cli_note(cli, "there are no VMs in '%s'", path);
    } else if (status == 0) {
        cli_note(cli,
            "start them with `vmctl start` or `vmctl up`; '%s' is not changed:\n"
            "do not use the original vmctl for these VMs any more",
            path);
    }
    return status;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct import_values *import = values;
    cleanup_with(project_clear) struct project project = {.path = NULL};
    if (words->count > 1) {
        return error_set(err, ERR_USAGE, "import takes one archive, or one vms.json");
    }
    struct stat st;
    const char *word = words->count ? words->items[0] : NULL;
    bool is_directory = word && user_path_stat(word, &st) == 0 && S_ISDIR(st.st_mode);
    if (word && (is_directory || is_archive(word))) {
        return import->files.count > 0 || import->user
                   ? error_set(err, ERR_USAGE, "--file and --user do not apply to an archive")
                   : import_archive(cli, &import->vm, word, is_directory, err);
    }
    if (import->vm.name || import->vm.starts || import->vm.follow.is_detached) {
        return refuse_word(word, err);
    }
    cleanup_free char *path =
        words->count ? mem_strdup(words->items[0]) : paths_path(&cli->paths, "vms.json");
    int rc = import->files.count > 0 ? project_load(cli, &import->files, &project, err) : 0;
    return rc != 0 ? rc : import_file(cli, import, path, &project, err);
}

const struct command command_import = {
    .name = "import",
    .summary = "Import an exported VM, or the VMs of the original vmctl",
    .usage = "[OPTIONS] [FILE|DIRECTORY]",
    .details =
        "FILE is what `vmctl export` wrote (- is standard input), or a file of a backup; a\n"
        "DIRECTORY with backups means the last one. vmctl unpacks everything and compares the\n"
        "digests before it creates the VM. The VM is the one that was exported: disk, host name,\n"
        "keys and MAC address are the same, and provision steps that ran count as run. Settings\n"
        "that name files of the other host (shares, steps, keys of the VMFile) are left out, with\n"
        "a note; apply its VMFile to restore them: vmctl up.\n"
        "\n"
        "FILE can also be a vms.json of the original vmctl [default: the one in the data\n"
        "directory]. vmctl takes over its VMs with disk, keys, seed, MAC address and SSH port. A\n"
        "running VM is refused: stop it with the vmctl that started it, then import again. With\n"
        "--file, the settings of a VM in the VMFile are taken from there, so that `vmctl up`\n"
        "finds it unchanged. Importing such a VM twice changes nothing.",
    .examples = "  vmctl import web.vmctl --name web2 --start\n"
                "  ssh host vmctl export web - | vmctl import -\n"
                "  vmctl import --file VMFile.kdl\n"
                "  vmctl import ~/backup/vms.json --user ubuntu",
    .options = options,
    .values_size = sizeof(struct import_values),
    .defaults = &defaults,
    .run = run,
};
