/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/image_catalog.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/show/image_header.h"
#include "cli/show/image_progress.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/url.h"
#include "specs/image/image_request.h"
#include "specs/vm/template.h"
#include "store/store.h"

static bool array_has(const json_t *array, const char *text)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (text_eq(json_string_value(json_array_get(array, i)), text)) {
            return true;
        }
    }
    return false;
}

static json_t *find_digest(const json_t *catalog, const char *sha256)
{
    for (size_t i = 0; sha256 && i < json_array_size(catalog); i++) {
        json_t *image = json_array_get(catalog, i);
        if (text_eq(json_text(image, "sha256"), sha256)) {
            return image;
        }
    }
    return NULL;
}

/* ---- files ---- */

struct directory {
    const struct cli *cli;
    json_t *catalog;
};

static void add_image(void *context, int dir_fd, const char *file_name)
{
    const struct directory *directory = context;
    struct error ignored = {.code = ERR_NONE}; /* listed all the same */
    struct stat st;
    (void)dir_fd;
    if (!image_file_name_is_valid(file_name)) {
        return;
    }
    cleanup_free char *sha256 = mem_strndup(file_name, DIGEST_SIZE - 1);
    cleanup_free char *path = paths_image(&directory->cli->paths, sha256);
    json_t *image = json_object();
    json_put_text(image, "sha256", sha256);
    json_put_text(image, "path", path);
    json_put_int(image, "size", stat(path, &st) == 0 ? st.st_size : 0);
    json_put(image, "names", json_array());
    json_put(image, "urls", json_array());
    json_put(image, "usedBy", json_array());
    json_put_text(image, "state", "cached");
    (void)image_header_read(path, image, &ignored);
    (void)json_array_append_new(directory->catalog, image);
}

/* Names are links to "<sha256>.qcow2" (reconcilers/image/image_file.h). */
static void add_name(void *context, int dir_fd, const char *name)
{
    const struct directory *directory = context;
    char target[DIGEST_SIZE + 32];
    ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);
    if (n < DIGEST_SIZE || !image_name_is_valid(name)) {
        return;
    }
    target[n] = '\0';
    cleanup_free char *sha256 = mem_strndup(target, DIGEST_SIZE - 1);
    json_t *image = find_digest(directory->catalog, sha256);
    if (image && image_file_name_is_valid(target)) {
        (void)json_array_append_new(json_object_get(image, "names"), json_string(name));
    }
}

/* ---- the store ---- */

static int read_urls(struct cli *cli, const json_t *catalog, struct error *err)
{
    cleanup_json json_t *records = NULL;
    const char *key;
    json_t *record;
    int rc = store_list_json(cli->store, STORE_IMAGES, &records, err);
    if (rc < 0) {
        return rc;
    }
    json_object_foreach(records, key, record)
    {
        json_t *image = find_digest(catalog, json_text(record, "sha256"));
        if (image && text_starts_with(key, "url:") && json_text(record, "url")) {
            json_t *names = json_object_get(image, "names");
            const char *given = json_text(record, "name"), *url = json_text(record, "url");
            cleanup_free char *own = url_last_component(url);
            (void)json_array_append_new(json_object_get(image, "urls"), json_string(url));
            json_put_text(image, "downloadedAt", json_text(record, "downloadedAt"));
            /* Each URL has a name: the one it was given, unless that leads elsewhere by now. */
            if (!(given && array_has(names, given)) && !array_has(names, own)) {
                (void)json_array_append_new(names, json_string(own));
            }
        }
    }
    return 0;
}

static int add_getting(struct cli *cli, const char *session, json_t *catalog, struct error *err)
{
    cleanup_json json_t *records = NULL;
    const char *key;
    json_t *record;
    int rc = image_progress_read(cli, session, &records, err);
    json_object_foreach(records, key, record)
    {
        const char *url = json_text(record, "url"), *path = json_text(record, "path");
        json_t *image = json_object();
        cleanup_free char *name = url_last_component(url ? url : path ? path : "?");
        json_put_text(image, "name", name);
        json_put(image, "names", json_array());
        json_put(image, "urls", url ? json_pack("[s]", url) : json_array());
        json_put(image, "usedBy", json_array());
        json_put_text(image, "state", "getting");
        (void)json_object_del(record, "session"); /* of no use to anyone else */
        (void)json_object_set(image, "progress", record);
        (void)json_array_append_new(catalog, image);
    }
    return rc;
}

static bool is_same_file(const char *a_path, const char *b_path)
{
    struct stat a, b;
    return a_path && b_path && stat(a_path, &a) == 0 && stat(b_path, &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static bool uses(const struct vm_record *vm, json_t *image)
{
    const struct vm_status *status = vm->status;
    const struct spec_image *wanted = vm->desired ? &vm->desired->spec->image : NULL;
    bool is_wanted = wanted && wanted->kind != IMAGE_FILE &&
                     (array_has(json_object_get(image, "urls"), wanted->location) ||
                         (wanted->sha256 && text_eq(wanted->sha256, json_text(image, "sha256"))));
    const char *path = json_text(image, "path");
    bool is_used = is_wanted || (status && is_same_file(status->prepared.image_path, path));
    for (uint32_t i = 0; status && !is_used && i < status->n_snapshots; i++) {
        is_used = is_same_file(status->snapshots[i].prepared.image_path, path);
    }
    return is_used;
}

/* A template lies on its image, whether or not a VM is a clone of it. */
static void add_template_user(void *context, int dir_fd, const char *name)
{
    const struct directory *directory = context;
    struct error ignored = {.code = ERR_NONE};
    char shown[TEMPLATE_NAME_SIZE];
    (void)dir_fd;
    struct template_record *template = template_digest_is_valid(name)
                                           ? template_find(&directory->cli->paths, name, &ignored)
                                           : NULL;
    template_builder_name(name, shown);
    for (size_t i = 0; template && i < json_array_size(directory->catalog); i++) {
        json_t *image = json_array_get(directory->catalog, i);
        if (is_same_file(template->image_path, json_text(image, "path"))) {
            (void)json_array_append_new(json_object_get(image, "usedBy"), json_string(shown));
        }
    }
    template_record_free(template);
}

static int read_users(struct cli *cli, const json_t *catalog, struct error *err)
{
    cleanup_with(vm_list_clear) struct vm_list vms = {.count = 0};
    int rc = store_list(cli->store, &vms, err);
    cleanup_free char *templates = paths_path(&cli->paths, "templates");
    fs_each_entry(
        templates, add_template_user, &(struct directory){cli, (json_t *)(uintptr_t)catalog});
    for (size_t i = 0; i < vms.count; i++) {
        for (size_t k = 0; k < json_array_size(catalog); k++) {
            json_t *image = json_array_get(catalog, k);
            if (uses(&vms.records[i], image)) {
                json_t *name = json_string(vms.records[i].name);
                (void)json_array_append_new(json_object_get(image, "usedBy"), name);
            }
        }
    }
    return rc;
}

/* ---- what it is called ---- */

/* The names that users see sort as text, images of one name by their digests. */
static char *key_of(const json_t *item)
{
    return json_is_string(item) ? mem_strdup(json_string_value(item))
                                : mem_printf("%s\n%s", json_text(item, "name"),
                                      json_text(item, "sha256") ? json_text(item, "sha256") : "");
}

int image_catalog_read(struct cli *cli, const char *session, json_t **ret, struct error *err)
{
    static const char *const sorted[] = {"names", "urls"};
    cleanup_json json_t *catalog = json_array();
    cleanup_free char *path = paths_path(&cli->paths, "images");
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    fs_each_entry(path, add_image, &(struct directory){cli, catalog});
    fs_each_entry(path, add_name, &(struct directory){cli, catalog});
    rc = read_urls(cli, catalog, err);
    if (rc < 0 || (rc = add_getting(cli, session, catalog, err)) < 0 ||
        (rc = read_users(cli, catalog, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; i < json_array_size(catalog); i++) {
        json_t *image = json_array_get(catalog, i);
        for (size_t k = 0; k < ARRAY_LEN(sorted); k++) {
            json_t *array = json_incref(json_object_get(image, sorted[k]));
            json_put(image, sorted[k], json_sort_take(array, key_of));
        }
        const char *name = json_text(image, "name"); /* of an image that is being downloaded */
        if (!name) {
            name = json_string_value(json_array_get(json_object_get(image, "names"), 0));
        }
        cleanup_free char *shown =
            name ? mem_strdup(name) : mem_strndup(json_text(image, "sha256"), IMAGE_DIGEST_SHOWN);
        json_put_text(image, "name", shown);
    }
    *ret = json_sort_take(TAKE_PTR(catalog), key_of);
    return 0;
}

/* ---- finding ---- */

int image_catalog_find(
    const json_t *catalog, const char *word, const json_t **ret, struct error *err)
{
    const json_t *found = NULL, *getting = NULL;
    const char *digits = text_starts_with(word, "sha256:") ? word + strlen("sha256:") : word;
    for (size_t i = 0; i < json_array_size(catalog); i++) {
        json_t *image = json_array_get(catalog, i);
        bool has_digest = strlen(digits) >= IMAGE_DIGEST_SHOWN &&
                          text_starts_with(json_text(image, "sha256"), digits);
        if (!text_eq(json_text(image, "name"), word) && !has_digest &&
            !array_has(json_object_get(image, "names"), word)) {
            continue;
        }
        if (!json_text(image, "sha256")) {
            getting = image;
            continue;
        }
        if (found) {
            (void)error_set(err, ERR_USAGE, "several images are called '%s'", word);
            return error_help(err, "name one by its digest: vmctl image list -o wide");
        }
        found = image;
    }
    if (!found && getting) {
        (void)error_set(err, ERR_IMAGE_NOT_FOUND, "image '%s' is still being downloaded", word);
        return error_help(
            err, "see its progress: vmctl image list; cancel it: vmctl image cancel %s", word);
    }
    if (!found) {
        (void)error_set(err, ERR_IMAGE_NOT_FOUND, "there is no image '%s' in the cache", word);
        return error_help(err, "list the images: vmctl image list");
    }
    *ret = found;
    return 0;
}
