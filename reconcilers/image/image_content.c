/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/file_stamp.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

struct known {
    char stamp[DIGEST_SIZE];
    char sha256[DIGEST_SIZE];
};

/* What the pool works on. */
struct hash_work {
    char *path;
    struct known known; /* what is known of it already. Out: what it is */
};

/* One caller's operation. */
struct content_waiter {
    struct op op; /* first: op_cancel() finds the waiter by it */
    struct hashing *hashing;
    struct content_waiter *next;
};

/* A file being hashed. */
struct hashing {
    struct image_contents *contents;
    struct hashing *next;
    char *path;
    struct op *stage;
    struct hash_work *work; /* the pool frees it */
    struct content_waiter *waiters;
};

struct image_contents {
    struct reconciler_host *host; /* borrowed */
    struct hashing *hashings;
    struct known *known, *notes; /* `sha256` of a note: its word */
    size_t n_known, n_notes;
};

struct image_contents *image_contents_new(struct reconciler_host *host)
{
    struct image_contents *contents = mem_new(struct image_contents);
    contents->host = host;
    return contents;
}

static void unlink_hashing(struct hashing *hashing)
{
    struct hashing **at = &hashing->contents->hashings;
    while (*at != hashing) {
        at = &(*at)->next;
    }
    *at = hashing->next;
}

static void free_hashing(struct hashing *hashing)
{
    op_cancel(hashing->stage);
    free(hashing->path);
    free(hashing);
}

void image_contents_free(struct image_contents *contents)
{
    while (contents && contents->hashings) {
        struct hashing *hashing = contents->hashings;
        unlink_hashing(hashing);
        free_hashing(hashing);
    }
    if (contents) {
        free(contents->known);
        free(contents->notes);
        free(contents);
    }
}

const char *image_content_of_stamp(const struct image_contents *contents, const char *stamp)
{
    for (size_t i = 0; i < contents->n_known; i++) {
        if (text_eq(contents->known[i].stamp, stamp)) {
            return contents->known[i].sha256;
        }
    }
    return NULL;
}

bool image_content_is(const struct image_contents *contents, const char *stamp, const char *word)
{
    size_t i = 0;
    while (i < contents->n_notes && !(text_eq(contents->notes[i].stamp, stamp) &&
                                        text_eq(contents->notes[i].sha256, word))) {
        i++;
    }
    return i < contents->n_notes;
}

void image_content_note(struct image_contents *contents, const char *stamp, const char *word)
{
    if (!image_content_is(contents, stamp, word)) {
        mem_grow(contents->notes, contents->n_notes);
        struct known *note = &contents->notes[contents->n_notes++];
        snprintf(note->stamp, sizeof(note->stamp), "%s", stamp);
        snprintf(note->sha256, sizeof(note->sha256), "%s", word);
    }
}

/* ---- hashing ---- */

static void free_hash_work(void *context)
{
    struct hash_work *work = context;
    free(work->path);
    free(work);
}

static int hash(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct hash_work *work = context;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    if (!file_stamp(work->path, before)) {
        return error_set(err, ERR_IMAGE_NOT_FOUND, "no image file at '%s'", work->path);
    }
    if (work->known.sha256[0] && text_eq(before, work->known.stamp)) {
        return 0;
    }
    memcpy(work->known.stamp, before, sizeof(before));
    int rc = digest_file(work->path, is_cancelled, work->known.sha256, err);
    if (rc == 0 && (!file_stamp(work->path, after) || !text_eq(after, work->known.stamp))) {
        return error_set(
            err, ERR_IMAGE_CHANGED, "image '%s' changed while it was read", work->path);
    }
    return rc;
}

static void on_hashed(void *context, const struct error *err)
{
    struct hashing *hashing = context;
    struct image_contents *contents = hashing->contents;
    hashing->stage = NULL;
    if (!err && !image_content_of_stamp(contents, hashing->work->known.stamp)) {
        mem_grow(contents->known, contents->n_known);
        contents->known[contents->n_known++] = hashing->work->known;
    }
    unlink_hashing(hashing); /* one who asks again starts another */
    while (hashing->waiters) {
        op_finish(&hashing->waiters->op, err); /* takes itself off the list */
    }
    free_hashing(hashing);
}

static void cancel_waiter(struct op *op)
{
    struct content_waiter *waiter = (struct content_waiter *)(void *)op;
    struct hashing *hashing = waiter->hashing;
    struct content_waiter **at = &hashing->waiters;
    while (*at != waiter) {
        at = &(*at)->next;
    }
    *at = waiter->next;
    free(waiter);
    if (!hashing->waiters && hashing->stage) {
        unlink_hashing(hashing);
        free_hashing(hashing);
    }
}

struct op *image_content_find(
    struct image_contents *contents, const char *path, op_done_fn *done, void *context)
{
    struct hashing *hashing = contents->hashings;
    while (hashing && !text_eq(hashing->path, path)) {
        hashing = hashing->next;
    }
    if (!hashing) {
        hashing = mem_new(struct hashing);
        hashing->contents = contents;
        hashing->path = mem_strdup(path);
        hashing->work = mem_new(struct hash_work);
        hashing->work->path = mem_strdup(path);
        const char *known = file_stamp(path, hashing->work->known.stamp)
                                ? image_content_of_stamp(contents, hashing->work->known.stamp)
                                : NULL;
        if (known) {
            memcpy(hashing->work->known.sha256, known, DIGEST_SIZE);
        }
        hashing->next = contents->hashings;
        contents->hashings = hashing;
        hashing->stage = pool_start_in(contents->host->pool, known ? POOL_SOURCE : POOL_IMAGE, hash,
            free_hash_work, hashing->work, on_hashed, hashing);
    }
    struct content_waiter *waiter = mem_new(struct content_waiter);
    waiter->op = (struct op){cancel_waiter, done, context};
    waiter->hashing = hashing;
    waiter->next = hashing->waiters;
    hashing->waiters = waiter;
    return &waiter->op;
}
