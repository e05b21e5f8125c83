/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/junit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"

static void what_was_tried_is_counted_and_its_words_are_xml(void **state)
{
    (void)state;
    struct junit_suite suite = {.name = "a \"b\""};
    cleanup_buf struct buf out = BUF_INIT(0);
    junit_add(&suite, &(struct junit_case){.name = "x < 1 && y\n\x01", .took_ms = 1234});
    junit_add(
        &suite, &(struct junit_case){
                    .name = "f", .took_ms = 6, .result = JUNIT_FAILED, .message = "exit status 7"});
    junit_add(&suite, &(struct junit_case){.name = "e", .took_ms = -5, .result = JUNIT_ERROR});
    junit_end_suite(&out, &suite);
    assert_string_equal(buf_str(&out),
        "  <testsuite name=\"a &quot;b&quot;\" tests=\"3\" failures=\"1\" errors=\"1\" "
        "time=\"1.240\">\n"
        "    <testcase classname=\"a &quot;b&quot;\" name=\"x &lt; 1 &amp;&amp; y&#10;?\" "
        "time=\"1.234\"/>\n"
        "    <testcase classname=\"a &quot;b&quot;\" name=\"f\" time=\"0.006\">\n"
        "      <failure message=\"exit status 7\"/>\n"
        "    </testcase>\n"
        "    <testcase classname=\"a &quot;b&quot;\" name=\"e\" time=\"0.000\">\n"
        "      <error message=\"\"/>\n"
        "    </testcase>\n"
        "  </testsuite>\n");
    assert_int_equal(suite.n, 0); /* as a new one */
    assert_int_equal(suite.cases.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_tried_is_counted_and_its_words_are_xml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
