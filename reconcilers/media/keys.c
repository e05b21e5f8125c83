/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/child.h"
#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { KEYGEN_TIMEOUT_MS = 30 * 1000 };

struct key_files {
    char *private_path;
    char *public_path;
    char *made_path;   /* where ssh-keygen put a new private key, with ".pub" the public; or NULL */
    char *public_text; /* derived public key, or NULL */
};

struct key_maker {
    struct op op; /* first: op_cancel() finds the maker by it */
    struct reconciler_host *host;
    struct op *stage;
    struct key_files files;
};

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

static void clear_files(struct key_files *files)
{
    free(files->private_path);
    free(files->public_path);
    free(files->made_path);
    free(files->public_text);
}

static void cancel_maker(struct op *op)
{
    struct key_maker *maker = (struct key_maker *)(void *)op;
    op_cancel(maker->stage);
    clear_files(&maker->files);
    free(maker);
}

/* ---- on the pool: finished files get their names ---- */

static int publish(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct key_files *files = context;
    (void)is_cancelled;
    if (!files->made_path) {
        return fs_write_file(
            files->public_path, files->public_text, strlen(files->public_text), 0644, err);
    }
    cleanup_free char *made_public = mem_printf("%s.pub", files->made_path);
    /* The private key first: the public one alone would be of no use. */
    int rc = fs_publish(files->made_path, files->private_path, 0600, err);
    return rc < 0 ? rc : fs_publish(made_public, files->public_path, 0644, err);
}

static void free_files(void *context)
{
    clear_files(context);
    free(context);
}

static void on_published(void *context, const struct error *err)
{
    struct key_maker *maker = context;
    maker->stage = NULL;
    op_finish(&maker->op, err);
}

/* ---- ssh-keygen ---- */

static void on_keygen(void *context, const struct error *child_err, const char *output)
{
    struct key_maker *maker = context;
    maker->stage = NULL;
    struct error err = {0};
    if (child_err) {
        child_error(
            &err, ERR_KEYGEN, child_err, "cannot make SSH key '%s'", maker->files.private_path);
        op_finish(&maker->op, &err);
        return;
    }
    if (!maker->files.made_path) {
        maker->files.public_text = mem_printf("%.*s\n", (int)strcspn(output, "\r\n"), output);
        if (!keys_is_public(maker->files.public_text)) {
            error_set(&err, ERR_KEYGEN, "SSH key '%s' is damaged: ssh-keygen says '%s'",
                maker->files.private_path, maker->files.public_text);
            op_finish(&maker->op, &err);
            return;
        }
    }
    struct key_files *files = mem_dup(&maker->files, sizeof(maker->files));
    maker->files = (struct key_files){0};
    maker->stage = pool_start(maker->host->pool, publish, free_files, files, on_published, maker);
}

/* Makes a pair; of a private key that exists, derives the public one. */
static struct op *start_keygen(struct key_maker *maker, const char *comment)
{
    struct key_files *files = &maker->files;
    char unique[TEXT_ID_SIZE];
    if (!fs_exists(files->private_path)) {
        digest_random_id(unique);
        files->made_path = mem_printf("%s.tmp-%s", files->private_path, unique);
    }
    const char *make[] = {
        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", files->made_path, NULL};
    const char *derive[] = {"ssh-keygen", "-y", "-P", "", "-f", files->private_path, NULL};
    struct child_request request = {
        .argv = files->made_path ? make : derive, .timeout_ms = KEYGEN_TIMEOUT_MS};
    return child_start(maker->host->loop, &request, on_keygen, maker);
}

struct op *keys_make(
    struct reconciler_host *host, const struct key_pair *pair, op_done_fn *done, void *context)
{
    struct key_maker *maker = mem_new(struct key_maker);
    maker->op = (struct op){cancel_maker, done, context};
    maker->host = host;
    maker->files.private_path = mem_strdup(pair->private_path);
    maker->files.public_path = mem_strdup(pair->public_path);
    maker->stage = start_keygen(maker, pair->comment);
    return &maker->op;
}
