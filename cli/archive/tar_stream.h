/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A tar archive in one zstd frame (RFC 8878), member by member, to or from a descriptor that need
 * not be a file. With cli/archive/tar_header.h all there is of either format.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/archive/tar_header.h"

struct error;

/* ---- writing ---- */

struct tar_writer;
struct tar_writer *tar_writer_new(int fd);       /* the descriptor stays the caller's */
void tar_writer_free(struct tar_writer *writer); /* NULL is fine */

/* A member; then exactly member->size bytes of it. -ERR_IO, -ERR_NO_SPACE. */
int tar_writer_begin(struct tar_writer *writer, const struct tar_member *member, struct error *err);
int tar_writer_add(struct tar_writer *writer, const void *bytes, size_t n, struct error *err);
int tar_writer_finish(struct tar_writer *writer, struct error *err);

/* ---- reading ---- */

struct tar_reader;
struct tar_reader *tar_reader_new(int fd, const char *title); /* `title`: in messages; borrowed */
void tar_reader_free(struct tar_reader *reader);              /* NULL is fine */

/* The next member, once the one before was read to its end; false: there is none. -ERR_ARCHIVE:
 * damaged, cut off, or a member that is no plain file. */
int tar_reader_next(
    struct tar_reader *reader, struct tar_member *ret, bool *ret_is_there, struct error *err);
/* The next bytes of the member, 0: its end. Negative as tar_reader_next(). */
ssize_t tar_reader_read(struct tar_reader *reader, void *bytes, size_t n, struct error *err);
