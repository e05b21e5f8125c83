/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl volume: disks that outlive every VM. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/scope.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "cli/request/verbs.h"
#include "cli/show/output.h"
#include "cli/show/result.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/image/volume_file.h"
#include "store/batch.h"
#include "store/store.h"

struct volume_values {
    const char *mount;
    uint32_t size_gib;
    struct which_values which; /* without options of its own */
    struct follow_values follow;
};

static const struct arg_option options[] = {
    {"mount", 0, ARG_TEXT, offsetof(struct volume_values, mount), "DIRECTORY",
        "attach: directory in the guest to mount it at [default: none]"},
    {"size", 0, ARG_GIB, offsetof(struct volume_values, size_gib), "GB",
        "attach: size; grows an existing volume [default: as it is; 10]"},
    {"detach", 'd', ARG_FLAG, offsetof(struct volume_values, follow.is_detached), NULL,
        "attach, detach: return as soon as the request is recorded"},
    {"no-wait", 0, ARG_FLAG, offsetof(struct volume_values, follow.is_detached), NULL, NULL},
    {"timeout", 0, ARG_DURATION, offsetof(struct volume_values, follow.timeout_ms), "DURATION",
        "attach, detach: stop following after this long [default: 5m]"},
    OPTIONS_END,
};

static const struct volume_values defaults = {.follow.timeout_ms = INT64_C(300) * 1000};

static int check_name(const char *name, struct error *err)
{
    if (volume_name_is_valid(name)) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "volume: '%s' cannot be a name", name);
    return error_help(err,
        "begin with a letter or digit; letters, digits, '-', '_' and '.' follow, up to %d in all",
        VOLUME_NAME_MAX);
}

/* A VM of a project has that project's volumes. free() *ret. */
static int find_name(const struct arg_strings *words, char **ret, struct error *err)
{
    const char *vm = words->items[1];
    cleanup_free char *project = vm_name_project(vm);
    *ret = vm_name_in(project, words->items[2]);
    int rc = check_name(*ret, err);
    if (rc < 0 || vm_name_is_of(*ret, project)) {
        return rc;
    }
    (void)error_set(
        err, ERR_USAGE, "volume '%s' and vm '%s' belong to different projects", *ret, vm);
    return error_help(err, "use one of the VM's project: vmctl volume attach %s NAME", vm);
}

/* ---- attach, detach ---- */

static int request_change(struct cli *cli, const struct volume_values *values, const char *vm_name,
    struct change *change, const char *name, struct error *err)
{
    const char *what = change->attaches ? "attach" : "detach";
    cleanup_free char *will = mem_printf("%sing volume '%s'", what, name);
    cleanup_free char *did = mem_printf("volume '%s' %sed", name, what);
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    struct arg_strings word = {.items = &vm_name, .count = 1};
    int rc = targets_find_named(cli, &values->which, &word, &targets, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_with(vm_request_clear) struct request request = {
        .goal = {.kind = GOAL_VOLUME}, .begun = will, .done = did};
    vm_request_init(&request, &targets, change);
    return vm_request_run(cli, &request, &values->follow, err);
}

static int attach(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct volume_values *values = context;
    enum { SIZE_MAX_GIB = 64 << 10 };
    cleanup_free char *name = NULL;
    cleanup_free char *mount = mem_strdup(values->mount);
    int rc = find_name(words, &name, err);
    struct spec_volume volume = {.name = name, .size_gib = values->size_gib, .mount = mount};
    if (rc == 0 && mount && !mount_point_is_valid(mount)) {
        (void)error_set(
            err, ERR_USAGE, "--mount must be the absolute path of a directory in the guest");
        return error_help(err, "write for example: --mount /data");
    }
    if (rc == 0 && values->size_gib > SIZE_MAX_GIB) {
        return error_set(err, ERR_USAGE, "--size must be at most %d (GB)", SIZE_MAX_GIB);
    }
    struct change change = {.attaches = &volume};
    return rc < 0 ? rc : request_change(cli, values, words->items[1], &change, name, err);
}

static int detach(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct volume_values *values = context;
    cleanup_free char *name = NULL;
    int rc = find_name(words, &name, err);
    struct change change = {.detaches = name};
    return rc < 0 ? rc : request_change(cli, values, words->items[1], &change, name, err);
}

/* ---- who names and who has it ---- */

/* The first VM whose record names the volume; NULL: none does. free() it. */
static int find_user(struct cli *cli, const char *name, char **ret_vm, struct error *err)
{
    char uid[TEXT_ID_SIZE];
    cleanup_free char *key = volume_lease_key(name);
    struct vm_list list;
    *ret_vm = NULL;
    int rc = store_lease_holder(cli->store, key, uid, ret_vm, err);
    if (rc < 0 || *ret_vm || (rc = store_list(cli->store, &list, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; !*ret_vm && i < list.count; i++) {
        const struct vm_desired *desired = list.records[i].desired;
        struct vm_spec *whole = desired ? vm_desired_attach(desired, desired->spec) : NULL;
        const struct vm_spec *spec = whole ? whole : desired ? desired->spec : NULL;
        bool is_user = list.records[i].is_damaged || vm_spec_volume(spec, name);
        *ret_vm = is_user ? mem_strdup(list.records[i].name) : NULL;
        vm_spec_free(whole);
    }
    vm_list_clear(&list);
    return 0;
}

/* ---- rm ---- */

static int refuse_in_use(const char *name, const char *vm_name, struct error *err)
{
    (void)error_set(err, ERR_VOLUME_IN_USE, "volume '%s' belongs to vm '%s'", name, vm_name);
    return error_help(err,
        "detach it first: vmctl volume detach %s %s; or remove it from its VMFile, then: vmctl up",
        vm_name, name);
}

static int forget_record(struct cli *cli, const char *name, struct error *err)
{
    cleanup_free char *key = volume_record_key(name);
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_META, key, NULL);
    int rc = store_commit(cli->store, batch, err);
    store_batch_free(batch);
    return rc;
}

/* Of a volume whose file is gone, also while a VM names it: that VM may make a new one then. */
static int rm_record(struct cli *cli, const char *name, struct error *err)
{
    cleanup_free char *key = volume_record_key(name);
    cleanup_json json_t *record = NULL;
    int rc = store_get_json(cli->store, STORE_META, key, &record, err);
    if (rc < 0) {
        return rc;
    }
    if (!record) {
        return error_set(err, ERR_VOLUME_NOT_FOUND, "there is no volume '%s'", name);
    }
    rc = forget_record(cli, name, err);
    if (rc == 0) {
        result_print(cli, name, "removed");
    }
    return rc;
}

/*
 * The folder is renamed into the trash, and then it is looked once more who names the volume: a VM
 * that opens it was recorded before it did, so it is seen now, and the folder is put back. Killed
 * in between, the volume is removed, as was asked, and the trash is emptied by the next vmctld.
 */
static int rm(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const char *data_dir = cli->paths.data_dir;
    char unique[TEXT_ID_SIZE];
    cleanup_free char *user = NULL, *name = NULL;
    (void)values;
    int rc = scope_name(cli, NULL, words->items[1], &name, err);
    rc = rc < 0 ? rc : check_name(name, err);
    if (rc < 0 || (rc = find_user(cli, name, &user, err)) < 0) {
        return rc;
    }
    if (volume_bytes(&cli->paths, name) == VOLUME_IS_MISSING) {
        return rm_record(cli, name, err);
    }
    if (user) {
        return refuse_in_use(name, user, err);
    }
    digest_random_id(unique);
    cleanup_free char *trash = mem_printf("%s/trash", data_dir);
    cleanup_free char *removed = mem_printf("volume-%s", unique);
    cleanup_free char *directory = vm_name_flat(name);
    rc = fs_make_dirs(trash, 0700, err);
    cleanup_close int from = rc < 0 ? -1 : fs_open_beneath(data_dir, "volumes", err);
    cleanup_close int to = from < 0 ? -1 : fs_open_beneath(data_dir, "trash", err);
    if (to < 0) {
        return -(int)err->code;
    }
    if (renameat(from, directory, to, removed) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot remove volume '%s'", name);
    }
    rc = find_user(cli, name, &user, err);
    if ((rc < 0 || user) && renameat2(to, removed, from, directory, RENAME_NOREPLACE) == 0) {
        return rc < 0 ? rc : refuse_in_use(name, user, err);
    }
    error_clear(err);
    rc = fs_remove_beneath(data_dir, "trash", removed, err);
    rc = rc < 0 ? rc : forget_record(cli, name, err);
    if (rc == 0) {
        result_print(cli, name, "removed");
    }
    return rc;
}

/* ---- list ---- */

struct volume_listing {
    struct cli *cli;
    json_t *list;
    struct error error; /* the first */
};

static void add_volume(void *context, int dir_fd, const char *entry)
{
    struct volume_listing *listing = context;
    struct cli *cli = listing->cli;
    cleanup_free char *full = vm_name_of_flat(entry);
    const char *name = full ? full : entry;
    cleanup_free char *user = NULL, *path = volume_path(&cli->paths, name);
    char uid[TEXT_ID_SIZE];
    (void)dir_fd;
    int64_t bytes =
        volume_name_is_valid(name) ? volume_bytes(&cli->paths, name) : VOLUME_IS_MISSING;
    struct stat st;
    if (bytes == VOLUME_IS_MISSING || listing->error.code || stat(path, &st) < 0) {
        return;
    }
    cleanup_free char *key = volume_lease_key(name), *holder = NULL;
    if (store_lease_holder(cli->store, key, uid, &holder, &listing->error) < 0 ||
        find_user(cli, name, &user, &listing->error) < 0) {
        return;
    }
    json_t *json = json_object();
    json_put_text(json, "name", name);
    json_put_int(json, "size", bytes < 0 ? 0 : bytes);
    json_put_int(json, "used", (int64_t)st.st_blocks * 512);
    json_put_text(json, "vm", user);
    json_put_flag(json, "inUse", holder != NULL);
    json_put_text(json, "path", path);
    (void)json_array_append_new(listing->list, json);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(json_text(*(json_t *const *)a, "name"), json_text(*(json_t *const *)b, "name"));
}

static void print_volumes(const struct cli *cli, const json_t *list)
{
    static const char *const titles[] = {"NAME", "SIZE", "USED", "VM", "IN USE"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_begin(&table, titles, ARRAY_LEN(titles));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *volume = json_array_get(list, i);
        const char *vm = json_text(volume, "vm");
        cleanup_free char *size =
            mem_printf("%lld GB", (long long)(json_int(volume, "size", 0) >> 30));
        cleanup_free char *used = mem_printf("%.2f MB", (double)json_int(volume, "used", 0) / 1e6);
        table_add(&table, json_text(volume, "name"));
        table_add(&table, size);
        table_add(&table, used);
        table_add(&table, vm ? vm : "-");
        table_add(&table, json_flag(volume, "inUse", false) ? "yes" : "no");
        if (cli->output == OUTPUT_NAME) {
            puts(json_text(volume, "name"));
        }
    }
    if (cli->output != OUTPUT_NAME) {
        table_print(&table, &out);
        fputs(buf_str(&out), stdout);
    }
}

static int list(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    (void)words;
    cleanup_free char *directory = mem_printf("%s/volumes", cli->paths.data_dir);
    cleanup_json json_t *found = json_array(), *sorted = json_array();
    struct volume_listing listing = {.cli = cli, .list = found};
    fs_each_entry(directory, add_volume, &listing);
    if (listing.error.code) {
        *err = listing.error;
        return -(int)err->code;
    }
    size_t n = json_array_size(found);
    cleanup_free json_t **order = mem_calloc(n, sizeof(*order));
    for (size_t i = 0; i < n; i++) {
        order[i] = json_array_get(found, i);
    }
    qsort(order, n, sizeof(json_t *), compare_names);
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append(sorted, order[i]);
    }
    if (output_is_data(cli)) {
        output_print(cli, sorted);
    } else {
        print_volumes(cli, sorted);
    }
    return 0;
}

/* ---- the command ---- */

static const struct verb items[] = {
    {"list", "", 0, 0, list},
    {"ls", "", 0, 0, list},
    {"attach", "VM NAME", 2, 2, attach},
    {"detach", "VM NAME", 2, 2, detach},
    {"rm", "NAME", 1, 1, rm},
};
static const struct verbs verbs = {
    "volume", items, ARRAY_LEN(items), "list, attach, detach, rm", "nothing", NULL, 0};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct verb *verb = verb_find(&verbs, words, err);
    int rc = verb ? cli_open_store(cli, err) : -ERR_USAGE;
    return rc < 0 ? rc : verb->run(cli, values, words, err);
}

const struct command command_volume = {
    .name = "volume",
    .summary = "Disks that outlive their VMs",
    .usage = "list | attach VM NAME | detach VM NAME | rm NAME",
    .details =
        "A volume is created by the first VM that names it, in its VMFile (volume \"data\") or by\n"
        "attach, and is removed only by rm: a recreation or a destroy does not touch it. One VM\n"
        "has it at a time, from its start until it is stopped. attach and detach work on a\n"
        "running VM, or take effect at its next start; a volume stays attached until it is\n"
        "detached. In the guest it is /dev/disk/by-id/virtio-NAME; with --mount vmctl creates a\n"
        "file system on it, once, and mounts it after every boot. A volume can only grow.",
    .examples = "  vmctl volume attach web data --size 20 --mount /data\n"
                "  vmctl volume list\n"
                "  vmctl volume detach web data && vmctl volume rm data",
    .options = options,
    .values_size = sizeof(struct volume_values),
    .defaults = &defaults,
    .run = run,
};
