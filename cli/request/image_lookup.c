/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/image_lookup.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/request/image_request.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"
#include "specs/vmfile/image_names.h"
#include "store/store.h"

int image_names_resolve(const char *word, char **ret, struct error *err)
{
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    if (!image_name_is_meant(word)) {
        return 0;
    }
    int rc = image_names_load(&names, err);
    const struct named_image *image = rc < 0 ? NULL : image_names_find(&names, word);
    if (rc == 0 && !image) {
        (void)error_set(err, ERR_IMAGE_NOT_FOUND, "the catalogue has no image '%s'", word);
        return error_help(err, "list its images: vmctl image search");
    }
    *ret = image ? mem_strdup(image->names.items[0]) : NULL;
    return rc;
}

/* The record of the image downloaded under a name; NULL: none. */
static const json_t *find_record(const json_t *records, const char *name)
{
    cleanup_free char *key = mem_printf("url:%s", name);
    const json_t *record = json_object_get(records, key);
    return json_text(record, "published") ? record : NULL;
}

static json_t *describe_named(const struct named_image *image, const json_t *records)
{
    json_t *item = json_object(), *also = json_array();
    const json_t *record = find_record(records, image->names.items[0]);
    for (size_t i = 1; i < image->names.count; i++) {
        (void)json_array_append_new(also, json_string(image->names.items[i]));
    }
    json_put_text(item, "name", image->names.items[0]);
    json_put(item, "also", also);
    json_put_text(item, "about", image->about);
    json_put_text(item, "user", image->user);
    json_put_text(item, "url", image->url);
    json_put_text(item, "sums", image->sums);
    json_put_flag(item, "own", image->is_own);
    json_put_text(item, "sha256", json_text(record, "sha256"));
    return item;
}

/* Those for other processors when they are asked for: "+aarch64". */
static bool is_searched(const struct named_image *image, const char *word)
{
    if (image->arch != ARCH_HOST && !(word && strchr(word, '+'))) {
        return false;
    }
    bool is_it = !word || strcasestr(image->about ? image->about : "", word);
    for (size_t i = 0; i < image->names.count; i++) {
        is_it |= word && strcasestr(image->names.items[i], word);
    }
    return is_it;
}

/* Rows of texts of the items, under their titles; "-" where there is none. */
static void print_items(const struct cli *cli, const json_t *items, const char *const titles[],
    const char *const keys[], size_t n)
{
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_begin(&table, titles, n);
    if (output_is_data(cli)) {
        output_print(cli, items);
        return;
    }
    for (size_t at = 0; at < json_array_size(items); at++) {
        const json_t *item = json_array_get(items, at);
        for (size_t i = 0; i < n; i++) {
            const char *text = json_text(item, keys[i]);
            table_add(&table, text ? text : "-");
        }
        if (cli->output == OUTPUT_NAME) {
            puts(json_text(item, "name"));
        }
    }
    if (cli->output != OUTPUT_NAME) {
        table_print(&table, &out);
        fputs(buf_str(&out), stdout);
    }
}

static int read_names(
    struct cli *cli, struct image_names *names, json_t **ret_records, struct error *err)
{
    int rc = image_names_load(names, err);
    rc = rc < 0 ? rc : cli_open_store(cli, err);
    return rc < 0 ? rc : store_list_json(cli->store, STORE_IMAGES, ret_records, err);
}

int image_names_search(struct cli *cli, const char *word, struct error *err)
{
    static const char *const titles[] = {"NAME", "USER", "DIGEST", "ABOUT"};
    static const char *const keys[] = {"name", "user", "digest", "about"};
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    cleanup_json json_t *records = NULL, *items = json_array();
    int rc = read_names(cli, &names, &records, err);
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        if (is_searched(&names.items[i], word)) {
            json_t *item = describe_named(&names.items[i], records);
            const char *sha256 = json_text(item, "sha256");
            cleanup_free char *shown = sha256 ? mem_strndup(sha256, IMAGE_DIGEST_SHOWN) : NULL;
            json_put_text(item, "digest", output_is_data(cli) ? NULL : shown);
            (void)json_array_append_new(items, item);
        }
    }
    if (rc == 0 && json_array_size(items) == 0) {
        (void)error_set(err, ERR_IMAGE_NOT_FOUND, "the catalogue has no image like '%s'", word);
        return error_help(err, "see all: vmctl image search; add your own in %s", names.own_path);
    }
    if (rc == 0) {
        print_items(cli, items, titles, keys, ARRAY_LEN(keys));
    }
    return rc;
}

/* Asks the publisher; that he does not answer is said of this image. */
static int look(
    struct cli *cli, const struct follow_values *follow, json_t *item, struct error *err)
{
    cleanup_json json_t *answer = NULL;
    struct error failure = {.code = ERR_NONE};
    json_t *change = json_object();
    json_put_text(change, "verb", IMAGE_REQUEST_PULL);
    json_put_text(change, "url", json_text(item, "name"));
    json_put_flag(change, "named", true);
    json_put_flag(change, "look", true);
    int rc = image_request_run(cli, change, follow, &answer, &failure);
    if (rc > 0 || failure.code == ERR_CONTROLLER || failure.code == ERR_STORE) {
        *err = failure;
        return rc;
    }
    bool is_known = rc == 0 && answer;
    bool is_outdated = is_known && !json_flag(answer, "unchanged", false);
    json_put_text(item, "state", is_outdated ? "outdated" : is_known ? "up to date" : "unknown");
    json_put_text(item, "published", json_text(answer, "published"));
    json_put_text(item, "note", is_known ? NULL : failure.message);
    return 0;
}

int image_names_outdated(struct cli *cli, const struct follow_values *follow, struct error *err)
{
    static const char *const titles[] = {"NAME", "STATE", "NOTE"};
    static const char *const keys[] = {"name", "state", "note"};
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    cleanup_json json_t *records = NULL, *items = json_array();
    int rc = read_names(cli, &names, &records, err);
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        if (find_record(records, names.items[i].names.items[0])) {
            json_t *item = describe_named(&names.items[i], records);
            (void)json_array_append_new(items, item);
            rc = look(cli, follow, item, err);
            bool is_outdated = text_eq(json_text(item, "state"), "outdated");
            cleanup_free char *how = mem_printf("vmctl image pull %s", json_text(item, "name"));
            json_put_text(item, "note", is_outdated ? how : json_text(item, "note"));
        }
    }
    if (rc == 0 && json_array_size(items) == 0) {
        cli_note(cli, "no image of the catalogue was downloaded yet: vmctl image search");
    }
    if (rc == 0 && (output_is_data(cli) || json_array_size(items) > 0)) {
        print_items(cli, items, titles, keys, ARRAY_LEN(keys));
    }
    return rc;
}
