/* SPDX-License-Identifier: MPL-2.0 */
/*
 * vmctl quarantine: what vmctld and `doctor --repair` moved aside because no record needs it any
 * more, and did not dare to delete. Nothing but this command removes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/confirm.h"
#include "cli/request/verbs.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"

#define QUARANTINE "quarantine"
#define TRASH "trash" /* a starting vmctld deletes what is there */

struct quarantine_values {
    int64_t older_than_ms;
    bool is_dry_run;
    bool is_sure;
};

static const struct quarantine_values defaults = {.older_than_ms = INT64_C(7) * 24 * 3600 * 1000};

static const struct arg_option options[] = {
    {"older-than", 0, ARG_DURATION, offsetof(struct quarantine_values, older_than_ms), "DURATION",
        "prune: leave what was moved there later [default: 168h, a week]"},
    {"dry-run", 0, ARG_FLAG, offsetof(struct quarantine_values, is_dry_run), NULL,
        "prune: show what would be removed, remove nothing"},
    OPTION_YES(struct quarantine_values),
    OPTIONS_END,
};

/* ---- what there is ---- */

struct entry {
    char *name;
    char *vm;         /* whose files these are; NULL: a record that could not be read */
    int64_t since_ms; /* at the earliest: a change of the directory counts, too */
    int64_t bytes;    /* allocated */
};

struct entries {
    struct entry *items;
    size_t count;
};

static void entries_clear(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->items[i].name);
        free(entries->items[i].vm);
    }
    free(entries->items);
    *entries = (struct entries){.count = 0};
}

static void add_size(void *context, int dir_fd, const char *name)
{
    enum { STAT_BLOCK = 512 };
    int64_t *bytes = context;
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return;
    }
    *bytes += (int64_t)st.st_blocks * STAT_BLOCK;
    if (S_ISDIR(st.st_mode)) {
        cleanup_free char *path = mem_printf("/proc/self/fd/%d/%s", dir_fd, name);
        fs_each_entry(path, add_size, bytes);
    }
}

/* "shop+web-1700000000" is of "shop/web". NULL: of none. free() it. */
static char *find_former_vm(const char *name)
{
    const char *end = strrchr(name, '-');
    cleanup_free char *flat = end ? mem_strndup(name, (size_t)(end - name)) : NULL;
    return flat ? vm_name_of_flat(flat) : NULL;
}

static void add_quarantined(void *context, int dir_fd, const char *name)
{
    struct entries *entries = context;
    struct stat st;
    if (name[0] == '.' || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return;
    }
    struct entry entry = {.name = mem_strdup(name),
        .vm = S_ISDIR(st.st_mode) ? find_former_vm(name) : NULL,
        .since_ms = (int64_t)st.st_ctim.tv_sec * 1000};
    add_size(&entry.bytes, dir_fd, name);
    mem_grow(entries->items, entries->count);
    entries->items[entries->count++] = entry;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static void read_entries(const struct cli *cli, struct entries *ret)
{
    cleanup_free char *path = paths_path(&cli->paths, QUARANTINE);
    fs_each_entry(path, add_quarantined, ret);
    if (ret->count > 0) {
        qsort(ret->items, ret->count, sizeof(*ret->items), compare_entries);
    }
}

/* ---- list ---- */

static void add_row(struct table *table, const struct entry *entry, int64_t now_ms)
{
    char age[DURATION_SIZE];
    cleanup_free char *size = mem_printf("%.2f MB", (double)entry->bytes / 1e6);
    duration_format(now_ms - entry->since_ms, age);
    table_add(table, entry->name);
    table_add(table, entry->vm ? entry->vm : "-");
    table_add(table, size);
    table_add(table, age);
}

static void print_table(const struct entries *entries, FILE *to)
{
    static const char *const titles[] = {"NAME", "VM", "SIZE", "AGE"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    int64_t now_ms = clock_wall_ms(clock_system());
    table_begin(&table, titles, ARRAY_LEN(titles));
    for (size_t i = 0; i < entries->count; i++) {
        add_row(&table, &entries->items[i], now_ms);
    }
    table_print(&table, &out);
    (void)fputs(buf_str(&out), to);
}

static json_t *entries_to_json(const struct cli *cli, const struct entries *entries)
{
    json_t *list = json_array();
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->items[i];
        cleanup_free char *relative = mem_printf(QUARANTINE "/%s", entry->name);
        cleanup_free char *path = paths_path(&cli->paths, relative);
        json_t *json = json_object();
        json_put_text(json, "name", entry->name);
        json_put_text(json, "vm", entry->vm);
        json_put_text(json, "path", path);
        json_put_int(json, "size", entry->bytes);
        json_put_time(json, "since", entry->since_ms);
        (void)json_array_append_new(list, json);
    }
    return list;
}

static int list_quarantine(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(entries_clear) struct entries entries = {.count = 0};
    (void)values;
    (void)words;
    (void)err;
    read_entries(cli, &entries);
    if (output_is_data(cli)) {
        cleanup_json json_t *json = entries_to_json(cli, &entries);
        output_print(cli, json);
        return 0;
    }
    for (size_t i = 0; cli->output == OUTPUT_NAME && i < entries.count; i++) {
        printf("%s\n", entries.items[i].name);
    }
    if (cli->output != OUTPUT_NAME) {
        print_table(&entries, stdout);
    }
    return 0;
}

/* ---- rm, prune ---- */

/* One process of the guest's at least has its lock, or none has it. */
static int check_unused(const struct cli *cli, const struct entry *entry, struct error *err)
{
    cleanup_free char *relative = mem_printf(QUARANTINE "/%s/alive.lock", entry->name);
    cleanup_free char *lock = paths_path(&cli->paths, relative);
    if (!lockfile_is_held(lock)) { /* nor has a file one */
        return 0;
    }
    (void)error_set(err, ERR_VM_CONFLICT, "the QEMU of '%s' still runs", entry->name);
    return error_help(err, "end it: echo quit over qmp.sock in that directory, or kill it");
}

/* Renamed first: what is listed is whole, whenever this is killed. */
static int remove_entry(const struct cli *cli, const struct entry *entry, struct error *err)
{
    const char *root = cli->paths.data_dir;
    char aside[TEXT_ID_SIZE]; /* what could not be erased before is in nobody's way */
    digest_random_id(aside);
    cleanup_free char *trash = paths_path(&cli->paths, TRASH);
    int rc = check_unused(cli, entry, err);
    rc = rc < 0 ? rc : fs_make_dirs(trash, 0700, err);
    cleanup_close int from = rc < 0 ? -1 : fs_open_beneath(root, QUARANTINE, err);
    cleanup_close int to = from < 0 ? -1 : fs_open_beneath(root, TRASH, err);
    if (to < 0) {
        return -(int)err->code;
    }
    if (renameat(from, entry->name, to, aside) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot remove '%s'", entry->name);
    }
    rc = fs_remove_beneath(root, TRASH, aside, err);
    if (rc == 0 && !cli->is_quiet) {
        printf("%s: removed\n", entry->name);
    }
    return rc;
}

static int confirm_removal(bool is_sure, const struct entries *entries, struct error *err)
{
    if (is_sure || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        return 0;
    }
    print_table(entries, stderr);
    return confirm(entries->count > 1 ? "They cannot be restored. Erase them? [y/N] "
                                      : "It cannot be restored. Erase it? [y/N] ",
        err);
}

/* All of them, whatever becomes of one; the first error counts. */
static int remove_entries(
    const struct cli *cli, bool is_sure, const struct entries *entries, struct error *err)
{
    int rc = entries->count > 0 ? confirm_removal(is_sure, entries, err) : 0;
    for (size_t i = 0; rc != -ERR_CANCELLED && i < entries->count; i++) {
        struct error why = {.code = ERR_NONE};
        if (remove_entry(cli, &entries->items[i], &why) < 0 && rc == 0) {
            *err = why;
            rc = -(int)why.code;
        }
    }
    return rc;
}

/* Leaves those for which `keeps` is true. */
static void keep_entries(struct entries *entries,
    bool (*keeps)(const void *context, const struct entry *entry), const void *context)
{
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++) {
        struct entry *entry = &entries->items[i];
        if (keeps(context, entry)) {
            entries->items[kept++] = *entry;
        } else {
            free(entry->name);
            free(entry->vm);
        }
    }
    entries->count = kept;
}

static bool is_among_words(const void *context, const struct entry *entry)
{
    const struct arg_strings *words = context;
    for (size_t i = 1; i < words->count; i++) {
        if (text_eq(words->items[i], entry->name)) {
            return true;
        }
    }
    return false;
}

static bool has_entry(const struct entries *entries, const char *name)
{
    for (size_t i = 0; i < entries->count; i++) {
        if (text_eq(entries->items[i].name, name)) {
            return true;
        }
    }
    return false;
}

static int remove_quarantined(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct quarantine_values *values = context;
    cleanup_with(entries_clear) struct entries entries = {.count = 0};
    read_entries(cli, &entries);
    for (size_t i = 1; i < words->count; i++) {
        if (!has_entry(&entries, words->items[i])) {
            (void)error_set(
                err, ERR_VM_NOT_FOUND, "there is no '%s' in quarantine", words->items[i]);
            return error_help(err, "see: vmctl quarantine list");
        }
    }
    keep_entries(&entries, is_among_words, words);
    return remove_entries(cli, values->is_sure, &entries, err);
}

static bool is_old(const void *context, const struct entry *entry)
{
    const struct quarantine_values *values = context;
    return clock_wall_ms(clock_system()) - entry->since_ms >= values->older_than_ms;
}

static int prune_quarantine(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct quarantine_values *values = context;
    cleanup_with(entries_clear) struct entries entries = {.count = 0};
    (void)words;
    read_entries(cli, &entries);
    keep_entries(&entries, is_old, values);
    for (size_t i = 0; values->is_dry_run && i < entries.count; i++) {
        printf("%s: would be removed\n", entries.items[i].name);
    }
    return values->is_dry_run ? 0 : remove_entries(cli, values->is_sure, &entries, err);
}

/* ---- the command ---- */

static const struct verb items[] = {
    {"list", "", 0, 0, list_quarantine},
    {"ls", "", 0, 0, list_quarantine},
    {"rm", "NAME...", 1, 1000, remove_quarantined},
    {"prune", "", 0, 0, prune_quarantine},
};
static const struct verbs verbs = {
    "quarantine", items, ARRAY_LEN(items), "list, rm, prune", "no words", NULL, 0};

/* An option that rm does not take may not be overlooked: what it removes is lost. */
static int check_given(
    const struct verb *verb, const struct quarantine_values *values, struct error *err)
{
    bool is_of_prune = values->is_dry_run || values->older_than_ms != defaults.older_than_ms;
    return is_of_prune && verb->run != prune_quarantine
               ? error_set(err, ERR_USAGE,
                     "quarantine %s: --older-than and --dry-run are options of quarantine prune",
                     verb->word)
               : 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct verb *verb = verb_find(&verbs, words, err);
    int rc = verb ? check_given(verb, values, err) : -ERR_USAGE;
    return rc < 0 ? rc : verb->run(cli, values, words, err);
}

const struct command command_quarantine = {
    .name = "quarantine",
    .summary = "List and remove files of VMs that have no record any more",
    .usage = "list | rm NAME... | prune [--older-than DURATION] [--dry-run]",
    .details =
        "Files that belong to no VM are moved to quarantine/ in the data directory: of a VM that\n"
        "was made again on another node of the fleet while this one was off, or was moved away,\n"
        "of a directory without a record, and records that doctor --repair took out of the\n"
        "store. They are kept until you remove them here: rm removes what you name, prune all\n"
        "that is older than a week. Both ask first on a terminal.\n"
        "\n"
        "To use a disk from there again, see vmctld(8), FILES.",
    .examples = "  vmctl quarantine list\n"
                "  vmctl quarantine rm web-1700000000\n"
                "  vmctl quarantine prune --older-than 720h",
    .options = options,
    .values_size = sizeof(struct quarantine_values),
    .defaults = &defaults,
    .erases = true,
    .run = run,
};
