/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/guest/websocket.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

/* ---- the handshake ---- */

/* The example of RFC 6455, 1.2 and 1.3. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define CHANGE "HTTP/1.1 101 Switching Protocols\r\n"

static int check(const char *head)
{
    struct error err = {.code = ERR_NONE};
    return websocket_check_head(head, KEY, &err);
}

static void an_answer_must_be_to_our_request(void **state)
{
    (void)state;
    assert_int_equal(
        check(CHANGE "upgrade:WebSocket\r\nConnection: keep-alive, Upgrade \r\n" ACCEPT "\r\n"), 0);
    assert_int_not_equal(check(CHANGE "Connection: Upgrade\r\n" ACCEPT "\r\n"), 0);
    assert_int_not_equal(check(CHANGE "Upgrade: websocket\r\n" ACCEPT "\r\n"), 0);
    assert_int_not_equal(check(CHANGE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n\r\n"),
        0);
    assert_int_not_equal(check(CHANGE "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), 0);
    assert_int_not_equal(check(""), 0);
}

static void a_status_is_read_from_the_first_line(void **state)
{
    (void)state;
    assert_int_equal(websocket_status(CHANGE), 101);
    assert_int_equal(websocket_status("HTTP/1.0 424\r\n"), 424);
    assert_int_equal(websocket_status("HTTP/1.1 4x4 No\r\n"), 0);
    assert_int_equal(websocket_status("HTTP/1.1\r\nA: 101 b\r\n"), 0);
    assert_int_equal(websocket_status("SSH-2.0-x 101"), 0);
    assert_int_equal(websocket_status(""), 0);
}

static void a_request_has_a_key_of_its_own(void **state)
{
    (void)state;
    char one[WEBSOCKET_KEY_SIZE], other[WEBSOCKET_KEY_SIZE];
    cleanup_buf struct buf request = BUF_INIT(0);
    websocket_add_request(&request, "10.0.0.5:12400", "/instance/serial", "a: b\r\n", one);
    assert_non_null(
        strstr(request.data, "GET /instance/serial HTTP/1.1\r\nHost: 10.0.0.5:12400\r\n"));
    assert_non_null(strstr(request.data, one));
    assert_non_null(strstr(request.data, "\r\na: b\r\n\r\n"));
    websocket_add_request(&request, "h", "/", "", other);
    assert_int_equal(strlen(one), 24);
    assert_string_not_equal(one, other);
}

/* ---- frames ---- */

static void assert_read(
    const char *bytes, size_t n, const char *wanted, size_t n_reply, bool is_closed)
{
    for (size_t piece = 1; piece <= n; piece++) {
        struct websocket ws = {.n_head = 0};
        cleanup_buf struct buf data = BUF_INIT(0), reply = BUF_INIT(0);
        struct error err = {.code = ERR_NONE};
        for (size_t at = 0; at < n; at += piece) {
            size_t length = n - at < piece ? n - at : piece;
            assert_int_equal(websocket_read(&ws, bytes + at, length, &data, &reply, &err), 0);
        }
        assert_string_equal(buf_str(&data), wanted);
        assert_int_equal(reply.len, n_reply);
        assert_int_equal(ws.is_closed, is_closed);
    }
}

#define ASSERT_READ(bytes, ...) assert_read(bytes, sizeof(bytes) - 1, __VA_ARGS__)

static void frames_are_read_in_pieces_of_any_size(void **state)
{
    (void)state;
    ASSERT_READ("\x82\x05hello", "hello", 0, false);
    ASSERT_READ("\x82\x00\x82\x01"
                "a",
        "a", 0, false);
    ASSERT_READ("\x02\x03"
                "abc"
                "\x00\x02"
                "de"
                "\x80\x01"
                "f"
                "\x82\x01"
                "g",
        "abcdefg", 0, false);
    ASSERT_READ("\x82\x7e\x00\x03"
                "abc"
                "\x82\x7f\0\0\0\0\0\0\0\x02"
                "de",
        "abcde", 0, false);
    ASSERT_READ("\x81\x02{}\x82\x01"
                "a",
        "a", 0, false); /* a text is not of the console */
    ASSERT_READ("\x02\x01"
                "a"
                "\x89\x02hi\x80\x01"
                "b",
        "ab", 2 + 4 + 2, false);
    ASSERT_READ("\x8a\x02hi", "", 0, false);
    ASSERT_READ("\x82\x01"
                "a"
                "\x88\x0c\x03\xe9VM stopped"
                "\x82\x01"
                "b",
        "a", 2 + 4 + 2, true);
    ASSERT_READ("\x88\x00", "", 2 + 4, true);
}

static void what_is_not_the_protocol_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {
#define BAD(text) {text, sizeof(text) - 1}
        BAD("\x82\x81"
            "abcdx"),
        BAD("\xc2\x01"
            "a"),
        BAD("\x83\x01"
            "a"),
        BAD("\x8b\x00"),
        BAD("\x8f\x00"),
        BAD("\x09\x01"
            "a"),
        BAD("\x89\x7e\x00\x7e"),
        BAD("\x80\x01"
            "a"),
        BAD("\x02\x01"
            "a\x82\x01"
            "b"),
        BAD("\x82\x7f\x80\0\0\0\0\0\0\0"),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct websocket ws = {.n_head = 0};
        cleanup_buf struct buf data = BUF_INIT(0), reply = BUF_INIT(0);
        struct error err = {.code = ERR_NONE};
        if (websocket_read(&ws, rows[i].bytes, rows[i].n, &data, &reply, &err) != -ERR_IO) {
            fail_msg("row %zu", i);
        }
    }
}

static void what_is_more_than_there_is_room_for_is_an_error(void **state)
{
    (void)state;
    struct websocket ws = {.n_head = 0};
    cleanup_buf struct buf data = BUF_INIT(4), reply = BUF_INIT(4);
    struct error err = {.code = ERR_NONE};
    assert_int_equal(websocket_read(&ws, "\x82\x05hello", 7, &data, &reply, &err), -ERR_IO);
}

static void our_frames_are_masked(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 5, 125, 126, 65535, 65536};
    static const size_t heads[] = {2, 2, 2, 4, 4, 10};
    static char bytes[65536];
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        cleanup_buf struct buf out = BUF_INIT(0);
        size_t n = lengths[i], head = heads[i];
        websocket_write(&out, WEBSOCKET_BINARY, bytes, n);
        assert_int_equal(out.len, head + 4 + n);
        assert_int_equal((uint8_t)out.data[0], 0x82);
        assert_true((uint8_t)out.data[1] & 0x80);
        const char *key = out.data + head;
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(out.data[head + 4 + k] ^ key[k % 4], 'x');
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_must_be_to_our_request),
        cmocka_unit_test(a_status_is_read_from_the_first_line),
        cmocka_unit_test(a_request_has_a_key_of_its_own),
        cmocka_unit_test(frames_are_read_in_pieces_of_any_size),
        cmocka_unit_test(what_is_not_the_protocol_is_refused),
        cmocka_unit_test(what_is_more_than_there_is_room_for_is_an_error),
        cmocka_unit_test(our_frames_are_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
