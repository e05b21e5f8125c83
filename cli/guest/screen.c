/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/screen.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum {
    SIDE_MAX = 16384,
    VERSION_BYTES = 12,
    SECURITY_NONE = 1,
    FORMAT_BYTES = 16,
    PIXEL_BYTES = 4,
    COLOR_BYTES = 3, /* of a struct screen */
    TEXT_MAX = 1024 * 1024,
    ENCODING_RAW = 0,
    ENCODING_DESKTOP_SIZE = -223,
};

struct rfb {
    int fd;
    int64_t deadline_ms;
    struct screen *screen;
    bool *is_seen;   /* of each pixel */
    uint64_t unseen; /* pixels */
    struct error *err;
};

/* ---- bytes ---- */

static int rfb_await(struct rfb *rfb, short events)
{
    int64_t left_ms = rfb->deadline_ms - clock_monotonic_ms(clock_system());
    struct pollfd ready = {.fd = rfb->fd, .events = events};
    if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) == 0) {
        return error_set(rfb->err, ERR_TIMEOUT, "the screen's server does not answer");
    }
    return 0;
}

static int rfb_read(struct rfb *rfb, void *bytes, size_t n)
{
    unsigned char *at = bytes;
    while (n > 0) {
        ssize_t got = read(rfb->fd, at, n);
        if (got == 0) {
            return error_set(rfb->err, ERR_IO, "the screen's server closed the connection");
        }
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            return error_set_errno(rfb->err, ERR_IO, errno, "cannot read the screen");
        }
        if (got < 0 && rfb_await(rfb, POLLIN) < 0) {
            return -(int)rfb->err->code;
        }
        at += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int rfb_write(struct rfb *rfb, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    while (n > 0) {
        ssize_t put = write(rfb->fd, at, n);
        if (put < 0 && errno != EAGAIN && errno != EINTR) {
            return error_set_errno(rfb->err, ERR_IO, errno, "cannot ask for the screen");
        }
        if (put < 0 && rfb_await(rfb, POLLOUT) < 0) {
            return -(int)rfb->err->code;
        }
        at += put > 0 ? put : 0;
        n -= put > 0 ? (size_t)put : 0;
    }
    return 0;
}

static int rfb_skip(struct rfb *rfb, uint64_t n)
{
    unsigned char bytes[4096];
    int rc = 0;
    while (rc == 0 && n > 0) {
        size_t part = n < sizeof(bytes) ? (size_t)n : sizeof(bytes);
        rc = rfb_read(rfb, bytes, part);
        n -= part;
    }
    return rc;
}

static uint32_t u16(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 8 | bytes[1];
}

static uint32_t u32(const unsigned char *bytes)
{
    return u16(bytes) << 16 | u16(bytes + 2);
}

static int rfb_violation(struct rfb *rfb, const char *what)
{
    return error_set(rfb->err, ERR_IO, "the screen's server violates the protocol: %s", what);
}

/* ---- the handshake (RFC 6143, 7.1 to 7.3) ---- */

static int choose_security(struct rfb *rfb)
{
    unsigned char count, types[UINT8_MAX], result[4];
    int rc = rfb_read(rfb, &count, 1);
    rc = rc < 0 ? rc : rfb_read(rfb, types, count);
    if (rc < 0) {
        return rc;
    }
    if (!memchr(types, SECURITY_NONE, count)) {
        return error_set(rfb->err, ERR_IO, "the screen wants a password");
    }
    rc = rfb_write(rfb, &(unsigned char){SECURITY_NONE}, 1);
    rc = rc < 0 ? rc : rfb_read(rfb, result, sizeof(result));
    return rc == 0 && u32(result) != 0 ? rfb_violation(rfb, "it refuses the connection") : rc;
}

static int resize(struct rfb *rfb, uint32_t width, uint32_t height)
{
    if (width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX) {
        return rfb_violation(rfb, "the screen is empty, or too large");
    }
    screen_clear(rfb->screen);
    free(TAKE_PTR(rfb->is_seen));
    rfb->unseen = (uint64_t)width * height;
    *rfb->screen = (struct screen){
        .width = width, .height = height, .pixels = mem_calloc(rfb->unseen, COLOR_BYTES)};
    rfb->is_seen = mem_calloc(rfb->unseen, sizeof(*rfb->is_seen));
    return 0;
}

static int shake_hands(struct rfb *rfb)
{
    static const char version[] = "RFB 003.008\n";
    char theirs[VERSION_BYTES];
    unsigned char init[4 + FORMAT_BYTES + 4];
    int rc = rfb_read(rfb, theirs, sizeof(theirs));
    if (rc == 0 && memcmp(theirs, version, sizeof(theirs)) != 0) {
        return rfb_violation(rfb, "another version");
    }
    rc = rc < 0 ? rc : rfb_write(rfb, version, VERSION_BYTES);
    rc = rc < 0 ? rc : choose_security(rfb);
    rc = rc < 0 ? rc : rfb_write(rfb, &(unsigned char){1}, 1); /* who looks already stays */
    rc = rc < 0 ? rc : rfb_read(rfb, init, sizeof(init));
    rc = rc < 0 ? rc : rfb_skip(rfb, u32(init + 4 + FORMAT_BYTES)); /* the name */
    return rc < 0 ? rc : resize(rfb, u16(init), u16(init + 2));
}

static int set_up(struct rfb *rfb)
{
    /* 32 bits, little endian: blue, green, red, nothing */
    static const unsigned char format[] = {
        0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0};
    static const unsigned char encodings[] = {2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21};
    int rc = rfb_write(rfb, format, sizeof(format));
    return rc < 0 ? rc : rfb_write(rfb, encodings, sizeof(encodings));
}

/* ---- the picture (7.6) ---- */

static int request_all(struct rfb *rfb)
{
    uint32_t width = rfb->screen->width, height = rfb->screen->height;
    const unsigned char request[] = {3, 0, 0, 0, 0, 0, (unsigned char)(width >> 8),
        (unsigned char)width, (unsigned char)(height >> 8), (unsigned char)height};
    return rfb_write(rfb, request, sizeof(request));
}

static void put_pixel(struct rfb *rfb, size_t at, const unsigned char *bytes)
{
    unsigned char *pixel = rfb->screen->pixels + at * COLOR_BYTES;
    pixel[0] = bytes[2];
    pixel[1] = bytes[1];
    pixel[2] = bytes[0];
    rfb->unseen -= !rfb->is_seen[at];
    rfb->is_seen[at] = true;
}

static int read_pixels(struct rfb *rfb, const unsigned char *rectangle)
{
    uint32_t x = u16(rectangle), y = u16(rectangle + 2);
    uint32_t width = u16(rectangle + 4), height = u16(rectangle + 6);
    if (x + width > rfb->screen->width || y + height > rfb->screen->height) {
        return rfb_violation(rfb, "pixels outside the screen");
    }
    cleanup_free unsigned char *row = mem_calloc(width, PIXEL_BYTES);
    for (uint32_t i = 0; i < height; i++) {
        int rc = rfb_read(rfb, row, (size_t)width * PIXEL_BYTES);
        if (rc < 0) {
            return rc;
        }
        for (uint32_t j = 0; j < width; j++) {
            put_pixel(
                rfb, (size_t)(y + i) * rfb->screen->width + x + j, row + (size_t)j * PIXEL_BYTES);
        }
    }
    return 0;
}

static int read_update(struct rfb *rfb)
{
    unsigned char head[3], rectangle[12];
    int rc = rfb_read(rfb, head, sizeof(head));
    for (uint32_t n = rc == 0 ? u16(head + 1) : 0; rc == 0 && n > 0; n--) {
        rc = rfb_read(rfb, rectangle, sizeof(rectangle));
        if (rc < 0) {
            return rc;
        }
        int32_t encoding = (int32_t)u32(rectangle + 8);
        rc = encoding == ENCODING_RAW ? read_pixels(rfb, rectangle)
             : encoding == ENCODING_DESKTOP_SIZE
                 ? resize(rfb, u16(rectangle + 4), u16(rectangle + 6))
                 : rfb_violation(rfb, "an encoding that was not requested");
    }
    return rc < 0 || rfb->unseen == 0 ? rc : request_all(rfb);
}

/* A palette, which true colour does not have, the bell, and what was cut in the guest. */
static int read_other(struct rfb *rfb, unsigned char type)
{
    enum { PALETTE = 1, BELL = 2, CUT_TEXT = 3 };
    unsigned char head[7];
    if (type == BELL) {
        return 0;
    }
    if (type != CUT_TEXT) {
        return rfb_violation(rfb, type == PALETTE ? "a palette" : "an unknown message");
    }
    int rc = rfb_read(rfb, head, sizeof(head));
    bool is_too_long = rc == 0 && u32(head + 3) > TEXT_MAX;
    return is_too_long ? rfb_violation(rfb, "a string that is too long")
           : rc < 0    ? rc
                       : rfb_skip(rfb, u32(head + 3));
}

int screen_read(int fd, int limit_ms, struct screen *ret, struct error *err)
{
    enum { UPDATE = 0 };
    struct rfb rfb = {.fd = fd,
        .deadline_ms = clock_monotonic_ms(clock_system()) + limit_ms,
        .screen = ret,
        .err = err};
    *ret = (struct screen){.width = 0};
    int rc = shake_hands(&rfb);
    rc = rc < 0 ? rc : set_up(&rfb);
    rc = rc < 0 ? rc : request_all(&rfb);
    while (rc == 0 && rfb.unseen > 0) {
        unsigned char type;
        rc = rfb_read(&rfb, &type, 1);
        rc = rc < 0 ? rc : type == UPDATE ? read_update(&rfb) : read_other(&rfb, type);
    }
    free(rfb.is_seen);
    if (rc < 0) {
        screen_clear(ret);
    }
    return rc;
}

void screen_clear(struct screen *screen)
{
    free(TAKE_PTR(screen->pixels));
}
