/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/image_print.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"

/* "0.62 GB", as the book has it; small ones in MB. */
static char *size_text(int64_t bytes)
{
    const double mb = 1e6, gb = 1e9;
    return (double)bytes < 10 * mb ? mem_printf("%.2f MB", (double)bytes / mb)
                                   : mem_printf("%.2f GB", (double)bytes / gb);
}

/* Without user, password and query: signed URLs carry secrets there. free() it. */
static char *url_text(const char *url)
{
    const char *authority = strstr(url, "://");
    const char *rest = authority ? authority + strlen("://") : url;
    const char *at = memrchr(rest, '@', strcspn(rest, "/?#"));
    rest = at ? at + 1 : rest;
    int scheme = authority ? (int)(authority - url) : 0;
    return mem_printf("%.*s%s%.*s", scheme, url, authority ? "://" : "",
        (int)strcspn(rest, "?#"), rest);
}

/* URLs or names with `between` between; "-" for none. */
static char *join(const json_t *array, const char *between)
{
    struct buf out = BUF_INIT(0);
    for (size_t i = 0; i < json_array_size(array); i++) {
        cleanup_free char *text = url_text(json_string_value(json_array_get(array, i)));
        buf_add_str(&out, i > 0 ? between : "");
        text_add_printable(&out, text, strlen(text));
    }
    return out.len > 0 ? buf_steal(&out) : mem_strdup("-");
}

/* ---- many ---- */

static void add_row(struct table *table, const json_t *image, const char *name, bool is_wide)
{
    const char *format = json_text(image, "format");
    cleanup_free char *size = size_text(json_int(image, "size", 0));
    cleanup_free char *users = join(json_object_get(image, "usedBy"), ",");
    cleanup_free char *urls = join(json_object_get(image, "urls"), " ");
    cleanup_free char *digest = mem_strndup(json_text(image, "sha256"), IMAGE_DIGEST_SHOWN);
    table_add(table, name);
    table_add(table, size);
    if (is_wide) {
        table_add(table, format ? format : "?");
        table_add(table, digest);
        table_add(table, users);
        table_add(table, urls);
    }
    table_add(table, json_text(image, "path"));
}

/* One row a name. */
static void add_rows(struct table *table, const json_t *image, bool is_wide)
{
    const json_t *names = json_object_get(image, "names");
    for (size_t i = 0; i < json_array_size(names); i++) {
        add_row(table, image, json_string_value(json_array_get(names, i)), is_wide);
    }
    if (json_array_size(names) == 0) {
        add_row(table, image, json_text(image, "name"), is_wide);
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
    for (size_t i = 0; i < n; i++) {
        table_add(&table, is_wide ? wide[i] : narrow[i]);
    }
    for (size_t i = 0; i < json_array_size(catalog); i++) {
        add_rows(&table, json_array_get(catalog, i), is_wide);
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

static void print_names(const json_t *catalog)
{
    for (size_t i = 0; i < json_array_size(catalog); i++) {
        puts(json_text(json_array_get(catalog, i), "name"));
    }
}

void image_print_catalog(const struct cli *cli, const json_t *catalog)
{
    if (output_is_data(cli)) {
        output_print(cli, catalog);
    } else if (cli->output == OUTPUT_NAME) {
        print_names(catalog);
    } else {
        print_table(cli, catalog);
    }
}

/* ---- one ---- */

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
    print_field("Data file:", json_flag(image, "hasDataFile", false) ? "in another file" : NULL);
    print_field("Encrypted:", json_flag(image, "encrypted", false) ? "yes" : NULL);
    print_field("SHA256:", json_text(image, "sha256"));
    if (users) {
        cleanup_free char *names = join(users, ", ");
        cleanup_free char *urls = join(json_object_get(image, "urls"), ", ");
        print_field("URL:", urls);
        print_field("Used by:", names);
    }
}

void image_print_one(const struct cli *cli, const json_t *image)
{
    if (output_is_data(cli)) {
        output_print(cli, image);
    } else {
        print_fields(image);
    }
}

/* ---- answers ---- */

void image_print_pulled(const struct cli *cli, const json_t *answer)
{
    cleanup_free char *size = size_text(json_int(answer, "size", 0));
    if (output_is_data(cli)) {
        cleanup_json json_t *shown = json_object();
        static const char *const keys[] = {"name", "path", "sha256", "size", "url"};
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            if (json_object_get(answer, keys[i])) {
                (void)json_object_set(shown, keys[i], json_object_get(answer, keys[i]));
            }
        }
        output_print(cli, shown);
        return;
    }
    cleanup_free char *url = url_text(json_text(answer, "url"));
    cli_note(cli, "pulled %s (%s)", url, size);
    puts(json_text(answer, "path"));
}

void image_print_removed(const struct cli *cli, const json_t *answer, bool is_dry_run)
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
