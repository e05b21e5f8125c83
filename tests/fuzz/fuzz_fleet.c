/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: what any user of etcd may have written, and requests to the fleet: a line with
 * a row's key, and the value. What is read holds what the headers promise. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controller/fleet/hold.h"
#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "controller/fleet/refused.h"
#include "controller/fleet/tombstone.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_files.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/fleet/fleet_sources.h"
#include "specs/fleet/fleet_spec.h"
#include "specs/fleet/fleet_summary.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/desired/change_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* A row that is one of ours is made of its parts. */
static void try_key(const char *row)
{
    struct fleet_key key = fleet_row_parse(row);
    if (key.kind == FLEET_KIND_OTHER) {
        check(!key.first && !key.second);
    } else {
        cleanup_free char *again = fleet_row(key.kind, key.first, key.second);
        check(text_eq(again, row));
    }
    fleet_key_clear(&key);
}

static void try_ask(const json_t *ask)
{
    const json_t *changes = json_object_get(ask, "changes"), *answers = fleet_ask_answers(ask);
    struct fleet_move move;
    if (fleet_ask_is_move(ask) && fleet_ask_read_move(ask, &move)) {
        check(move.name && (unsigned)move.verb < FLEET_MOVE_VERB_COUNT_);
    }
    (void)fleet_ask_is_republish(ask);
    for (size_t i = 0; i < json_array_size(changes); i++) {
        struct change_copy copy;
        struct error err = {.code = ERR_NONE};
        const json_t *change = json_object_get(json_array_get(changes, i), "change");
        int rc = change_from_json(change, &copy, &err);
        check(rc == 0 ? text_eq(copy.change.name, copy.name) : rc == -(int)err.code);
        change_copy_clear(&copy);
    }
    for (size_t i = 0; i < json_array_size(answers); i++) {
        struct error err = {.code = ERR_NONE};
        int rc = fleet_answer_error(json_array_get(answers, i), &err);
        check(rc == -(int)err.code);
    }
}

/* Files of the fleet come to lie below the data directory, nowhere else. */
static void try_spec(const struct vm_desired *desired)
{
    cleanup_free char *bond = fleet_spec_bond(desired);
    const char *host_path = fleet_spec_host_path(desired->spec);
    struct vm_spec *placed = vm_spec_copy(desired->spec);
    (void)host_path;
    fleet_files_place(placed, "/data");
    if (!fleet_spec_file(desired->spec)) {
        for (size_t i = 0; i < placed->n_steps; i++) {
            const char *path = placed->steps[i].file.path;
            check(!path ||
                  (text_starts_with(path, "/data/" FLEET_FILES_DIR "/") && !strstr(path, "/../")));
        }
        fleet_files_unplace(placed, "/data");
        check(vm_spec_equal(placed, desired->spec));
    }
    vm_spec_free(placed);
}

/* Whatever a row has, the summary that it gets is read as it was written. */
static void try_summary(const char *text, json_t *row)
{
    for (int i = 0; i < 2; i++) {
        enum fleet_kind kind = i ? FLEET_KIND_VM : FLEET_KIND_STATUS;
        struct fleet_summary read, made;
        (void)fleet_summary_read((struct bytes){text, strlen(text)}, &read);
        fleet_summary_of(kind, row, &made);
        fleet_summary_add(kind, row);
        cleanup_free char *record = json_canonical(row);
        if (fleet_summary_read((struct bytes){record, strlen(record)}, &read)) {
            check(read.has_desired == made.has_desired && read.has_status == made.has_status);
            check(read.desired.generation == made.desired.generation);
            check(read.status.display == made.status.display);
            check(text_eq(read.session, made.session) && text_eq(read.move_to, made.move_to));
        }
    }
}

/* As the messenger of node b does with its rows, without a store. */
static void try_row(const char *row, const char *text, const struct vm_desired *desired)
{
    struct fleet_config config = {.fleet = (char *)(uintptr_t) "home",
        .node = (char *)(uintptr_t) "b",
        .accept = (char *)(uintptr_t) "url"};
    struct member member = {.config = &config, .mirror = mirror_new(NULL, "/vmctl/1/home/")};
    struct error err = {.code = ERR_NONE};
    struct tombstone tombstone;
    mirror_note(member.mirror, row, text, 1);
    cleanup_free char *hold = hold_text(&member, "b", "other", NULL);
    check(hold != NULL);
    tombstone_find(&member, "web", desired, &tombstone);
    tombstone_clear(&tombstone);
    if (desired) {
        (void)hold_check(&member, "b", desired->spec, &err);
        error_clear(&err);
        (void)refused_foresee(&member, "b", desired, &err);
        error_clear(&err);
        (void)refused_check(&member, desired, &err);
        error_clear(&err);
    }
    (void)member_check_node(&member, "b", &err);
    mirror_free(member.mirror);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *input = mem_strndup(size ? (const char *)data : "", size);
    char *newline = strchr(input, '\n');
    const char *text = newline ? newline + 1 : "";
    struct error err = {.code = ERR_NONE};
    if (newline) {
        *newline = '\0';
    }
    cleanup_json json_t *json = json_loads(text, 0, NULL);
    struct vm_desired *desired = vm_desired_read((struct bytes){text, strlen(text)}, &err);
    error_clear(&err);
    struct vm_status *status = vm_status_read((struct bytes){text, strlen(text)}, &err);
    error_clear(&err);
    struct fleet_config *config = fleet_config_read(text, strlen(text), &err);
    try_key(input);
    if (json_is_object(json)) {
        try_ask(json);
        (void)fleet_sources_of_node(json);
        try_summary(text, json);
    }
    if (desired) {
        try_spec(desired);
    }
    try_row(input, text, desired);
    vm_desired_free(desired);
    vm_status_free(status);
    fleet_config_free(config);
    return 0;
}
