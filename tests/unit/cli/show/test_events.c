/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "store/batch.h"
#include "store/store.h"

struct fixture {
    char directory[32];
    struct cli cli;
};

static void add_event(
    struct fixture *fixture, const char *vm_name, const char *message, int64_t at_ms)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    store_batch_add_event(batch, vm_name, true, REASON_PROCESS_EXITED, message, at_ms);
    assert_int_equal(store_commit(fixture->cli.store, batch, &err), 0);
    store_batch_free(batch);
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    struct error err = {.code = ERR_NONE};
    (void)snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/test_events.XXXXXX");
    *state = fixture;
    return !mkdtemp(fixture->directory) ||
                   paths_init(&fixture->cli.paths, fixture->directory, &err) < 0
               ? -1
               : cli_open_store(&fixture->cli, &err);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct error ignored = {.code = ERR_NONE};
    store_close(fixture->cli.store);
    (void)fs_remove_tree(fixture->directory, &ignored);
    paths_clear(&fixture->cli.paths);
    free(fixture);
    return 0;
}

/* What `vmctl events` prints. free() it. */
static char *run_events(struct fixture *fixture)
{
    struct buf printed = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    cleanup_free void *values = mem_calloc(1, command_events.values_size);
    cleanup_free char *path = mem_printf("%s/stdout", fixture->directory);
    cleanup_close int stdout_before = dup(STDOUT_FILENO);
    (void)fflush(stdout);
    assert_non_null(freopen(path, "w", stdout));
    int rc = command_events.run(&fixture->cli, values, &(struct arg_strings){.count = 0}, &err);
    (void)fflush(stdout);
    (void)dup2(stdout_before, STDOUT_FILENO);
    assert_int_equal(rc, 0);
    assert_int_equal(fs_read_file(path, &printed, &err), 0);
    return buf_steal(&printed);
}

static void a_message_never_reaches_the_terminal_as_it_is(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf lines = BUF_INIT(0);
    add_event(fixture, "web", "died: \033]0;owned\a\033[2J\nsecond line", 1000);
    cleanup_free char *rows = run_events(fixture);
    assert_null(strchr(rows, '\033'));
    assert_null(strchr(rows, '\a'));
    assert_non_null(strstr(rows, "died: \\x1b]0;owned\\x07\\x1b[2J\n"));
    assert_null(strstr(rows, "second line"));
    assert_int_equal(events_list(&fixture->cli, "web", 5, NULL, false, &lines, &err), 0);
    assert_null(strchr(buf_str(&lines), '\033'));
}

static void what_happened_again_is_told_with_how_often(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf lines = BUF_INIT(0);
    for (int i = 0; i < 3; i++) {
        add_event(fixture, "web", "died", 1000);
    }
    assert_int_equal(events_list(&fixture->cli, "web", 5, NULL, false, &lines, &err), 0);
    assert_non_null(strstr(buf_str(&lines), "died (3 times)\n"));
    add_event(fixture, "web", "died in another way", 1000);
    buf_clear(&lines);
    assert_int_equal(events_list(&fixture->cli, "web", 5, NULL, false, &lines, &err), 0);
    assert_non_null(strstr(buf_str(&lines), "died in another way\n"));
}

static void an_event_cut_within_a_character_is_still_json(void **state)
{
    (void)state;
    char name[] = "web", message[] = "gr\xc3";
    struct vm_event event = {.vm_name = name, .message = message, .count = 2, .sequence = 7};
    cleanup_json json_t *json = event_to_json(&event);
    assert_string_equal(json_text(json, "message"), "gr\\xc3");
    assert_string_equal(json_text(json, "type"), "Normal");
    event.is_warning = true;
    cleanup_json json_t *warning = event_to_json(&event);
    assert_string_equal(json_text(warning, "type"), "Warning");
    assert_int_equal(json_int(json, "count", 0), 2);
    assert_int_equal(json_int(json, "sequence", 0), 7);
}

static void the_last_ten_are_told_as_objects(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *array = json_array();
    for (int i = 0; i < 12; i++) {
        cleanup_free char *message = mem_printf("event %d", i);
        add_event(fixture, i == 11 ? "db" : "web", message, 1000 + i);
    }
    assert_int_equal(events_add_json(&fixture->cli, "web", array, &err), 0);
    assert_int_equal(json_array_size(array), 10);
    assert_string_equal(json_text(json_array_get(array, 0), "message"), "event 1");
    assert_string_equal(json_text(json_array_get(array, 9), "message"), "event 10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_message_never_reaches_the_terminal_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_happened_again_is_told_with_how_often, set_up, tear_down),
        cmocka_unit_test(an_event_cut_within_a_character_is_still_json),
        cmocka_unit_test_setup_teardown(the_last_ten_are_told_as_objects, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
