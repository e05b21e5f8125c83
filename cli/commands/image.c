/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl image: the cache of base images. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/image_lookup.h"
#include "cli/request/image_request.h"
#include "cli/request/verbs.h"
#include "cli/show/image_catalog.h"
#include "cli/show/image_header.h"
#include "cli/show/image_progress.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/url.h"
#include "specs/base/user_path.h"
#include "specs/image/image_check.h"
#include "specs/image/image_request.h"

struct image_values {
    const char *name;
    const char *sha256;
    bool is_refresh;
    bool is_dry_run;
    struct follow_values follow;
};

static const struct arg_option options[] = {
    {"name", 0, ARG_TEXT, offsetof(struct image_values, name), "NAME",
        "pull: name for the image [default: the end of the URL]"},
    {"sha256", 0, ARG_TEXT, offsetof(struct image_values, sha256), "DIGEST",
        "pull: the image's SHA-256"},
    {"refresh", 0, ARG_FLAG, offsetof(struct image_values, is_refresh), NULL,
        "pull: download again, even if the image has not changed"},
    {"dry-run", 0, ARG_FLAG, offsetof(struct image_values, is_dry_run), NULL,
        "prune: show what would be removed, remove nothing"},
    {"detach", 'd', ARG_FLAG, offsetof(struct image_values, follow.is_detached), NULL,
        "pull, rm, prune: return as soon as the request is recorded"},
    {"no-wait", 0, ARG_FLAG, offsetof(struct image_values, follow.is_detached), NULL, NULL},
    {"timeout", 0, ARG_DURATION, offsetof(struct image_values, follow.timeout_ms), "DURATION",
        "pull, rm, prune: stop following after this long [default: 24h]"},
    OPTIONS_END,
};

static const struct image_values defaults = {.follow.timeout_ms = INT64_C(24) * 3600 * 1000};

/* "0.62 GB", as the book has it; small ones in MB. */
static char *size_text(int64_t bytes)
{
    const double mb = 1e6, gb = 1e9;
    return (double)bytes < 100 * mb ? mem_printf("%.2f MB", (double)bytes / mb)
                                    : mem_printf("%.2f GB", (double)bytes / gb);
}

/* URLs or names with `between` between; "-" for none. */
static char *join(const json_t *array, const char *between)
{
    struct buf out = BUF_INIT(0);
    for (size_t i = 0; i < json_array_size(array); i++) {
        cleanup_free char *text = url_for_people(json_string_value(json_array_get(array, i)));
        buf_add_str(&out, i > 0 ? between : "");
        text_add_printable(&out, text, strlen(text));
    }
    return out.len > 0 ? buf_steal(&out) : mem_strdup("-");
}

/* ---- printing: many ---- */

static void image_add_row(struct table *table, const json_t *image, const char *name, bool is_wide)
{
    const char *format = json_text(image, "format");
    const json_t *getting = json_object_get(image, "progress"); /* NULL: it is there */
    const char *sha256 = json_text(image, "sha256");
    int64_t total = json_int(getting, "total", 0);
    cleanup_free char *size = size_text(getting ? total : json_int(image, "size", 0));
    cleanup_free char *users = join(json_object_get(image, "usedBy"), ",");
    cleanup_free char *urls = join(json_object_get(image, "urls"), " ");
    cleanup_free char *digest = mem_strndup(sha256 ? sha256 : "-", IMAGE_DIGEST_SHOWN);
    cleanup_buf struct buf progress = BUF_INIT(0);
    if (getting) {
        image_progress_say(&progress, getting);
    }
    table_add(table, name);
    table_add(table, getting && total <= 0 ? "-" : size);
    if (is_wide) {
        table_add(table, format ? format : getting ? "-" : "?");
        table_add(table, digest);
        table_add(table, users);
        table_add(table, urls);
    }
    table_add(table, getting ? buf_str(&progress) : json_text(image, "path"));
}

/* One row a name. */
static void add_rows(struct table *table, const json_t *image, bool is_wide)
{
    const json_t *names = json_object_get(image, "names");
    for (size_t i = 0; i < json_array_size(names); i++) {
        image_add_row(table, image, json_string_value(json_array_get(names, i)), is_wide);
    }
    if (json_array_size(names) == 0) {
        image_add_row(table, image, json_text(image, "name"), is_wide);
    }
}

static void print_table(const struct cli *cli, const json_t *catalog)
{
    static const char *const narrow[] = {"NAME", "SIZE", "PATH"};
    static const char *const wide[] = {
        "NAME", "SIZE", "FORMAT", "DIGEST", "USED BY", "URL", "PATH"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    bool is_wide = cli->output == OUTPUT_WIDE;
    size_t n = is_wide ? ARRAY_LEN(wide) : ARRAY_LEN(narrow);
    table_init(&table, n);
    table.holds_paths = true;
    table_fit_terminal(&table);
    for (size_t i = 0; i < n; i++) {
        table_add(&table, is_wide ? wide[i] : narrow[i]);
    }
    for (size_t i = 0; i < json_array_size(catalog); i++) {
        add_rows(&table, json_array_get(catalog, i), is_wide);
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

static void print_catalog(const struct cli *cli, const json_t *catalog)
{
    if (output_is_data(cli)) {
        output_print(cli, catalog);
    } else if (cli->output == OUTPUT_NAME || cli->is_quiet) { /* docker's -q */
        for (size_t i = 0; i < json_array_size(catalog); i++) {
            const json_t *image = json_array_get(catalog, i);
            if (json_text(image, "sha256")) { /* that can be used, inspected, removed */
                puts(json_text(image, "name"));
            }
        }
    } else {
        print_table(cli, catalog);
    }
}

/* ---- printing: one ---- */

static void print_field(const char *label, const char *text)
{
    if (text) {
        cleanup_buf struct buf out = BUF_INIT(0);
        text_add_printable(&out, text, strlen(text));
        printf("%-14s %s\n", label, buf_str(&out));
    }
}

static void print_fields(const json_t *image)
{
    const json_t *users = json_object_get(image, "usedBy");
    int64_t virtual_size = json_int(image, "virtualSize", -1);
    const char *backing = json_text(image, "backingFile");
    cleanup_free char *size = size_text(json_int(image, "size", 0));
    cleanup_free char *virtual_text = size_text(virtual_size);
    cleanup_free char *virtual_full =
        mem_printf("%s (%lld bytes)", virtual_text, (long long)virtual_size);
    print_field("Path:", json_text(image, "path"));
    print_field("Format:", json_text(image, "format"));
    print_field("Virtual size:", virtual_size >= 0 ? virtual_full : NULL);
    print_field("File size:", size);
    print_field("Backing file:", backing ? backing : "-");
    print_field("SHA256:", json_text(image, "sha256"));
    if (users) {
        cleanup_free char *names = join(users, ", ");
        cleanup_free char *urls = join(json_object_get(image, "urls"), ", ");
        print_field("URL:", urls);
        print_field("Used by:", names);
    }
}

/* ---- printing: the controller's answers (specs/image/image_request.h) ---- */

static void print_pulled(const struct cli *cli, const json_t *answer)
{
    cleanup_free char *size = size_text(json_int(answer, "size", 0));
    if (output_is_data(cli)) {
        cleanup_json json_t *shown = json_object();
        static const char *const keys[] = {"name", "path", "sha256", "size", "unchanged", "url"};
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            if (json_object_get(answer, keys[i])) {
                (void)json_object_set(shown, keys[i], json_object_get(answer, keys[i]));
            }
        }
        output_print(cli, shown);
        return;
    }
    cleanup_free char *url = url_for_people(json_text(answer, "url"));
    cli_note(cli, "%s %s (%s)", json_flag(answer, "unchanged", false) ? "up to date:" : "pulled",
        url, size);
    struct table terminal = {.limit = 0};
    cleanup_buf struct buf path = BUF_INIT(0);
    table_fit_terminal(&terminal);
    table_add_cut_path(
        &path, json_text(answer, "path"), terminal.limit ? terminal.limit : SIZE_MAX);
    puts(buf_str(&path));
}

static void print_removed(const struct cli *cli, const json_t *answer, bool is_dry_run)
{
    const json_t *removed = json_object_get(answer, "removed");
    long long n_downloads = (long long)json_int(answer, "downloads", 0);
    cleanup_free char *freed = size_text(json_int(answer, "freed", 0));
    if (output_is_data(cli)) {
        cleanup_json json_t *shown = json_object();
        (void)json_object_set(shown, "removed", json_object_get(answer, "removed"));
        json_put_int(shown, "freed", json_int(answer, "freed", 0));
        json_put_int(shown, "downloads", n_downloads);
        output_print(cli, shown);
        return;
    }
    for (size_t i = 0; i < json_array_size(removed); i++) {
        const json_t *item = json_array_get(removed, i);
        cleanup_free char *size = size_text(json_int(item, "size", 0));
        printf("%.*s: %s (%s)\n", IMAGE_DIGEST_SHOWN, json_text(item, "sha256"),
            is_dry_run ? "would be removed" : "removed", size);
    }
    if (n_downloads > 0) {
        printf("unfinished downloads: %lld %s\n", n_downloads,
            is_dry_run ? "would be removed" : "removed");
    }
    printf("%s: %s\n", is_dry_run ? "would be freed" : "freed", freed);
}

/* ---- list ---- */

static int read_catalog(struct cli *cli, json_t **ret, struct error *err)
{
    struct controller_process controller;
    int rc = controller_find(cli, &controller, err);
    return rc < 0 ? rc : image_catalog_read(cli, controller.session, ret, err);
}

static int list(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_json json_t *catalog = NULL;
    (void)values;
    (void)words;
    int rc = read_catalog(cli, &catalog, err);
    if (rc < 0) {
        return rc;
    }
    print_catalog(cli, catalog);
    return 0;
}

/* ---- inspect ---- */

/* A file if there is one, as the book has it; else an image in the cache. */
static int find_image(struct cli *cli, const char *word, json_t **ret, struct error *err)
{
    cleanup_json json_t *catalog = NULL;
    const json_t *found = NULL;
    struct stat st;
    if (strchr(word, '/') || user_path_stat(word, &st) == 0 || errno == ETIMEDOUT) {
        cleanup_json json_t *image = json_object();
        json_put_text(image, "path", word);
        struct image_found checked;
        int rc = image_header_read(word, image, err);
        rc = rc < 0 ? rc : image_check_file(word, NULL, &checked, err);
        *ret = rc < 0 ? NULL : TAKE_PTR(image);
        return rc;
    }
    int rc = read_catalog(cli, &catalog, err);
    if (rc == 0) {
        rc = image_catalog_find(catalog, word, &found, err);
    }
    *ret = rc < 0 ? NULL : json_deep_copy(found);
    return rc;
}

static int inspect(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_json json_t *image = NULL;
    (void)values;
    int rc = find_image(cli, words->items[1], &image, err);
    if (rc < 0) {
        return rc;
    }
    if (output_is_data(cli)) {
        output_print(cli, image);
    } else {
        print_fields(image);
    }
    return 0;
}

/* ---- pull ---- */

static int check_url(const char *url, struct error *err)
{
    static const char *const schemes[] = {"https://", "http://", "file://", "oci://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0) {
            return 0;
        }
    }
    cleanup_free char *shown = url_for_people(url);
    (void)error_set(
        err, ERR_USAGE, "image pull: '%s' is not an https, http, file or oci URL", shown);
    struct stat st;
    bool is_file = user_path_stat(url, &st) == 0;
    return is_file
               ? error_help(
                     err, "a file on this host needs no pull: vmctl create --image %s", shown)
               : error_help(err, "begin it with https:// or oci://, or see: vmctl image search");
}

static int check_pull(
    const char *url, const char *catalogued, const struct image_values *values, struct error *err)
{
    const char *pin = values->sha256;
    if (values->name && !image_name_is_valid(values->name)) {
        return error_set(err, ERR_USAGE, "image pull: '%s' cannot be a name", values->name);
    }
    if (pin && (strspn(pin, "0123456789abcdef") != 64 || pin[64])) {
        return error_set(
            err, ERR_USAGE, "image pull: --sha256 takes 64 lower-case hexadecimal digits");
    }
    return catalogued ? 0 : check_url(url, err);
}

static int pull(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct image_values *values = context;
    cleanup_json json_t *answer = NULL;
    cleanup_free char *name = NULL;
    const char *url = words->items[1];
    int rc = image_names_resolve(url, &name, err);
    rc = rc < 0 ? rc : check_pull(url, name, values, err);
    if (rc < 0) {
        return rc;
    }
    json_t *change = json_object();
    json_put_text(change, "verb", IMAGE_REQUEST_PULL);
    json_put_text(change, "url", name ? name : url);
    json_put_flag(change, "named", name != NULL);
    json_put_text(change, "pin", values->sha256);
    json_put_text(change, "name", values->name);
    json_put_flag(change, "refresh", values->is_refresh);
    rc = image_request_run(cli, change, &values->follow, &answer, err);
    if (answer) {
        print_pulled(cli, answer);
    }
    return rc;
}

/* ---- search, outdated ---- */

static int search(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    return image_names_search(cli, words->count > 1 ? words->items[1] : NULL, err);
}

static int outdated(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)words;
    return image_names_outdated(cli, &((const struct image_values *)values)->follow, err);
}

/* ---- rm, prune ---- */

static int find_digests(
    struct cli *cli, const struct arg_strings *words, json_t *digests, struct error *err)
{
    cleanup_json json_t *catalog = NULL;
    int rc = read_catalog(cli, &catalog, err);
    for (size_t i = 1; rc == 0 && i < words->count; i++) {
        const json_t *image = NULL;
        rc = image_catalog_find(catalog, words->items[i], &image, err);
        if (rc == 0) {
            (void)json_array_append(digests, json_object_get(image, "sha256"));
        }
    }
    return rc;
}

static int ask_for_removal(
    struct cli *cli, const struct image_values *values, json_t *change_take, struct error *err)
{
    cleanup_json json_t *answer = NULL;
    int rc = image_request_run(cli, change_take, &values->follow, &answer, err);
    if (answer) {
        print_removed(cli, answer, values->is_dry_run);
    }
    return rc;
}

static int rm(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct image_values *values = context;
    cleanup_json json_t *digests = json_array();
    int rc = find_digests(cli, words, digests, err);
    if (rc < 0) {
        return rc;
    }
    json_t *change = json_object();
    json_put_text(change, "verb", IMAGE_REQUEST_REMOVE);
    json_put(change, "images", TAKE_PTR(digests));
    return ask_for_removal(cli, values, change, err);
}

static int prune(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct image_values *values = context;
    json_t *change = json_object();
    (void)words;
    json_put_text(change, "verb", IMAGE_REQUEST_PRUNE);
    json_put_flag(change, "dryRun", values->is_dry_run);
    return ask_for_removal(cli, values, change, err);
}

/* ---- cancel ---- */

static int cancel(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    struct controller_process controller;
    cleanup_json json_t *records = NULL;
    const char *key, *word = words->items[1];
    json_t *record;
    (void)values;
    int rc = controller_find(cli, &controller, err);
    if (rc < 0 || (rc = image_progress_read(cli, controller.session, &records, err)) < 0) {
        return rc;
    }
    json_object_foreach(records, key, record)
    {
        if (image_url_is_called(json_text(record, "url"), word) && json_int(record, "vms", 0) > 0) {
            (void)error_set(err, ERR_VM_CONFLICT, "image '%s' is being downloaded for a VM", word);
            return error_help(
                err, "see which VM: vmctl image list -o wide; then stop or destroy it");
        }
    }
    rc = image_request_cancel(cli, word, err);
    if (rc == 0) {
        printf("%s: cancelled\n", word);
    }
    return rc;
}

/* ---- the command ---- */

static const struct verb items[] = {
    {"pull", "NAME|URL", 1, 1, pull},
    {"search", "[WORD]", 0, 1, search},
    {"outdated", "", 0, 0, outdated},
    {"list", "", 0, 0, list},
    {"ls", "", 0, 0, list},
    {"cancel", "NAME|URL", 1, 1, cancel},
    {"inspect", "PATH|NAME", 1, 1, inspect},
    {"rm", "NAME|DIGEST...", 1, 1000, rm},
    {"prune", "[--dry-run]", 0, 0, prune},
};
/* Never one that removes something. */
static const char *const suggested[] = {"pull", "search", "outdated", "list", "cancel", "inspect"};
static const struct verbs verbs = {"image", items, ARRAY_LEN(items),
    "pull, search, outdated, list, cancel, inspect, rm, prune", "no words", suggested,
    ARRAY_LEN(suggested)};

static int check_options(
    const struct verb *verb, const struct image_values *values, struct error *err)
{
    if ((values->name || values->sha256 || values->is_refresh) && verb->run != pull) {
        return error_set(err, ERR_USAGE,
            "image %s: --name, --sha256 and --refresh are options of image pull", verb->word);
    }
    if (values->is_dry_run && verb->run != prune) {
        return error_set(
            err, ERR_USAGE, "image %s: --dry-run is an option of image prune", verb->word);
    }
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct verb *verb = verb_find(&verbs, words, err);
    int rc = verb ? check_options(verb, values, err) : -ERR_USAGE;
    return rc < 0 ? rc : verb->run(cli, values, words, err);
}

const struct command command_image = {
    .name = "image",
    .summary = "Pull, list, inspect and remove base images",
    .usage =
        "pull NAME|URL | search [WORD] | outdated | list | cancel NAME|URL | inspect PATH|NAME "
        "| rm NAME|DIGEST... | prune",
    .details =
        "pull downloads an image into the cache, from an https, http, file or oci URL, and prints\n"
        "its path. VMs pull their images by themselves, and keep the version they got first. A\n"
        "later pull asks the server whether the image has changed, unless you give --sha256.\n"
        "--name makes a link in the cache. VMs with the same URL use the image, too. Ctrl-C ends\n"
        "a pull, unless a VM or another pull needs the image; so does cancel, for a pull that\n"
        "another command started. What was downloaded is kept, and the next pull resumes it. list\n"
        "also shows pulls in progress.\n"
        "\n"
        "Images of well-known systems have names, such as debian:12, also in a VMFile. search\n"
        "lists them, from the catalogue that comes with vmctl and from\n"
        "~/.config/vmctl/images.kdl. A downloaded image keeps its name until the next pull;\n"
        "outdated asks the publishers for newer versions. Neither changes a VM.\n"
        "\n"
        "rm removes an image with all its names. prune removes all images that no VM needs, and\n"
        "partial downloads. Neither removes an image that a VM uses.\n"
        "\n"
        "Private registries: `docker login` (~/.docker/config.json, also with a credential\n"
        "helper), or GITHUB_TOKEN for ghcr.io, in the environment vmctld was started from.\n"
        "VMCTL_OCI_INSECURE lists registries (HOST[:PORT],...) to contact without TLS; registries\n"
        "on this host never need TLS.",
    .examples = "  vmctl image pull debian:12\n"
                "  vmctl image search alpine\n"
                "  vmctl image pull https://example.org/noble.img\n"
                "  vmctl image pull --name debian oci://ghcr.io/org/debian:12\n"
                "  vmctl image list -o wide\n"
                "  vmctl image inspect ./my-image.qcow2\n"
                "  vmctl image prune --dry-run",
    .options = options,
    .values_size = sizeof(struct image_values),
    .defaults = &defaults,
    .run = run,
};
