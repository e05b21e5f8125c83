/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Reads a VM's screen once: screen.c implements the client's side of the RFB protocol (RFC 6143,
 * "VNC") as far as that needs it: version 3.8, no password, raw pixels.
 */
#pragma once

#include <stdint.h>

struct buf;
struct error;

struct screen {
    uint32_t width, height;
    unsigned char *pixels; /* height rows of width pixels: red, green, blue */
};

/*
 * Reads the whole screen that the server at the socket `fd` (O_NONBLOCK) shows, within `limit_ms`.
 * The server is not trusted: a screen is at most 16384 pixels wide and high. -ERR_TIMEOUT, -ERR_IO:
 * the server left, or does not speak as it should. screen_clear() it.
 */
int screen_read(int fd, int limit_ms, struct screen *ret, struct error *err);

/*
 * screen_png.c: appends it as PNG (RFC 2083). Its data is stored, not compressed (RFC 1950, 1951):
 * a library would be loaded by each vmctl command, for a file of a megabyte.
 */
void screen_add_png(struct buf *out, const struct screen *screen);

void screen_clear(struct screen *screen);
