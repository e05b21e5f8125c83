/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A partial download that can be resumed: KEY.part holds the bytes so far, KEY.meta (JSON) their
 * URL, strong ETag, full length and the host boot they were written in.
 *
 * The bytes are not synced while they arrive: a killed vmctld loses nothing, because the page cache
 * survives it; after a reboot the part is discarded, because a power loss may leave holes in it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;

struct part {
    char *path;
    char *meta_path;
    char *url;
    char *boot_id;
    char *etag;     /* strong (RFC 9110, 8.8.1); NULL: none */
    int64_t length; /* bytes of the whole file, -1 unknown */
    int64_t have;   /* valid bytes at the start of the file */
};

/* Sets the files' names in `directory`; reads and creates nothing. */
void part_init(struct part *part, const char *directory, const char *key, const char *url,
    const char *boot_id);
void part_clear(struct part *part);
void part_copy(struct part *to, const struct part *from);

/* Reads the partial download. `have` is 0 when it cannot be resumed. */
void part_load(struct part *part);
bool part_is_complete(const struct part *part);

/* Starts over: empties the file first, so that it never holds bytes of another meta. ERR_NO_SPACE:
 * `length` (-1: unknown) and a margin do not fit on the disk; the file is removed. A disk that
 * fills up later keeps the part, which can be resumed. */
int part_begin(struct part *part, const char *etag, int64_t length, int *ret_fd, struct error *err);
/* Resumes after `have` bytes; ERR_NO_SPACE, as above, keeps them. */
int part_continue(const struct part *part, int *ret_fd, struct error *err);
/* Removes both files. */
void part_discard(struct part *part);
