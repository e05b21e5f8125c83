/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/console_tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "store/store.h"

struct fixture {
    char dir[64];
    struct cli cli;
    struct vm_record record;
    struct console_tail tail;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct error err = {.code = ERR_NONE};
    strcpy(f->dir, "/tmp/vmctl-console-tail.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(paths_init(&f->cli.paths, f->dir, &err), 0);
    cleanup_free char *vm_dir = paths_vm(&f->cli.paths, "web", VM_DIR);
    assert_int_equal(fs_make_dirs(vm_dir, 0700, &err), 0);
    f->record.name = strdup("web");
    f->record.status = vm_status_new("web");
    vm_status_set(f->record.status, CONDITION_RUNNING, CONDITION_TRUE, REASON_RUNNING, NULL, 1);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error ignored = {.code = ERR_NONE};
    vm_record_clear(&f->record);
    paths_clear(&f->cli.paths);
    (void)fs_remove_tree(f->dir, &ignored);
    free(f);
    return 0;
}

static void see_instance(struct fixture *f, const char *id)
{
    (void)snprintf(f->record.status->instance.instance_id, TEXT_ID_SIZE, "%s", id);
    console_tail_note(&f->tail, &f->cli, &f->record);
}

static void write_log(struct fixture *f, const char *mode, const char *text)
{
    cleanup_free char *path = paths_vm(&f->cli.paths, "web", VM_CONSOLE_LOG);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_line(struct fixture *f, const char *expected)
{
    cleanup_free char *line = console_tail_line(&f->tail, &f->cli, &f->record);
    assert_string_equal(line ? line : "(none)", expected);
}

static void a_line_of_the_former_boot_is_not_shown(void **state)
{
    struct fixture *f = *state;
    write_log(f, "w", "reboot: Power down\n");
    see_instance(f, "a");
    assert_line(f, "reboot: Power down");
    see_instance(f, "");
    see_instance(f, "b");
    assert_line(f, "");
    write_log(f, "a", "Linux version 6.1\n");
    see_instance(f, "b");
    assert_line(f, "Linux version 6.1");
}

static void of_a_boot_that_ran_at_the_first_look_the_whole_log_counts(void **state)
{
    struct fixture *f = *state;
    write_log(f, "w", "login:\n");
    see_instance(f, "a");
    assert_line(f, "login:");
    f->record.status->instance.started_at_ms = INT64_MAX; /* nothing was written since */
    assert_line(f, "(none)");
}

static void a_log_that_was_begun_anew_is_of_this_boot(void **state)
{
    struct fixture *f = *state;
    see_instance(f, "a");
    write_log(f, "w", "a long line of the former boot\n");
    see_instance(f, "b");
    write_log(f, "w", "short\n");
    assert_line(f, "short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_of_the_former_boot_is_not_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            of_a_boot_that_ran_at_the_first_look_the_whole_log_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_log_that_was_begun_anew_is_of_this_boot, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
