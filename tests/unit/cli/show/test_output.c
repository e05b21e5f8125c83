/* SPDX-License-Identifier: MPL-2.0 */
/* A VM's JSON is the same text as that of the tree that it once was written from, and says its
 * times as texts, too. */
#include "cli/show/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "store/store.h"
#include "specs/vm/record_json.h"

static json_t *golden(const char *name)
{
    cleanup_free char *path =
        mem_printf(VMCTL_SOURCE_DIR "/tests/unit/specs/vm/records/%s.json", name);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    return json;
}

/* Those that are wall-clock times; deadlines of a boot are none. */
static void add_times(json_t *tree)
{
    static const char *const names[] = {
        "created", "ends", "startedAt", "endedAt", "notBefore", "lastTransition", "buildFailedAt"};
    const char *key;
    json_t *item;
    void *next;
    for (size_t i = 0; i < json_array_size(tree); i++) {
        add_times(json_array_get(tree, i));
    }
    json_object_foreach_safe(tree, next, key, item)
    {
        add_times(item);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (json_object_get(tree, names[i])) {
            json_put_time(tree, names[i], json_int(tree, names[i], 0));
        }
    }
}

static void assert_written(const struct vm_record *record, const char *state, const char *display)
{
    cleanup_json json_t *tree = json_object();
    json_put_text(tree, "name", record->name);
    json_put_text(tree, "state", state);
    json_put_text(tree, "display", display);
    json_put_flag(tree, "ready", false);
    json_put(tree, "desired", vm_desired_to_json(record->desired));
    json_put(tree, "status", vm_status_to_json(record->status));
    add_times(tree);
    for (int i = 0; i < 2; i++) {
        cleanup_buf struct buf text = BUF_INIT(0);
        struct json_writer writer = output_writer(&text, i == 0);
        output_write_vm(&writer, record);
        cleanup_free char *expected =
            json_dumps(tree, (i == 0 ? JSON_INDENT(2) : JSON_COMPACT) | JSON_SORT_KEYS);
        assert_string_equal(buf_str(&text), expected);
    }
    cleanup_json json_t *same = output_of_vm(record);
    assert_true(json_equal(same, tree));
}

static void the_json_of_a_vm_is_that_of_its_tree(void **state)
{
    static const char *const names[] = {"full", "new"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct error err = {.code = ERR_NONE};
        cleanup_free char *of_desired = mem_printf("desired-%s", names[i]);
        cleanup_free char *of_status = mem_printf("status-%s", names[i]);
        cleanup_json json_t *desired = golden(of_desired), *status = golden(of_status);
        struct vm_record record = {.name = mem_strdup("web"),
            .desired = vm_desired_from_json(desired, &err),
            .status = vm_status_from_json(status, &err)};
        struct desired_summary wanted;
        struct status_summary seen;
        desired_summary_of(record.desired, &wanted);
        status_summary_of(record.status, &seen);
        assert_false(seen.is_ready);
        assert_written(
            &record, vm_display_book_state(&wanted, &seen), vm_display_word(&wanted, &seen));
        vm_record_clear(&record);
    }
}

static void secrets_of_urls_are_left_out(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer writer = output_writer(&text, false);
    json_write_text(&writer, "https://user:s3cret@host/image");
    json_write_text(&writer, "see https://user:s3cret@host");
    assert_null(strstr(buf_str(&text), "user:s3cret@host/image"));
    assert_non_null(strstr(buf_str(&text), "see https://user:s3cret@host")); /* not a URL alone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_json_of_a_vm_is_that_of_its_tree),
        cmocka_unit_test(secrets_of_urls_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
