/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"

/* It may hold what a guest or a server has sent. */
static void an_error_is_told_whatever_its_text_is(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct answer answer = {.body = BUF_INIT(ANSWER_MAX)};
    (void)state;
    (void)error_set(&err, ERR_STORE, "caf\xe9 \033[31mred");
    answer_error(&answer, 503, &err);
    cleanup_json json_t *json = json_loads(buf_str(&answer.body), 0, NULL);
    const json_t *error = json_object_get(json, "error");
    assert_int_equal(answer.status, 503);
    assert_string_equal(json_text(error, "code"), error_code_name(ERR_STORE));
    assert_string_equal(json_text(error, "message"), "caf\\xe9 \\x1b[31mred");
    answer_clear(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_told_whatever_its_text_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
