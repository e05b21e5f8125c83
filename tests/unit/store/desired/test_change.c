/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/change.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "store/bell.h"
#include "tests/unit/store/desired/change_fixture.h"

#define SOURCE "/project/VMFile.kdl"

static struct vm_spec *a_spec(const char *name, uint32_t memory_mib)
{
    struct vm_spec *spec = vm_spec_new(name);
    spec->image.location = mem_strdup("/images/base.qcow2");
    spec->memory_mib = memory_mib;
    return spec;
}

static struct change up_change(const struct vm_spec *spec)
{
    return (struct change){.name = spec->name,
        .spec = spec,
        .source = SOURCE,
        .sets_power = true,
        .power = POWER_RUNNING,
        .provision = PROVISION_ON_START,
        .retries = true};
}

static struct error apply_failing(struct store *store, struct change change)
{
    struct change_outcome outcome = {0};
    struct error err = {0};
    int rc = change_apply(store, &change, 1, &outcome, &err);
    assert_int_not_equal(err.code, ERR_NONE);
    assert_int_equal(rc, -(int)err.code);
    return err;
}

static enum change_result up(struct store *store, const char *name, uint32_t memory_mib)
{
    struct vm_spec *spec = a_spec(name, memory_mib);
    enum change_result result = apply(store, up_change(spec));
    vm_spec_free(spec);
    return result;
}

static void stall(struct vm_status *status)
{
    vm_status_set(status, CONDITION_STALLED, CONDITION_TRUE, REASON_OVERLAY_FAILED, NULL, 1);
}
static void hold(struct vm_status *status)
{
    status->restart.held_generation = status->observed_generation;
}
static void fail_provision(struct vm_status *status)
{
    status->provision.is_failed = true;
}

static const struct change stop_web = {.name = "web", .sets_power = true, .power = POWER_STOPPED};
static const struct change start_web = {.name = "web", .sets_power = true, .power = POWER_RUNNING};
static const struct change delete_web = {.name = "web", .deletes = true};

/* ---- up ---- */

static void up_creates_a_running_vm_that_is_provisioned(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    assert_int_equal(up(store, "web", 1024), CHANGE_CREATED);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->generation, 1);
    assert_int_equal(record.desired->power, POWER_RUNNING);
    assert_string_equal(record.desired->source, SOURCE);
    assert_int_not_equal(record.desired->provision_token[0], '\0');
    vm_record_clear(&record);
}

static void up_on_a_running_unchanged_vm_changes_nothing(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up(store, "web", 1024);
    assert_int_equal(up(store, "web", 1024), CHANGE_UNCHANGED);
    assert_int_equal(generation_of(store, "web"), 1);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->revision, 1);
    vm_record_clear(&record);
}

static enum change_result up_knowing(struct store *store, const struct vm_record *known)
{
    struct vm_spec *spec = a_spec("web", 1024);
    struct change change = up_change(spec);
    change.known = known;
    enum change_result result = apply(store, change);
    vm_spec_free(spec);
    return result;
}

static void what_the_caller_has_read_counts_until_it_is_written(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(up_knowing(store, &record), CHANGE_CREATED); /* that there is none, too */
    assert_int_equal(up_knowing(store, &record), CHANGE_UNCHANGED);
    vm_record_clear(&record);
    record = get_vm(store, "web");
    assert_int_equal(apply(store, stop_web), CHANGE_STOPPED);
    assert_int_equal(up_knowing(store, &record), CHANGE_STARTED);
    vm_record_clear(&record);
    record = get_vm(store, "web");
    record.desired->power = POWER_STOPPED; /* seen only where the store's is not parsed again */
    assert_int_equal(up_knowing(store, &record), CHANGE_STARTED);
    vm_record_clear(&record);
}

static void only_observe(struct vm_status *status)
{
    (void)status;
}

static void a_change_that_changes_nothing_rings_no_bell(void **state)
{
    struct fixture *f = *state;
    struct bell_watch bell = {.fd = -1};
    struct error err = {0};
    up(f->store, "web", 1024);
    write_status(f->store, "web", only_observe);
    must(bell_watch_open(&bell, &f->paths, BELL_DESIRED, &err), &err);
    (void)up(f->store, "web", 1024);
    assert_false(bell_watch_drain(&bell));
    (void)up(f->store, "web", 2048);
    assert_true(bell_watch_drain(&bell));
    bell_watch_close(&bell);
}

/* Whoever made it may have been killed before the bell: else nobody would look at it for minutes.
 */
static void a_change_that_nobody_has_seen_rings_the_bell_again(void **state)
{
    struct fixture *f = *state;
    struct bell_watch bell = {.fd = -1};
    struct error err = {0};
    up(f->store, "web", 1024);
    must(bell_watch_open(&bell, &f->paths, BELL_DESIRED, &err), &err);
    assert_int_equal(up(f->store, "web", 1024), CHANGE_UNCHANGED); /* no status yet */
    assert_true(bell_watch_drain(&bell));
    write_status(f->store, "web", only_observe);
    up(f->store, "web", 2048);
    (void)bell_watch_drain(&bell);
    assert_int_equal(up(f->store, "web", 2048), CHANGE_UNCHANGED); /* a status of before it */
    assert_true(bell_watch_drain(&bell));
    bell_watch_close(&bell);
}

static void up_with_another_spec_reports_what_changed(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up(store, "web", 1024);
    struct vm_spec *spec = a_spec("web", 2048);
    struct change change = up_change(spec);
    struct change_outcome outcome = {0};
    struct error err = {0};
    must(change_apply(store, &change, 1, &outcome, &err), &err);
    assert_int_equal(outcome.result, CHANGE_CONFIGURED);
    assert_int_equal(outcome.generation, 2);
    assert_int_equal(outcome.diff.count, 1);
    assert_string_equal(outcome.diff.changes[0].field, "memory");
    assert_int_equal(outcome.diff.strongest, DISPOSITION_START); /* nothing runs yet */
    change_outcome_clear(&outcome);
    vm_spec_free(spec);
}

static enum change_result plan(struct store *store, const struct change *change)
{
    struct change_outcome outcome = {0};
    struct error err = {0};
    must(change_plan(store, change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    return outcome.result;
}

static void a_plan_reports_what_would_be_done_and_writes_nothing(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 2048);
    struct change change = up_change(spec);
    assert_int_equal(plan(store, &change), CHANGE_CREATED);
    struct vm_record record = get_vm(store, "web");
    assert_null(record.desired);
    vm_record_clear(&record);
    up(store, "web", 1024);
    assert_int_equal(plan(store, &change), CHANGE_CONFIGURED);
    apply(store, stop_web);
    assert_int_equal(plan(store, &change), CHANGE_STARTED);
    assert_int_equal(generation_of(store, "web"), 2);
    apply(store, delete_web);
    assert_int_equal(plan(store, &change), CHANGE_CREATED); /* once it is gone */
    assert_int_equal(generation_of(store, "web"), 3);
    vm_spec_free(spec);
}

static void a_plan_that_cannot_be_carried_out_fails_as_that_would(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct change_outcome outcome = {0};
    struct error err = {0};
    assert_int_equal(change_plan(store, &start_web, 1, &outcome, &err), -ERR_VM_NOT_FOUND);
}

static void up_starts_what_is_stopped_and_provisions_it(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    char token[TEXT_ID_SIZE];
    up(store, "web", 1024);
    struct vm_record record = get_vm(store, "web");
    memcpy(token, record.desired->provision_token, sizeof(token));
    vm_record_clear(&record);
    assert_int_equal(apply(store, stop_web), CHANGE_STOPPED);
    assert_int_equal(apply(store, stop_web), CHANGE_UNCHANGED);
    assert_int_equal(up(store, "web", 1024), CHANGE_STARTED);
    record = get_vm(store, "web");
    assert_string_not_equal(record.desired->provision_token, token);
    vm_record_clear(&record);
}

static void up_starts_what_stayed_down_by_itself(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up(store, "web", 1024);
    write_status(store, "web", hold);
    assert_int_equal(up(store, "web", 1024), CHANGE_STARTED);
    assert_int_equal(generation_of(store, "web"), 2);
    assert_int_equal(up(store, "web", 1024), CHANGE_UNCHANGED); /* the hold was for generation 1 */
}

static void up_on_a_stalled_vm_tries_again(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up(store, "web", 1024);
    write_status(store, "web", stall);
    assert_int_equal(up(store, "web", 1024), CHANGE_REQUESTED);
    assert_int_equal(generation_of(store, "web"), 2);
    assert_int_equal(apply(store, start_web), CHANGE_UNCHANGED); /* does not ask to retry */
}

static void fetch(struct vm_status *status)
{
    vm_status_set(
        status, CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_DOWNLOAD_BACK_OFF, NULL, 1);
}

static void have_image(struct vm_status *status)
{
    vm_status_set(status, CONDITION_IMAGE_READY, CONDITION_TRUE, REASON_CACHED, NULL, 1);
}

static void assert_proxy(struct store *store, const char *expected)
{
    struct vm_record record = get_vm(store, "web");
    assert_true(text_eq(record.desired->proxies.http, expected));
    vm_record_clear(&record);
}

static void proxies_are_the_last_commands_and_no_change_by_themselves(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    char one[] = "http://one", two[] = "http://two";
    const struct proxies first = {.http = one}, second = {.http = two}, none = {.http = NULL};
    struct change start = start_web;
    start.retries = true;
    up(store, "web", 1024);
    start.proxies = &first;
    assert_int_equal(apply(store, start), CHANGE_UNCHANGED);
    assert_int_equal(apply(store, start_web), CHANGE_UNCHANGED); /* the controller's own: keeps */
    assert_proxy(store, one);
    write_status(store, "web", have_image);
    start.proxies = &none;
    assert_int_equal(apply(store, start), CHANGE_UNCHANGED);
    assert_proxy(store, NULL);
    assert_int_equal(generation_of(store, "web"), 1);
    write_status(store, "web", fetch); /* it waits for its next try: not any more */
    assert_int_equal(apply(store, start), CHANGE_UNCHANGED);
    start.proxies = &second;
    assert_int_equal(apply(store, start), CHANGE_REQUESTED);
    assert_proxy(store, two);
    assert_int_equal(generation_of(store, "web"), 2);
}

static void provision_from_a_step_is_of_that_request_only(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up(store, "web", 1024);
    struct change change = {.name = "web", .provision = PROVISION_AGAIN, .provision_from = 2};
    assert_int_equal(apply(store, change), CHANGE_REQUESTED);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->provision_from, 2);
    vm_record_clear(&record);
    change.provision_from = 0;
    assert_int_equal(apply(store, change), CHANGE_REQUESTED);
    record = get_vm(store, "web");
    assert_int_equal(record.desired->provision_from, 0);
    vm_record_clear(&record);
}

static void up_runs_failed_provision_steps_again(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up(store, "web", 1024);
    write_status(store, "web", fail_provision);
    assert_int_equal(up(store, "web", 1024), CHANGE_REQUESTED);
    assert_int_equal(generation_of(store, "web"), 2);
}

static void the_status_of_an_earlier_vm_of_the_name_does_not_count(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    put_status(store, "web", "00000000000000000000000000000001", 1);
    struct store_batch *batch = store_batch_new();
    struct vm_status *status = vm_status_new("00000000000000000000000000000001");
    stall(status);
    status->restart.held_generation = 1;
    store_batch_put_status(batch, "web", status);
    assert_int_equal(commit(store, batch), 0);
    vm_status_free(status);
    assert_int_equal(up(store, "web", 1024), CHANGE_CREATED);
    assert_int_equal(up(store, "web", 1024), CHANGE_UNCHANGED);
}

/* ---- create ---- */

static void create_makes_a_stopped_vm_whose_steps_run_at_its_first_start(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    struct change change = {
        .name = "web", .spec = spec, .wants_prepared = true, .provision = PROVISION_ON_START};
    assert_int_equal(apply(store, change), CHANGE_CREATED);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->power, POWER_STOPPED);
    assert_true(record.desired->wants_prepared);
    assert_int_not_equal(record.desired->provision_token[0], '\0');
    assert_null(record.desired->source);
    vm_record_clear(&record);
    assert_int_equal(apply(store, start_web), CHANGE_STARTED);
    vm_spec_free(spec);
}

static void a_name_of_another_vmfile_is_a_conflict_unless_it_is_taken_over(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    struct change change = up_change(spec);
    up(store, "web", 1024);
    change.source = "/other/VMFile.kdl";
    struct error err = apply_failing(store, change);
    assert_int_equal(err.code, ERR_VM_CONFLICT);
    assert_non_null(strstr(err.message, SOURCE));
    change.takes_over = true;
    (void)apply(store, change);
    struct vm_record record = get_vm(store, "web");
    assert_string_equal(record.desired->source, "/other/VMFile.kdl");
    vm_record_clear(&record);
    vm_spec_free(spec);
}

/* ---- tokens ---- */

static void restart_asks_only_a_vm_that_is_up(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct change restart = {.name = "web", .restarts = true};
    up(store, "web", 1024);
    assert_int_equal(apply(store, restart), CHANGE_RESTARTED);
    assert_int_equal(apply(store, restart), CHANGE_RESTARTED); /* each one is a restart */
    assert_int_equal(generation_of(store, "web"), 3);
    apply(store, stop_web);
    assert_int_equal(apply(store, restart), CHANGE_UNCHANGED);
}

static void recreate_asks_for_a_new_disk_but_not_of_a_new_vm(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    struct change change = up_change(spec);
    change.recreates = true;
    assert_int_equal(apply(store, change), CHANGE_CREATED);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->recreate_token[0], '\0');
    vm_record_clear(&record);
    assert_int_equal(apply(store, change), CHANGE_RECREATED);
    record = get_vm(store, "web");
    assert_int_not_equal(record.desired->recreate_token[0], '\0');
    vm_record_clear(&record);
    vm_spec_free(spec);
}

static void a_stop_timeout_lasts_until_the_next_start(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct change stop = stop_web;
    stop.stop_timeout_s = 7;
    up(store, "web", 1024);
    apply(store, stop);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->stop_timeout_s, 7);
    vm_record_clear(&record);
    apply(store, start_web);
    record = get_vm(store, "web");
    assert_int_equal(record.desired->stop_timeout_s, 0);
    vm_record_clear(&record);
}

/* ---- delete ---- */

/* `vmctl rename` came between the look at it and the clone. */
static void a_clone_is_made_of_the_vm_that_was_seen(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    (void)up(f->store, "web", 512);
    must(store_get(f->store, "web", &record, &err), &err);
    struct vm_spec *spec = a_spec("copy", 512);
    struct vm_origin origin = {.vm = (char *)"web"};
    struct change change = {.name = "copy",
        .spec = spec,
        .must_be_new = true,
        .origin = &origin,
        .origin_uid = "0123456789abcdef0123456789abcdef"};
    assert_int_equal(apply_failing(f->store, change).code, ERR_VM_CONFLICT);
    origin.vm = (char *)"old";
    change.origin_uid = record.desired->uid;
    assert_int_equal(apply_failing(f->store, change).code, ERR_VM_CONFLICT);
    origin.vm = (char *)"web";
    assert_int_equal(apply(f->store, change), CHANGE_CREATED);
    vm_spec_free(spec);
}

static void a_vm_that_must_be_new_is_never_another(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    struct change change = {.name = "web", .spec = spec, .must_be_new = true, .owner = 77};
    assert_int_equal(apply(store, change), CHANGE_CREATED);
    assert_int_equal(apply_failing(store, change).code, ERR_VM_CONFLICT);
    assert_int_equal(generation_of(store, "web"), 1);
    vm_spec_free(spec);
}

static void an_owner_is_kept_until_it_disowns(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    apply(store, (struct change){.name = "web", .spec = spec, .owner = 77});
    apply(store, stop_web);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->owner, 77);
    vm_record_clear(&record);
    apply(store, (struct change){.name = "web", .disowns = true});
    record = get_vm(store, "web");
    assert_int_equal(record.desired->owner, 0);
    vm_record_clear(&record);
    vm_spec_free(spec);
}

static char data_name[] = "data", mount[] = "/data";
static const struct spec_volume data_volume = {.name = data_name, .size_gib = 5, .mount = mount};
static const struct change attach_data = {.name = "web", .attaches = &data_volume};
static const struct change detach_data = {.name = "web", .detaches = data_name};

static void run_with_data(struct vm_status *status)
{
    struct vm_spec *spec = a_spec("web", 1024);
    mem_grow(spec->volumes, spec->n_volumes);
    spec->volumes[spec->n_volumes++] = (struct spec_volume){.name = mem_strdup("data")};
    strcpy(status->instance.instance_id, "iid");
    vm_status_set_applied_spec(status, spec);
    vm_spec_free(spec);
}

static void a_volume_is_attached_besides_the_spec_until_it_is_detached(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    spec->ssh.is_set = true;
    apply(store, up_change(spec));
    assert_int_equal(apply(store, attach_data), CHANGE_REQUESTED);
    assert_int_equal(apply(store, attach_data), CHANGE_REQUESTED); /* as it is asked for now */
    assert_int_equal(apply(store, up_change(spec)), CHANGE_UNCHANGED);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->n_volumes, 1);
    assert_int_equal(record.desired->generation, 3);
    struct vm_spec *whole = vm_desired_attach(record.desired, record.desired->spec);
    assert_int_equal(whole->n_volumes, 1);
    assert_string_equal(whole->volumes[0].mount, "/data");
    vm_spec_free(whole);
    vm_record_clear(&record);
    assert_int_equal(apply(store, detach_data), CHANGE_REQUESTED);
    record = get_vm(store, "web");
    assert_int_equal(record.desired->n_volumes, 0);
    assert_null(vm_desired_attach(record.desired, record.desired->spec));
    vm_record_clear(&record);
    assert_int_equal(apply_failing(store, detach_data).code, ERR_VOLUME_NOT_FOUND);
    write_status(store, "web", run_with_data); /* the guest has not released it */
    assert_int_equal(apply(store, detach_data), CHANGE_REQUESTED);
    vm_spec_free(spec);
}

static void a_volume_of_the_vmfile_is_changed_there_and_never_shrinks(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    assert_int_equal(apply(store, up_change(spec)), CHANGE_CREATED);
    /* without SSH nobody mounts it */
    assert_int_equal(apply_failing(store, attach_data).code, ERR_VM_INVALID_STATE);
    spec->ssh.is_set = true;
    mem_grow(spec->volumes, spec->n_volumes);
    spec->volumes[spec->n_volumes++] =
        (struct spec_volume){.name = mem_strdup("data"), .size_gib = 5};
    assert_int_equal(apply(store, up_change(spec)), CHANGE_CONFIGURED);
    assert_int_equal(apply_failing(store, attach_data).code, ERR_VM_CONFLICT);
    assert_int_equal(apply_failing(store, detach_data).code, ERR_VM_CONFLICT);
    spec->volumes[0].size_gib = 4;
    assert_int_equal(apply_failing(store, up_change(spec)).code, ERR_DISK_SHRINK);
    spec->volumes[0].size_gib = 6;
    assert_int_equal(apply(store, up_change(spec)), CHANGE_CONFIGURED);
    vm_spec_free(spec);
}

static void a_protected_vm_keeps_its_disk_until_it_is_protected_no_more(void **state)
{
    static const struct snapshot_order restore = {.verb = SNAPSHOT_RESTORE, .name = "old"},
                                       rm = {.verb = SNAPSHOT_REMOVE, .name = "old"};
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    spec->is_protected = true;
    struct change recreate = up_change(spec);
    recreate.recreates = true;
    apply(store, up_change(spec));
    const struct change refused[] = {delete_web, recreate, {.name = "web", .recreates = true},
        {.name = "web", .snapshot = &restore}, {.name = "web", .snapshot = &rm}};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct error err = apply_failing(store, refused[i]);
        assert_int_equal(err.code, ERR_VM_INVALID_STATE);
        assert_non_null(strstr(err.message, "vm 'web' is protected"));
    }
    assert_int_equal(apply(store, stop_web), CHANGE_STOPPED);
    spec->is_protected = false;
    assert_int_equal(apply(store, recreate), CHANGE_RECREATED);
    assert_int_equal(apply(store, delete_web), CHANGE_DELETED);
    vm_spec_free(spec);
}

static void have_a_disk(struct vm_status *status)
{
    memcpy(status->prepared.digest, "d", sizeof("d"));
}

/* Its own follower tells it from those of other commands. */
static void the_outcome_has_the_token_of_the_snapshots_request(void **state)
{
    static const struct snapshot_order create = {.verb = SNAPSHOT_CREATE, .name = "x"};
    struct store *store = ((struct fixture *)*state)->store;
    const struct change change = {.name = "web", .snapshot = &create};
    struct error err = {0};
    up(store, "web", 1024);
    apply(store, stop_web);
    write_status(store, "web", have_a_disk);
    for (int i = 0; i < 2; i++) { /* also one that is under way */
        struct change_outcome outcome = {0};
        must(change_apply(store, &change, 1, &outcome, &err), &err);
        struct vm_record record = get_vm(store, "web");
        assert_true(outcome.snapshot_token[0]);
        assert_string_equal(outcome.snapshot_token, record.desired->snapshot.token);
        vm_record_clear(&record);
        change_outcome_clear(&outcome);
    }
}

static void deleting_twice_is_deleting_once(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up(store, "web", 1024);
    assert_int_equal(apply(store, delete_web), CHANGE_DELETED);
    assert_int_equal(apply(store, delete_web), CHANGE_UNCHANGED);
    assert_int_equal(generation_of(store, "web"), 2);
    write_status(store, "web", stall);
    assert_int_equal(apply(store, delete_web), CHANGE_REQUESTED); /* it is tried again at once */
    assert_int_equal(generation_of(store, "web"), 3);
}

static void a_vm_being_deleted_refuses_other_changes(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    up(store, "web", 1024);
    apply(store, delete_web);
    assert_int_equal(apply_failing(store, up_change(spec)).code, ERR_VM_DELETING);
    assert_int_equal(apply_failing(store, stop_web).code, ERR_VM_DELETING);
    vm_spec_free(spec);
}

static void a_vm_that_is_not_there_cannot_be_stopped_or_deleted(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    assert_int_equal(apply_failing(store, stop_web).code, ERR_VM_NOT_FOUND);
    assert_int_equal(apply_failing(store, delete_web).code, ERR_VM_NOT_FOUND);
}

/* ---- several ---- */

static void several_changes_are_granted_together_or_not_at_all(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *one = a_spec("one", 1024), *two = a_spec("two", 1024);
    struct change changes[] = {up_change(one), stop_web, up_change(two)};
    struct change_outcome outcomes[3] = {0};
    struct error err = {0};
    assert_int_equal(change_apply(store, changes, 3, outcomes, &err), -ERR_VM_NOT_FOUND);
    struct vm_record record = get_vm(store, "one");
    assert_null(record.desired);
    vm_record_clear(&record);
    error_clear(&err);
    changes[1] = up_change(two);
    must(change_apply(store, changes, 2, outcomes, &err), &err);
    assert_int_equal(outcomes[0].result, CHANGE_CREATED);
    assert_int_equal(outcomes[1].result, CHANGE_CREATED);
    vm_spec_free(one);
    vm_spec_free(two);
}

enum { N_PROCESSES = 4, N_WISHES = 25 };

static void restart_often(const struct fixture *f, int number)
{
    struct store *store = open_store(f);
    struct change change = {.name = "web", .restarts = true};
    (void)number;
    for (int i = 0; i < N_WISHES; i++) {
        struct change_outcome outcome = {0};
        struct error err = {0};
        child_must(change_apply(store, &change, 1, &outcome, &err) == 0);
        child_must(outcome.result == CHANGE_RESTARTED);
    }
    store_close(store);
}

/* Compare-and-set loses none: the generation counts them all. */
static void changes_of_several_processes_are_all_granted(void **state)
{
    struct fixture *f = *state;
    pid_t pids[N_PROCESSES];
    up(f->store, "web", 1024);
    store_close(f->store);
    f->store = NULL;
    for (int i = 0; i < N_PROCESSES; i++) {
        pids[i] = start_child(restart_often, f, i);
    }
    for (int i = 0; i < N_PROCESSES; i++) {
        assert_int_equal(wait_for_child(pids[i]), 0);
    }
    f->store = open_store(f);
    assert_int_equal(generation_of(f->store, "web"), 1 + N_PROCESSES * N_WISHES);
}

/* ---- files ---- */

static void the_bytes_of_named_files_are_part_of_the_spec(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char before[DIGEST_SIZE];
    struct vm_spec *spec = a_spec("web", 1024);
    spec->cloud_init.user_data.path = mem_printf("%s/user-data", f->dir);
    must(fs_write_file(spec->cloud_init.user_data.path, "a", 1, 0600, &err), &err);
    must(change_read_files(spec, &err), &err);
    digest_text("a", before);
    assert_string_equal(spec->cloud_init.user_data.digest, before);
    assert_int_equal(apply(f->store, up_change(spec)), CHANGE_CREATED);
    must(fs_write_file(spec->cloud_init.user_data.path, "b", 1, 0600, &err), &err);
    must(change_read_files(spec, &err), &err);
    assert_int_equal(apply(f->store, up_change(spec)), CHANGE_CONFIGURED);
    vm_spec_free(spec);
}

/* Whether another time of a file of this size, its bytes unchanged, is another digest. */
static bool does_time_count(const char *path, off_t size)
{
    struct error err = {0};
    struct vm_spec *spec = a_spec("web", 1024);
    struct spec_file *file = &spec->cloud_init.user_data;
    char digests[3][DIGEST_SIZE];
    must(fs_write_file(path, "a", 1, 0600, &err), &err);
    assert_int_equal(truncate(path, size), 0);
    file->path = mem_strdup(path);
    for (int i = 0; i < 3; i++) { /* the first again at last */
        const struct timespec at = {.tv_sec = 1700000000, .tv_nsec = i % 2};
        assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){at, at}, 0), 0);
        must(change_read_files(spec, &err), &err);
        memcpy(digests[i], file->digest, DIGEST_SIZE);
    }
    assert_string_equal(digests[0], digests[2]);
    vm_spec_free(spec);
    return strcmp(digests[0], digests[1]) != 0;
}

static void a_large_file_is_known_by_its_size_and_time(void **state)
{
    enum { MOST = 16 << 20 };
    struct fixture *f = *state;
    cleanup_free char *path = mem_printf("%s/large", f->dir);
    assert_false(does_time_count(path, MOST));
    assert_true(does_time_count(path, MOST + 1));
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct error err = {0};
    struct vm_spec *spec = a_spec("web", 1024);
    spec->cloud_init.ssh_key.path = mem_strdup("/nowhere/key.pub");
    assert_int_equal(change_read_files(spec, &err), -ERR_IO);
    assert_non_null(strstr(err.message, "/nowhere/key.pub"));
    assert_non_null(strstr(err.message, "web"));
    vm_spec_free(spec);
}

/* ---- for the watcher ---- */

static void a_new_vm_starts_if_the_change_says_so_and_an_old_one_does_not(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = a_spec("web", 1024);
    struct change change = {.name = "web", .spec = spec, .source = SOURCE, .starts_new = true};
    assert_int_equal(apply(store, change), CHANGE_CREATED);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->power, POWER_RUNNING);
    assert_int_not_equal(record.desired->provision_token[0], '\0');
    vm_record_clear(&record);
    (void)apply(store, stop_web);
    assert_int_equal(apply(store, change), CHANGE_UNCHANGED);
    record = get_vm(store, "web");
    assert_int_equal(record.desired->power, POWER_STOPPED);
    vm_record_clear(&record);
    vm_spec_free(spec);
}

static void a_change_without_a_spec_may_be_for_vms_of_one_vmfile_only(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    (void)up(store, "web", 1024);
    struct change change = {.name = "web", .source = "/other/VMFile.kdl", .deletes = true};
    assert_int_equal(apply_failing(store, change).code, ERR_VM_CONFLICT);
    change.source = SOURCE;
    assert_int_equal(apply(store, change), CHANGE_DELETED);
}

struct extra_context {
    int n_calls;
    int n_failures; /* that many calls spoil the batch */
    bool refuses;
};

static int add_extra(void *context, struct store_batch *batch, struct error *err)
{
    struct extra_context *extra = context;
    cleanup_json json_t *json = json_object();
    extra->n_calls++;
    if (extra->refuses) {
        return error_set(err, ERR_CANCELLED, "no");
    }
    if (extra->n_failures-- > 0) {
        store_batch_expect_json(batch, STORE_SOURCES, "/p", json);
    }
    store_batch_put_json(batch, STORE_SOURCES, "/p", json);
    return 0;
}

static void what_goes_with_changes_is_asked_for_at_every_try_and_true_with_them(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct extra_context context = {.n_failures = 2};
    const struct change_extra extra = {add_extra, &context};
    struct vm_spec *spec = a_spec("web", 1024);
    struct change change = up_change(spec);
    struct change_outcome outcome = {0};
    struct error err = {0};
    json_t *json = NULL;
    must(change_apply_with(store, &change, 1, &extra, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    assert_int_equal(context.n_calls, 3);
    must(store_get_json(store, STORE_SOURCES, "/p", &json, &err), &err);
    assert_non_null(json);
    json_decref(json);
    vm_spec_free(spec);
}

static void what_goes_with_changes_can_refuse_them(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct extra_context context = {.refuses = true};
    const struct change_extra extra = {add_extra, &context};
    struct vm_spec *spec = a_spec("web", 1024);
    struct change change = up_change(spec);
    struct change_outcome outcome = {0};
    struct error err = {0};
    assert_int_equal(change_apply_with(store, &change, 1, &extra, &outcome, &err), -ERR_CANCELLED);
    struct vm_record record = get_vm(store, "web");
    assert_null(record.desired);
    vm_record_clear(&record);
    vm_spec_free(spec);
}

static struct vm_spec *a_forwarded_spec(const char *name, uint16_t host_port)
{
    struct vm_spec *spec = a_spec(name, 1024);
    spec->network.forwards = mem_calloc(1, sizeof(*spec->network.forwards));
    spec->network.n_forwards = 1;
    spec->network.forwards[0] = (struct spec_forward){FORWARD_TCP, host_port, 80, ""};
    return spec;
}

static void a_new_vm_holds_its_ports_at_once_when_asked_to(void **state)
{
    struct fixture *f = *state;
    struct vm_spec *one = a_forwarded_spec("one", 20001), *two = a_forwarded_spec("two", 20001);
    struct vm_spec *three = a_forwarded_spec("three", 20003);
    char uid[TEXT_ID_SIZE];
    struct error err = {0};
    struct change change = {.name = "one", .spec = one, .holds_ports = true};
    assert_int_equal(apply(f->store, change), CHANGE_CREATED);
    cleanup_free char *holder = NULL;
    must(store_lease_holder(f->store, "tcp/20001", uid, &holder, &err), &err);
    assert_string_equal(holder, "one");
    assert_int_equal(apply(f->store, change), CHANGE_UNCHANGED);

    change.name = "two";
    change.spec = two;
    err = apply_failing(f->store, change);
    assert_int_equal(err.code, ERR_VM_CONFLICT);
    assert_non_null(strstr(err.message, "tcp/20001 of vm 'two' is used by vm 'one'"));
    struct vm_record record = get_vm(f->store, "two");
    assert_null(record.desired);
    change.holds_ports = false; /* a change that does not ask for that waits for its start */
    assert_int_equal(apply(f->store, change), CHANGE_CREATED);
    change = (struct change){.name = "three", .spec = three, .holds_ports = true};
    assert_int_equal(apply(f->store, change), CHANGE_CREATED);
    vm_record_clear(&record);
    vm_spec_free(one);
    vm_spec_free(two);
    vm_spec_free(three);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(up_creates_a_running_vm_that_is_provisioned),
        TEST(up_on_a_running_unchanged_vm_changes_nothing),
        TEST(what_the_caller_has_read_counts_until_it_is_written),
        TEST(a_change_that_changes_nothing_rings_no_bell),
        TEST(a_change_that_nobody_has_seen_rings_the_bell_again),
        TEST(up_with_another_spec_reports_what_changed),
        TEST(a_plan_reports_what_would_be_done_and_writes_nothing),
        TEST(a_plan_that_cannot_be_carried_out_fails_as_that_would),
        TEST(up_starts_what_is_stopped_and_provisions_it),
        TEST(up_starts_what_stayed_down_by_itself),
        TEST(up_on_a_stalled_vm_tries_again),
        TEST(proxies_are_the_last_commands_and_no_change_by_themselves),
        TEST(provision_from_a_step_is_of_that_request_only),
        TEST(up_runs_failed_provision_steps_again),
        TEST(the_status_of_an_earlier_vm_of_the_name_does_not_count),
        TEST(create_makes_a_stopped_vm_whose_steps_run_at_its_first_start),
        TEST(a_name_of_another_vmfile_is_a_conflict_unless_it_is_taken_over),
        TEST(restart_asks_only_a_vm_that_is_up),
        TEST(recreate_asks_for_a_new_disk_but_not_of_a_new_vm),
        TEST(a_stop_timeout_lasts_until_the_next_start),
        TEST(a_clone_is_made_of_the_vm_that_was_seen),
        TEST(a_vm_that_must_be_new_is_never_another),
        TEST(an_owner_is_kept_until_it_disowns),
        TEST(a_volume_is_attached_besides_the_spec_until_it_is_detached),
        TEST(a_volume_of_the_vmfile_is_changed_there_and_never_shrinks),
        TEST(a_protected_vm_keeps_its_disk_until_it_is_protected_no_more),
        TEST(the_outcome_has_the_token_of_the_snapshots_request),
        TEST(deleting_twice_is_deleting_once),
        TEST(a_vm_being_deleted_refuses_other_changes),
        TEST(a_vm_that_is_not_there_cannot_be_stopped_or_deleted),
        TEST(several_changes_are_granted_together_or_not_at_all),
        TEST(changes_of_several_processes_are_all_granted),
        TEST(the_bytes_of_named_files_are_part_of_the_spec),
        TEST(a_large_file_is_known_by_its_size_and_time),
        TEST(a_file_that_cannot_be_read_is_named),
        TEST(a_new_vm_starts_if_the_change_says_so_and_an_old_one_does_not),
        TEST(a_change_without_a_spec_may_be_for_vms_of_one_vmfile_only),
        TEST(what_goes_with_changes_is_asked_for_at_every_try_and_true_with_them),
        TEST(what_goes_with_changes_can_refuse_them),
        TEST(a_new_vm_holds_its_ports_at_once_when_asked_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
