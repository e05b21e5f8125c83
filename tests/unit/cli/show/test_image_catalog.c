/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/image_catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "store/batch.h"
#include "store/store.h"

struct fixture {
    char dir[64];
    struct cli cli;
    char first[DIGEST_SIZE], second[DIGEST_SIZE];
};

/* A cached image of `n` zero bytes, filed under the digest of `text`. */
static void add_image(struct fixture *f, const char *text, size_t n, char ret_digest[DIGEST_SIZE])
{
    struct error err = {0};
    cleanup_free char *bytes = mem_calloc(1, n);
    digest_text(text, ret_digest);
    cleanup_free char *path = paths_image(&f->cli.paths, ret_digest);
    assert_int_equal(fs_write_file(path, bytes, n, 0444, &err), 0);
}

static void add_name(struct fixture *f, const char *digest, const char *name)
{
    cleanup_free char *relative = mem_printf("images/%s", name);
    cleanup_free char *path = paths_path(&f->cli.paths, relative);
    cleanup_free char *target = mem_printf("%s.qcow2", digest);
    assert_int_equal(symlink(target, path), 0);
}

static void add_url(struct fixture *f, const char *digest, const char *url)
{
    struct error err = {0};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *record = json_pack("{s:s,s:s}", "url", url, "sha256", digest);
    cleanup_free char *key = mem_printf("url:%s", url);
    store_batch_put_json(batch, STORE_IMAGES, key, record);
    assert_int_equal(store_commit(f->cli.store, batch, &err), 0);
    store_batch_free(batch);
}

static int setup(void **state)
{
    struct error err = {0};
    struct fixture *f = mem_new(struct fixture);
    strcpy(f->dir, "/tmp/vmctl-catalog-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(paths_init(&f->cli.paths, f->dir, &err), 0);
    assert_int_equal(cli_open_store(&f->cli, &err), 0);
    cleanup_free char *images = paths_path(&f->cli.paths, "images");
    assert_int_equal(fs_make_dirs(images, 0700, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    store_close(f->cli.store);
    paths_clear(&f->cli.paths);
    assert_int_equal(fs_remove_tree(f->dir, &err), 0);
    free(f);
    return 0;
}

static json_t *read_catalog(struct fixture *f)
{
    struct error err = {0};
    json_t *catalog = NULL;
    assert_int_equal(image_catalog_read(&f->cli, "now", &catalog, &err), 0);
    return catalog;
}

static const char *name_of(const json_t *catalog, size_t i)
{
    return json_text(json_array_get(catalog, i), "name");
}

static void images_are_named_by_link_then_url_then_digest(void **state)
{
    struct fixture *f = *state;
    char third[DIGEST_SIZE];
    add_image(f, "a", 512, f->first);
    add_image(f, "b", 1024, f->second);
    add_image(f, "c", 512, third);
    add_name(f, f->first, "zebra");
    add_name(f, f->first, "ant");
    add_url(f, f->first, "http://x/ignored.img");
    add_url(f, f->second, "http://x/dir/disk.img?token=1#x");
    cleanup_json json_t *catalog = read_catalog(f);
    cleanup_free char *digits = mem_strndup(third, 12);
    assert_int_equal(json_array_size(catalog), 3);
    assert_string_equal(name_of(catalog, 0), digits); /* digits sort before letters */
    assert_string_equal(name_of(catalog, 1), "ant");
    assert_string_equal(name_of(catalog, 2), "disk.img");
    assert_int_equal(json_int(json_array_get(catalog, 2), "size", 0), 1024);
    assert_int_equal(json_int(json_array_get(catalog, 2), "virtualSize", 0), 1024);
    assert_string_equal(json_text(json_array_get(catalog, 2), "format"), "raw");
}

static void other_files_and_broken_links_are_no_images(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *stray = paths_path(&f->cli.paths, "images/stray.qcow2");
    digest_text("gone", f->first);
    add_name(f, f->first, "broken");
    assert_int_equal(fs_write_file(stray, "x", 1, 0600, &err), 0);
    cleanup_json json_t *catalog = read_catalog(f);
    assert_int_equal(json_array_size(catalog), 0);
}

static void assert_found(const json_t *catalog, const char *word, const char *digest)
{
    const json_t *found = NULL;
    struct error err = {0};
    assert_int_equal(image_catalog_find(catalog, word, &found, &err), 0);
    assert_string_equal(json_text(found, "sha256"), digest);
}

static void an_image_is_found_by_any_name_and_by_its_digest(void **state)
{
    struct fixture *f = *state;
    const json_t *found = NULL;
    struct error err = {0};
    add_image(f, "a", 512, f->first);
    add_image(f, "b", 512, f->second);
    add_name(f, f->first, "one");
    add_name(f, f->first, "uno");
    cleanup_json json_t *catalog = read_catalog(f);
    cleanup_free char *digits = mem_strndup(f->second, 12);
    cleanup_free char *too_few = mem_strndup(f->second, 11);
    cleanup_free char *prefixed = mem_printf("sha256:%s", f->second);
    assert_found(catalog, "one", f->first);
    assert_found(catalog, "uno", f->first);
    assert_found(catalog, digits, f->second);
    assert_found(catalog, prefixed, f->second);
    assert_int_equal(image_catalog_find(catalog, too_few, &found, &err), -ERR_IMAGE_NOT_FOUND);
}

static void a_name_of_two_images_is_refused(void **state)
{
    struct fixture *f = *state;
    const json_t *found = NULL;
    struct error err = {0};
    add_image(f, "a", 512, f->first);
    add_image(f, "b", 512, f->second);
    add_url(f, f->first, "http://x/disk.img");
    add_url(f, f->second, "http://y/disk.img");
    cleanup_json json_t *catalog = read_catalog(f);
    assert_int_equal(image_catalog_find(catalog, "disk.img", &found, &err), -ERR_USAGE);
    assert_non_null(strstr(error_help_text(&err), "-o wide"));
}

static void the_vms_that_need_an_image_are_listed(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    add_image(f, "a", 512, f->first);
    add_url(f, f->first, "http://x/disk.img");
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.kind = IMAGE_URL;
    spec->image.location = mem_strdup("http://x/disk.img");
    struct vm_desired *desired = vm_desired_new(spec, 0);
    struct store_batch *batch = store_batch_new();
    store_batch_put_desired(batch, desired, 0);
    assert_int_equal(store_commit(f->cli.store, batch, &err), 0);
    store_batch_free(batch);
    vm_desired_free(desired);
    cleanup_json json_t *catalog = read_catalog(f);
    const json_t *users = json_object_get(json_array_get(catalog, 0), "usedBy");
    assert_int_equal(json_array_size(users), 1);
    assert_string_equal(json_string_value(json_array_get(users, 0)), "web");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(images_are_named_by_link_then_url_then_digest),
        TEST(other_files_and_broken_links_are_no_images),
        TEST(an_image_is_found_by_any_name_and_by_its_digest),
        TEST(a_name_of_two_images_is_refused),
        TEST(the_vms_that_need_an_image_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
