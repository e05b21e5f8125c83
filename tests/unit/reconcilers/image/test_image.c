/* SPDX-License-Identifier: MPL-2.0 */
/* Local images and file: URLs; what comes over HTTP is in test_fetch.c. */
#include "reconcilers/image/image.h"

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
#include "specs/image/image_inspect.h"
#include "reconcilers/image/image_work.h"
#include "specs/base/cleanup.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_foreign.h"
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
    (void)image_fetch(
        f->cache, &(struct image_order){.image = &image}, &f->result, media_host_done, &f->m);
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
    cleanup_free char *path = paths_image(&f->m.paths, f->sha256);
    char found[DIGEST_SIZE];
    struct error err = {0};
    struct stat st;
    assert_string_equal(f->result.path, path);
    assert_string_equal(f->result.id, f->sha256);
    assert_int_equal(digest_file(path, NULL, found, &err), 0);
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
    assert_false(image_is_in_reach(&f->m.paths, &image));
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    assert_is_cached(f);
    assert_true(image_is_in_reach(&f->m.paths, &image));
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
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_FORMAT);
}

static void a_local_image_may_stand_on_another_of_the_same_user(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *base = media_host_path(&f->m, "base.qcow2");
    cleanup_free char *path = media_host_path(&f->m, "upper.qcow2");
    const char *make_base[] = {"qemu-img", "create", "-q", "-f", "qcow2", base, "1M", NULL};
    const char *make_upper[] = {
        "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", path, NULL};
    assert_true(media_host_run(make_base));
    assert_true(media_host_run(make_upper));
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

static bool is_there(void *path)
{
    return fs_exists(path);
}

/* ---- cut off ---- */

/* Nothing half-done is left. */
static void assert_no_temporary_files(struct fixture *f)
{
    cleanup_free char *part = paths_path(&f->m.paths, "images/.part");
    assert_int_equal(rmdir(part), 0);
}

/* A qcow2 with data, compressed or not, of the fixture's bytes. */
static char *qcow2_file(struct fixture *f, bool is_compressed)
{
    cleanup_free char *raw = raw_file(f);
    char *path = media_host_path(&f->m, "disk.qcow2");
    const char *argv[] = {"qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, path,
        is_compressed ? "-c" : NULL, NULL};
    assert_true(media_host_run(argv));
    return path;
}

static void a_qcow2_that_is_cut_off_anywhere_is_refused(void **state)
{
    struct fixture *f = *state;
    for (int is_compressed = 0; is_compressed < 2; is_compressed++) {
        cleanup_free char *path = qcow2_file(f, is_compressed);
        cleanup_free char *url = mem_printf("file://%s", path);
        assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
        for (int64_t size = fs_size(path) - 1024; size > 512; size -= 24 * 1024) {
            assert_int_equal(truncate(path, size), 0);
            assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_FORMAT);
            assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_IMAGE_FORMAT);
        }
        assert_non_null(strstr(f->m.error.message, path));
        assert_non_null(strstr(error_help_text(&f->m.error), "copy or download the image again"));
    }
}

/* ---- damaged ---- */

static void put(const char *path, off_t offset, uint64_t value, size_t n)
{
    uint8_t bytes[8];
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(value >> 8 * (n - 1 - i));
    }
    assert_int_equal(pwrite(fd, bytes, n, offset), n);
}

/* Refused from both paths, with the name it was asked for by. */
static void assert_is_damaged(struct fixture *f, char *path, const char *words)
{
    cleanup_free char *url = mem_printf("file://%s", path);
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_FORMAT);
    if (!strstr(f->m.error.message, words)) {
        fail_msg("%s", f->m.error.message);
    }
    assert_non_null(strstr(f->m.error.message, path));
    assert_non_null(strstr(error_help_text(&f->m.error), "copy or download the image again"));
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(f->m.error.message, words));
    assert_null(strstr(f->m.error.message, "json:"));
    assert_null(strstr(f->m.error.message, ".part"));
}

static void a_qcow2_whose_tables_cannot_be_right_is_refused(void **state)
{
    enum { CLUSTER = 65536, L1_SIZE = 36, L1_OFFSET = 40, REFCOUNTS = 48, N_REFCOUNTS = 56 };
    static const struct {
        off_t offset;
        uint64_t value;
        size_t n;
        bool leads_behind_the_end;
    } faults[] = {
        {L1_SIZE, 0, 4, false}, /* too small for the disk */
        {L1_SIZE, UINT32_MAX, 4, false}, {L1_OFFSET, 3 * CLUSTER + 1, 8, true},
        {REFCOUNTS, 99 * CLUSTER, 8, false}, {N_REFCOUNTS, 0, 4, false},
        {N_REFCOUNTS, UINT32_MAX, 4, false},
        {CLUSTER, 99 * CLUSTER, 8, false},                /* a refcount block behind the end */
        {CLUSTER, 2 * CLUSTER + 512, 8, false},           /* not aligned */
        {3 * CLUSTER, 4 * CLUSTER + 512, 8, true},        /* an L2 table that is not */
        {4 * CLUSTER, UINT64_C(1) << 63 | 512, 8, false}, /* data in the header */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        cleanup_free char *path = qcow2_file(f, false);
        put(path, faults[i].offset, faults[i].value, faults[i].n);
        assert_is_damaged(
            f, path, faults[i].leads_behind_the_end ? "is truncated: " : "is damaged: ");
    }
    assert_no_temporary_files(f);
}

/* Clusters that nobody uses: a waste, and no harm. */
static void a_qcow2_that_leaks_is_used(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = qcow2_file(f, false);
    cleanup_free char *url = mem_printf("file://%s", path);
    assert_int_equal(truncate(path, 10 * 65536), 0);
    put(path, 2 * 65536 + 2 * 9, 1, 2); /* the 10th cluster's refcount, of 16 bits */
    const char *check[] = {"qemu-img", "check", "-q", path, NULL};
    assert_false(media_host_run(check));
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_NONE);
    assert_no_temporary_files(f);
}

static void without_qemu_img_a_qcow2_is_not_used(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = qcow2_file(f, false);
    cleanup_free char *search = mem_strdup(getenv("PATH"));
    assert_int_equal(setenv("PATH", f->m.dir, 1), 0);
    enum error_code code = fetch(f, IMAGE_FILE, path, NULL);
    assert_int_equal(setenv("PATH", search, 1), 0);
    assert_int_equal(code, ERR_IMAGE_CONVERSION);
    assert_non_null(strstr(f->m.error.message, "not found in PATH"));
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    assert_int_equal(setenv("PATH", f->m.dir, 1), 0);
    code = fetch(f, IMAGE_FILE, path, NULL); /* unchanged since it was checked */
    assert_int_equal(setenv("PATH", search, 1), 0);
    assert_int_equal(code, ERR_NONE);
}

/* ---- other hypervisors' ---- */

/* qemu-img makes the fixture's bytes an image of this format; the path. */
static char *foreign_file(struct fixture *f, const char *driver, const char *option)
{
    cleanup_free char *raw = raw_file(f);
    char *path = mem_printf("%s/disk.%s", f->m.dir, driver);
    const char *argv[] = {"qemu-img", "convert", "-q", "-f", "raw", "-O", driver, raw, path,
        option ? "-o" : NULL, option, NULL};
    assert_true(media_host_run(argv));
    return path;
}

/* What was fetched lies in the cache, is a complete qcow2, and begins with the fixture's bytes. */
static void assert_is_converted(struct fixture *f)
{
    struct image_info info;
    struct error err = {0};
    char id[DIGEST_SIZE];
    assert_int_equal(image_inspect_base(f->result.path, NULL, "it", &info, &err), 0);
    assert_int_equal(info.format, IMAGE_QCOW2);
    assert_false(info.has_backing);
    cleanup_free char *path = paths_image(&f->m.paths, f->result.id);
    assert_string_equal(f->result.path, path);
    assert_int_equal(digest_file(path, NULL, id, &err), 0);
    assert_string_equal(f->result.id, id);
    cleanup_free char *back = media_host_path(&f->m, "back.img");
    const char *argv[] = {"qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=256k", "count=1",
        mem_printf("if=%s", path), mem_printf("of=%s", back), NULL};
    assert_true(media_host_run(argv));
    free((char *)(uintptr_t)argv[8]);
    free((char *)(uintptr_t)argv[9]);
    assert_int_equal(digest_file(back, NULL, id, &err), 0);
    assert_string_equal(id, f->sha256);
}

static void check_converted(struct fixture *f, const char *driver, const char *option)
{
    cleanup_free char *path = foreign_file(f, driver, option);
    cleanup_free char *url = mem_printf("file://%s", path);
    cleanup_free char *before = NULL;
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    assert_is_converted(f);
    before = mem_strdup(f->result.path);
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE); /* kept */
    assert_string_equal(f->result.path, before);
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_NONE);
    assert_is_converted(f);
    assert_true(fs_exists(path));
    assert_no_temporary_files(f);
}

static void a_vmdk_is_converted(void **state)
{
    check_converted(*state, "vmdk", NULL);
}

static void a_stream_optimized_vmdk_is_converted(void **state)
{
    check_converted(*state, "vmdk", "subformat=streamOptimized");
}

static void a_vdi_is_converted(void **state)
{
    check_converted(*state, "vdi", NULL);
}

static void a_vhd_is_converted(void **state)
{
    check_converted(*state, "vpc", "force_size=on");
}

static void a_vhdx_is_converted(void **state)
{
    check_converted(*state, "vhdx", NULL);
}

/* By its head it would be a raw disk of one sector more. */
static void a_fixed_vhd_is_converted(void **state)
{
    check_converted(*state, "vpc", "subformat=fixed,force_size=on");
}

static void a_fixed_vhdx_is_converted(void **state)
{
    check_converted(*state, "vhdx", "subformat=fixed");
}

static void a_qed_is_converted(void **state)
{
    check_converted(*state, "qed", NULL);
}

static void a_packed_vdi_is_unpacked_and_converted(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *plain = foreign_file(f, "vdi", NULL);
    char unpacked[DIGEST_SIZE];
    struct error err = {0};
    assert_int_equal(digest_file(plain, NULL, unpacked, &err), 0);
    const char *argv[] = {"xz", "-q", plain, NULL};
    assert_true(media_host_run(argv));
    cleanup_free char *path = mem_printf("%s.xz", plain);
    assert_int_equal(fetch(f, IMAGE_FILE, path, f->sha256), ERR_IMAGE_CHECKSUM);
    assert_int_equal(fetch(f, IMAGE_FILE, path, unpacked), ERR_NONE);
    assert_is_converted(f);
    assert_no_temporary_files(f);
}

/* By the bytes that were published, not by those that qemu-img made of them. */
static void the_sha256_of_a_converted_image_is_its_sources(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = foreign_file(f, "vmdk", NULL);
    cleanup_free char *url = mem_printf("file://%s", path);
    char right[DIGEST_SIZE];
    struct error err = {0};
    assert_int_equal(digest_file(path, NULL, right, &err), 0);
    assert_int_equal(fetch(f, IMAGE_URL, url, f->sha256), ERR_IMAGE_CHECKSUM);
    assert_int_equal(fetch(f, IMAGE_URL, url, right), ERR_NONE);
    assert_is_converted(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fetch(f, IMAGE_URL, url, right), ERR_NONE);
}

static void a_name_that_json_cannot_hold_is_converted_too(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *made = foreign_file(f, "vdi", NULL);
    cleanup_free char *path = media_host_path(&f->m, "disk,\xff\".vdi");
    assert_int_equal(rename(made, path), 0);
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    assert_is_converted(f);
}

static void a_vmdk_that_names_other_files_is_never_opened(void **state)
{
    static const char *const formats[] = {
        "subformat=monolithicFlat", "subformat=twoGbMaxExtentSparse"};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        cleanup_free char *path = foreign_file(f, "vmdk", formats[i]);
        cleanup_free char *url = mem_printf("file://%s", path);
        assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_FORMAT);
        assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_IMAGE_FORMAT);
        assert_non_null(strstr(f->m.error.message, "a description of other files"));
        assert_non_null(strstr(error_help_text(&f->m.error), "qemu-img convert"));
    }
    assert_no_temporary_files(f);
}

static void a_vmdk_with_a_parent_is_refused(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *parent = foreign_file(f, "vmdk", NULL);
    cleanup_free char *path = media_host_path(&f->m, "child.vmdk");
    const char *argv[] = {
        "qemu-img", "create", "-q", "-f", "vmdk", "-b", parent, "-F", "vmdk", path, NULL};
    assert_true(media_host_run(argv));
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(f->m.error.message, "derived from"));
}

static void a_conversion_that_fails_says_why_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = foreign_file(f, "vhdx", NULL);
    assert_int_equal(truncate(path, 100 * 1024), 0);
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_CONVERSION);
    assert_non_null(strstr(f->m.error.message, path));
    assert_non_null(strstr(f->m.error.message, "from VHDX to qcow2"));
    assert_non_null(strstr(error_help_text(&f->m.error), "qemu-img is installed"));
    assert_no_temporary_files(f);
}

/* What qemu-img was told to open is a temporary file, which says nothing to anybody. */
static void a_packed_image_that_cannot_be_converted_is_called_by_its_name(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *plain = foreign_file(f, "vhdx", NULL);
    assert_int_equal(truncate(plain, 100 * 1024), 0);
    const char *argv[] = {"xz", "-q", plain, NULL};
    assert_true(media_host_run(argv));
    cleanup_free char *url = mem_printf("file://%s.xz", plain);
    cleanup_free char *quoted = mem_printf("Could not open 'file://%s.xz'", plain);
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_IMAGE_CONVERSION);
    assert_non_null(strstr(f->m.error.message, quoted));
    assert_null(strstr(f->m.error.message, ".part"));
    assert_null(strstr(f->m.error.message, "json:"));
}

/* The guest would read what is missing as zeros. */
static void one_that_is_cut_off_is_not_converted(void **state)
{
    static const char *const drivers[] = {"vmdk", "vdi", "qed"};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        cleanup_free char *path = foreign_file(f, drivers[i], NULL);
        assert_int_equal(truncate(path, fs_size(path) - 128 * 1024), 0);
        enum error_code code = fetch(f, IMAGE_FILE, path, NULL);
        assert_true(code == ERR_IMAGE_CONVERSION || code == ERR_IMAGE_FORMAT);
    }
    assert_no_temporary_files(f);
}

/* Its blocks are of 8 MiB, of which the last holds what there is of the disk: cut behind that,
 * nothing is lost. */
static void a_vhdx_is_cut_off_where_its_disk_is(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = foreign_file(f, "vhdx", NULL);
    int64_t block = fs_size(path) - (8 << 20);
    struct error err = {0};
    const struct image_foreign *foreign = NULL;
    assert_int_equal(truncate(path, block + SIZE), 0);
    assert_int_equal(image_foreign_of_file(path, path, &foreign, &err), 0);
    assert_true(image_foreign_is_vhdx(foreign));
    for (int64_t size = block + SIZE - 1; size > (1 << 20); size -= 1 << 20) {
        assert_int_equal(truncate(path, size), 0);
        assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_IMAGE_FORMAT);
        assert_non_null(strstr(f->m.error.message, "disk.vhdx is truncated: it has "));
    }
    assert_no_temporary_files(f);
}

static void without_qemu_img_nothing_is_converted(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = foreign_file(f, "vdi", NULL);
    cleanup_free char *search = mem_strdup(getenv("PATH"));
    assert_int_equal(setenv("PATH", f->m.dir, 1), 0);
    enum error_code code = fetch(f, IMAGE_FILE, path, NULL);
    assert_int_equal(setenv("PATH", search, 1), 0);
    assert_int_equal(code, ERR_IMAGE_CONVERSION);
    assert_non_null(strstr(f->m.error.message, "not found in PATH"));
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
}

/* A qemu-img that never ends, which says when it runs. */
static void a_conversion_nobody_waits_for_is_ended(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = foreign_file(f, "vdi", NULL);
    cleanup_free char *fake = media_host_path(&f->m, "qemu-img");
    cleanup_free char *started = media_host_path(&f->m, "started");
    cleanup_free char *script = mem_printf(
        "#!/bin/sh\nfor to; do :; done\n: >\"$to\"\n: >%s\nexec tail -f /dev/null\n", started);
    cleanup_free char *made = media_host_file(&f->m, "qemu-img", script, strlen(script));
    assert_int_equal(chmod(fake, 0700), 0);
    cleanup_free char *search = mem_strdup(getenv("PATH"));
    cleanup_free char *first = mem_printf("%s:%s", f->m.dir, search);
    assert_int_equal(setenv("PATH", first, 1), 0);
    struct spec_image image = {.kind = IMAGE_FILE, .location = path};
    struct op *op = image_fetch(
        f->cache, &(struct image_order){.image = &image}, &f->result, media_host_done, &f->m);
    bool has_started = media_host_wait_for(&f->m, is_there, started);
    assert_int_equal(setenv("PATH", search, 1), 0);
    assert_true(has_started);
    op_cancel(op);
    assert_no_temporary_files(f);
}

static void a_full_disk_is_told_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = packed_file(f, "zstd", ".zst");
    cleanup_free char *images = paths_path(&f->m.paths, "images");
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
    struct op *first = image_fetch(
        f->cache, &(struct image_order){.image = &image}, &f->result, media_host_done, &f->m);
    (void)image_fetch(
        f->cache, &(struct image_order){.image = &image}, &other, media_host_done, &f->m);
    op_cancel(first);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    assert_null(f->result.path);
    assert_string_equal(other.path, path);
    free(other.path);
}

/* Starts copying an image of zeros that takes minutes to read. */
static struct op *start_long_copy(struct fixture *f, const char *name, struct image_result *result)
{
    cleanup_free char *path = media_host_file(&f->m, name, f->bytes, SIZE);
    cleanup_free char *url = mem_printf("file://%s", path);
    assert_int_equal(truncate(path, (off_t)500 << 30), 0);
    struct spec_image image = {.kind = IMAGE_URL, .location = url};
    return image_fetch(
        f->cache, &(struct image_order){.image = &image}, result, media_host_done, &f->m);
}

static void long_copies_keep_no_image_that_is_there_waiting_and_end_when_cancelled(void **state)
{
    struct fixture *f = *state;
    struct image_result results[2] = {{0}};
    struct op *one = start_long_copy(f, "one.img", &results[0]);
    struct op *two = start_long_copy(f, "two.img", &results[1]);
    cleanup_free char *path = raw_file(f);
    assert_int_equal(fetch(f, IMAGE_FILE, path, NULL), ERR_NONE);
    op_cancel(one);
    op_cancel(two);
    cleanup_free char *url = mem_printf("file://%s", path);
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_NONE);
    assert_is_cached(f);
}

/* The bytes are still being read for nobody when somebody asks for them again. */
static void one_who_asks_again_for_what_was_cancelled_gets_it(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = raw_file(f);
    cleanup_free char *url = mem_printf("file://%s", path);
    struct spec_image image = {.kind = IMAGE_URL, .location = url};
    op_cancel(image_fetch(
        f->cache, &(struct image_order){.image = &image}, &f->result, media_host_done, &f->m));
    assert_int_equal(fetch(f, IMAGE_URL, url, NULL), ERR_NONE);
    assert_is_cached(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_local_image_is_used_where_it_is),
        TEST(a_missing_local_image_is_told),
        TEST(a_directory_or_a_pipe_is_no_image),
        TEST(a_file_of_odd_size_is_no_raw_disk),
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
        TEST(a_local_image_may_stand_on_another_of_the_same_user),
        TEST(an_image_from_a_url_must_not_name_a_backing_file),
        TEST(an_image_from_a_url_must_not_name_a_data_file),
        TEST(a_qcow2_is_known_by_its_header_not_its_name),
        TEST(a_qcow2_that_is_cut_off_anywhere_is_refused),
        TEST(a_qcow2_whose_tables_cannot_be_right_is_refused),
        TEST(a_qcow2_that_leaks_is_used),
        TEST(without_qemu_img_a_qcow2_is_not_used),
        TEST(a_vmdk_is_converted),
        TEST(a_stream_optimized_vmdk_is_converted),
        TEST(a_vdi_is_converted),
        TEST(a_vhd_is_converted),
        TEST(a_vhdx_is_converted),
        TEST(a_fixed_vhd_is_converted),
        TEST(a_fixed_vhdx_is_converted),
        TEST(a_qed_is_converted),
        TEST(a_packed_vdi_is_unpacked_and_converted),
        TEST(the_sha256_of_a_converted_image_is_its_sources),
        TEST(a_name_that_json_cannot_hold_is_converted_too),
        TEST(a_vmdk_that_names_other_files_is_never_opened),
        TEST(a_vmdk_with_a_parent_is_refused),
        TEST(a_conversion_that_fails_says_why_and_leaves_nothing),
        TEST(a_packed_image_that_cannot_be_converted_is_called_by_its_name),
        TEST(one_that_is_cut_off_is_not_converted),
        TEST(a_vhdx_is_cut_off_where_its_disk_is),
        TEST(without_qemu_img_nothing_is_converted),
        TEST(a_conversion_nobody_waits_for_is_ended),
        TEST(a_full_disk_is_told_and_leaves_nothing),
        TEST(a_cancelled_fetch_is_never_reported),
        TEST(long_copies_keep_no_image_that_is_there_waiting_and_end_when_cancelled),
        TEST(one_who_asks_again_for_what_was_cancelled_gets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
