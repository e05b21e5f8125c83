/* SPDX-License-Identifier: MPL-2.0 */
/* gRPC's frames and the text of its statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/fleet/etcd/frame.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"

static void a_message_is_read_when_it_is_whole(void **state)
{
    (void)state;
    const char bytes[] = "\0\0\0\0\3abcd";
    struct bytes message = {0};
    struct error err = {0};
    for (size_t n = 0; n < 8; n++) {
        assert_int_equal(frame_read(&(struct bytes){bytes, n}, 100, &message, &err), 0);
    }
    assert_int_equal(frame_read(&(struct bytes){bytes, 9}, 100, &message, &err), 1);
    assert_int_equal(message.n, 3);
    assert_memory_equal(message.data, "abc", 3);
    assert_int_equal(frame_read(&(struct bytes){bytes, 9}, 3, &message, &err), 1);
    assert_int_equal(frame_read(&(struct bytes){bytes, 9}, 2, &message, &err), -ERR_FLEET_LIMIT);
}

static void what_is_compressed_or_no_frame_is_refused(void **state)
{
    (void)state;
    struct bytes message;
    struct error err = {0};
    assert_int_equal(
        frame_read(&(struct bytes){"\1\0\0\0\0", 5}, 9, &message, &err), -ERR_FLEET_VERSION);
    error_clear(&err);
    assert_int_equal(
        frame_read(&(struct bytes){"<html>", 6}, 9, &message, &err), -ERR_FLEET_VERSION);
}

static void a_head_says_how_long_its_message_is(void **state)
{
    (void)state;
    uint8_t head[FRAME_HEAD_SIZE];
    frame_write_head(head, 0x01020304);
    assert_memory_equal(head, "\0\1\2\3\4", 5);
}

static void words_are_decoded_and_printable(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(0);
    frame_add_text(&out, "etcdserver: 100%25 %C3%A4 %1b[2J %zz %4");
    assert_string_equal(buf_str(&out), "etcdserver: 100% \xc3\xa4 \\x1b[2J %zz %4");
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_read_when_it_is_whole),
        cmocka_unit_test(what_is_compressed_or_no_frame_is_refused),
        cmocka_unit_test(a_head_says_how_long_its_message_is),
        cmocka_unit_test(words_are_decoded_and_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
