/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/source_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

static struct source_record *a_full_record(void)
{
    struct source_record *record = source_record_new("/p/VMFile.kdl", 1700000000000);
    record->directory = mem_strdup("/p");
    record->prune = SOURCE_PRUNE_STOP;
    record->starts_new = true;
    record->state = SOURCE_PARSE_FAILED;
    record->line = 3;
    record->column = 5;
    record->message = mem_strdup("unknown node `imge`");
    digest_text("a", record->applied_sha);
    digest_text("b", record->applied_digest);
    digest_text("c", record->failed_digest);
    digest_text("d", record->pruned_digest);
    record->applied_ms = 1700000000001;
    strings_add(&record->removed, "db");
    strings_add(&record->removed, "web");
    return record;
}

static void a_record_reads_back_as_it_was_written(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct source_record *record = a_full_record();
    cleanup_json json_t *json = source_record_to_json(record);
    struct source_record *again = source_record_from_json(json, &err);
    (void)state;
    assert_non_null(again);
    assert_true(source_record_equal(record, again));
    assert_string_equal(again->path, "/p/VMFile.kdl");
    assert_string_equal(again->directory, "/p");
    assert_int_equal(again->prune, SOURCE_PRUNE_STOP);
    assert_true(again->starts_new);
    assert_int_equal(again->state, SOURCE_PARSE_FAILED);
    assert_int_equal(again->line, 3);
    assert_int_equal(again->column, 5);
    assert_string_equal(again->message, "unknown node `imge`");
    assert_string_equal(again->failed_digest, record->failed_digest);
    assert_string_equal(again->pruned_digest, record->pruned_digest);
    assert_int_equal(again->applied_ms, 1700000000001);
    assert_true(strings_equal(&again->removed, &record->removed));
    source_record_free(record);
    source_record_free(again);
}

static void a_copy_is_equal_and_apart(void **state)
{
    struct source_record *record = a_full_record();
    struct source_record *copy = source_record_copy(record);
    (void)state;
    assert_true(source_record_equal(record, copy));
    strings_add(&copy->removed, "more");
    assert_false(source_record_equal(record, copy));
    assert_int_equal(record->removed.count, 2);
    source_record_free(record);
    source_record_free(copy);
}

static void what_a_newer_version_wrote_reads_as_the_default(void **state)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = json_object();
    (void)state;
    json_put_text(json, "path", "/p/VMFile.kdl");
    json_put_text(json, "state", "Dreaming");
    json_put_text(json, "prune", "sell");
    struct source_record *record = source_record_from_json(json, &err);
    assert_non_null(record);
    assert_int_equal(record->state, SOURCE_PENDING);
    assert_int_equal(record->prune, SOURCE_PRUNE_NOTHING);
    source_record_free(record);
}

static void a_record_without_an_absolute_path_is_none(void **state)
{
    static const char *const paths[] = {NULL, "", "VMFile.kdl"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct error err = {.code = ERR_NONE};
        cleanup_json json_t *json = json_object();
        json_put_text(json, "path", paths[i]);
        assert_null(source_record_from_json(json, &err));
        assert_int_equal(err.code, ERR_STORE);
    }
}

static void only_a_file_that_is_there_and_not_applied_is_failing(void **state)
{
    static const bool expected[SOURCE_STATE_COUNT_] = {
        [SOURCE_PARSE_FAILED] = true, [SOURCE_CONFLICT] = true, [SOURCE_REFUSED] = true};
    struct source_record *record = source_record_new("/p", 0);
    (void)state;
    for (int i = 0; i < SOURCE_STATE_COUNT_; i++) {
        record->state = (enum source_state)i;
        assert_int_equal(source_record_is_failing(record), expected[i]);
    }
    source_record_free(record);
}

static void an_explanation_has_the_place_if_there_is_one(void **state)
{
    struct source_record *record = a_full_record();
    cleanup_free char *with_place = source_record_explain(record);
    (void)state;
    assert_string_equal(with_place, "/p/VMFile.kdl:3:5: unknown node `imge`");
    record->line = record->column = 0;
    cleanup_free char *without = source_record_explain(record);
    assert_string_equal(without, "/p/VMFile.kdl: unknown node `imge`");
    source_record_free(record);
}

static void words_of_pruning_are_known_and_others_are_not(void **state)
{
    (void)state;
    assert_int_equal(enum_names_find(&source_prune_words, "stop"), SOURCE_PRUNE_STOP);
    assert_int_equal(enum_names_find(&source_prune_words, "destroy"), SOURCE_PRUNE_DESTROY);
    assert_int_equal(enum_names_find(&source_prune_words, "destroyed"), -1);
    assert_int_equal(enum_names_find(&source_prune_words, ""), -1);
    assert_string_equal(source_state_name(SOURCE_GONE), "Missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_reads_back_as_it_was_written),
        cmocka_unit_test(a_copy_is_equal_and_apart),
        cmocka_unit_test(what_a_newer_version_wrote_reads_as_the_default),
        cmocka_unit_test(a_record_without_an_absolute_path_is_none),
        cmocka_unit_test(only_a_file_that_is_there_and_not_applied_is_failing),
        cmocka_unit_test(an_explanation_has_the_place_if_there_is_one),
        cmocka_unit_test(words_of_pruning_are_known_and_others_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
