/* SPDX-License-Identifier: MPL-2.0 */
/* What a guest may send in place of its agent's answers; the usual is that of test_agent.c, and any
 * bytes those of tests/fuzz/fuzz_agent.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "specs/base/error.h"
#include "specs/vm/agent_protocol.h"

enum { ID = 7, FLOOD = 1 << 20 };

static int feed(struct agent_stream *stream, const char *bytes, size_t n)
{
    struct error err = {.code = ERR_NONE};
    return agent_stream_feed(stream, bytes, n, &err);
}

static bool takes_sync(struct agent_stream *stream)
{
    struct error err = {.code = ERR_NONE};
    struct agent_answer answer;
    return agent_stream_next(stream, &answer, &err) == 1 && answer.is_sync;
}

/* Each that moved all behind it would take minutes. */
static void a_flood_of_delimiters_is_read_at_once(void **state)
{
    static const char sync[] = "{\"return\": 7}\n";
    struct agent_stream stream;
    char flood[1 << 14];
    (void)state;
    memset(flood, 0xff, sizeof(flood));
    agent_stream_init(&stream, ID, FLOOD);
    for (size_t i = 0; i < FLOOD / sizeof(flood); i++) { /* all in one piece */
        assert_int_equal(feed(&stream, flood, sizeof(flood)), 0);
    }
    assert_false(takes_sync(&stream));
    assert_int_equal(feed(&stream, sync, strlen(sync)), 0);
    assert_true(takes_sync(&stream));
    agent_stream_clear(&stream);
}

static void only_what_follows_the_last_delimiter_of_its_line_begins(void **state)
{
    static const char no[] = "{\"return\": 7}\n\xff{\"return\": 6}\n\xff x\xff{\"return\": 7}x\n";
    static const char yes[] = "\xff{\"return\": 6}\xff{\"return\": 7}\n";
    struct agent_stream stream;
    (void)state;
    agent_stream_init(&stream, ID, FLOOD);
    assert_int_equal(feed(&stream, no, strlen(no)), 0);
    assert_false(takes_sync(&stream));
    assert_int_equal(feed(&stream, yes, strlen(yes)), 0);
    assert_true(takes_sync(&stream));
    agent_stream_clear(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_of_delimiters_is_read_at_once),
        cmocka_unit_test(only_what_follows_the_last_delimiter_of_its_line_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
