/* SPDX-License-Identifier: MPL-2.0 */
/* Images over HTTP: the whole way from a URL to the cache, against nginx and a faulty server. */
#include "reconcilers/image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/url.h"
#include "reconcilers/image/image_work.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"
#include "tests/support/http_server.h"
#include "tests/support/media_host.h"

enum { SIZE = 3 * 1024 * 1024, CUT = 1024 * 1024 };

struct fixture {
    struct media_host m;
    struct image_cache *cache;
    struct http_server *server;
    struct http_behaviour behaviour;
    struct image_result results[4];
    uint8_t *bytes;
    struct buf packed[2]; /* for bodies, which a connection may still send */
    char sha256[DIGEST_SIZE];
    char *url;                     /* on the faulty server */
    const struct proxies *proxies; /* of the next fetch */
    size_t n_wakes;
};

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    f->cache = image_cache_new(&f->m.host);
    f->bytes = media_host_bytes(SIZE, 7);
    digest_bytes(f->bytes, SIZE, f->sha256);
    f->server = http_server_start();
    f->url = mem_printf("http://127.0.0.1:%u/disk.img?token=secret", http_server_port(f->server));
    f->behaviour = (struct http_behaviour){.body = f->bytes, .size = SIZE, .etag = "\"v1\""};
    http_server_behave(f->server, &f->behaviour);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    image_cache_free(f->cache);
    http_server_stop(f->server);
    for (size_t i = 0; i < ARRAY_LEN(f->results); i++) {
        free(f->results[i].path);
        json_decref(f->results[i].record);
    }
    buf_clear(&f->packed[0]);
    buf_clear(&f->packed[1]);
    free(f->bytes);
    free(f->url);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

static struct op *start(struct fixture *f, size_t i, char *url, char *sha256)
{
    struct spec_image image = {.kind = IMAGE_URL, .location = url, .sha256 = sha256};
    struct image_order order = {.image = &image, .proxies = f->proxies};
    return image_fetch(f->cache, &order, &f->results[i], media_host_done, &f->m);
}

static enum error_code fetch(struct fixture *f, char *url, char *sha256)
{
    (void)start(f, 0, url, sha256);
    return media_host_wait(&f->m, 1);
}

static void behave(struct fixture *f, struct http_behaviour behaviour)
{
    behaviour.body = behaviour.body ? behaviour.body : f->bytes;
    behaviour.size = behaviour.size ? behaviour.size : SIZE;
    http_server_behave(f->server, &behaviour);
}

static void assert_is_whole(struct fixture *f, const char *path, const char *sha256)
{
    cleanup_free char *expected = paths_image(&f->m.paths, sha256);
    char found[DIGEST_SIZE];
    struct error err = {0};
    assert_string_equal(path, expected);
    assert_int_equal(digest_file(path, NULL, found, &err), 0);
    assert_string_equal(found, sha256);
}

/* ---- nginx ---- */

static struct nginx *serve(struct fixture *f, const char *name, const void *bytes, size_t n)
{
    free(media_host_file(&f->m, name, bytes, n));
    struct nginx *nginx = nginx_start(f->m.dir, f->m.dir);
    if (!nginx) {
        skip();
    }
    return nginx;
}

static void an_image_is_downloaded_once_and_recorded(void **state)
{
    struct fixture *f = *state;
    struct nginx *nginx = serve(f, "disk.img", f->bytes, SIZE);
    cleanup_free char *url = mem_printf("http://127.0.0.1:%u/disk.img", nginx_port(nginx));
    struct spec_image image = {.kind = IMAGE_URL, .location = url};
    assert_false(image_is_in_reach(&f->m.paths, &image));
    assert_int_equal(fetch(f, url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    assert_string_equal(f->results[0].id, f->sha256);
    assert_true(image_is_in_reach(&f->m.paths, &image));
    json_t *record = f->results[0].record;
    assert_string_equal(json_text(record, "url"), url);
    assert_string_equal(json_text(record, "path"), f->results[0].path);
    assert_int_equal(json_text(record, "etag")[0], '"');
    cleanup_free char *key = spec_image_record_key(&(struct spec_image){.location = url});
    json_object_set(f->m.records, key, record);
    assert_int_equal(fetch(f, url, NULL), ERR_NONE);
    assert_null(f->results[0].record); /* nothing new to record */
    nginx_stop(nginx);                 /* ends its log */
    cleanup_free char *log = fs_join(f->m.dir, "access.log");
    cleanup_buf struct buf text = BUF_INIT(0);
    struct error err = {0};
    assert_int_equal(fs_read_file(log, &text, &err), 0);
    assert_string_equal(buf_str(&text), "200 3145728 - /disk.img\n");
}

static void a_redirect_is_followed(void **state)
{
    struct fixture *f = *state;
    struct nginx *nginx = serve(f, "disk.img", f->bytes, SIZE);
    cleanup_free char *url = mem_printf("http://127.0.0.1:%u/moved/disk.img", nginx_port(nginx));
    enum error_code code = fetch(f, url, NULL);
    nginx_stop(nginx);
    assert_int_equal(code, ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
}

static void a_zstd_image_is_unpacked_and_either_sha256_fits(void **state)
{
    struct fixture *f = *state;
    struct nginx *nginx = serve(f, "disk.img", f->bytes, SIZE);
    cleanup_free char *raw = media_host_path(&f->m, "disk.img");
    cleanup_free char *packed = media_host_path(&f->m, "disk.img.zst");
    cleanup_free char *url = mem_printf("http://127.0.0.1:%u/disk.img.zst?x=1", nginx_port(nginx));
    const char *argv[] = {"zstd", "-q", raw, NULL};
    char packed_sha[DIGEST_SIZE];
    struct error err = {0};
    assert_true(media_host_run(argv));
    assert_int_equal(digest_file(packed, NULL, packed_sha, &err), 0);
    enum error_code by_packed = fetch(f, url, packed_sha);
    assert_is_whole(f, f->results[0].path, f->sha256);
    enum error_code by_image = fetch(f, url, f->sha256);
    cleanup_free char *long_url =
        mem_printf("http://127.0.0.1:%u/disk.img.zstd", nginx_port(nginx));
    cleanup_free char *renamed = media_host_path(&f->m, "disk.img.zstd");
    assert_int_equal(rename(packed, renamed), 0);
    enum error_code by_long_name = fetch(f, long_url, NULL);
    nginx_stop(nginx);
    assert_int_equal(by_packed, ERR_NONE);
    assert_int_equal(by_image, ERR_NONE);
    assert_int_equal(by_long_name, ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    struct spec_image image = {.kind = IMAGE_URL, .location = url, .sha256 = packed_sha};
    assert_true(image_is_in_reach(&f->m.paths, &image));
}

static void what_is_not_there_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct nginx *nginx = serve(f, "disk.img", f->bytes, SIZE);
    cleanup_free char *url = mem_printf("http://me:pw@127.0.0.1:%u/other.img", nginx_port(nginx));
    enum error_code code = fetch(f, url, NULL);
    nginx_stop(nginx);
    assert_int_equal(code, ERR_IMAGE_NOT_FOUND);
    assert_non_null(strstr(f->m.error.message, "404"));
    assert_non_null(strstr(f->m.error.message, "/other.img"));
    assert_null(strstr(f->m.error.message, "pw"));
}

static void nginx_sends_only_the_rest_after_a_cut(void **state)
{
    struct fixture *f = *state;
    struct nginx *nginx = serve(f, "disk.img", f->bytes, SIZE);
    cleanup_free char *url = mem_printf("http://127.0.0.1:%u/disk.img", nginx_port(nginx));
    struct spec_image image = {.kind = IMAGE_URL, .location = url};
    assert_int_equal(fetch(f, url, NULL), ERR_NONE);
    const char *etag = json_text(f->results[0].record, "etag");
    /* The state that a vmctld killed at half of it leaves. */
    char key[DIGEST_SIZE];
    image_work_key(&image, key);
    cleanup_free char *directory = paths_path(&f->m.paths, "images/.part");
    struct part part;
    part_init(&part, directory, key, url, clock_boot_id(f->m.host.clock));
    struct error err = {0};
    int fd = -1;
    assert_int_equal(part_begin(&part, etag, SIZE, &fd, &err), 0);
    assert_int_equal(fs_write_all(fd, f->bytes, CUT, &err), 0);
    close(fd);
    part_clear(&part);
    assert_int_equal(unlink(f->results[0].path), 0);
    enum error_code code = fetch(f, url, NULL);
    nginx_stop(nginx);
    assert_int_equal(code, ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    cleanup_buf struct buf text = BUF_INIT(0);
    cleanup_free char *log = fs_join(f->m.dir, "access.log");
    assert_int_equal(fs_read_file(log, &text, &err), 0);
    assert_string_equal(
        buf_str(&text), "200 3145728 - /disk.img\n206 2097152 bytes=1048576- /disk.img\n");
}

/* ---- faults ---- */

static void a_cut_download_goes_on_where_it_ended(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .cut_after = CUT});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    assert_null(strstr(f->m.error.message, "secret"));
    behave(f, (struct http_behaviour){.etag = "\"v1\""});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    assert_int_equal(http_server_count(f->server), 2);
    struct http_request second = http_server_request(f->server, 1);
    assert_string_equal(second.range, "bytes=1048576-");
    assert_string_equal(second.if_range, "\"v1\"");
    assert_int_equal(second.sent, SIZE - CUT);
}

static void another_etag_starts_over(void **state)
{
    struct fixture *f = *state;
    cleanup_free uint8_t *other = media_host_bytes(SIZE, 99);
    char sha256[DIGEST_SIZE];
    digest_bytes(other, SIZE, sha256);
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .cut_after = CUT});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    behave(f, (struct http_behaviour){.etag = "\"v2\"", .body = other});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, sha256);
    assert_string_equal(json_text(f->results[0].record, "etag"), "\"v2\"");
}

static void a_server_that_cannot_send_parts_sends_all(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .cut_after = CUT});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .ignores_range = true});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
}

static void a_rest_that_does_not_fit_is_not_appended(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .cut_after = CUT});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .is_lying = true});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    assert_int_equal(http_server_count(f->server), 3);
    struct http_request third = http_server_request(f->server, 2);
    assert_string_equal(third.range, "");
}

static void a_rest_in_pieces_is_completed(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .cut_after = CUT});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .piece = CUT / 2});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    assert_int_equal(http_server_count(f->server), 5); /* the rest are four pieces */
}

static void a_rest_of_another_file_is_not_appended(void **state)
{
    static const struct http_behaviour cases[] = {
        {.etag = "\"v1\"", .etag_of_range = "\"v2\""},
        {.etag = "\"v1\"", .etag_of_range = ""},
        {.etag = "\"v1\"", .sends_parts = true},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_free char *url = mem_printf("%s&%zu", f->url, i);
        size_t before = http_server_count(f->server);
        behave(f, (struct http_behaviour){.etag = "\"v1\"", .cut_after = CUT});
        assert_int_equal(fetch(f, url, NULL), ERR_IMAGE_DOWNLOAD);
        behave(f, cases[i]);
        assert_int_equal(fetch(f, url, NULL), ERR_NONE);
        assert_is_whole(f, f->results[0].path, f->sha256);
        assert_int_equal(http_server_count(f->server), before + 3);
        assert_string_equal(http_server_request(f->server, before + 2).range, "");
    }
}

static void a_shrunken_file_starts_over(void **state)
{
    struct fixture *f = *state;
    char sha256[DIGEST_SIZE];
    digest_bytes(f->bytes, CUT / 2, sha256);
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .cut_after = CUT});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .size = CUT / 2}); /* answers 416 */
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, sha256);
}

static void without_a_strong_etag_nothing_is_resumed(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.etag = "W/\"v1\"", .cut_after = CUT});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    behave(f, (struct http_behaviour){.etag = "W/\"v1\""});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    struct http_request second = http_server_request(f->server, 1);
    assert_string_equal(second.range, "");
    assert_is_whole(f, f->results[0].path, f->sha256);
}

static void a_download_without_a_length_works(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.has_no_length = true});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
}

static void statuses_become_the_right_errors(void **state)
{
    static const struct {
        int status;
        enum error_code code;
    } cases[] = {{404, ERR_IMAGE_NOT_FOUND}, {410, ERR_IMAGE_NOT_FOUND}, {403, ERR_IMAGE_DOWNLOAD},
        {500, ERR_IMAGE_DOWNLOAD}, {503, ERR_IMAGE_DOWNLOAD}, {204, ERR_IMAGE_DOWNLOAD}};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        behave(f, (struct http_behaviour){.status = cases[i].status});
        assert_int_equal(fetch(f, f->url, NULL), cases[i].code);
    }
}

static void a_redirect_loop_ends(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.redirects_to_itself = true});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    assert_int_equal(http_server_count(f->server), 11);
}

static void a_redirect_to_a_file_of_the_host_is_refused(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.location = "file:///etc/passwd"});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
}

static void a_server_that_is_not_there_is_told(void **state)
{
    struct fixture *f = *state;
    char url[] = "http://127.0.0.1:1/disk.img";
    assert_int_equal(fetch(f, url, NULL), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(f->m.error.message, url));
}

static void a_wrong_sha256_is_refused_and_nothing_is_kept(void **state)
{
    struct fixture *f = *state;
    char wrong[DIGEST_SIZE];
    digest_text("wrong", wrong);
    struct spec_image image = {.kind = IMAGE_URL, .location = f->url};
    assert_int_equal(fetch(f, f->url, wrong), ERR_IMAGE_CHECKSUM);
    assert_non_null(strstr(f->m.error.message, wrong));
    assert_non_null(strstr(f->m.error.message, f->sha256));
    assert_null(strstr(f->m.error.message, "secret"));
    assert_false(image_is_in_reach(&f->m.paths, &image));
    cleanup_free char *part = paths_path(&f->m.paths, "images/.part");
    assert_int_equal(rmdir(part), 0); /* empty: a retry downloads all of it again */
}

static void a_new_sha256_downloads_the_same_url_again(void **state)
{
    struct fixture *f = *state;
    cleanup_free uint8_t *other = media_host_bytes(SIZE, 99);
    char sha256[DIGEST_SIZE];
    digest_bytes(other, SIZE, sha256);
    assert_int_equal(fetch(f, f->url, f->sha256), ERR_NONE);
    behave(f, (struct http_behaviour){.body = other});
    assert_int_equal(fetch(f, f->url, sha256), ERR_NONE);
    assert_is_whole(f, f->results[0].path, sha256);
    assert_int_equal(fetch(f, f->url, f->sha256), ERR_NONE); /* still there */
    assert_is_whole(f, f->results[0].path, f->sha256);
    assert_int_equal(http_server_count(f->server), 2);
}

static void many_vms_of_one_url_share_one_download(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(f->results); i++) {
        (void)start(f, i, f->url, NULL);
    }
    assert_int_equal(media_host_wait(&f->m, ARRAY_LEN(f->results)), ERR_NONE);
    assert_int_equal(http_server_count(f->server), 1);
    for (size_t i = 0; i < ARRAY_LEN(f->results); i++) {
        assert_is_whole(f, f->results[i].path, f->sha256);
    }
}

static bool has_sent_some(void *context)
{
    struct fixture *f = context;
    return http_server_count(f->server) > 0 && http_server_request(f->server, 0).sent >= CUT;
}

static void cancelling_one_leaves_the_others_their_download(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.hold_after = CUT});
    struct op *first = start(f, 0, f->url, NULL);
    (void)start(f, 1, f->url, NULL);
    assert_true(media_host_wait_for(&f->m, has_sent_some, f));
    op_cancel(first);
    http_server_release(f->server);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    assert_int_equal(http_server_count(f->server), 1);
    assert_null(f->results[0].path);
    assert_is_whole(f, f->results[1].path, f->sha256);
}

static bool part_has_some(void *context)
{
    struct fixture *f = context;
    struct spec_image image = {.kind = IMAGE_URL, .location = f->url};
    char key[DIGEST_SIZE];
    image_work_key(&image, key);
    cleanup_free char *name = mem_printf("images/.part/%s.part", key);
    cleanup_free char *path = paths_path(&f->m.paths, name);
    return fs_size(path) >= CUT;
}

static void a_cancelled_download_goes_on_later(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .hold_after = CUT});
    struct op *op = start(f, 0, f->url, NULL);
    assert_true(media_host_wait_for(&f->m, part_has_some, f));
    op_cancel(op);
    behave(f, (struct http_behaviour){.etag = "\"v1\""});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    struct http_request second = http_server_request(f->server, 1);
    assert_string_equal(second.range, "bytes=1048576-");
}

/* ---- while it arrives ---- */

static void find_unpacked(void *context, int dir_fd, const char *name)
{
    struct stat st;
    if (strstr(name, ".tmp-") && fstatat(dir_fd, name, &st, 0) == 0) {
        *(int64_t *)context = st.st_size;
    }
}

/* Bytes of the file that is being unpacked, -1: there is none. */
static int64_t unpacked_size(struct fixture *f)
{
    int64_t size = -1;
    cleanup_free char *directory = paths_path(&f->m.paths, "images/.part");
    fs_each_entry(directory, find_unpacked, &size);
    return size;
}

static bool has_unpacked_some(void *context)
{
    return unpacked_size(context) >= CUT / 2;
}

/* `n` bytes, packed by zstd. */
static void pack(struct fixture *f, const uint8_t *bytes, size_t n, struct buf *packed)
{
    struct error err = {0};
    cleanup_free char *raw = media_host_file(&f->m, "raw.img", bytes, n);
    cleanup_free char *path = mem_printf("%s.zst", raw);
    const char *argv[] = {"zstd", "-q", "-f", raw, NULL};
    assert_true(media_host_run(argv));
    assert_int_equal(fs_read_file(path, packed, &err), 0);
}

static void a_download_is_unpacked_while_it_arrives(void **state)
{
    struct fixture *f = *state;
    struct buf *packed = &f->packed[0];
    pack(f, f->bytes, SIZE, packed);
    struct http_behaviour held = {
        .body = packed->data, .size = packed->len, .etag = "\"v1\"", .hold_after = 2 * CUT};
    behave(f, held);
    (void)start(f, 0, f->url, NULL);
    assert_true(media_host_wait_for(&f->m, has_unpacked_some, f));
    http_server_release(f->server);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    assert_int_equal(unpacked_size(f), -1);
}

static bool has_unpacked_nothing(void *context)
{
    return unpacked_size(context) < 0;
}

static void what_is_unpacked_of_a_cancelled_download_is_removed(void **state)
{
    struct fixture *f = *state;
    struct buf *packed = &f->packed[0];
    pack(f, f->bytes, SIZE, packed);
    struct http_behaviour held = {
        .body = packed->data, .size = packed->len, .etag = "\"v1\"", .hold_after = 2 * CUT};
    behave(f, held);
    struct op *op = start(f, 0, f->url, NULL);
    assert_true(media_host_wait_for(&f->m, has_unpacked_some, f));
    op_cancel(op);
    assert_true(media_host_wait_for(&f->m, has_unpacked_nothing, f));
    held.hold_after = 0;
    behave(f, held);
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_is_whole(f, f->results[0].path, f->sha256);
    assert_true(http_server_request(f->server, 1).range[0]);
}

/* It was resumed, hashed and unpacked for a while when the server's file became another. */
static void check_change_to(struct fixture *f, size_t size)
{
    struct buf *first = &f->packed[0], *second = &f->packed[1];
    cleanup_free uint8_t *other = media_host_bytes(size, 99);
    char sha256[DIGEST_SIZE];
    digest_bytes(other, size, sha256);
    pack(f, f->bytes, SIZE, first);
    pack(f, other, size, second);
    struct http_behaviour v1 = {
        .body = first->data, .size = first->len, .etag = "\"v1\"", .cut_after = CUT};
    behave(f, v1);
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    v1.cut_after = 0;
    v1.piece = CUT + CUT / 2;
    v1.hold_after = CUT + CUT / 4;
    behave(f, v1);
    (void)start(f, 0, f->url, NULL);
    assert_true(media_host_wait_for(&f->m, has_unpacked_some, f));
    behave(f, (struct http_behaviour){.body = second->data, .size = second->len, .etag = "\"v2\""});
    http_server_release(f->server);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    assert_is_whole(f, f->results[0].path, sha256);
    assert_int_equal(unpacked_size(f), -1);
}

static void a_file_that_changes_meanwhile_is_read_from_its_first_byte_again(void **state)
{
    check_change_to(*state, SIZE);
}

static void also_when_it_is_another_small_one(void **state)
{
    check_change_to(*state, CUT / 4);
}

/* What would be recorded of getting the fixture's URL; NULL: nothing. */
static json_t *describe(struct fixture *f)
{
    struct spec_image image = {.kind = IMAGE_URL, .location = f->url};
    char key[DIGEST_SIZE];
    image_work_key(&image, key);
    return image_cache_describe(f->cache, key);
}

static bool is_half_there(void *context)
{
    cleanup_json json_t *record = describe(context);
    return json_int(record, "have", 0) == CUT;
}

static bool has_stalled(void *context)
{
    cleanup_json json_t *record = describe(context);
    return json_int(record, "bytesPerSecond", -1) == 0;
}

static void count_wake(struct reconciler_host *host, struct key key, enum work_priority priority)
{
    struct fixture *f = (struct fixture *)(void *)host;
    (void)priority;
    assert_int_equal(key.kind, KEY_IMAGE);
    assert_true(text_starts_with(key.name, IMAGE_GETTING_PREFIX));
    f->n_wakes++;
}

/* The fixture's bytes as an image that qemu-img made of them; *ret_n its size. free() it. */
static void *foreign_bytes(struct fixture *f, const char *driver, size_t *ret_n)
{
    cleanup_free char *raw = media_host_file(&f->m, "raw.img", f->bytes, SIZE);
    cleanup_free char *path = media_host_path(&f->m, "disk.foreign");
    const char *argv[] = {"qemu-img", "convert", "-q", "-f", "raw", "-O", driver, raw, path, NULL};
    assert_true(media_host_run(argv));
    cleanup_buf struct buf bytes = BUF_INIT(64 << 20);
    struct error err = {0};
    assert_int_equal(fs_read_file(path, &bytes, &err), 0);
    *ret_n = bytes.len;
    return mem_dup(bytes.data, bytes.len);
}

/* What cannot be converted is not kept, so that a repaired image on the server is found. */
static void a_download_that_cannot_be_converted_is_downloaded_again(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;
    cleanup_free uint8_t *good = foreign_bytes(f, "vhdx", &n);
    cleanup_free uint8_t *bad = mem_dup(good, n);
    memset(bad + 64 * 1024, 0, n - 64 * 1024);
    behave(f, (struct http_behaviour){.body = bad, .size = n, .etag = "\"bad\""});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_CONVERSION);
    assert_null(strstr(f->m.error.message, "secret"));
    behave(f, (struct http_behaviour){.body = good, .size = n, .etag = "\"good\""});
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_string_equal(json_text(f->results[0].record, "format"), "qcow2");
    assert_string_equal(json_text(f->results[0].record, "etag"), "\"good\"");
    cleanup_free char *part = paths_path(&f->m.paths, "images/.part");
    assert_int_equal(rmdir(part), 0);
}

static void progress_is_described_for_all_who_wait(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.hold_after = CUT});
    assert_null(describe(f));
    struct op *first = start(f, 0, f->url, NULL);
    struct spec_image image = {.kind = IMAGE_URL, .location = f->url};
    struct image_order order = {.image = &image, .is_pull = true};
    struct op *pull = image_fetch(f->cache, &order, &f->results[1], media_host_done, &f->m);
    assert_true(media_host_wait_for(&f->m, is_half_there, f));
    cleanup_json json_t *record = describe(f);
    assert_string_equal(json_text(record, "phase"), "downloading");
    assert_string_equal(json_text(record, "url"), f->url);
    assert_int_equal(json_int(record, "total", 0), SIZE);
    assert_true(json_int(record, "bytesPerSecond", 0) > 0);
    assert_int_equal(json_int(record, "vms", 0), 1);
    assert_int_equal(json_int(record, "pulls", 0), 1);
    op_cancel(first);
    cleanup_json json_t *without = describe(f);
    assert_int_equal(json_int(without, "vms", -1), 0);
    op_cancel(pull);
    assert_null(describe(f));
}

/* At most two a second: each is a commit. */
static void progress_is_reported_at_a_bounded_rate_and_not_of_what_stands_still(void **state)
{
    struct fixture *f = *state;
    f->m.host.wake = count_wake;
    behave(f, (struct http_behaviour){.hold_after = CUT});
    int64_t began_ms = clock_monotonic_ms(clock_system());
    struct op *op = start(f, 0, f->url, NULL);
    assert_true(media_host_wait_for(&f->m, has_stalled, f));
    int64_t took_ms = clock_monotonic_ms(clock_system()) - began_ms;
    assert_true((int64_t)f->n_wakes <= 4 + took_ms / 500);
    op_cancel(op);
}

static void an_image_that_is_there_is_not_got(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    f->m.host.wake = count_wake;
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    assert_int_equal(f->n_wakes, 0);
}

static void a_part_of_another_boot_is_not_trusted(void **state)
{
    struct fixture *f = *state;
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .cut_after = CUT});
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    struct spec_image image = {.kind = IMAGE_URL, .location = f->url};
    char key[DIGEST_SIZE];
    image_work_key(&image, key);
    cleanup_free char *directory = paths_path(&f->m.paths, "images/.part");
    struct part part;
    part_init(&part, directory, key, f->url, clock_boot_id(f->m.host.clock));
    part_load(&part);
    assert_int_equal(part.have, CUT);
    part_clear(&part);
    part_init(&part, directory, key, f->url, "another-boot");
    part_load(&part);
    assert_int_equal(part.have, 0);
    part_clear(&part);
}

/* Mounts the image directory on a disk of 2 MiB; a third of the image does not fit. */
static char *mount_small_disk(struct fixture *f)
{
    char *images = paths_path(&f->m.paths, "images");
    struct error err = {0};
    assert_int_equal(fs_make_dirs(images, 0700, &err), 0);
    if (mount("vmctl-test", images, "tmpfs", 0, "size=2m") < 0) {
        free(images);
        skip();
    }
    return images;
}

/* With more space now. */
static enum error_code fetch_later(struct fixture *f, const char *images)
{
    (void)mount("vmctl-test", images, "tmpfs", MS_REMOUNT, "size=16m");
    enum error_code code = fetch(f, f->url, NULL);
    assert_int_equal(umount(images), 0);
    return code;
}

static void a_disk_that_fills_up_is_told_and_the_part_is_kept(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *images = mount_small_disk(f);
    behave(f, (struct http_behaviour){.etag = "\"v1\"", .has_no_length = true});
    enum error_code code = fetch(f, f->url, NULL);
    bool is_kept = part_has_some(f);
    assert_int_equal(fetch_later(f, images), ERR_NONE);
    assert_int_equal(code, ERR_NO_SPACE);
    assert_true(is_kept);
    assert_int_not_equal(http_server_request(f->server, 1).range[0], '\0');
}

static void an_image_that_does_not_fit_is_refused_before_the_disk_is_full(void **state)
{
    struct fixture *f = *state;
    struct statvfs before, after;
    cleanup_free char *images = mount_small_disk(f);
    (void)statvfs(images, &before);
    enum error_code code = fetch(f, f->url, NULL);
    (void)statvfs(images, &after);
    bool is_kept = part_has_some(f);
    assert_int_equal(fetch_later(f, images), ERR_NONE);
    assert_int_equal(code, ERR_NO_SPACE);
    assert_false(is_kept);
    assert_true(before.f_bfree - after.f_bfree < 8); /* blocks: a directory or two */
}

/* ---- URLs ---- */

/* ---- proxies ---- */

enum { REFUSED_PORT = 1 };

static struct proxies *proxies_to(unsigned http_port, unsigned https_port, const char *direct)
{
    struct proxies *proxies = mem_new(struct proxies);
    proxies->http = mem_printf("http://user:s3cret@127.0.0.1:%u", http_port);
    proxies->https = mem_printf("http://user:s3cret@127.0.0.1:%u", https_port);
    proxies->http_variable = mem_strdup("http_proxy");
    proxies->https_variable = mem_strdup("ALL_PROXY");
    proxies->direct = mem_strdup(direct);
    return proxies;
}

static void a_download_goes_through_its_callers_proxy(void **state)
{
    struct fixture *f = *state;
    char url[] = "http://images.example/disk.img";
    struct proxies *proxies = proxies_to(http_server_port(f->server), REFUSED_PORT, NULL);
    f->proxies = proxies;
    assert_int_equal(fetch(f, url, NULL), ERR_NONE);
    struct http_request request = http_server_request(f->server, 0);
    assert_string_equal(request.path, url);
    /* user:s3cret, as a proxy is given it and no server */
    assert_string_equal(request.proxy_authorization, "Basic dXNlcjpzM2NyZXQ=");
    assert_string_equal(request.authorization, "");
    proxies_free(proxies);
}

static void the_controllers_own_environment_does_not_count(void **state)
{
    struct fixture *f = *state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    enum error_code code = fetch(f, f->url, NULL);
    unsetenv("http_proxy");
    assert_int_equal(code, ERR_NONE);
    struct proxies *proxies = proxies_to(http_server_port(f->server), REFUSED_PORT, NULL);
    char url[] = "http://images.example/other.img";
    f->proxies = proxies;
    setenv("no_proxy", "*", 1);
    code = fetch(f, url, NULL);
    unsetenv("no_proxy");
    assert_int_equal(code, ERR_NONE);
    proxies_free(proxies);
}

static void what_came_through_a_proxy_names_it(void **state)
{
    static const char expected[] = "through the proxy http://127.0.0.1:1 (http_proxy of the "
                                   "command): cannot download http://127.0.0.1:";
    struct fixture *f = *state;
    struct proxies *proxies = proxies_to(REFUSED_PORT, REFUSED_PORT, "elsewhere");
    f->proxies = proxies;
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    assert_memory_equal(f->m.error.message, expected, strlen(expected));
    assert_non_null(strstr(f->m.error.help, "unset http_proxy"));
    assert_null(strstr(f->m.error.message, "s3cret"));
    proxies_free(proxies);
    /* what curl itself refuses, it refuses with the whole URL */
    struct proxies *odd = proxies_to(REFUSED_PORT, REFUSED_PORT, NULL);
    memcpy(odd->http, "wxyz", 4);
    f->proxies = odd;
    assert_int_equal(fetch(f, f->url, NULL), ERR_IMAGE_DOWNLOAD);
    assert_null(strstr(f->m.error.message, "s3cret"));
    assert_non_null(strstr(f->m.error.message, "wxyz://127.0.0.1:1"));
    proxies_free(odd);
}

static void an_exception_goes_directly(void **state)
{
    struct fixture *f = *state;
    struct proxies *proxies = proxies_to(REFUSED_PORT, REFUSED_PORT, "example, 127.0.0.0/8");
    f->proxies = proxies;
    assert_int_equal(fetch(f, f->url, NULL), ERR_NONE);
    proxies_free(proxies);
}

static void a_redirect_to_https_goes_through_the_proxy_of_that(void **state)
{
    struct fixture *f = *state;
    char url[] = "http://images.example/disk.img";
    struct proxies *proxies = proxies_to(http_server_port(f->server), REFUSED_PORT, NULL);
    f->proxies = proxies;
    behave(f, (struct http_behaviour){.location = "https://images.example/disk.img"});
    assert_int_equal(fetch(f, url, NULL), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(
        f->m.error.message, "through the proxy http://127.0.0.1:1 (ALL_PROXY of the command)"));
    assert_int_equal(http_server_count(f->server), 1);
    /* and the next try begins with the first URL's again */
    behave(f, (struct http_behaviour){0});
    assert_int_equal(fetch(f, url, NULL), ERR_NONE);
    proxies_free(proxies);
}

static void of_two_callers_each_gets_what_its_proxy_gives(void **state)
{
    struct fixture *f = *state;
    struct proxies *proxies = proxies_to(REFUSED_PORT, REFUSED_PORT, NULL);
    f->proxies = proxies;
    (void)start(f, 0, f->url, NULL);
    (void)start(f, 1, f->url, NULL);
    f->proxies = NULL;
    (void)start(f, 2, f->url, NULL);
    (void)start(f, 3, f->url, NULL);
    assert_int_equal(media_host_wait(&f->m, 4), ERR_IMAGE_DOWNLOAD);
    assert_null(f->results[0].path);
    assert_null(f->results[1].path);
    assert_is_whole(f, f->results[2].path, f->sha256);
    assert_string_equal(f->results[2].path, f->results[3].path);
    assert_int_equal(http_server_count(f->server), 1);
    proxies_free(proxies);
}

static void urls_are_shown_without_secrets(void **state)
{
    static const char *const cases[][2] = {
        {"https://a.example/x.img", "https://a.example/x.img"},
        {"https://me:pw@a.example/x@2.img", "https://a.example/x@2.img"},
        {"https://me:p@w@a.example:8080/x", "https://a.example:8080/x"},
        {"https://a.example/x?sig=abc#f", "https://a.example/x?…"},
        {"/images/what?.img", "/images/what?.img"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_free char *shown = url_for_people(cases[i][0]);
        assert_string_equal(shown, cases[i][1]);
    }
}

static void file_urls_become_paths(void **state)
{
    static const char *const cases[][2] = {
        {"file:///a/b%20c", "/a/b c"},
        {"FILE://localhost/a", "/a"},
        {"file:/a", "/a"},
        {"file://server/a", NULL},
        {"file:///a%0", NULL},
        {"file:///a%00b", NULL},
        {"file:a", NULL},
        {"http://x/a", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_free char *path = url_file_path(cases[i][0]);
        assert_true(text_eq(path, cases[i][1]));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_image_is_downloaded_once_and_recorded),
        TEST(a_redirect_is_followed),
        TEST(a_zstd_image_is_unpacked_and_either_sha256_fits),
        TEST(what_is_not_there_is_not_found),
        TEST(nginx_sends_only_the_rest_after_a_cut),
        TEST(a_cut_download_goes_on_where_it_ended),
        TEST(another_etag_starts_over),
        TEST(a_server_that_cannot_send_parts_sends_all),
        TEST(a_rest_that_does_not_fit_is_not_appended),
        TEST(a_rest_in_pieces_is_completed),
        TEST(a_rest_of_another_file_is_not_appended),
        TEST(a_shrunken_file_starts_over),
        TEST(without_a_strong_etag_nothing_is_resumed),
        TEST(a_download_without_a_length_works),
        TEST(statuses_become_the_right_errors),
        TEST(a_redirect_loop_ends),
        TEST(a_redirect_to_a_file_of_the_host_is_refused),
        TEST(a_server_that_is_not_there_is_told),
        TEST(a_wrong_sha256_is_refused_and_nothing_is_kept),
        TEST(a_new_sha256_downloads_the_same_url_again),
        TEST(many_vms_of_one_url_share_one_download),
        TEST(cancelling_one_leaves_the_others_their_download),
        TEST(a_cancelled_download_goes_on_later),
        TEST(a_download_is_unpacked_while_it_arrives),
        TEST(what_is_unpacked_of_a_cancelled_download_is_removed),
        TEST(a_file_that_changes_meanwhile_is_read_from_its_first_byte_again),
        TEST(also_when_it_is_another_small_one),
        TEST(a_download_that_cannot_be_converted_is_downloaded_again),
        TEST(progress_is_described_for_all_who_wait),
        TEST(progress_is_reported_at_a_bounded_rate_and_not_of_what_stands_still),
        TEST(an_image_that_is_there_is_not_got),
        TEST(a_part_of_another_boot_is_not_trusted),
        TEST(a_disk_that_fills_up_is_told_and_the_part_is_kept),
        TEST(an_image_that_does_not_fit_is_refused_before_the_disk_is_full),
        TEST(a_download_goes_through_its_callers_proxy),
        TEST(the_controllers_own_environment_does_not_count),
        TEST(what_came_through_a_proxy_names_it),
        TEST(an_exception_goes_directly),
        TEST(a_redirect_to_https_goes_through_the_proxy_of_that),
        TEST(of_two_callers_each_gets_what_its_proxy_gives),
        cmocka_unit_test(urls_are_shown_without_secrets),
        cmocka_unit_test(file_urls_become_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
