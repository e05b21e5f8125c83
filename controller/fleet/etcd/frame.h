/* SPDX-License-Identifier: MPL-2.0 */
/* Encoding and decoding of gRPC's bytes: the frame of a message (one byte, 0 because nothing is
 * compressed, then its length in four) and the text of a status. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/text.h"

struct buf;
struct error;

enum { FRAME_HEAD_SIZE = 5 };

void frame_write_head(uint8_t head[FRAME_HEAD_SIZE], size_t n);

/* Reads the message at the beginning of `data`, of at most `max` bytes. 1: *ret borrows it; 0: more
 * bytes are needed. -ERR_FLEET_LIMIT; -ERR_FLEET_VERSION: it is not a message. */
int frame_read(const struct bytes *data, size_t max, struct bytes *ret, struct error *err);

/* Appends grpc-message, which may contain %XX, as printable text, and shortens a long one. */
void frame_add_text(struct buf *out, const char *encoded);
