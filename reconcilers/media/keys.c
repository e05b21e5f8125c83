/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/keys.h"

#include <nettle/eddsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "reconcilers/media/new_file.h"
#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/bytes.h"

enum { KEY_FILE_MAX = 16 * 1024 };

bool keys_exist(const struct key_pair *pair)
{
    return fs_exists(pair->private_path) && fs_exists(pair->public_path);
}

bool keys_is_public(const char *line)
{
    static const char *const types[] = {"ssh-ed25519 ", "ssh-rsa ", "ssh-dss ", "ecdsa-sha2-",
        "sk-ssh-ed25519@openssh.com ", "sk-ecdsa-sha2-"};
    static const char base64[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    bool is_known = false;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        is_known = is_known || text_starts_with(line, types[i]);
    }
    const char *blob = strchr(line, ' ');
    if (!is_known || !blob) {
        return false;
    }
    blob += strspn(blob, " ");
    size_t n = strspn(blob, base64);
    /* Every blob starts with the 32-bit length of its type's name: three zero bytes, "AAAA". */
    return n >= 32 && text_starts_with(blob, "AAAA") && (blob[n] == '\0' || blob[n] == ' ');
}

/* ---- the two files of a pair ---- */

static const char key_type[] = "ssh-ed25519", magic[] = "openssh-key-v1"; /* with its NUL */
static const char head_line[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
static const char foot_line[] = "-----END OPENSSH PRIVATE KEY-----\n";

static void add_number(struct buf *out, size_t value)
{
    uint8_t bytes[4];
    bytes_put_big(bytes, value, sizeof(bytes));
    buf_add(out, bytes, sizeof(bytes));
}

/* RFC 4251, 5: "string". */
static void add_string(struct buf *out, const void *bytes, size_t n)
{
    add_number(out, n);
    buf_add(out, bytes, n);
}

/* RFC 8709, 4: both files have the public key so. */
static void add_public(struct buf *out, const uint8_t *public)
{
    add_string(out, key_type, strlen(key_type));
    add_string(out, public, ED25519_KEY_SIZE);
}

/* All that comes before the secret's own fields: no cipher, one key. */
static void add_head(struct buf *out, const uint8_t *public)
{
    cleanup_buf struct buf key = BUF_INIT(0);
    buf_add(out, magic, sizeof(magic));
    add_string(out, "none", 4); /* cipher */
    add_string(out, "none", 4); /* how its key is derived … */
    add_string(out, "", 0);     /* … and from what */
    add_number(out, 1);
    add_public(&key, public);
    add_string(out, key.data, key.len);
}

static void write_private(struct buf *out, const uint8_t *seed, const char *comment)
{
    enum { LINE = 70, BLOCK = 8 };
    cleanup_buf struct buf whole = BUF_INIT(0), secret = BUF_INIT(0), text = BUF_INIT(0);
    uint8_t pair[2 * ED25519_KEY_SIZE], check[4];
    memcpy(pair, seed, ED25519_KEY_SIZE);
    ed25519_sha512_public_key(pair + ED25519_KEY_SIZE, seed);
    digest_random(check, sizeof(check));
    buf_add(&secret, check, sizeof(check)); /* the same twice: shows that it was decrypted */
    buf_add(&secret, check, sizeof(check));
    add_public(&secret, pair + ED25519_KEY_SIZE);
    add_string(&secret, pair, sizeof(pair));
    add_string(&secret, comment, strlen(comment));
    for (char pad = 1; secret.len % BLOCK != 0; pad++) {
        buf_add_char(&secret, pad);
    }
    add_head(&whole, pair + ED25519_KEY_SIZE);
    add_string(&whole, secret.data, secret.len);
    base64_encode(&text, whole.data, whole.len);
    while (text.len % 4 != 0) {
        buf_add_char(&text, '=');
    }
    buf_add_str(out, head_line);
    for (size_t at = 0; at < text.len; at += LINE) {
        size_t rest = text.len - at;
        buf_printf(out, "%.*s\n", (int)(rest < LINE ? rest : LINE), text.data + at);
    }
    buf_add_str(out, foot_line);
}

/* The secret of a private key as write_private() makes it, with whatever comment; false: it is
 * none, or its public half is not that of the secret. */
static bool read_private(const char *text, uint8_t *ret_seed)
{
    cleanup_buf struct buf code = BUF_INIT(KEY_FILE_MAX), whole = BUF_INIT(KEY_FILE_MAX),
                           wanted = BUF_INIT(0);
    uint8_t public[ED25519_KEY_SIZE] = {0};
    const char *end = strstr(text, foot_line);
    if (!text_starts_with(text, head_line) || !end) {
        return false;
    }
    for (const char *at = text + strlen(head_line); at < end; at += strcspn(at, "\r\n"), at++) {
        buf_add(&code, at, strcspn(at, "\r\n"));
    }
    add_head(&wanted, public);
    /* Behind the head: the length of the secret, two checks, the public key, a length, the seed. */
    size_t at_seed = wanted.len + 4 + 4 + 4 + (4 + strlen(key_type) + 4 + ED25519_KEY_SIZE) + 4;
    if (!base64_decode(&whole, buf_str(&code), code.len) ||
        whole.len < at_seed + 2 * ED25519_KEY_SIZE) {
        return false;
    }
    memcpy(ret_seed, whole.data + at_seed, ED25519_KEY_SIZE);
    ed25519_sha512_public_key(public, ret_seed);
    buf_reset(&wanted);
    add_head(&wanted, public);
    const char *checks = whole.data + wanted.len + 4;
    return memcmp(whole.data, wanted.data, wanted.len) == 0 && memcmp(checks, checks + 4, 4) == 0;
}

static void write_public(struct buf *out, const uint8_t *seed, const char *comment)
{
    cleanup_buf struct buf key = BUF_INIT(0);
    uint8_t public[ED25519_KEY_SIZE];
    ed25519_sha512_public_key(public, seed);
    add_public(&key, public);
    buf_printf(out, "%s ", key_type);
    base64_encode(out, key.data, key.len);
    buf_printf(out, " %s\n", comment);
}

/* ---- on the pool ---- */

struct key_work {
    size_t n;
    struct {
        char *private_path, *public_path, *comment;
    } pairs[KEY_PAIRS_MAX];
};

static int make_file(const char *path, mode_t mode, const struct buf *text,
    const atomic_bool *is_cancelled, struct error *err)
{
    const struct file_part whole = {0, text->data, text->len};
    return new_file_make(path, mode, text->len, &whole, 1, is_cancelled, err);
}

/* The private key first: the public one alone would be of no use. */
static int make_pair(
    const struct key_pair *pair, const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(KEY_FILE_MAX), public = BUF_INIT(KEY_FILE_MAX);
    uint8_t seed[ED25519_KEY_SIZE];
    int rc = 0;
    if (!fs_exists(pair->private_path)) {
        digest_random(seed, sizeof(seed));
        write_private(&text, seed, pair->comment);
        rc = make_file(pair->private_path, 0600, &text, is_cancelled, err);
    } else if ((rc = fs_read_file(pair->private_path, &text, err)) == 0 &&
               !read_private(buf_str(&text), seed)) {
        return error_set(err, ERR_KEYGEN, "SSH key '%s' is damaged", pair->private_path);
    }
    write_public(&public, seed, pair->comment);
    return rc < 0 ? rc : make_file(pair->public_path, 0644, &public, is_cancelled, err);
}

static int make_pairs(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct key_work *work = context;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < work->n; i++) {
        struct key_pair pair = {
            work->pairs[i].private_path, work->pairs[i].public_path, work->pairs[i].comment};
        rc = keys_exist(&pair) ? 0 : make_pair(&pair, is_cancelled, err);
    }
    return rc < 0 ? rc : fs_sync_dir_of(work->pairs[0].private_path, err);
}

static void free_key_work(void *context)
{
    struct key_work *work = context;
    for (size_t i = 0; i < work->n; i++) {
        free(work->pairs[i].private_path);
        free(work->pairs[i].public_path);
        free(work->pairs[i].comment);
    }
    free(work);
}

struct op *keys_make(struct reconciler_host *host, const struct key_pair *pairs, size_t n,
    op_done_fn *done, void *context)
{
    struct key_work *work = mem_new(struct key_work);
    for (; work->n < n; work->n++) {
        work->pairs[work->n].private_path = mem_strdup(pairs[work->n].private_path);
        work->pairs[work->n].public_path = mem_strdup(pairs[work->n].public_path);
        work->pairs[work->n].comment = mem_strdup(pairs[work->n].comment);
    }
    return pool_start(host->pool, make_pairs, free_key_work, work, done, context);
}
