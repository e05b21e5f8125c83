/* SPDX-License-Identifier: MPL-2.0 */
/*
 * SHA-256 (FIPS 180-4), as 64 lower-case hexadecimal digits; SHA-512, SHA-1; and random ids. By
 * nettle, which uses the processor's instructions for both, and costs the start of a command next
 * to nothing.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define DIGEST_SIZE 65      /* 64 digits and a NUL */
#define DIGEST_512_SIZE 129 /* the same of a SHA-512 */

void digest_bytes(const void *bytes, size_t n, char *ret_hex);
void digest_text(const char *text, char *ret_hex);

/* HMAC (RFC 2104), for text that must not be found by trying. */
enum { DIGEST_KEY_SIZE = 32 };
void digest_keyed(const void *key, const void *bytes, size_t n, char *ret_hex);

/* Of what comes piece by piece. */
struct digest;
struct digest *digest_new(void);
struct digest *digest_512_new(void);
void digest_add(struct digest *digest, const void *bytes, size_t n);
/* Of all that was added, which more may follow; `ret_hex` holds DIGEST_SIZE or DIGEST_512_SIZE
 * bytes.
 */
void digest_of(const struct digest *digest, char *ret_hex);
void digest_free(struct digest *digest); /* NULL is fine */

/* For protocols that have it, never to trust content by. */
enum { DIGEST_SHA1_SIZE = 20 };
void digest_sha1(const void *bytes, size_t n, uint8_t ret[DIGEST_SHA1_SIZE]);

/* Of a whole file. Blocks for as long as the file is long: in vmctld only on a pool thread, where
 * `is_cancelled` (NULL: never) ends it with ERR_CANCELLED. */
int digest_file(
    const char *path, const atomic_bool *is_cancelled, char *ret_hex, struct error *err);

/* Random bytes for keys. getrandom(2) cannot fail here. */
void digest_random(void *ret, size_t n);
/* 128 of its bits as 32 digits: `ret_id` holds TEXT_ID_SIZE bytes. */
void digest_random_id(char *ret_id);
