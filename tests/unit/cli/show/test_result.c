/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/show/outcome.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/vmfile/vmfile.h"

static char old_text[] = "1024", new_text[] = "2048", path_text[] = "/old";

struct fixture {
    struct cli cli;
    struct spec_change changes[2];
    struct spec_diff diff; /* one change for a restart, one for a new disk */
};

static struct fixture fixture_of(enum output_format output)
{
    struct fixture fixture = {.cli.output = output,
        .changes = {{.field = "memory",
                        .before = old_text,
                        .after = new_text,
                        .disposition = DISPOSITION_RESTART},
            {.field = "image",
                .before = path_text,
                .after = path_text,
                .disposition = DISPOSITION_RECREATE}}};
    result_begin(&fixture.cli);
    return fixture;
}

/* What was answered, compact; the answer is closed. */
static void assert_answered(struct fixture *fixture, const char *expected)
{
    cleanup_free char *text = json_canonical(fixture->cli.answer);
    assert_string_equal(text, expected);
    json_decref(fixture->cli.answer);
    fixture->cli.answer = NULL;
}

static void text_has_no_answer(void **state)
{
    (void)state;
    struct fixture fixture = fixture_of(OUTPUT_TEXT);
    struct error err = {.code = ERR_NONE};
    assert_null(fixture.cli.answer);
    result_outcome(&fixture.cli, "web", &(struct change_outcome){.result = CHANGE_CREATED});
    result_set(&fixture.cli, "web", "planned");
    result_followed(&fixture.cli, "web", "ready", "done", &err);
    result_error(&fixture.cli, &err);
    result_forget_error(&fixture.cli);
    result_end(&fixture.cli, &err);
    assert_null(fixture.cli.answer);
}

static void an_outcome_reports_what_changed(void **state)
{
    (void)state;
    struct fixture fixture = fixture_of(OUTPUT_JSON);
    struct change_outcome outcome = {
        .result = CHANGE_CONFIGURED, .diff = {.changes = fixture.changes, .count = 1}};
    result_outcome(&fixture.cli, "web", &outcome);
    assert_answered(&fixture,
        "{\"vms\":[{\"changes\":[{\"disposition\":\"restart\",\"field\":\"memory\",\"new\":null,"
        "\"old\":null}],\"name\":\"web\",\"outcome\":\"configured\",\"result\":\"pending\"}]}");
}

static void only_what_nobody_asked_for_waits(void **state)
{
    (void)state;
    struct fixture fixture = fixture_of(OUTPUT_JSON);
    struct spec_diff pending = {.changes = fixture.changes, .count = 2};
    result_report(&fixture.cli, &(struct outcome_view){.name = "web", .pending = &pending}, false);
    assert_answered(&fixture,
        "{\"vms\":[{\"name\":\"web\",\"result\":\"pending\",\"waiting\":[{\"disposition\":"
        "\"recreate\",\"field\":\"image\",\"new\":null,\"old\":null}]}]}");
}

static void the_end_of_following_is_the_result(void **state)
{
    (void)state;
    struct fixture fixture = fixture_of(OUTPUT_YAML);
    struct error failure = {.code = ERR_NONE}, none = {.code = ERR_NONE};
    (void)error_set(&failure, ERR_PROVISION, "said \033[2J");
    (void)error_help(&failure, "look");
    result_followed(&fixture.cli, "web", "ready", "failed", &failure);
    result_followed(&fixture.cli, "db", "stopped", "done", &none);
    assert_answered(&fixture,
        "{\"vms\":[{\"error\":{\"code\":\"vmctl::provision::failed\",\"help\":\"look\","
        "\"message\":\"said \\\\x1b[2J\"},\"goal\":\"ready\",\"name\":\"web\","
        "\"result\":\"failed\"},{\"goal\":\"stopped\",\"name\":\"db\",\"result\":\"done\"}]}");
}

static void a_later_success_takes_the_error_back(void **state)
{
    (void)state;
    struct fixture fixture = fixture_of(OUTPUT_JSON);
    struct error err = {.code = ERR_NONE};
    (void)error_set(&err, ERR_TIMEOUT, "late");
    result_followed(&fixture.cli, "web", "deleted", "pending", &err);
    error_clear(&err);
    result_followed(&fixture.cli, "web", "deleted", "done", &err);
    assert_answered(
        &fixture, "{\"vms\":[{\"goal\":\"deleted\",\"name\":\"web\",\"result\":\"done\"}]}");
}

static void what_ended_the_command_stands_outside(void **state)
{
    (void)state;
    struct fixture fixture = fixture_of(OUTPUT_JSON);
    struct error err = {.code = ERR_NONE};
    (void)error_set(&err, ERR_VM_NOT_FOUND, "no vm");
    (void)error_help(&err, "look");
    result_error(&fixture.cli, &err);
    result_forget_error(&fixture.cli);
    result_error(&fixture.cli, &err);
    assert_answered(&fixture, "{\"error\":{\"code\":\"vmctl::vm::not_found\",\"help\":\"look\","
                              "\"message\":\"no vm\"},\"vms\":[]}");
}

static void an_invalid_file_reports_all_its_errors(void **state)
{
    (void)state;
    static const char text[] = "vm \"a\" { image \"/x\"; memry 1; }\nvm \"a\" { image \"/x\"; }\n";
    static const struct vmfile_env env = {.path = "f", .base_dir = "/", .home = "/"};
    struct fixture fixture = fixture_of(OUTPUT_JSON);
    struct vmfile *file = vmfile_parse(text, sizeof(text) - 1, &env);
    result_invalid_file(&fixture.cli, file);
    const json_t *err = json_object_get(fixture.cli.answer, "error");
    const json_t *all = json_object_get(err, "diagnostics");
    assert_string_equal(json_text(err, "code"), "vmctl::vmfile::validation");
    assert_true(json_array_size(all) >= 2);
    assert_int_equal(json_int(json_array_get(all, 0), "line", 0), 1);
    assert_int_equal(json_int(json_array_get(all, 0), "column", 0), 22);
    assert_string_equal(json_text(json_array_get(all, 0), "message"), json_text(err, "message"));
    json_decref(fixture.cli.answer);
    vmfile_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_no_answer),
        cmocka_unit_test(an_outcome_reports_what_changed),
        cmocka_unit_test(only_what_nobody_asked_for_waits),
        cmocka_unit_test(the_end_of_following_is_the_result),
        cmocka_unit_test(a_later_success_takes_the_error_back),
        cmocka_unit_test(what_ended_the_command_stands_outside),
        cmocka_unit_test(an_invalid_file_reports_all_its_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
