/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl template: the disks that VMs with `warm` are clones of. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/image_request.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "cli/request/verbs.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"
#include "specs/vm/template.h"
#include "store/store.h"

struct template_values {
    struct which_values which; /* build: its file alone */
    bool is_dry_run;
    struct follow_values follow;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct template_values, 'f'),
    {"dry-run", 0, ARG_FLAG, offsetof(struct template_values, is_dry_run), NULL,
        "prune: show what would be removed, remove nothing"},
    {"timeout", 0, ARG_DURATION, offsetof(struct template_values, follow.timeout_ms), "DURATION",
        "build, rm, prune: stop following after this long [default: 1h]"},
    OPTIONS_END,
};

static const struct template_values defaults = {.follow.timeout_ms = INT64_C(3600) * 1000};

/* ---- what there is ---- */

struct catalog {
    const struct cli *cli;
    json_t *list;
};

/* Its state and what it takes; `record` NULL: it cannot be used, and `err` says why. */
static json_t *describe(const struct cli *cli, const char *digest,
    const struct template_record *record, const struct error *err)
{
    enum { STAT_BLOCK = 512 };
    struct stat st;
    cleanup_free char *path = template_path(&cli->paths, digest, "");
    static const char *const parts[] = {"disk.qcow2", TEMPLATE_MEMORY, TEMPLATE_STATE};
    cleanup_free char *file = template_path(&cli->paths, digest, "template.json");
    json_t *json = record ? template_record_to_json(record) : json_object();
    json_put_text(json, "digest", digest);
    json_put_text(json, "state", record ? "Ready" : "Unusable");
    json_put_text(json, "message", record ? NULL : err->message);
    json_put_text(json, "path", path);
    int64_t size = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        cleanup_free char *part = template_path(&cli->paths, digest, parts[i]);
        size += stat(part, &st) == 0 ? (int64_t)st.st_blocks * STAT_BLOCK : 0;
    }
    json_put_int(json, "size", size);
    json_put_time(json, "used", stat(file, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000 : 0);
    if (record) {
        json_put_time(json, "created", record->created_ms);
    }
    json_put(json, "clones", json_array());
    return json;
}

static void add_template(void *context, int dir_fd, const char *name)
{
    struct catalog *catalog = context;
    struct error err = {.code = ERR_NONE};
    (void)dir_fd;
    if (template_digest_is_valid(name)) {
        struct template_record *record = template_find(&catalog->cli->paths, name, &err);
        if (!record && !err.code) {
            (void)error_set(&err, ERR_TEMPLATE, "its record is gone");
        }
        (void)json_array_append_new(catalog->list, describe(catalog->cli, name, record, &err));
        template_record_free(record);
    }
}

static json_t *find_digest(const json_t *list, const char *digest)
{
    for (size_t i = 0; digest[0] && i < json_array_size(list); i++) {
        if (text_eq(json_text(json_array_get(list, i), "digest"), digest)) {
            return json_array_get(list, i);
        }
    }
    return NULL;
}

/* One that is being made, or was not. */
static void add_builder(const struct vm_record *vm, json_t *list)
{
    const struct vm_status *status = vm->status;
    const char *failure = status ? status->build_failure.message : NULL;
    char digest[DIGEST_SIZE];
    digest_text(vm->desired->template_key, digest);
    if (find_digest(list, digest)) {
        return;
    }
    json_t *json = json_object();
    json_put_text(json, "digest", digest);
    json_put_text(json, "vm", vm->desired->template_vm);
    json_put_text(json, "state", failure ? "Failed" : "Building");
    json_put_text(json, "message",
        failure ? failure : reason_name(status ? vm_display(status) : REASON_PENDING));
    json_put_time(json, "created", vm->desired->created_ms);
    json_put(json, "clones", json_array());
    (void)json_array_append_new(list, json);
}

/* The copy that `build` waits with, or one on its way out. */
static bool is_passing(const struct vm_record *vm)
{
    const struct vm_desired *desired = vm->desired;
    return !desired || desired->is_deleting || (desired->owner && desired->wants_prepared);
}

static void add_clone(const struct vm_record *vm, const json_t *list, const char *digest)
{
    json_t *clones = json_object_get(find_digest(list, digest), "clones");
    size_t n = json_array_size(clones);
    if (!n || !text_eq(json_string_value(json_array_get(clones, n - 1)), vm->name)) {
        (void)json_array_append_new(clones, json_string(vm->name));
    }
}

static char *age_key(const json_t *json)
{
    return mem_printf(
        "%020lld%s", (long long)json_int(json, "created", 0), json_text(json, "digest"));
}

static int read_templates(struct cli *cli, json_t **ret, struct error *err)
{
    cleanup_with(vm_list_clear) struct vm_list vms = {.count = 0};
    cleanup_free char *directory = paths_path(&cli->paths, "templates");
    int rc = cli_open_store(cli, err);
    if (rc < 0 || (rc = store_list(cli->store, &vms, err)) < 0) {
        return rc;
    }
    struct catalog catalog = {cli, json_array()};
    fs_each_entry(directory, add_template, &catalog);
    for (size_t i = 0; i < vms.count; i++) {
        const struct vm_record *vm = &vms.records[i];
        if (vm->desired && vm->desired->template_key) {
            add_builder(vm, catalog.list);
        }
        for (uint32_t k = 0; vm->status && !is_passing(vm) && k <= vm->status->n_snapshots; k++) {
            const struct vm_prepared *prepared = k < vm->status->n_snapshots
                                                     ? &vm->status->snapshots[k].prepared
                                                     : &vm->status->prepared;
            add_clone(vm, catalog.list, prepared->template_digest);
        }
    }
    *ret = json_sort_take(catalog.list, age_key);
    return 0;
}

/* By the first digits of its digest, "~" or not. */
static int find(const json_t *list, const char *word, const json_t **ret, struct error *err)
{
    const char *digits = word + (word[0] == '~');
    *ret = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *template = json_array_get(list, i);
        if (!digits[0] || !text_starts_with(json_text(template, "digest"), digits)) {
            continue;
        }
        if (*ret) {
            return error_set(err, ERR_USAGE, "several templates begin with '%s'", word);
        }
        *ret = template;
    }
    return *ret ? 0 : error_set(err, ERR_TEMPLATE_NOT_FOUND, "there is no template '%s'", word);
}

/* ---- list, show ---- */

static void add_row(struct table *table, const json_t *template)
{
    const json_t *clones = json_object_get(template, "clones");
    const char *message = json_text(template, "message"), *vm = json_text(template, "vm");
    cleanup_free char *digest = mem_strndup(json_text(template, "digest"), TEMPLATE_DIGITS);
    cleanup_free char *size = mem_printf("%.2f MB", (double)json_int(template, "size", 0) / 1e6);
    cleanup_free char *steps =
        mem_printf("%zu", json_array_size(json_object_get(template, "steps")));
    cleanup_free char *count = mem_printf("%zu", json_array_size(clones));
    cleanup_free char *state = mem_printf(
        "%s%s%s", json_text(template, "state"), message ? ": " : "", message ? message : "");
    char when[CLOCK_TEXT_SIZE];
    clock_format_utc(json_int(template, "created", 0), when);
    table_add(table, digest);
    table_add(table, vm ? vm : "-");
    table_add(table, steps);
    table_add(table, size);
    table_add(table, when);
    table_add(table, count);
    table_add(table, state);
}

static int list_templates(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    static const char *const titles[] = {
        "DIGEST", "VM", "STEPS", "SIZE", "CREATED", "CLONES", "STATE"};
    cleanup_json json_t *templates = NULL;
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    int rc = read_templates(cli, &templates, err);
    (void)values;
    (void)words;
    table_begin(&table, titles, ARRAY_LEN(titles));
    for (size_t i = 0; i < json_array_size(templates); i++) {
        add_row(&table, json_array_get(templates, i));
        if (cli->output == OUTPUT_NAME) {
            printf("%.*s\n", TEMPLATE_DIGITS, json_text(json_array_get(templates, i), "digest"));
        }
    }
    if (rc == 0 && output_is_data(cli)) {
        output_print(cli, templates);
    } else if (rc == 0 && cli->output != OUTPUT_NAME) {
        table_print(&table, &out);
        fputs(buf_str(&out), stdout);
    }
    return rc;
}

static void print_line(const char *label, const char *text)
{
    if (text) {
        printf("%-10s %s\n", label, text);
    }
}

static void print_template(const json_t *template)
{
    char created[CLOCK_TEXT_SIZE], used[CLOCK_TEXT_SIZE];
    clock_format_utc(json_int(template, "created", 0), created);
    clock_format_utc(json_int(template, "used", 0), used);
    const json_t *clones = json_object_get(template, "clones");
    cleanup_free char *took = mem_printf("%.1f s", (double)json_int(template, "tookMs", 0) / 1000);
    print_line("Digest:", json_text(template, "digest"));
    print_line("State:", json_text(template, "state"));
    print_line("Message:", json_text(template, "message"));
    print_line("VM:", json_text(template, "vm"));
    print_line("Image:", json_text(template, "imagePath"));
    print_line("Memory:", json_text(json_object_get(template, "memory"), "host"));
    print_line("Created:", created);
    print_line("Took:", json_int(template, "tookMs", 0) ? took : NULL);
    print_line("Cloned:", json_int(template, "used", 0) ? used : NULL);
    for (size_t i = 0; i < json_array_size(clones); i++) {
        print_line(i ? "" : "Clones:", json_string_value(json_array_get(clones, i)));
    }
    print_line("Path:", json_text(template, "path"));
    cleanup_json json_t *key =
        json_text(template, "key") ? json_loads(json_text(template, "key"), 0, NULL) : NULL;
    cleanup_free char *text = key ? json_dumps(key, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    print_line("Key:", text);
}

static int show(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_json json_t *templates = NULL;
    const json_t *template = NULL;
    int rc = read_templates(cli, &templates, err);
    (void)values;
    rc = rc < 0 ? rc : find(templates, words->items[1], &template, err);
    if (rc == 0 && output_is_data(cli)) {
        output_print(cli, template);
    } else if (rc == 0) {
        print_template(template);
    }
    return rc;
}

/* ---- verify ---- */

static int verify_file(const char *digest, const char *path, const char *wanted, struct error *err)
{
    char found[DIGEST_SIZE];
    int rc = digest_file(path, NULL, found, err);
    if (rc < 0 || text_eq(found, wanted)) {
        return rc;
    }
    (void)error_set(err, ERR_TEMPLATE, "template %.*s: '%s' has changed since it was sealed",
        TEMPLATE_DIGITS, digest, path);
    return error_help(
        err, "destroy its clones, and: vmctl template rm %.*s", TEMPLATE_DIGITS, digest);
}

/* By its bytes; its size and times are looked at whenever it is cloned. */
static int verify_one(const struct cli *cli, const json_t *template, struct error *err)
{
    const char *digest = json_text(template, "digest"), *state = json_text(template, "state");
    const char *message = json_text(template, "message");
    const char *of_memory = json_text(json_object_get(template, "memory"), "stateSha256");
    cleanup_free char *disk = template_path(&cli->paths, digest, "disk.qcow2");
    cleanup_free char *machine = template_path(&cli->paths, digest, TEMPLATE_STATE);
    if (!text_eq(state, "Ready")) {
        return error_set(err, ERR_TEMPLATE, "%s", message ? message : state);
    }
    int rc = verify_file(digest, disk, json_text(template, "diskSha256"), err);
    rc = rc < 0 || !of_memory ? rc : verify_file(digest, machine, of_memory, err);
    if (rc == 0 && !cli->is_quiet) {
        printf("%.*s: unchanged since it was sealed\n", TEMPLATE_DIGITS, digest);
    }
    return rc;
}

static int verify(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_json json_t *templates = NULL;
    int rc = read_templates(cli, &templates, err);
    (void)values;
    for (size_t i = 1; rc == 0 && i < words->count; i++) {
        const json_t *template = NULL;
        rc = find(templates, words->items[i], &template, err);
        rc = rc < 0 ? rc : verify_one(cli, template, err);
    }
    for (size_t i = 0; rc == 0 && words->count == 1 && i < json_array_size(templates); i++) {
        rc = verify_one(cli, json_array_get(templates, i), err);
    }
    return rc;
}

/* ---- rm, prune ---- */

static int request_removal(
    struct cli *cli, const struct template_values *values, json_t *digests_take, struct error *err)
{
    cleanup_json json_t *answer = NULL;
    json_t *change = json_object();
    json_put_text(change, "verb", IMAGE_REQUEST_TEMPLATES);
    json_put_flag(change, "dryRun", values->is_dry_run);
    if (digests_take) {
        json_put(change, "templates", digests_take);
    }
    int rc = image_request_run(cli, change, &values->follow, &answer, err);
    const json_t *removed = json_object_get(answer, "removed");
    if (answer && output_is_data(cli)) {
        cleanup_json json_t *shown = json_object();
        (void)json_object_set(shown, "removed", json_object_get(answer, "removed"));
        json_put_int(shown, "freed", json_int(answer, "freed", 0));
        output_print(cli, shown);
        return rc;
    }
    for (size_t i = 0; i < json_array_size(removed); i++) {
        printf("%.*s: %s\n", TEMPLATE_DIGITS, json_text(json_array_get(removed, i), "digest"),
            values->is_dry_run ? "would be removed" : "removed");
    }
    if (answer) {
        printf("%s: %.2f MB\n", values->is_dry_run ? "would be freed" : "freed",
            (double)json_int(answer, "freed", 0) / 1e6);
    }
    return rc;
}

/* What is not made yet is only a builder, a VM like any other. */
static int remove_builder(
    struct cli *cli, const struct template_values *values, const char *digest, struct error *err)
{
    char name[TEMPLATE_NAME_SIZE];
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    struct change change = {.deletes = true};
    cleanup_with(vm_request_clear) struct request request = {
        .goal = {.kind = GOAL_DELETED}, .begun = "removing", .done = "removed"};
    template_builder_name(digest, name);
    strings_add(&targets, name);
    vm_request_init(&request, &targets, &change);
    return vm_request_run(cli, &request, &values->follow, err);
}

static int remove_templates(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct template_values *values = context;
    cleanup_json json_t *templates = NULL, *digests = json_array();
    int rc = read_templates(cli, &templates, err);
    for (size_t i = 1; rc == 0 && i < words->count; i++) {
        const json_t *template = NULL;
        rc = find(templates, words->items[i], &template, err);
        if (rc == 0 && json_text(template, "path")) {
            (void)json_array_append(digests, json_object_get(template, "digest"));
        } else if (rc == 0) {
            rc = remove_builder(cli, values, json_text(template, "digest"), err);
        }
    }
    return rc == 0 && json_array_size(digests) > 0
               ? request_removal(cli, values, TAKE_PTR(digests), err)
               : rc;
}

static int prune(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct template_values *values = context;
    (void)words;
    return request_removal(cli, values, NULL, err);
}

static int build(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct template_values *values = context;
    const char *vm = words->items[1];
    cleanup_json json_t *templates = NULL;
    char digest[DIGEST_SIZE] = "";
    int rc = template_build(cli, &values->which.files, vm, &values->follow, digest, err);
    if (rc == 0 && output_is_data(cli) && (rc = read_templates(cli, &templates, err)) == 0) {
        output_print(cli, find_digest(templates, digest));
    } else if (rc == 0 && cli->output == OUTPUT_NAME) {
        printf("%.*s\n", TEMPLATE_DIGITS, digest);
    } else if (rc == 0 && !cli->is_quiet) {
        printf("%s: template %.*s is ready\n", vm, TEMPLATE_DIGITS, digest);
    }
    return rc;
}

/* ---- the command ---- */

static const struct verb items[] = {
    {"build", "VM", 1, 1, build},
    {"list", "", 0, 0, list_templates},
    {"ls", "", 0, 0, list_templates},
    {"show", "DIGEST", 1, 1, show},
    {"verify", "[DIGEST...]", 0, 1000, verify},
    {"rm", "DIGEST...", 1, 1000, remove_templates},
    {"prune", "[--dry-run]", 0, 0, prune},
};
static const struct verbs verbs = {"template", items, ARRAY_LEN(items),
    "build, list, show, verify, rm, prune", "nothing else", NULL, 0};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    return verb_run(&verbs, cli, values, words, err);
}

const struct command command_template = {
    .name = "template",
    .summary = "Manage the templates that VMs with `warm` are cloned from",
    .usage =
        "build VM | list | show DIGEST | verify [DIGEST...] | rm DIGEST... | prune [--dry-run]",
    .details =
        "A VM whose VMFile says warm \"disk\" gets a clone of a template: a disk on which its\n"
        "provision steps up to the first `per-vm` one have run. A template is made when a VM\n"
        "first needs it, or earlier by build, which waits until it is ready. It is made again\n"
        "when one of these steps, the image, or anything else that affects the disk has changed;\n"
        "show prints these as its key. Several VMs, and the copies of run --rm, share one. rm\n"
        "removes a template that no VM uses, or one that failed, so that it is tried again; prune\n"
        "removes all that no VM uses. A template that was not cloned for two weeks is removed\n"
        "automatically. verify compares its files with their recorded digests.",
    .examples = "  vmctl template build ci\n"
                "  vmctl template list\n"
                "  vmctl template show 3f2ad08b11c5\n"
                "  vmctl template prune --dry-run",
    .options = options,
    .values_size = sizeof(struct template_values),
    .defaults = &defaults,
    .run = run,
};
