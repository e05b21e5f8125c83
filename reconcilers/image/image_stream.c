/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/pool.h"
#include "reconcilers/archive/archive_unpack.h"
#include "reconcilers/archive/sparse_file.h"
#include "reconcilers/archive/zstd_unpack.h"
#include "reconcilers/image/image_convert.h"
#include "specs/image/image_inspect.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/user_path.h"

enum { CHUNK_SIZE = 256 * 1024, SYNC_SIZE = 8 << 20 };

struct image_stream {
    char *path, *name, *title;
    bool is_ours;       /* as in struct image_source */
    bool is_other_file; /* what was read is no longer what there is */
    bool has_sha512;    /* the source does */
    char *to;           /* what the unpacked file is called, if there is one; NULL: handed out */

    struct user_stream file; /* not open: not begun; then what follows is unset */
    enum compression compression;
    char *chunk;
    struct digest *digest, *digest_512; /* the latter NULL: not asked for */
    int64_t at, synced;
    struct zstd_unpacker *zstd;
    struct image_sink sink; /* not open: the source is the image */
    struct error failure;   /* of unpacking */
};

struct image_stream *image_stream_new(const struct paths *paths, const struct image_source *source)
{
    struct image_stream *s = mem_new(struct image_stream);
    s->path = mem_strdup(source->path);
    s->name = mem_strdup(source->name);
    s->title = mem_strdup(source->title);
    s->is_ours = source->is_ours;
    s->has_sha512 = source->sha512 != NULL;
    s->to = image_temporary_path(paths, source->key);
    s->file.fd = s->sink.fd = -1;
    return s;
}

static void clear(struct image_stream *s)
{
    user_stream_close(&s->file);
    if (s->sink.fd >= 0 && s->to) {
        (void)unlink(s->to);
    }
    image_sink_close(&s->sink);
    zstd_unpacker_free(TAKE_PTR(s->zstd));
    digest_free(TAKE_PTR(s->digest));
    digest_free(TAKE_PTR(s->digest_512));
    free(TAKE_PTR(s->chunk));
    s->at = s->synced = 0;
    error_clear(&s->failure);
    s->is_other_file = false;
}

void image_stream_free(struct image_stream *s)
{
    if (s) {
        clear(s);
        free(s->path);
        free(s->name);
        free(s->title);
        free(s->to);
        free(s);
    }
}

/* ---- running ---- */

/* A part file grows while it is read: by its own descriptor, which can be read on behind its end.
 */
static int open_source(struct image_stream *s)
{
    if (!s->is_ours) {
        return user_stream_open(&s->file, s->path);
    }
    s->file.fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return s->file.fd < 0 ? -1 : 0;
}

/* Another hypervisor's image of the user's is converted from where it is, everything else of the
 * user's is copied. */
static int begin(struct image_stream *s, struct error *err)
{
    const struct image_foreign *foreign = NULL;
    if (compression_of_file(s->path, s->name, &s->compression, err) < 0 ||
        (!s->is_ours && image_foreign_of_file(s->path, s->title, &foreign, err) < 0)) {
        return -(int)err->code;
    }
    if (open_source(s) < 0) {
        return user_path_error(s->path, errno, err);
    }
    s->chunk = mem_calloc(1, CHUNK_SIZE);
    s->digest = digest_new();
    s->digest_512 = s->has_sha512 ? digest_512_new() : NULL;
    s->zstd = s->compression == COMPRESSION_ZSTD ? zstd_unpacker_new(s->title) : NULL;
    bool is_image = s->compression == COMPRESSION_NONE && (s->is_ours || foreign);
    if (!is_image) {
        (void)image_sink_open(&s->sink, s->to, &s->failure);
    }
    return 0;
}

static int unpack(struct image_stream *s, const void *bytes, size_t n, struct error *err)
{
    if (s->zstd) {
        return zstd_unpack(s->zstd, bytes, n, &s->sink, err);
    }
    bool is_copied = s->compression == COMPRESSION_NONE && s->sink.fd >= 0;
    return is_copied ? image_sink_write(&s->sink, bytes, n, err) : 0;
}

static void take(struct image_stream *s, const void *bytes, size_t n)
{
    digest_add(s->digest, bytes, n);
    if (s->digest_512) {
        digest_add(s->digest_512, bytes, n);
    }
    s->at += (int64_t)n;
    if (s->failure.code == ERR_NONE && unpack(s, bytes, n, &s->failure) < 0) {
        (void)unlink(s->to); /* its room may be what is missing */
    }
    bool stays = s->sink.fd < 0 && s->is_ours;
    if (stays &&
        s->at - s->synced >= SYNC_SIZE) { /* so that little is left for the sync at the end */
        (void)sync_file_range(s->file.fd, s->synced, s->at - s->synced, SYNC_FILE_RANGE_WRITE);
        s->synced = s->at;
    }
}

/* To the end of the file as it is now. What fails to unpack is reported by image_stream_end(),
 * after the hash, which may show that the bytes are the wrong ones. */
static int run(struct image_stream *s, const atomic_bool *is_cancelled, struct error *err)
{
    if (s->is_other_file) {
        clear(s);
    }
    if (s->file.fd < 0 && begin(s, err) < 0) {
        return -(int)err->code;
    }
    s->sink.is_cancelled = is_cancelled;
    ssize_t n;
    while ((n = user_stream_read(&s->file, s->chunk, CHUNK_SIZE)) != 0) {
        if (n < 0 && errno != EINTR) {
            return user_path_error(s->path, errno, err);
        }
        if (n > 0) {
            take(s, s->chunk, (size_t)n);
        }
        if (atomic_load_explicit(is_cancelled, memory_order_relaxed)) {
            return error_set(err, ERR_CANCELLED, "reading '%s' was cancelled", s->path);
        }
    }
    return 0;
}

/* ---- the end ---- */

int image_stream_source(
    struct image_stream *s, const atomic_bool *is_cancelled, char *ret_sha256, struct error *err)
{
    struct stat begun, now;
    s->is_other_file |= s->file.fd >= 0 && fstat(s->file.fd, &begun) == 0 &&
                        stat(s->path, &now) == 0 &&
                        (begun.st_dev != now.st_dev || begun.st_ino != now.st_ino);
    if (run(s, is_cancelled, err) < 0) {
        return -(int)err->code;
    }
    digest_of(s->digest, ret_sha256);
    return 0;
}

void image_stream_sha512(const struct image_stream *s, char *ret_hex)
{
    digest_of(s->digest_512, ret_hex);
}

static int unpack_rest(struct image_stream *s, struct error *err)
{
    if (s->zstd) {
        return zstd_unpack_end(s->zstd, err);
    }
    return s->compression == COMPRESSION_NONE ? 0
                                              : archive_unpack(s->path, s->title, &s->sink, err);
}

int image_stream_end(struct image_stream *s, const atomic_bool *is_cancelled, char *ret_sha256,
    char **ret_path, struct error *err)
{
    if (s->failure.code != ERR_NONE) {
        *err = s->failure;
        return -(int)err->code;
    }
    if (s->sink.fd < 0) {
        digest_of(s->digest, ret_sha256);
        *ret_path = mem_strdup(s->path);
        return 0;
    }
    s->sink.is_cancelled = is_cancelled;
    if (unpack_rest(s, err) < 0 || image_sink_finish(&s->sink, ret_sha256, err) < 0) {
        return -(int)err->code;
    }
    *ret_path = TAKE_PTR(s->to);
    return 0;
}

/* ---- beside the download, on the loop ---- */

/* The stream is the run's until it is over. */
struct stream_run {
    struct image_follower *follower;
    struct image_stream *stream;
};

static int run_in_pool(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    return run(((struct stream_run *)context)->stream, is_cancelled, err);
}

static void free_run(void *context)
{
    struct stream_run *run = context;
    image_stream_free(run->stream);
    free(run);
}

struct image_stream *image_follower_take(struct image_follower *f)
{
    if (f->stream) {
        f->stream->is_other_file |= f->is_other_file;
    }
    f->is_other_file = false;
    return TAKE_PTR(f->stream);
}

static void on_run_end(void *context, const struct error *err);

/* False: nothing has come since the last run began, or there is no stream to run. */
static bool run_again(struct image_follower *f)
{
    bool has_more = f->is_other_file || f->have > f->taken;
    if (f->running || !f->stream || !has_more || f->have < IMAGE_HEAD_SIZE) {
        return false;
    }
    f->taken = f->have;
    struct stream_run *run = mem_new(struct stream_run);
    *run = (struct stream_run){.follower = f, .stream = image_follower_take(f)};
    f->running = pool_start_in(f->pool, POOL_IMAGE, run_in_pool, free_run, run, on_run_end, run);
    return true;
}

/* What went wrong goes wrong again, and is reported, when all bytes are there. What came after the
 * run had read its last may be followed by nothing for long. */
static void on_run_end(void *context, const struct error *err)
{
    struct stream_run *run = context;
    struct image_follower *f = run->follower;
    f->running = NULL;
    f->stream = err ? NULL : TAKE_PTR(run->stream);
    if (!run_again(f)) {
        f->idle(f->context);
    }
}

void image_follower_arrived(struct image_follower *f, unsigned n_begun, int64_t have)
{
    f->is_other_file |= n_begun != f->n_begun;
    f->n_begun = n_begun;
    f->have = have;
    (void)run_again(f);
}

void image_follower_clear(struct image_follower *f)
{
    op_cancel(TAKE_PTR(f->running));
    image_stream_free(TAKE_PTR(f->stream));
}
