/* SPDX-License-Identifier: MPL-2.0 */
/* Local images and file: URLs; what comes over HTTP is in test_fetch.c. */
#include "reconcilers/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/image_inspect.h"
#include "reconcilers/image_work.h"
#include "specs/base/cleanup.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "tests/support/media_host.h"

enum { SIZE = 256 * 1024 };

struct fixture {
    struct media_host m;
    struct image_cache *cache;
    struct image_result result;
    uint8_t *bytes; /* of a raw image */
    char sha256[DIGEST_SIZE];
};

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    f->cache = image_cache_new(&f->m.host);
    f->bytes = media_host_bytes(SIZE, 1);
    memset(f->bytes + 4096, 0, 128 * 1024); /* a hole to keep */
    digest_bytes(f->bytes, SIZE, f->sha256);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    image_cache_free(f->cache);
    free(f->result.path);
    json_decref(f->result.record);
    free(f->bytes);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

static enum error_code fetch(struct fixture *f, enum image_kind kind, char *location, char *sha256)
{
    struct spec_image image = {.kind = kind, .location = location, .sha256 = sha256};
    (void)image_fetch(f->cache, &image, &f->result, NULL, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

static char *raw_file(struct fixture *f)
{
    return media_host_file(&f->m, "base.img", f->bytes, SIZE);
}

/* Runs `program file`, which leaves file + suffix; returns that path. */
static char *packed_file(struct fixture *f, const char *program, const char *suffix)
{
    cleanup_free char *raw = raw_file(f);
    const char *argv[] = {program, "-q", raw, NULL};
    assert_true(media_host_run(argv));
    return mem_printf("%s%s", raw, suffix);
}

static void assert_is_cached(struct fixture *f)
{
    cleanup_free char *path = places_image(&f->m.places, f->sha256);
    char found[DIGEST_SIZE];
    struct error err = {0};
    struct stat st;
    assert_string_equal(f->result.path, path);
    assert_string_equal(f->result.id, f->sha256);
    assert_int_equal(digest_file(path, found, &err), 0);
    assert_string_equal(found, f->sha256);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
}

static void a_local_image_is_used_where_it_is(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = raw_file(f);
    char stamp[DIGEST_SIZE];
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    assert_string_equal(f->result.path, path);
    assert_true(file_stamp(path, stamp));
    assert_string_equal(f->result.id, stamp);
    assert_null(f->result.record);
}

static void a_missing_local_image_is_told(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = media_host_path(&f->m, "absent.qcow2");
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_NOT_FOUND);
    assert_non_null(strstr(f->m.error.message, path));
}

static void a_directory_or_a_pipe_is_no_image(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fetch(f, IMAGE_FILE, f->m.dir, NULL), ERR_IMAGE_FORMAT);
    cleanup_free char *fifo = media_host_path(&f->m, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(fetch(f, IMAGE_FILE, fifo, NULL), ERR_IMAGE_FORMAT);
}

static void a_file_of_odd_size_is_no_raw_disk(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = media_host_file(&f->m, "page.img", "<html>not found</html>", 22);
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_FORMAT);
}

static void another_hypervisors_format_says_how_to_convert(void **state)
{
    struct fixture *f = *state;
    memcpy(f->bytes, "KDMV", 4);
    cleanup_free char *path = raw_file(f);
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(f->m.error.message, "VMDK"));
    assert_non_null(strstr(error_help_text(&f->m.error), "qemu-img convert"));
}

static void the_sha256_of_a_local_image_is_verified(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = raw_file(f);
    char wrong[DIGEST_SIZE];
    digest_text("something else", wrong);
    assert_int_equal(fetch(f, IMAGE_FILE, path, wrong), ERR_IMAGE_CHECKSUM);
    assert_non_null(strstr(f->m.error.message, wrong));
    assert_non_null(strstr(f->m.error.message, f->sha256));
    assert_int_equal(fetch(f, IMAGE_FILE, path, f->sha256), ERR_NONE);
    assert_int_equal(fetch(f, IMAGE_FILE, path, f->sha256), ERR_NONE);
    f->bytes[0] ^= 1; /* a change is seen although the old bytes were verified */
    cleanup_free char *again = raw_file(f);
    assert_int_equal(fetch(f, IMAGE_FILE, again, f->sha256), ERR_IMAGE_CHECKSUM);
}

static void check_packed(struct fixture *f, const char *program, const char *suffix)
{
    cleanup_free char *path = packed_file(f, program, suffix);
    struct spec_image image = {.kind = IMAGE_FILE, .location = path};
    assert_false(image_is_in_reach(&f->m.places, &image));
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    assert_is_cached(f);
    assert_true(image_is_in_reach(&f->m.places, &image));
    assert_int_equal(fetch(f, IMAGE_FILE, path, f->sha256), ERR_NONE);
}

static void a_zstd_image_is_unpacked_into_the_cache(void **state)
{
    check_packed(*state, "zstd", ".zst");
}

static void a_gzip_image_is_unpacked_into_the_cache(void **state)
{
    check_packed(*state, "gzip", ".gz");
}

static void an_xz_image_is_unpacked_into_the_cache(void **state)
{
    check_packed(*state, "xz", ".xz");
}

static void a_bzip2_image_is_unpacked_into_the_cache(void **state)
{
    check_packed(*state, "bzip2", ".bz2");
}

static void zeros_become_holes(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = packed_file(f, "zstd", ".zst");
    struct stat st;
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    assert_int_equal(stat(f->result.path, &st), 0);
    assert_true((int64_t)st.st_blocks * 512 <= SIZE - 100 * 1024);
}

static void a_packed_image_that_is_cut_off_is_refused(void **state)
{
    static const char *const programs[][2] = {{"zstd", ".zst"}, {"gzip", ".gz"}, {"xz", ".xz"}};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        cleanup_free char *path = packed_file(f, programs[i][0], programs[i][1]);
        assert_int_equal(truncate(path, fs_size(path) - 1000), 0);
        assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_DECOMPRESS);
    }
}

static void a_name_that_lies_about_compression_is_refused(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = media_host_file(&f->m, "base.zst", f->bytes, SIZE);
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_DECOMPRESS);
}

static void a_file_url_is_copied_once_and_kept(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = media_host_file(&f->m, "a b.img", f->bytes, SIZE);
    cleanup_free char *url = mem_printf("file://%s/a%%20b.img", f->m.dir);
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_NONE);
    assert_is_cached(f);
    assert_string_equal(json_text(f->result.record, "url"), url);
    assert_string_equal(json_text(f->result.record, "sha256"), f->sha256);
    assert_string_equal(json_text(f->result.record, "format"), "raw");
    assert_int_equal(json_int(f->result.record, "size", -1), SIZE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_NONE);
    assert_is_cached(f);
}

static void a_file_url_of_nothing_is_not_found(void **state)
{
    struct fixture *f = *state;
    char url[] = "file:///nowhere/at/all.img", relative[] = "file://server/x.img";
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_IMAGE_NOT_FOUND);
    assert_int_equal(fetch(f, IMAGE_URL, relative, NULL), ERR_IMAGE_NOT_FOUND);
}

/* Fetches a qcow2 that qemu-img makes with these options, as URL and as local file. */
static void check_dependent_image(struct fixture *f, const char *option, const char *value)
{
    cleanup_free char *path = media_host_path(&f->m, "dependent.qcow2");
    cleanup_free char *url = mem_printf("file://%s", path);
    const char *argv[] = {
        "qemu-img", "create", "-q", "-f", "qcow2", option, value, path, "1M", NULL};
    assert_true(media_host_run(argv));
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(f->m.error.message, "refers to another file"));
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
}

static void an_image_from_a_url_must_not_name_a_backing_file(void **state)
{
    check_dependent_image(*state, "-o", "backing_file=/etc/passwd,backing_fmt=raw");
}

static void an_image_from_a_url_must_not_name_a_data_file(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *option = mem_printf("data_file=%s/secret", f->m.dir);
    check_dependent_image(f, "-o", option);
}

static void a_qcow2_is_known_by_its_header_not_its_name(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = media_host_path(&f->m, "disk.img");
    const char *argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", path, "7M", NULL};
    struct image_info info;
    struct error err = {0};
    assert_true(media_host_run(argv));
    assert_int_equal(image_inspect(path, &info, &err), 0);
    assert_int_equal(info.format, IMAGE_QCOW2);
    assert_int_equal(info.virtual_size, 7 << 20);
    assert_false(info.has_backing);
}

static void a_full_disk_is_told_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = packed_file(f, "zstd", ".zst");
    cleanup_free char *images = places_path(&f->m.places, "images");
    struct error err = {0};
    assert_int_equal(fs_make_dirs(images, 0700, &err), 0);
    if (mount("vmctl-test", images, "tmpfs", 0, "size=64k") < 0) {
        skip();
    }
    enum error_code code = fetch(f, IMAGE_FILE, path, NULL);
    cleanup_free char *part = fs_join(images, ".part");
    bool is_clean = rmdir(part) == 0;
    assert_int_equal(umount(images), 0);
    assert_int_equal(code, ERR_NO_SPACE);
    assert_true(is_clean);
}

static void a_cancelled_fetch_is_never_reported(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = raw_file(f);
    struct spec_image image = {.kind = IMAGE_FILE, .location = path};
    struct image_result other = {0};
    struct op *first = image_fetch(f->cache, &image, &f->result, NULL, media_host_done, &f->m);
    (void)image_fetch(f->cache, &image, &other, NULL, media_host_done, &f->m);
    op_cancel(first);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    assert_null(f->result.path);
    assert_string_equal(other.path, path);
    free(other.path);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_local_image_is_used_where_it_is),
        TEST(a_missing_local_image_is_told),
        TEST(a_directory_or_a_pipe_is_no_image),
        TEST(a_file_of_odd_size_is_no_raw_disk),
        TEST(another_hypervisors_format_says_how_to_convert),
        TEST(the_sha256_of_a_local_image_is_verified),
        TEST(a_zstd_image_is_unpacked_into_the_cache),
        TEST(a_gzip_image_is_unpacked_into_the_cache),
        TEST(an_xz_image_is_unpacked_into_the_cache),
        TEST(a_bzip2_image_is_unpacked_into_the_cache),
        TEST(zeros_become_holes),
        TEST(a_packed_image_that_is_cut_off_is_refused),
        TEST(a_name_that_lies_about_compression_is_refused),
        TEST(a_file_url_is_copied_once_and_kept),
        TEST(a_file_url_of_nothing_is_not_found),
        TEST(an_image_from_a_url_must_not_name_a_backing_file),
        TEST(an_image_from_a_url_must_not_name_a_data_file),
        TEST(a_qcow2_is_known_by_its_header_not_its_name),
        TEST(a_full_disk_is_told_and_leaves_nothing),
        TEST(a_cancelled_fetch_is_never_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
