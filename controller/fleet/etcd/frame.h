/* SPDX-License-Identifier: MPL-2.0 */
/* The pieces of gRPC that are bytes and nothing else: a message in its frame (one byte, 0 as
 * nothing is compressed, then its length in four) and the text of a status. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/text.h"

struct buf;
struct error;

enum { FRAME_HEAD_SIZE = 5 };

void frame_write_head(uint8_t head[FRAME_HEAD_SIZE], size_t n);

/* The message that `data` begins with, which may have `max` bytes: 1 and *ret (borrowed from it), 0
 * when more bytes are needed; -ERR_FLEET_LIMIT, -ERR_FLEET_VERSION when it is none. */
int frame_read(const struct bytes *data, size_t max, struct bytes *ret, struct error *err);

/* Appends grpc-message, whose bytes may be %XX, as printable text; a long one is cut. */
void frame_add_text(struct buf *out, const char *encoded);
