/* SPDX-License-Identifier: MPL-2.0 */
/* Answers as cloud-init 22.4 (Debian 12) and 24.1 left them in /run/cloud-init/status.json. */
#include "reconcilers/guest/cloud_init_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

#define STAGES_22                                                                                  \
    "\"init\": {\"errors\": [], \"finished\": 12.5, \"start\": 10.0}, "                            \
    "\"init-local\": {\"errors\": [], \"finished\": 9.5, \"start\": 9.0}, "

static const struct {
    const char *when;
    const char *answer;
    enum cloud_init_state state;
    const char *message;
} expected[] = {
    {"nothing was printed", "", CLOUD_INIT_ABSENT, NULL},
    {"the shell complained", "sh: not found\n", CLOUD_INIT_ABSENT, NULL},
    {"it is not installed", "absent\n", CLOUD_INIT_ABSENT, NULL},
    {"the word is only the beginning of another", "end\n", CLOUD_INIT_ABSENT, NULL},
    {"the generator turned it off", "disabled\n", CLOUD_INIT_DISABLED, NULL},
    {"no stage has begun", "running\n", CLOUD_INIT_RUNNING, NULL},
    {"a stage runs", "running\n{\"v1\": {" STAGES_22 "\"stage\": \"modules-config\"}}",
        CLOUD_INIT_RUNNING, "modules-config"},
    {"between two stages", "running\n{\"v1\": {" STAGES_22 "\"stage\": null}}", CLOUD_INIT_RUNNING,
        NULL},
    {"it ended well",
        "ended\n{\"v1\": {\"datasource\": \"DataSourceNoCloud [seed=/dev/sr0]\", " STAGES_22
        "\"stage\": null}}",
        CLOUD_INIT_DONE, NULL},
    {"it ended, and its file cannot be read", "ended\n", CLOUD_INIT_DONE, NULL},
    {"it ended, and its file is cut off", "ended\n{\"v1\": {\"init\"", CLOUD_INIT_DONE, NULL},
    {"a module failed",
        "ended\n{\"v1\": {\"init\": {\"errors\": [\"('users-groups', ProcessExecutionError("
        "\\\"Unexpected error\\n  while running\\\"))\"]}, \"stage\": null}}",
        CLOUD_INIT_FAILED,
        "('users-groups', ProcessExecutionError(\"Unexpected error while running\"))"},
    {"two modules failed",
        "ended\n{\"v1\": {\"init\": {\"errors\": [\"one\"]}, "
        "\"modules-final\": {\"errors\": [\"two\"]}}}",
        CLOUD_INIT_FAILED, "one; two"},
    {"it warned",
        "ended\n{\"v1\": {\"init\": {\"errors\": [], \"recoverable_errors\": {\"WARNING\": "
        "[\"Getting data failed\"], \"DEPRECATED\": [\"apt_update is old\"]}}}}",
        CLOUD_INIT_DEGRADED, "Getting data failed; apt_update is old"},
    {"it warned and failed",
        "ended\n{\"v1\": {\"init\": {\"errors\": [\"one\"], \"recoverable_errors\": "
        "{\"WARNING\": [\"two\"]}}}}",
        CLOUD_INIT_FAILED, "one"},
    {"what is there has other types",
        "ended\n{\"v1\": {\"init\": {\"errors\": \"one\", \"recoverable_errors\": [1]}}}",
        CLOUD_INIT_DONE, NULL},
    {"its last stage died", "broken\n{\"v1\": {" STAGES_22 "\"stage\": \"modules-final\"}}",
        CLOUD_INIT_FAILED, "its last stage ended without a result (systemctl status cloud-final)"},
    {"its last stage died, after an error", "broken\n{\"v1\": {\"init\": {\"errors\": [\"one\"]}}}",
        CLOUD_INIT_FAILED, "one"},
};

static void each_answer_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct cloud_init_report report;
        cloud_init_report_read(expected[i].answer, strlen(expected[i].answer), &report);
        if (report.state != expected[i].state || !text_eq(report.message, expected[i].message)) {
            fail_msg("%s: %s, '%s'", expected[i].when, cloud_init_state_name(report.state),
                report.message ? report.message : "(none)");
        }
        free(report.message);
    }
}

static void a_long_list_of_errors_is_cut(void **state)
{
    (void)state;
    cleanup_buf struct buf answer = BUF_INIT(0);
    struct cloud_init_report report;
    buf_add_str(&answer, "ended\n{\"v1\": {\"init\": {\"errors\": [\"first");
    for (int i = 0; i < 2000; i++) {
        buf_add_str(&answer, " word");
    }
    buf_add_str(&answer, "\"]}}}");
    cloud_init_report_read(buf_str(&answer), answer.len, &report);
    assert_int_equal(report.state, CLOUD_INIT_FAILED);
    assert_int_equal(strncmp(report.message, "first word", 10), 0);
    assert_true(strlen(report.message) < 700);
    free(report.message);
}

/* The question is asked of a real shell; this host has no cloud-init that runs. */
static void the_question_is_understood_by_a_shell(void **state)
{
    (void)state;
    cleanup_buf struct buf command = BUF_INIT(0);
    buf_printf(&command, "sh -c '%s'", cloud_init_query);
    assert_null(strchr(cloud_init_query, '\''));
    FILE *pipe = popen(buf_str(&command), "r");
    assert_non_null(pipe);
    char line[64] = "";
    assert_non_null(fgets(line, sizeof(line), pipe));
    assert_int_equal(pclose(pipe), 0);
    static const char *const words[] = {"absent\n", "disabled\n", "ended\n", "running\n"};
    bool is_word = false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        is_word = is_word || text_eq(line, words[i]);
    }
    assert_true(is_word);
}

/* The question as it is, but of another directory: in the test's own process group of a shell. */
static int ask_about(const char *dir, const char *then)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    static const char run_dir[] = "/run/cloud-init";
    const char *rest = cloud_init_query;
    buf_printf(
        &command, "mkdir -p %s; touch %s/status.json; { %s; } & exec sh -c '", dir, dir, then);
    for (const char *end; (end = strstr(rest, run_dir)); rest = end + strlen(run_dir)) {
        buf_add(&command, rest, (size_t)(end - rest));
        buf_add_str(&command, dir);
    }
    buf_printf(&command, "%s' sh 100 | grep -q '^ended$'", rest);
    return system(buf_str(&command));
}

/* It asks for ten seconds in all; the end comes after a moment. */
static void the_end_is_waited_for_in_the_guest(void **state)
{
    (void)state;
    char dir[] = "/tmp/vmctl-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    cleanup_free char *run = mem_printf("%s/run", dir);
    cleanup_free char *then = mem_printf("sleep 0.2; touch %s/result.json", run);
    assert_int_equal(ask_about(run, then), 0);
    cleanup_free char *remove = mem_printf("rm -r %s", dir);
    assert_int_equal(system(remove), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_answer_is_read),
        cmocka_unit_test(a_long_list_of_errors_is_cut),
        cmocka_unit_test(the_question_is_understood_by_a_shell),
        cmocka_unit_test(the_end_is_waited_for_in_the_guest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
