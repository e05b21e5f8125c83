/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/digest.h"

#include <errno.h>
#include <nettle/hmac.h>
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
#include "specs/base/user_path.h"

struct digest {
    bool is_512;
    union {
        struct sha256_ctx ctx;
        struct sha512_ctx ctx_512;
    };
};

struct digest *digest_new(void)
{
    struct digest *digest = mem_new(struct digest);
    sha256_init(&digest->ctx);
    return digest;
}

struct digest *digest_512_new(void)
{
    struct digest *digest = mem_new(struct digest);
    digest->is_512 = true;
    sha512_init(&digest->ctx_512);
    return digest;
}

void digest_add(struct digest *digest, const void *bytes, size_t n)
{
    if (digest->is_512) {
        sha512_update(&digest->ctx_512, n, bytes);
    } else {
        sha256_update(&digest->ctx, n, bytes);
    }
}

void digest_of(const struct digest *digest, char *ret_hex)
{
    struct digest copy = *digest;
    uint8_t bytes[SHA512_DIGEST_SIZE];
    size_t n = digest->is_512 ? SHA512_DIGEST_SIZE : SHA256_DIGEST_SIZE;
    if (digest->is_512) {
        sha512_digest(&copy.ctx_512, n, bytes);
    } else {
        sha256_digest(&copy.ctx, n, bytes);
    }
    text_hex(ret_hex, bytes, n);
}

void digest_free(struct digest *digest)
{
    free(digest);
}

void digest_bytes(const void *bytes, size_t n, char *ret_hex)
{
    struct digest digest = {.is_512 = false};
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
    cleanup_with(user_stream_close) struct user_stream file = USER_STREAM_INIT;
    if (user_stream_open(&file, path) < 0) {
        return user_path_error(path, errno, err);
    }
    uint8_t chunk[65536];
    struct digest digest = {.is_512 = false};
    sha256_init(&digest.ctx);
    ssize_t n;
    while ((n = user_stream_read(&file, chunk, sizeof(chunk))) != 0) {
        if (is_cancelled && atomic_load_explicit(is_cancelled, memory_order_relaxed)) {
            return error_set(err, ERR_CANCELLED, "reading '%s' was cancelled", path);
        }
        if (n > 0) {
            digest_add(&digest, chunk, (size_t)n);
        } else if (errno != EINTR) {
            return user_path_error(path, errno, err);
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

void digest_keyed(const void *key, const void *bytes, size_t n, char *ret_hex)
{
    struct hmac_sha256_ctx ctx;
    uint8_t digest[SHA256_DIGEST_SIZE];
    hmac_sha256_set_key(&ctx, DIGEST_KEY_SIZE, key);
    hmac_sha256_update(&ctx, n, bytes);
    hmac_sha256_digest(&ctx, sizeof(digest), digest);
    text_hex(ret_hex, digest, sizeof(digest));
}
