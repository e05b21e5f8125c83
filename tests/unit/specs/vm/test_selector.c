/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/selector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/vm/vm_spec.h"

/* tier=web, stage= */
static const struct spec_label labels[] = {
    {(char *)"tier", (char *)"web"}, {(char *)"stage", (char *)""}};
static const struct vm_spec spec = {
    .labels = (struct spec_label *)(uintptr_t)labels, .n_labels = ARRAY_LEN(labels)};

static bool matches(const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_with(selector_clear) struct selector selector = {.count = 0};
    if (selector_parse(text, &selector, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return selector_matches(&selector, &spec);
}

static void requirements_hold_as_those_of_kubectl(void **state)
{
    static const char *const hold[] = {"tier=web", "tier==web", " tier = web ", "tier", "!env",
        "env!=prod", "tier!=db", "tier in (db, web)", "tier in(web)", "tier notin (db)",
        "env notin (prod)", "stage", "stage=", "stage in (,a)", "tier=web,env!=prod,!x , stage",
        "stage=,tier=web"};
    static const char *const do_not[] = {"tier=db", "env", "!tier", "tier!=web", "env=prod",
        "tier in (db)", "tier notin (db,web)", "env in (prod)", "tier=web,env", "env,tier=web",
        "tier=", "stage!=", "Tier=web"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hold); i++) {
        if (!matches(hold[i])) {
            fail_msg("%s", hold[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(do_not); i++) {
        if (matches(do_not[i])) {
            fail_msg("%s", do_not[i]);
        }
    }
}

static void what_is_wrong_is_told_with_its_place(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "selector '', character 1: the key of a label expected"},
        {"tier=web,", "selector 'tier=web,', character 10: the key of a label expected"},
        {"a b", "selector 'a b', character 3: ',' or an operator expected"},
        {"a in b", "selector 'a in b', character 6: '(' expected"},
        {"a in (b", "selector 'a in (b', character 8: ',' or ')' expected"},
        {"a=-", "selector 'a=-', character 3: the value of a label expected"},
        {"a=b c", "selector 'a=b c', character 5: ',' or an operator expected"},
        {"!a=b", "selector '!a=b', character 3: ',' or an operator expected"},
        {"a>1", "selector 'a>1', character 2: ',' or an operator expected"},
        {"a=b=c", "selector 'a=b=c', character 4: ',' or an operator expected"},
        {"-a", "selector '-a', character 1: the key of a label expected"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {.code = ERR_NONE};
        struct selector selector = {.count = 0};
        assert_int_equal(selector_parse(cases[i].text, &selector, &err), -ERR_USAGE);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(selector.count, 0);
    }
}

static void without_requirements_all_match(void **state)
{
    (void)state;
    assert_true(selector_matches(&(struct selector){.count = 0}, &spec));
    assert_true(selector_matches(&(struct selector){.count = 0}, NULL));
    assert_false(selector_matches(
        &(struct selector){.items = &(struct requirement){.is_negated = true}, .count = 1}, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requirements_hold_as_those_of_kubectl),
        cmocka_unit_test(what_is_wrong_is_told_with_its_place),
        cmocka_unit_test(without_requirements_all_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
