/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

static void assert_yaml(const char *json_text, const char *expected)
{
    cleanup_json json_t *json = json_loads(json_text, JSON_DECODE_ANY, NULL);
    cleanup_buf struct buf out = BUF_INIT(0);
    assert_non_null(json);
    yaml_add(&out, json);
    assert_string_equal(buf_str(&out), expected);
}

static void objects_are_blocks_with_sorted_keys(void **state)
{
    (void)state;
    assert_yaml("{\"b\": 1, \"a\": {\"d\": true, \"c\": null}}", "a:\n"
                                                                 "  c: null\n"
                                                                 "  d: true\n"
                                                                 "b: 1\n");
}

static void lists_nest(void **state)
{
    (void)state;
    assert_yaml("[{\"name\": \"web\", \"ports\": [80, 443]}, [1], {}]", "- name: web\n"
                                                                        "  ports:\n"
                                                                        "    - 80\n"
                                                                        "    - 443\n"
                                                                        "-\n"
                                                                        "  - 1\n"
                                                                        "- {}\n");
}

static void empty_things_stay_on_their_line(void **state)
{
    (void)state;
    assert_yaml("[]", "[]\n");
    assert_yaml("{}", "{}\n");
    assert_yaml("{\"a\": [], \"b\": {}}", "a: []\nb: {}\n");
}

static void strings_are_quoted_when_they_could_be_something_else(void **state)
{
    (void)state;
    static const char *const quoted[] = {"\"\"", "\"yes\"", "\"NULL\"", "\"~\"", "\"12\"",
        "\"1e3\"", "\"a: b\"", "\"a #b\"", "\"- a\"", "\"a \"", "\" a\"", "\"a\\nb\"", "\"*a\"",
        "\"2026-11-21\"", "\"\\u001B[31m\""};
    for (size_t i = 0; i < ARRAY_LEN(quoted); i++) {
        cleanup_buf struct buf expected = BUF_INIT(0);
        buf_printf(&expected, "%s\n", quoted[i]);
        assert_yaml(quoted[i], buf_str(&expected));
    }
    assert_yaml("\"/var/lib (x)\"", "/var/lib (x)\n");
    assert_yaml("\"ubuntu\"", "ubuntu\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_blocks_with_sorted_keys),
        cmocka_unit_test(lists_nest),
        cmocka_unit_test(empty_things_stay_on_their_line),
        cmocka_unit_test(strings_are_quoted_when_they_could_be_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
