/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

struct digest {
    struct sha256_ctx ctx;
};

struct digest *digest_new(void)
{
    struct digest *digest = mem_new(struct digest);
    sha256_init(&digest->ctx);
    return digest;
}

void digest_add(struct digest *digest, const void *bytes, size_t n)
{
    sha256_update(&digest->ctx, n, bytes);
}

void digest_of(const struct digest *digest, char *ret_hex)
{
    struct sha256_ctx ctx = digest->ctx;
    uint8_t bytes[SHA256_DIGEST_SIZE];
    sha256_digest(&ctx, sizeof(bytes), bytes);
    text_hex(ret_hex, bytes, sizeof(bytes));
}

void digest_free(struct digest *digest)
{
    free(digest);
}

void digest_bytes(const void *bytes, size_t n, char *ret_hex)
{
    struct digest digest;
    sha256_init(&digest.ctx);
    digest_add(&digest, bytes, n);
    digest_of(&digest, ret_hex);
}

void digest_sha1(const void *bytes, size_t n, uint8_t ret[DIGEST_SHA1_SIZE])
{
    struct sha1_ctx ctx;
    sha1_init(&ctx);
    sha1_update(&ctx, n, bytes);
    sha1_digest(&ctx, DIGEST_SHA1_SIZE, ret);
}

void digest_text(const char *text, char *ret_hex)
{
    digest_bytes(text, strlen(text), ret_hex);
}

int digest_file(const char *path, const atomic_bool *is_cancelled, char *ret_hex, struct error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open '%s'", path);
    }
    uint8_t chunk[65536];
    struct digest digest;
    sha256_init(&digest.ctx);
    ssize_t n;
    while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
        if (is_cancelled && atomic_load_explicit(is_cancelled, memory_order_relaxed)) {
            return error_set(err, ERR_CANCELLED, "reading '%s' was cancelled", path);
        }
        if (n > 0) {
            digest_add(&digest, chunk, (size_t)n);
        } else if (errno != EINTR) {
            return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", path);
        }
    }
    digest_of(&digest, ret_hex);
    return 0;
}

void digest_random(void *ret, size_t n)
{
    for (size_t have = 0; have < n;) { /* short only when a signal arrives before it is seeded */
        ssize_t got = getrandom((char *)ret + have, n - have, 0);
        have += got > 0 ? (size_t)got : 0;
    }
}

void digest_random_id(char *ret_id)
{
    uint8_t bytes[16];
    digest_random(bytes, sizeof(bytes));
    text_hex(ret_id, bytes, sizeof(bytes));
}
