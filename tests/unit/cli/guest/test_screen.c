/* SPDX-License-Identifier: MPL-2.0 */
/* One look at a screen, of a server that does as it should and of those that do not. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/guest/screen.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

enum { LIMIT_MS = 10 * 1000, SHORT_MS = 50 };

#define HELLO "RFB 003.008\n\x01\x01\0\0\0\0"
#define FORMAT "\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0\0\0\0\x04QEMU"
#define OF_2X2 "\0\x02\0\x02" FORMAT
#define UPDATE_1 "\0\0\0\x01"
#define RAW "\0\0\0\0"
#define RED "\0\0\xff\0"
#define GREEN "\0\xff\0\0"
#define BLUE "\xff\0\0\0"
#define WHITE "\xff\xff\xff\0"
#define TOP UPDATE_1 "\0\0\0\0\0\x02\0\x01" RAW RED GREEN
#define BOTTOM UPDATE_1 "\0\0\0\x01\0\x02\0\x01" RAW BLUE WHITE

struct talk {
    int fd;
    const char *bytes;
    size_t n;
    bool leaves;
};

static void *serve(void *context)
{
    const struct talk *talk = context;
    char ignored[256];
    assert_int_equal(write(talk->fd, talk->bytes, talk->n), talk->n);
    if (talk->leaves) {
        (void)shutdown(talk->fd, SHUT_WR);
    }
    while (read(talk->fd, ignored, sizeof(ignored)) > 0) {
    }
    return NULL;
}

/* What screen_read() makes of a server that says these bytes. */
static int look_at(
    const char *bytes, size_t n, bool leaves, int limit_ms, struct screen *ret, struct error *err)
{
    int ends[2];
    pthread_t thread;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    struct talk talk = {ends[1], bytes, n, leaves};
    assert_int_equal(pthread_create(&thread, NULL, serve, &talk), 0);
    int rc = screen_read(ends[0], limit_ms, ret, err);
    (void)close(ends[0]);
    (void)pthread_join(thread, NULL);
    (void)close(ends[1]);
    return rc;
}

#define LOOK(text, leaves, limit_ms, ret, err)                                                     \
    look_at((text), sizeof(text) - 1, (leaves), (limit_ms), (ret), (err))

static void a_screen_that_comes_in_pieces_is_read_whole(void **state)
{
    (void)state;
    static const unsigned char expected[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
    cleanup_with(screen_clear) struct screen screen = {.pixels = NULL};
    struct error err = {0};
    assert_int_equal(LOOK(HELLO OF_2X2 TOP "\x02" TOP "\x03\0\0\0\0\0\0\x02hi" BOTTOM, false,
                         LIMIT_MS, &screen, &err),
        0);
    assert_int_equal(screen.width, 2);
    assert_int_equal(screen.height, 2);
    assert_memory_equal(screen.pixels, expected, sizeof(expected));
}

static void a_screen_that_changes_its_size_is_read_again(void **state)
{
    (void)state;
    static const unsigned char expected[] = {255, 0, 0, 0, 255, 0};
    cleanup_with(screen_clear) struct screen screen = {.pixels = NULL};
    struct error err = {0};
    assert_int_equal(LOOK(HELLO OF_2X2 TOP UPDATE_1 "\0\0\0\0\0\x02\0\x01\xff\xff\xff\x21" TOP,
                         false, LIMIT_MS, &screen, &err),
        0);
    assert_int_equal(screen.height, 1);
    assert_memory_equal(screen.pixels, expected, sizeof(expected));
}

static void a_server_that_breaks_the_protocol_is_an_error(void **state)
{
    (void)state;
#define ROW(text, leaves, code, message)                                                           \
    {                                                                                              \
        (text), sizeof(text) - 1, (leaves), (code), (message)                                      \
    }
    static const struct {
        const char *bytes;
        size_t n;
        bool leaves;
        enum error_code code;
        const char *message;
    } rows[] = {
        ROW("", true, ERR_IO, "closed the connection"),
        ROW("RFB 003.003\n", false, ERR_IO, "another version"),
        ROW("RFB 003.008\n\x01\x02", false, ERR_IO, "wants a password"),
        ROW("RFB 003.008\n\x01\x01\0\0\0\x01", false, ERR_IO, "it refuses the connection"),
        ROW(HELLO "\0\0\0\x02" FORMAT, false, ERR_IO, "the screen is empty"),
        ROW(HELLO "\xff\xff\0\x02" FORMAT, false, ERR_IO, "too large"),
        ROW(HELLO OF_2X2 UPDATE_1 "\0\x01\0\0\0\x02\0\x01" RAW, false, ERR_IO,
            "outside the screen"),
        ROW(HELLO OF_2X2 UPDATE_1 "\0\0\0\0\0\x02\0\x01\0\0\0\x05", false, ERR_IO, "an encoding"),
        ROW(HELLO OF_2X2 UPDATE_1 "\0\0\0\0\0\0\0\0\xff\xff\xff\x21", false, ERR_IO,
            "the screen is empty"),
        ROW(HELLO OF_2X2 "\x01", false, ERR_IO, "a palette"),
        ROW(HELLO OF_2X2 "\x09", false, ERR_IO, "an unknown message"),
        ROW(HELLO OF_2X2 "\x03\0\0\0\xff\xff\xff\xff", false, ERR_IO, "too long"),
        ROW(HELLO OF_2X2 TOP, true, ERR_IO, "closed the connection"),
        ROW(HELLO OF_2X2 TOP, false, ERR_TIMEOUT, "does not answer"),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct screen screen;
        struct error err = {0};
        int limit_ms = rows[i].code == ERR_TIMEOUT ? SHORT_MS : LIMIT_MS;
        int rc = look_at(rows[i].bytes, rows[i].n, rows[i].leaves, limit_ms, &screen, &err);
        assert_int_equal(rc, -(int)rows[i].code);
        assert_non_null(strstr(err.message, rows[i].message));
        assert_null(screen.pixels);
    }
}

/* The bytes that Python's zlib makes of the same data, stored. */
static void a_png_is_what_other_programs_read(void **state)
{
    (void)state;
    unsigned char pixels[] = {255, 0, 0, 0, 255, 0};
    const struct screen screen = {.width = 2, .height = 1, .pixels = pixels};
    static const char expected[] =
        "\x89PNG\r\n\x1a\n"
        "\0\0\0\x0dIHDR\0\0\0\x02\0\0\0\x01\x08\x02\0\0\0\x7b\x40\xe8\xdd"
        "\0\0\0\x12IDAT\x78\x01\x01\x07\0\xf8\xff\0\xff\0\0\0\xff\0\x07\xff\x01\xff\xc5\x0e\xe2\x6a"
        "\0\0\0\0IEND\xae\x42\x60\x82";
    cleanup_buf struct buf out = BUF_INIT(0);
    screen_add_png(&out, &screen);
    assert_int_equal(out.len, sizeof(expected) - 1);
    assert_memory_equal(out.data, expected, sizeof(expected) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_screen_that_comes_in_pieces_is_read_whole),
        cmocka_unit_test(a_screen_that_changes_its_size_is_read_again),
        cmocka_unit_test(a_server_that_breaks_the_protocol_is_an_error),
        cmocka_unit_test(a_png_is_what_other_programs_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
