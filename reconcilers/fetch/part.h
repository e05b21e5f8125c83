/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A file that is being downloaded, and what is needed to go on with it later: KEY.part holds the
 * bytes so far, KEY.meta (JSON) their URL, strong ETag, full length and the host boot they were
 * written in.
 *
 * The bytes are not synced while they come: a killed vmctld loses nothing, as the page cache is the
 * kernel's; after another boot the part is thrown away, because a lost power leaves holes in it.
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
    int64_t have;   /* bytes at the start of the file that are good */
};

/* Names the files in `directory`; nothing is read or made. */
void part_init(struct part *part, const char *directory, const char *key, const char *url,
    const char *boot_id);
void part_clear(struct part *part);
void part_copy(struct part *to, const struct part *from);

/* Looks at what is on disk. What cannot be gone on with counts as `have` == 0. */
void part_load(struct part *part);
bool part_is_complete(const struct part *part);

/* Starts from nothing: the file is emptied first, so that it never holds bytes of another meta.
 * ERR_NO_SPACE when `length` (-1: unknown) does not fit on the disk, with something to spare; the
 * file is gone then. A disk that fills up later keeps the part, to be gone on with. */
int part_begin(struct part *part, const char *etag, int64_t length, int *ret_fd, struct error *err);
/* Goes on after `have` bytes; ERR_NO_SPACE, as above, keeps them. */
int part_continue(const struct part *part, int *ret_fd, struct error *err);
/* Removes both files. */
void part_discard(struct part *part);
