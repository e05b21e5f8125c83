/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The JSON of every record: byte for byte as the files in records/ have it, and read back to the
 * same values. A change of such a file is a change of the store's format: old stores must still be
 * read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/image/image_request.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/source_record.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/record_json.h"

/* ---- the files ---- */

static char *path_of(const char *name)
{
    return mem_printf(VMCTL_SOURCE_DIR "/tests/unit/specs/vm/records/%s.json", name);
}

static json_t *record_file(const char *name)
{
    cleanup_free char *path = path_of(name);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    return json;
}

/* Indented, and with the keys in the order in which they were put: what `get -o json` prints. */
static void assert_is_file(const json_t *json, const char *name)
{
    cleanup_json json_t *expected = record_file(name);
    cleanup_free char *text = json_dumps(json, JSON_INDENT(2));
    cleanup_free char *expected_text = json_dumps(expected, JSON_INDENT(2));
    assert_string_equal(text, expected_text);
}

/* ---- spec ---- */

static void add_forward(struct vm_spec *spec, struct spec_forward forward)
{
    mem_grow(spec->network.forwards, spec->network.n_forwards);
    spec->network.forwards[spec->network.n_forwards++] = forward;
}

static void add_step(struct vm_spec *spec, struct spec_step step)
{
    mem_grow(spec->steps, spec->n_steps);
    spec->steps[spec->n_steps++] = step;
}

static void add_probe(struct spec_check *check, struct spec_probe probe)
{
    mem_grow(check->probes, check->n_probes);
    check->probes[check->n_probes++] = probe;
}

static void add_dependency(struct vm_spec *spec, const char *name)
{
    mem_grow(spec->depends_on, spec->n_depends_on);
    spec->depends_on[spec->n_depends_on++] = mem_strdup(name);
}

static void fill_blocks(struct vm_spec *spec)
{
    spec->image = (struct spec_image){
        .kind = IMAGE_URL, .location = mem_strdup("https://x/i.qcow2"), .sha256 = mem_strdup("5a")};
    spec->network.mode = NETWORK_TAP;
    spec->network.bridge = mem_strdup("br1");
    spec->network.vnic = mem_strdup("vnic0");
    spec->cloud_init.is_set = true;
    spec->cloud_init.hostname = mem_strdup("h\xc3\xb6st");
    spec->cloud_init.ssh_key = (struct spec_file){.path = mem_strdup("/k.pub"), .digest = "aa"};
    spec->cloud_init.user_data = (struct spec_file){.path = mem_strdup("/u"), .digest = "bb"};
    spec->cloud_init.bus = SEED_IDE;
    spec->cloud_init.on_error = SETUP_WARN;
    spec->ssh.is_set = true;
    free(spec->ssh.user);
    spec->ssh.user = mem_strdup("me");
    spec->ssh.private_key = mem_strdup("/k");
}

/* In an order that is not the one in which JSON has them, where there is such a one. */
static void fill_lists(struct vm_spec *spec)
{
    add_forward(spec, (struct spec_forward){FORWARD_UDP, 5353, 53, ""});
    add_forward(spec, (struct spec_forward){FORWARD_TCP, 8080, 80, ""});
    add_forward(spec, (struct spec_forward){FORWARD_TCP, 65535, 65534, "192.168.1.5"});
    add_step(spec, (struct spec_step){.kind = STEP_INLINE,
                       .command = mem_strdup("true\n\"x\""),
                       .run = RUN_ONCE,
                       .timeout_s = 5});
    add_step(spec, (struct spec_step){
                       .kind = STEP_SCRIPT, .file = {.path = mem_strdup("/s"), .digest = "dd"}});
    add_step(spec, (struct spec_step){.kind = STEP_FILE,
                       .file = {.path = mem_strdup("/f")},
                       .destination = mem_strdup("/d"),
                       .run = RUN_ON_CHANGE});
    add_probe(&spec->checks[CHECK_READY], (struct spec_probe){.kind = PROBE_TCP, .port = 80});
    add_probe(&spec->checks[CHECK_READY],
        (struct spec_probe){.kind = PROBE_HTTP, .port = 81, .text = mem_strdup("/z")});
    add_probe(&spec->checks[CHECK_READY],
        (struct spec_probe){.kind = PROBE_EXEC, .text = mem_strdup("c")});
    add_probe(&spec->checks[CHECK_LIVE], (struct spec_probe){.kind = PROBE_TCP, .port = 22});
    add_dependency(spec, "db");
    add_dependency(spec, "cache");
}

/* No field has the value it has in a new spec. */
static struct vm_spec *a_full_spec(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->backend = BACKEND_NOOP;
    spec->vcpus = 4;
    spec->memory_mib = UINT32_MAX;
    spec->max_vcpus = 8;
    spec->max_memory_mib = 4096;
    spec->disk_gib = 20;
    spec->accel = ACCEL_TCG;
    spec->firmware = FIRMWARE_UEFI;
    spec->restart = RESTART_NEVER;
    spec->stop_timeout_s = 7;
    fill_blocks(spec);
    fill_lists(spec);
    spec->checks[CHECK_READY].period_s = 11;
    spec->checks[CHECK_READY].timeout_s = 12;
    spec->checks[CHECK_READY].failures = 13;
    spec->checks[CHECK_LIVE].period_s = 14;
    spec->checks[CHECK_LIVE].timeout_s = 15;
    spec->checks[CHECK_LIVE].failures = 16;
    spec->checks[CHECK_LIVE].start_period_s = 17;
    return spec;
}

static void assert_text(const char *a, const char *b)
{
    assert_true((a == NULL) == (b == NULL));
    if (a) {
        assert_string_equal(a, b);
    }
}

static void assert_file(const struct spec_file *a, const struct spec_file *b)
{
    assert_text(a->path, b->path);
    assert_string_equal(a->digest, b->digest);
}

static void assert_steps(const struct vm_spec *a, const struct vm_spec *b)
{
    assert_int_equal(a->n_steps, b->n_steps);
    for (size_t i = 0; i < a->n_steps; i++) {
        assert_int_equal(a->steps[i].kind, b->steps[i].kind);
        assert_text(a->steps[i].command, b->steps[i].command);
        assert_file(&a->steps[i].file, &b->steps[i].file);
        assert_text(a->steps[i].destination, b->steps[i].destination);
        assert_int_equal(a->steps[i].run, b->steps[i].run);
        assert_int_equal(a->steps[i].timeout_s, b->steps[i].timeout_s);
    }
}

static void assert_check(const struct spec_check *a, const struct spec_check *b)
{
    assert_int_equal(a->n_probes, b->n_probes);
    for (size_t i = 0; i < a->n_probes; i++) {
        assert_int_equal(a->probes[i].kind, b->probes[i].kind);
        assert_int_equal(a->probes[i].port, b->probes[i].port);
        assert_text(a->probes[i].text, b->probes[i].text);
    }
    assert_int_equal(a->period_s, b->period_s);
    assert_int_equal(a->timeout_s, b->timeout_s);
    assert_int_equal(a->failures, b->failures);
    assert_int_equal(a->start_period_s, b->start_period_s);
}

static void assert_network(const struct vm_spec *a, const struct vm_spec *b)
{
    assert_int_equal(a->network.mode, b->network.mode);
    assert_text(a->network.bridge, b->network.bridge);
    assert_text(a->network.vnic, b->network.vnic);
    assert_text(a->network.address, b->network.address);
    assert_text(a->propolis_server, b->propolis_server);
    assert_int_equal(a->network.n_forwards, b->network.n_forwards);
    for (size_t i = 0; i < a->network.n_forwards; i++) {
        assert_int_equal(a->network.forwards[i].protocol, b->network.forwards[i].protocol);
        assert_int_equal(a->network.forwards[i].host_port, b->network.forwards[i].host_port);
        assert_int_equal(a->network.forwards[i].guest_port, b->network.forwards[i].guest_port);
    }
}

static void assert_scalars(const struct vm_spec *a, const struct vm_spec *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->backend, b->backend);
    assert_int_equal(a->vcpus, b->vcpus);
    assert_int_equal(a->memory_mib, b->memory_mib);
    assert_int_equal(a->max_vcpus, b->max_vcpus);
    assert_int_equal(a->max_memory_mib, b->max_memory_mib);
    assert_int_equal(a->disk_gib, b->disk_gib);
    assert_int_equal(a->accel, b->accel);
    assert_int_equal(a->firmware, b->firmware);
    assert_int_equal(a->restart, b->restart);
    assert_int_equal(a->stop_timeout_s, b->stop_timeout_s);
}

static void assert_blocks(const struct vm_spec *a, const struct vm_spec *b)
{
    assert_int_equal(a->image.kind, b->image.kind);
    assert_text(a->image.location, b->image.location);
    assert_text(a->image.sha256, b->image.sha256);
    assert_int_equal(a->cloud_init.is_set, b->cloud_init.is_set);
    assert_text(a->cloud_init.hostname, b->cloud_init.hostname);
    assert_file(&a->cloud_init.ssh_key, &b->cloud_init.ssh_key);
    assert_file(&a->cloud_init.user_data, &b->cloud_init.user_data);
    assert_int_equal(a->cloud_init.bus, b->cloud_init.bus);
    assert_int_equal(a->cloud_init.on_error, b->cloud_init.on_error);
    assert_int_equal(a->ssh.is_set, b->ssh.is_set);
    assert_text(a->ssh.user, b->ssh.user);
    assert_text(a->ssh.private_key, b->ssh.private_key);
}

/* By hand, so that it does not depend on what it is to test. */
static void assert_specs(const struct vm_spec *a, const struct vm_spec *b)
{
    assert_scalars(a, b);
    assert_blocks(a, b);
    assert_network(a, b);
    assert_steps(a, b);
    assert_check(&a->checks[CHECK_READY], &b->checks[CHECK_READY]);
    assert_check(&a->checks[CHECK_LIVE], &b->checks[CHECK_LIVE]);
    assert_int_equal(a->n_depends_on, b->n_depends_on);
    for (size_t i = 0; i < a->n_depends_on; i++) {
        assert_string_equal(a->depends_on[i], b->depends_on[i]);
    }
}

static struct vm_spec *read_spec(const char *name)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = record_file(name);
    struct vm_spec *spec = vm_spec_from_json(json, &err);
    assert_non_null(spec);
    return spec;
}

/* JSON has what is a set in one order; here the struct is brought into it. */
static void sort_sets(struct vm_spec *spec)
{
    struct spec_forward *forwards = spec->network.forwards;
    forwards[0] = (struct spec_forward){FORWARD_TCP, 65535, 65534, "192.168.1.5"};
    forwards[1] = (struct spec_forward){FORWARD_UDP, 5353, 53, ""};
    forwards[2] = (struct spec_forward){FORWARD_TCP, 8080, 80, ""};
    struct spec_probe *probes = spec->checks[CHECK_READY].probes;
    struct spec_probe tcp = probes[0];
    probes[0] = probes[2];
    probes[2] = tcp;
    char *db = spec->depends_on[0];
    spec->depends_on[0] = spec->depends_on[1];
    spec->depends_on[1] = db;
}

static void a_full_spec_is_written_and_read_as_ever(void **state)
{
    (void)state;
    struct vm_spec *spec = a_full_spec();
    cleanup_json json_t *json = vm_spec_to_json(spec);
    assert_is_file(json, "spec-full");
    struct vm_spec *read = read_spec("spec-full");
    struct vm_spec *copy = vm_spec_copy(read);
    sort_sets(spec);
    assert_specs(spec, read);
    assert_specs(spec, copy);
    vm_spec_free(spec);
    vm_spec_free(read);
    vm_spec_free(copy);
}

static void a_new_spec_is_written_and_read_as_ever(void **state)
{
    (void)state;
    struct vm_spec *spec = vm_spec_new("a");
    cleanup_json json_t *json = vm_spec_to_json(spec);
    assert_is_file(json, "spec-new");
    struct vm_spec *read = read_spec("spec-new");
    assert_specs(spec, read);
    vm_spec_free(spec);
    vm_spec_free(read);
}

/* What is younger than the other members is not written as long as it has its default. */
static void forget_younger(struct vm_spec *spec)
{
    spec->cloud_init.on_error = SETUP_FAIL;
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        spec->network.forwards[i].address[0] = '\0';
    }
}

static void the_digest_of_a_spec_is_as_ever(void **state)
{
    (void)state;
    char digest[DIGEST_SIZE];
    struct vm_spec *spec = a_full_spec();
    vm_spec_digest(spec, digest);
    assert_string_equal(digest, "3556f17c0f5ee360cf30cd9ba0cdc6bf773d3446fa75d249d784de2bc356fb98");
    forget_younger(spec);
    vm_spec_digest(spec, digest);
    assert_string_equal(digest, "7bfeefd773c9da18ea4e60dd3d15e6658639dfcb18088e5ff669d4bdfa20038b");
    vm_spec_free(spec);
    spec = vm_spec_new("a");
    vm_spec_digest(spec, digest);
    assert_string_equal(digest, "cabdee190880c0617ff2e8c33c4e57bfce541ead14cdab4a4da15c3ef630787a");
    vm_spec_free(spec);
}

/* ---- status ---- */

static void fill_instance(struct vm_status *status)
{
    status->instance = (struct vm_instance){.instance_id = "iid-1",
        .intent = INTENT_STOP,
        .boot_id = "boot-1",
        .pid = 4711,
        .start_ticks = INT64_MAX,
        .started_at_ms = 11,
        .start_deadline_ms = 12,
        .stop_deadline_ms = 13,
        .cause = EXIT_GUEST_PANIC,
        .accel = mem_strdup("kvm")};
    status->restart = (struct vm_restart){.count = 3,
        .last_failed_instance_id = "iid-0",
        .not_before_ms = 14,
        .last_cause = EXIT_PROCESS_DIED,
        .last_exit_status = 139,
        .last_message = mem_strdup("boom"),
        .held_generation = 2};
    status->prepared = (struct vm_prepared){
        .digest = "pd", .image_path = mem_strdup("/i.qcow2"), .image_id = "id", .disk_gib = 20};
}

static void fill_provision(struct vm_status *status)
{
    status->provision = (struct vm_provision){.digest = "sd",
        .next_step = 1,
        .ran_digest = "rd",
        .total = 3,
        .last_exit_status = 2,
        .token = "t-1",
        .is_failed = true,
        .done = mem_strdup(" once:ab "),
        .asked_step = 2,
        .run = {.instance_id = "iid-1", .tries = 1, .started_at_ms = 15, .log_begin = 16}};
    struct vm_step_record record = {.content = "0011",
        .outcome = STEP_FAILED,
        .exit_status = 2,
        .ended_at_ms = 17,
        .duration_ms = 18};
    vm_provision_record(&status->provision, 1, &record); /* 0 was not run */
    status->probing = (struct vm_probing){.is_passed = true,
        .failure = mem_strdup("tcp 80: refused"),
        .unready_since_ms = 19,
        .live = {.has_passed = true, .failures = 20, .due_ms = 21, .failure = mem_strdup("exec")}};
}

/* No field has the value it has in a new status; all conditions but one are there. */
static struct vm_status *a_full_status(void)
{
    struct vm_status *status = vm_status_new("0123456789abcdef0123456789abcdef");
    strcpy(status->observer, "session-1");
    status->observed_generation = 5;
    status->applied_generation = 4;
    strcpy(status->handled_restart_token, "r");
    strcpy(status->handled_recreate_token, "c");
    strcpy(status->handled_provision_token, "p");
    for (int i = 1; i <= CONDITION_ORPHANED; i++) { /* Warm is younger */
        vm_status_set(status, (enum condition_type)i, (enum condition_state)(1 + i % 3),
            REASON_STEP_FAILED, i % 2 ? "why" : NULL, 1000 + i);
    }
    fill_instance(status);
    fill_provision(status);
    status->blocker = (struct vm_blocker){.code = mem_strdup("vmctl::ssh::timeout"),
        .message = mem_strdup("no answer"),
        .help = mem_strdup("see the log")};
    struct vm_spec *spec = a_full_spec();
    sort_sets(spec);
    vm_status_take_applied_spec(status, spec);
    status->was_reached = true;
    status->cloud_init = (struct vm_cloud_init){
        .state = CLOUD_INIT_FAILED, .message = mem_strdup("scripts_user failed")};
    status->ssh_host = mem_strdup("127.0.0.1");
    status->ssh_port = 10022;
    status->mac = mem_strdup("52:54:00:00:00:01");
    status->vnc = mem_strdup("127.0.0.1:5900");
    return status;
}

static void assert_status_is(struct vm_status *status_take, const char *name)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = vm_status_to_json(status_take);
    assert_is_file(json, name);
    cleanup_json json_t *stored = record_file(name);
    struct vm_status *read = vm_status_from_json(stored, &err);
    assert_non_null(read);
    assert_true(vm_status_equal(status_take, read));
    struct vm_status *copy = vm_status_copy(read);
    vm_status_free(read);
    assert_true(vm_status_equal(status_take, copy));
    vm_status_free(copy);
    vm_status_free(status_take);
}

static void a_status_is_written_and_read_as_ever(void **state)
{
    (void)state;
    assert_status_is(a_full_status(), "status-full");
    assert_status_is(vm_status_new("u"), "status-new");
}

/* Such a record was written by a vmctl that did not wait for cloud-init: a guest that it reached
 * counts as set up, so that an upgrade neither waits again nor turns a Ready VM unready. */
static void a_status_of_before_cloud_init_is_read(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *stored = record_file("status-before-cloud-init");
    struct vm_status *read = vm_status_from_json(stored, &err);
    struct vm_status *expected = a_full_status();
    assert_non_null(read);
    assert_int_equal(read->cloud_init.state, CLOUD_INIT_DONE);
    assert_null(read->cloud_init.message);
    assert_int_equal(read->conditions[CONDITION_CLOUD_INIT_DONE].state, CONDITION_ABSENT);
    assert_string_equal(read->ssh_host, expected->ssh_host);
    assert_string_equal(read->provision.done, expected->provision.done);
    struct vm_spec *older = vm_spec_copy(expected->applied_spec);
    forget_younger(older);
    assert_true(vm_spec_equal(read->applied_spec, older));
    vm_spec_free(older);
    vm_status_free(expected);
    vm_status_free(read);
}

static void the_spec_in_a_status_is_read_as_ever(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *stored = record_file("status-full");
    struct vm_status *read = vm_status_from_json(stored, &err);
    assert_non_null(read);
    struct vm_spec *spec = read_spec("spec-full");
    assert_non_null(read->applied_spec);
    assert_specs(read->applied_spec, spec);
    vm_spec_free(spec);
    vm_status_free(read);
}

/* ---- desired ---- */

static struct vm_desired *a_full_desired(void)
{
    struct vm_spec *spec = a_full_spec();
    sort_sets(spec);
    struct vm_desired *desired = vm_desired_new(spec, 1111);
    strcpy(desired->uid, "0123456789abcdef0123456789abcdef");
    desired->generation = 7;
    desired->revision = INT64_MAX;
    desired->power = POWER_SUSPENDED;
    desired->is_deleting = true;
    desired->wants_prepared = true;
    desired->stop_timeout_s = 12;
    strcpy(desired->restart_token, "restart-1");
    strcpy(desired->recreate_token, "recreate-2");
    strcpy(desired->provision_token, "provision-3");
    desired->provision_from = 2;
    strcpy(desired->skipped_steps, "skipped-4");
    desired->owner = UINT64_C(1) << 61;
    desired->source = mem_strdup("/home/u/VMFile.kdl");
    return desired;
}

static struct vm_desired *a_new_desired(void)
{
    struct vm_desired *desired = vm_desired_new(vm_spec_new("a"), 5);
    strcpy(desired->uid, "u");
    return desired;
}

static void assert_desired(const struct vm_desired *a, const struct vm_desired *b)
{
    assert_string_equal(a->uid, b->uid);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->revision, b->revision);
    assert_specs(a->spec, b->spec);
    assert_string_equal(a->spec_digest, b->spec_digest);
    assert_int_equal(a->power, b->power);
    assert_int_equal(a->is_deleting, b->is_deleting);
    assert_int_equal(a->wants_prepared, b->wants_prepared);
    assert_int_equal(a->stop_timeout_s, b->stop_timeout_s);
    assert_string_equal(a->restart_token, b->restart_token);
    assert_string_equal(a->recreate_token, b->recreate_token);
    assert_string_equal(a->provision_token, b->provision_token);
    assert_int_equal(a->provision_from, b->provision_from);
    assert_string_equal(a->skipped_steps, b->skipped_steps);
    assert_int_equal(a->owner, b->owner);
    assert_text(a->source, b->source);
    assert_int_equal(a->created_ms, b->created_ms);
}

static void assert_desired_is(struct vm_desired *desired_take, const char *name)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = vm_desired_to_json(desired_take);
    assert_is_file(json, name);
    cleanup_json json_t *stored = record_file(name);
    struct vm_desired *read = vm_desired_from_json(stored, &err);
    assert_non_null(read);
    struct vm_desired *copy = vm_desired_copy(read);
    assert_desired(desired_take, read);
    vm_desired_free(read);
    assert_desired(desired_take, copy);
    vm_desired_free(copy);
    vm_desired_free(desired_take);
}

static void a_desired_record_is_written_and_read_as_ever(void **state)
{
    (void)state;
    assert_desired_is(a_full_desired(), "desired-full");
    assert_desired_is(a_new_desired(), "desired-new");
}

/* ---- source ---- */

static struct source_record *a_full_source(void)
{
    struct source_record *record = source_record_new("/p/VMFile.kdl", 1700000000000);
    record->is_directory = true;
    record->directory = mem_strdup("/p");
    record->prune = SOURCE_PRUNE_STOP;
    record->starts_new = true;
    record->state = SOURCE_PARSE_FAILED;
    record->line = 3;
    record->column = 5;
    record->message = mem_strdup("unknown node `imge`");
    strcpy(record->applied_sha, "a");
    strcpy(record->applied_digest, "b");
    strcpy(record->failed_digest, "c");
    strcpy(record->pruned_digest, "d");
    record->applied_ms = 1700000000001;
    strings_add(&record->removed, "web");
    strings_add(&record->removed, "db");
    return record;
}

static void assert_source(const struct source_record *a, const struct source_record *b)
{
    assert_string_equal(a->path, b->path);
    assert_int_equal(a->is_directory, b->is_directory);
    assert_text(a->directory, b->directory);
    assert_int_equal(a->prune, b->prune);
    assert_int_equal(a->starts_new, b->starts_new);
    assert_int_equal(a->since_ms, b->since_ms);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->line, b->line);
    assert_int_equal(a->column, b->column);
    assert_text(a->message, b->message);
    assert_string_equal(a->applied_sha, b->applied_sha);
    assert_string_equal(a->applied_digest, b->applied_digest);
    assert_string_equal(a->failed_digest, b->failed_digest);
    assert_string_equal(a->pruned_digest, b->pruned_digest);
    assert_int_equal(a->applied_ms, b->applied_ms);
    assert_true(strings_equal(&a->removed, &b->removed));
}

static void assert_source_is(struct source_record *record_take, const char *name)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = source_record_to_json(record_take);
    assert_is_file(json, name);
    cleanup_json json_t *stored = record_file(name);
    struct source_record *read = source_record_from_json(stored, &err);
    assert_non_null(read);
    struct source_record *copy = source_record_copy(read);
    assert_source(record_take, read);
    assert_true(source_record_equal(record_take, read));
    source_record_free(read);
    assert_source(record_take, copy);
    source_record_free(copy);
    source_record_free(record_take);
}

static void a_source_record_is_written_and_read_as_ever(void **state)
{
    (void)state;
    assert_source_is(a_full_source(), "source-full");
    assert_source_is(source_record_new("/p/VMFile.kdl", 5), "source-new");
}

/* Each change of one field makes another record. */
static void a_change_of_any_field_of_a_source_is_seen(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    struct source_record *record = a_full_source();
    cleanup_json json_t *json = source_record_to_json(record);
    cleanup_json json_t *of_new = record_file("source-new");
    const char *key;
    json_t *value;
    size_t changed = 0;
    json_object_foreach(json, key, value)
    {
        cleanup_json json_t *other = json_copy(json);
        json_t *another = json_object_get(of_new, key);
        (void)json_object_set_new(
            other, key, strcmp(key, "path") == 0 ? json_string("/q") : json_incref(another));
        if (!another) {
            json_object_del(other, key);
        }
        struct source_record *read = source_record_from_json(other, &err);
        assert_false(source_record_equal(record, read));
        source_record_free(read);
        changed++;
    }
    assert_int_equal(changed, 16);
    source_record_free(record);
}

/* ---- image requests: no struct, their JSON is the record ---- */

static void a_failed_image_request_is_written_and_read_as_ever(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE}, read = {.code = ERR_NONE};
    cleanup_json json_t *wish = json_pack(
        "{s:s, s:s, s:b}", "verb", IMAGE_REQUEST_PULL, "url", "https://x/i", "refresh", 1);
    (void)error_set(&err, ERR_IMAGE_CHECKSUM, "its bytes are others");
    (void)error_help(&err, "check the sha256");
    image_request_fail(wish, &err);
    assert_is_file(wish, "image-request-failed");
    cleanup_json json_t *stored = record_file("image-request-failed");
    assert_true(image_request_is_answered(stored));
    assert_true(image_request_failure(stored, &read));
    assert_int_equal(read.code, ERR_IMAGE_CHECKSUM);
    assert_string_equal(read.message, err.message);
    assert_string_equal(read.help, err.help);
}

/* ---- every member ---- */

static json_t *merged(const json_t *items)
{
    json_t *all = json_object();
    for (size_t i = 0; i < json_array_size(items); i++) {
        (void)json_object_update(all, json_array_get(items, i));
    }
    return all;
}

/* The members of the table that the JSON has not; of lists, that no item has. */
static void add_missing(
    const struct fields *fields, const json_t *json, const char *path, struct buf *out)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->rows[i];
        const json_t *value = field->name ? json_object_get(json, field->name) : json;
        if (!field->name || !field->fields || field->fields == &fields_of_text || !value) {
            buf_printf(out, value ? "" : " %s%s", path, field->name);
            continue;
        }
        cleanup_free char *below = mem_printf("%s%s.", path, field->name);
        cleanup_json json_t *items = json_is_array(value) ? merged(value) : json_deep_copy(value);
        add_missing(field->fields, items, below, out);
    }
}

/* The member of a record that none of these files has is one whose form nobody keeps an eye on. */
static void every_member_is_written_and_read_as_ever(void **state)
{
    static const struct {
        const char *name;
        const struct fields *fields;
    } records[] = {{"spec-every", &vm_spec_fields}, {"desired-every", &vm_desired_fields},
        {"status-every", &vm_status_fields}, {"source-every", &source_record_fields}};
    struct error err = {.code = ERR_NONE};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        cleanup_buf struct buf missing = BUF_INIT(0);
        cleanup_json json_t *json = record_file(records[i].name);
        struct vm_spec *spec = i == 0 ? vm_spec_from_json(json, &err) : NULL;
        struct vm_desired *desired = i == 1 ? vm_desired_from_json(json, &err) : NULL;
        struct vm_status *status = i == 2 ? vm_status_from_json(json, &err) : NULL;
        struct source_record *source = i == 3 ? source_record_from_json(json, &err) : NULL;
        if (err.code != ERR_NONE) {
            fail_msg("%s: %s", records[i].name, err.message);
        }
        cleanup_json json_t *written = i == 0   ? vm_spec_to_json(spec)
                                       : i == 1 ? vm_desired_to_json(desired)
                                       : i == 2 ? vm_status_to_json(status)
                                                : source_record_to_json(source);
        cleanup_free char *text = json_dumps(written, JSON_INDENT(2) | JSON_SORT_KEYS);
        cleanup_free char *expected = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
        assert_string_equal(text, expected);
        add_missing(records[i].fields, written, "", &missing);
        assert_string_equal(buf_str(&missing), "");
        vm_spec_free(spec);
        vm_desired_free(desired);
        vm_status_free(status);
        source_record_free(source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_spec_is_written_and_read_as_ever),
        cmocka_unit_test(a_new_spec_is_written_and_read_as_ever),
        cmocka_unit_test(the_digest_of_a_spec_is_as_ever),
        cmocka_unit_test(a_status_is_written_and_read_as_ever),
        cmocka_unit_test(a_status_of_before_cloud_init_is_read),
        cmocka_unit_test(the_spec_in_a_status_is_read_as_ever),
        cmocka_unit_test(a_desired_record_is_written_and_read_as_ever),
        cmocka_unit_test(a_source_record_is_written_and_read_as_ever),
        cmocka_unit_test(a_change_of_any_field_of_a_source_is_seen),
        cmocka_unit_test(every_member_is_written_and_read_as_ever),
        cmocka_unit_test(a_failed_image_request_is_written_and_read_as_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
