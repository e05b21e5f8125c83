/* SPDX-License-Identifier: MPL-2.0 */
/* One VM's life from `up` to `destroy`, when nothing happens but what the user asks for. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "tests/sim/sim.h"
#include "tests/sim/step_checks.h"
#include "tests/support/loop_fake.h"

static struct vm_spec *spec_with_memory(uint32_t memory_mib)
{
    struct vm_spec *spec = sim_spec("web");
    spec->memory_mib = memory_mib;
    return spec;
}

/* ---- up ---- */

static void up_makes_a_vm_ready(void **state)
{
    struct sim *sim = *state;
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_CREATED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
    assert_int_equal(sim_state(sim, "web", CONDITION_RECONCILING), CONDITION_ABSENT);
    assert_int_equal(sim_state(sim, "web", CONDITION_STALLED), CONDITION_ABSENT);
    assert_int_equal(sim_reason(sim, "web", CONDITION_GUEST_REACHABLE), REASON_NOT_REQUIRED);
    assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), 1);
}

static void up_again_writes_nothing(void **state)
{
    struct sim *sim = *state;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    sim_bring_up(sim, sim_spec("web"));
    sim_store_digest(sim, before);
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_UNCHANGED);
    sim_settle(sim);
    sim_store_digest(sim, after);
    assert_string_equal(before, after);
}

static void an_idle_controller_only_waits_for_the_resync(void **state)
{
    struct sim *sim = *state;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_advance(sim, MINUTE_MS);
    int64_t next_ms = loop_fake_next_timer(sim->loop);
    assert_true(next_ms - sim_now(sim) > 3 * MINUTE_MS);
    sim_store_digest(sim, before);
    sim_advance(sim, 60 * MINUTE_MS);
    sim_store_digest(sim, after);
    assert_string_equal(before, after);
}

static void create_prepares_a_vm_that_stays_off(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web");
    struct change change = {.name = "web", .spec = spec, .wants_prepared = true};
    assert_int_equal(sim_change(sim, &change), CHANGE_CREATED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    sim_advance(sim, SECOND_MS);
    assert_int_equal(sim_state(sim, "web", CONDITION_PREPARED), CONDITION_TRUE);
    assert_false(sim_is_alive(sim, "web"));
    assert_int_equal(sim_power(sim, "web", POWER_RUNNING), CHANGE_STARTED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    vm_spec_free(spec);
}

static void a_hundred_vms_become_ready(void **state)
{
    struct sim *sim = *state;
    char name[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        sim_up(sim, sim_spec_with_steps(name, 1));
    }
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        sim_wait(sim, name, sim_is_ready, MINUTE_MS);
    }
    assert_int_equal(sim_count_leases(sim), 100);
}

/* ---- power ---- */

static void stop_powers_the_guest_down(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"powerdownMs\": 700}");
    int64_t start_ms = sim_now(sim);
    assert_int_equal(sim_power(sim, "web", POWER_STOPPED), CHANGE_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, 700);
    assert_int_equal(sim_power(sim, "web", POWER_STOPPED), CHANGE_UNCHANGED);
    assert_int_equal(sim_power(sim, "web", POWER_RUNNING), CHANGE_STARTED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_guest_that_ignores_the_button_is_quit_after_its_grace(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"ignorePowerdown\": true}");
    int64_t start_ms = sim_now(sim);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, SPEC_DEFAULT_STOP_TIMEOUT_S * SECOND_MS);
}

static void a_qemu_that_ignores_quit_is_terminated_then_killed(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"ignorePowerdown\": true, \"ignoreQuit\": true}");
    int64_t start_ms = sim_now(sim);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, 33 * SECOND_MS);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_script(
        sim, "web", "{\"ignorePowerdown\": true, \"ignoreQuit\": true, \"ignoreTerminate\": true}");
    start_ms = sim_now(sim);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, 38 * SECOND_MS);
}

static void a_shorter_timeout_shortens_a_stop_under_way(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"ignorePowerdown\": true}");
    int64_t start_ms = sim_now(sim);
    sim_power(sim, "web", POWER_STOPPED);
    sim_advance(sim, 4 * SECOND_MS);
    struct change change = {
        .name = "web", .sets_power = true, .power = POWER_STOPPED, .stop_timeout_s = 2};
    sim_change(sim, &change);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, 6 * SECOND_MS);
}

static void a_stop_is_finished_though_the_user_changed_his_mind(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec("web"));
    sim_living_instance_id(sim, "web", before);
    sim_script(sim, "web", "{\"powerdownMs\": 3000}");
    sim_power(sim, "web", POWER_STOPPED);
    sim_advance(sim, SECOND_MS);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_not_equal(before, after);
}

static void suspend_and_resume_keep_the_instance(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec("web"));
    sim_living_instance_id(sim, "web", before);
    assert_int_equal(sim_power(sim, "web", POWER_SUSPENDED), CHANGE_REQUESTED);
    sim_wait(sim, "web", sim_is_suspended, MINUTE_MS);
    assert_int_equal(sim_power(sim, "web", POWER_RUNNING), CHANGE_REQUESTED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
}

static void a_stopped_vm_can_be_brought_up_suspended(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    sim_power(sim, "web", POWER_SUSPENDED);
    sim_wait(sim, "web", sim_is_suspended, MINUTE_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, SECOND_MS + SECOND_MS / 2);
}

/* ---- spec changes ---- */

static void new_memory_waits_for_a_restart(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, spec_with_memory(1024));
    sim_living_instance_id(sim, "web", before);
    assert_int_equal(sim_up(sim, spec_with_memory(2048)), CHANGE_CONFIGURED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
    struct vm_record record = sim_record(sim, "web");
    const struct condition *synced = &record.status->conditions[CONDITION_SYNCED];
    assert_int_equal(synced->reason, REASON_RESTART_REQUIRED);
    assert_string_equal(synced->message, "memory 1024 -> 2048");
    vm_record_clear(&record);

    assert_int_equal(
        sim_change(sim, &(struct change){.name = "web", .restarts = true}), CHANGE_RESTARTED);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
    sim_living_instance_id(sim, "web", after);
    assert_string_not_equal(before, after);
}

static void a_new_image_waits_for_a_recreation(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web");
    sim_bring_up(sim, sim_spec("web"));
    int64_t birth = sim_disk_birth(sim, "web");
    free(spec->image.location);
    spec->image.location = mem_strdup("/images/other.qcow2");
    assert_int_equal(sim_up(sim, spec), CHANGE_CONFIGURED);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_RECREATE_REQUIRED);
    sim_change(sim, &(struct change){.name = "web", .restarts = true});
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_RECREATE_REQUIRED);
    assert_int_equal(sim_disk_birth(sim, "web"), birth);
    sim_change(sim, &(struct change){.name = "web", .recreates = true});
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
}

static void a_change_of_image_before_the_disk_is_made_is_obeyed(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web"), *other = sim_spec("other");
    free(other->image.location);
    other->image.location = mem_strdup("/images/other.qcow2");
    sim_bring_up(sim, other); /* so that this image is in the cache */
    sim_script(sim, "web", "{\"prepareMs\": 5000}");
    sim_up(sim, sim_spec("web"));
    sim_advance(sim, SECOND_MS);
    free(spec->image.location);
    spec->image.location = mem_strdup("/images/other.qcow2");
    sim_bring_up(sim, spec);
    struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->prepared.image_path, "/images/other.qcow2");
    assert_int_equal(record.status->conditions[CONDITION_SYNCED].reason, REASON_SYNCED);
    vm_record_clear(&record);
}

/* The machine of the old backend lives on: the new one must not be asked whether it does. */
static void another_backend_waits_for_a_recreation(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web");
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec("web"));
    sim_living_instance_id(sim, "web", before);
    spec->backend = BACKEND_QEMU;
    assert_int_equal(sim_up(sim, spec), CHANGE_CONFIGURED);
    sim_advance(sim, MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_RECREATE_REQUIRED);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
}

static void a_backend_that_is_not_here_is_told(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web");
    spec->backend = BACKEND_PROPOLIS;
    sim_up(sim, spec);
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_BACKEND_UNAVAILABLE);
}

/* ---- provisioning ---- */

static void provisioned_steps(struct sim *sim, unsigned runs)
{
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_PROVISIONED);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), runs);
}

static void up_provisions_once(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 3));
    provisioned_steps(sim, 1);
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    provisioned_steps(sim, 1); /* a crash restart never provisions again */
}

static void provision_runs_the_steps_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 2));
    struct change change = {.name = "web", .provision = PROVISION_AGAIN};
    assert_int_equal(sim_change(sim, &change), CHANGE_REQUESTED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    provisioned_steps(sim, 2);
}

static void provision_from_a_step_leaves_out_those_before_it(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec_with_steps("web", 3);
    spec->steps[1].run = spec->steps[2].run = RUN_ONCE;
    sim_bring_up(sim, spec);
    int64_t before[] = {step_ended_at(sim, 0), step_ended_at(sim, 1), step_ended_at(sim, 2)};
    assert_step_outcomes(sim, "DDD");
    sim_advance(sim, SECOND_MS);
    sim_change(
        sim, &(struct change){.name = "web", .provision = PROVISION_AGAIN, .provision_from = 2});
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    provisioned_steps(sim, 2);
    assert_int_equal(step_ended_at(sim, 0), before[0]); /* left out */
    assert_true(step_ended_at(sim, 1) > before[1]);     /* asked for, whatever its `run` says */
    assert_int_equal(step_ended_at(sim, 2), before[2]); /* once is once */
    before[0] = step_ended_at(sim, 0);
    sim_advance(sim, SECOND_MS);
    sim_change(sim, &(struct change){.name = "web", .provision = PROVISION_AGAIN});
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_true(step_ended_at(sim, 0) > before[0]); /* from the first again */
}

/* `reload`, and before that has begun `provision --from 2`. */
static void a_new_disk_gets_all_steps_whatever_was_asked_for_since(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 2));
    int64_t before[] = {step_ended_at(sim, 0), step_ended_at(sim, 1)};
    sim_advance(sim, SECOND_MS);
    sim_change(sim, &(struct change){.name = "web", .recreates = true});
    sim_change(
        sim, &(struct change){.name = "web", .provision = PROVISION_AGAIN, .provision_from = 2});
    sim_advance(sim, MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
    assert_true(step_ended_at(sim, 0) > before[0]);
    assert_true(step_ended_at(sim, 1) > before[1]);
}

static void each_step_has_a_record_of_its_last_run_on_this_disk(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failStep\": 1, \"stepMs\": 1500}");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_step_outcomes(sim, "F-");
    struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->provision.steps[0].duration_ms, 1500);
    assert_int_equal(strlen(record.status->provision.steps[0].content), STEP_CONTENT_SIZE - 1);
    vm_record_clear(&record);
    sim_script(sim, "web", NULL);
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_step_outcomes(sim, "DD");
    sim_change(sim, &(struct change){.name = "web", .recreates = true});
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_step_outcomes(sim, "--");
}

static void a_failing_step_ends_provisioning_until_up(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failStep\": 1}");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_STEP_FAILED);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_STEP_FAILED);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_STEP_FAILED);
    struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->blocker.code, error_code_name(ERR_PROVISION));
    vm_record_clear(&record);
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, 5 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_STEP_FAILED);
    assert_int_equal(sim_up(sim, sim_spec_with_steps("web", 2)), CHANGE_REQUESTED);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    provisioned_steps(sim, 1);
}

static void steps_that_change_while_they_run_start_over(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"stepMs\": 1000}");
    sim_up(sim, sim_spec_with_steps("web", 3));
    sim_advance(sim, 2500);
    assert_int_equal(sim_up(sim, sim_spec_with_steps("web", 1)), CHANGE_CONFIGURED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_PROVISIONED);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
}

static void changed_steps_wait_for_the_users_word(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 2));
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_advance(sim, SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_PROVISION_OUTDATED);
    sim_change(sim, &(struct change){.name = "web", .provision = PROVISION_AGAIN});
    sim_advance(sim, SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
}

static void a_recreation_makes_a_new_disk_and_provisions_it_if_asked(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    int64_t birth = sim_disk_birth(sim, "web");
    struct change change = {.name = "web", .recreates = true, .provision = PROVISION_ON_START};
    sim_advance(sim, SECOND_MS);
    assert_int_equal(sim_change(sim, &change), CHANGE_RECREATED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_true(sim_disk_birth(sim, "web") > birth);
    provisioned_steps(sim, 2);
    birth = sim_disk_birth(sim, "web");
    sim_advance(sim, SECOND_MS);
    sim_change(sim, &(struct change){.name = "web", .recreates = true});
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_true(sim_disk_birth(sim, "web") > birth);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_SKIPPED);
}

/* ---- delete ---- */

static void delete_leaves_nothing(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    assert_int_equal(sim_count_leases(sim), 1);
    assert_int_equal(sim_delete(sim, "web"), CHANGE_DELETED);
    assert_int_equal(sim_delete(sim, "web"), CHANGE_UNCHANGED);
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
    assert_int_equal(sim_count_leases(sim), 0);
}

static void a_vm_being_deleted_refuses_everything_else(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"ignorePowerdown\": true}");
    int64_t start_ms = sim_now(sim);
    sim_delete(sim, "web");
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_TERMINATING);
    struct change change = {.name = "web", .sets_power = true, .power = POWER_RUNNING};
    assert_int_equal(sim_change_failing(sim, &change), ERR_VM_DELETING);
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, 5 * SECOND_MS);
}

/* Each stage takes a second, so that time chooses the stage. */
static void delete_works_at_every_stage(void **state)
{
    struct sim *sim = *state;
    for (int i = 0; i < 16; i++) {
        sim_script(sim, "web",
            "{\"fetchMs\": 1000, \"prepareMs\": 1000, \"launchMs\": 1000, \"bootMs\": 1000,"
            " \"probeMs\": 1000, \"stepMs\": 1000}");
        sim_lose_images(sim);
        sim_up(sim, sim_spec_with_steps("web", 2));
        sim_advance(sim, i * SECOND_MS / 2);
        assert_int_equal(sim_delete(sim, "web"), CHANGE_DELETED);
        sim_wait(sim, "web", sim_is_gone, 6 * SECOND_MS);
        assert_int_equal(sim_count_leases(sim), 0);
        sim_check(sim);
    }
}

static void a_deleted_name_can_be_used_again(void **state)
{
    struct sim *sim = *state;
    struct vm_record record;
    char uid[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec("web"));
    record = sim_record(sim, "web");
    memcpy(uid, record.desired->uid, sizeof(uid));
    vm_record_clear(&record);
    sim_delete(sim, "web");
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_CREATED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    record = sim_record(sim, "web");
    assert_string_not_equal(uid, record.desired->uid);
    assert_string_equal(record.status->uid, record.desired->uid);
    vm_record_clear(&record);
}

/* ---- addresses ---- */

static struct vm_spec *spec_with_forward(const char *name, uint16_t host_port)
{
    struct vm_spec *spec = sim_spec_with_steps(name, 0);
    mem_grow(spec->network.forwards, spec->network.n_forwards);
    spec->network.forwards[spec->network.n_forwards++] =
        (struct spec_forward){.protocol = FORWARD_TCP, .host_port = host_port, .guest_port = 80};
    return spec;
}

static void a_host_port_of_another_vm_is_a_conflict_until_it_is_stopped(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_forward("one", 28080));
    sim_up(sim, spec_with_forward("two", 28080));
    sim_wait(sim, "two", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "two", CONDITION_RUNNING), REASON_PORT_CONFLICT);
    sim_advance(sim, 10 * MINUTE_MS); /* its pauses between tries are minutes by now */
    sim_power(sim, "one", POWER_STOPPED);
    sim_wait(sim, "one", sim_is_stopped, MINUTE_MS);
    sim_wait(sim, "two", sim_is_ready, 1000);
    sim_power(sim, "one", POWER_RUNNING);
    sim_wait(sim, "one", sim_is_stalled, MINUTE_MS);
}

static void a_forward_that_was_removed_is_free_after_a_restart(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_forward("one", 28080));
    assert_int_equal(sim_count_leases(sim), 2);
    sim_up(sim, sim_spec_with_steps("one", 0));
    sim_change(sim, &(struct change){.name = "one", .restarts = true});
    sim_wait(sim, "one", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "one", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_leases(sim), 1);
}

static struct spec_network project_network(const char *network)
{
    return (struct spec_network){
        .mode = NETWORK_PROJECT, .project = mem_strdup("shop"), .network = mem_strdup(network)};
}

/* On network "project", and on those named besides. */
static struct vm_spec *spec_on_networks(const char *name, const char *const *networks, size_t n)
{
    struct vm_spec *spec = sim_spec_with_steps(name, 0);
    spec->network = project_network("shop-1");
    for (size_t i = 0; i < n; i++) {
        mem_grow(spec->further_networks, spec->n_further_networks);
        spec->further_networks[spec->n_further_networks++] = project_network(networks[i]);
    }
    return spec;
}

static void restart_with(struct sim *sim, struct vm_spec *spec_take)
{
    sim_up(sim, spec_take);
    sim_change(sim, &(struct change){.name = "one", .restarts = true});
    sim_wait(sim, "one", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "one", sim_is_ready, MINUTE_MS);
}

/* Leases: SSH's port, and of each card its MAC address and address. */
static void each_card_has_addresses_of_its_own_and_keeps_them(void **state)
{
    static const char *const networks[] = {"shop-1.lan", "shop-1.back"};
    struct sim *sim = *state;
    sim_bring_up(sim, spec_on_networks("one", NULL, 0));
    struct vm_record before = sim_record(sim, "one");
    assert_int_equal(sim_count_leases(sim), 3);
    restart_with(sim, spec_on_networks("one", networks, 2));
    struct vm_record record = sim_record(sim, "one");
    assert_int_equal(sim_count_leases(sim), 7);
    assert_string_equal(record.status->mac, before.status->mac);
    assert_string_equal(record.status->address, before.status->address);
    assert_int_equal(record.status->n_cards, 2);
    for (size_t i = 0; i < 3; i++) {
        for (size_t other = 0; other < i; other++) {
            assert_string_not_equal(
                vm_status_mac(record.status, i), vm_status_mac(record.status, other));
            assert_string_not_equal(
                vm_status_address(record.status, i), vm_status_address(record.status, other));
        }
    }
    restart_with(sim, spec_on_networks("one", networks, 1));
    struct vm_record after = sim_record(sim, "one");
    assert_int_equal(sim_count_leases(sim), 5);
    assert_int_equal(after.status->n_cards, 1);
    assert_string_equal(vm_status_mac(after.status, 1), vm_status_mac(record.status, 1));
    assert_string_equal(vm_status_address(after.status, 1), vm_status_address(record.status, 1));
    restart_with(sim, sim_spec_with_steps("one", 0)); /* which keeps the first card's MAC address */
    assert_int_equal(sim_count_leases(sim), 2);
    vm_record_clear(&before);
    vm_record_clear(&record);
    vm_record_clear(&after);
}

static void a_mac_that_another_card_has_is_a_conflict(void **state)
{
    static const char *const networks[] = {"shop-1.lan"};
    struct sim *sim = *state;
    sim_bring_up(sim, spec_on_networks("one", NULL, 0));
    struct vm_record record = sim_record(sim, "one");
    struct vm_spec *spec = spec_on_networks("one", networks, 1);
    spec->further_networks[0].mac = mem_strdup(record.status->mac);
    sim_up(sim, spec);
    sim_change(sim, &(struct change){.name = "one", .restarts = true});
    sim_wait(sim, "one", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "one", sim_is_stalled, MINUTE_MS);
    vm_record_clear(&record);
}

/* A machine stays on the networks that it was started on. */
static void a_network_that_is_added_waits_for_the_restart(void **state)
{
    static const char *const networks[] = {"shop-1.lan"};
    struct sim *sim = *state;
    sim_bring_up(sim, spec_on_networks("one", NULL, 0));
    sim_up(sim, spec_on_networks("one", networks, 1));
    sim_advance(sim, MINUTE_MS);
    struct vm_record record = sim_record(sim, "one");
    assert_int_equal(record.status->applied_spec->n_further_networks, 0);
    assert_int_equal(record.status->n_cards, 0);
    vm_record_clear(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(each_card_has_addresses_of_its_own_and_keeps_them),
        SIM_TEST(a_mac_that_another_card_has_is_a_conflict),
        SIM_TEST(a_network_that_is_added_waits_for_the_restart),
        SIM_TEST(up_makes_a_vm_ready),
        SIM_TEST(up_again_writes_nothing),
        SIM_TEST(an_idle_controller_only_waits_for_the_resync),
        SIM_TEST(create_prepares_a_vm_that_stays_off),
        SIM_TEST(a_hundred_vms_become_ready),
        SIM_TEST(stop_powers_the_guest_down),
        SIM_TEST(a_guest_that_ignores_the_button_is_quit_after_its_grace),
        SIM_TEST(a_qemu_that_ignores_quit_is_terminated_then_killed),
        SIM_TEST(a_shorter_timeout_shortens_a_stop_under_way),
        SIM_TEST(a_stop_is_finished_though_the_user_changed_his_mind),
        SIM_TEST(suspend_and_resume_keep_the_instance),
        SIM_TEST(a_stopped_vm_can_be_brought_up_suspended),
        SIM_TEST(new_memory_waits_for_a_restart),
        SIM_TEST(a_new_image_waits_for_a_recreation),
        SIM_TEST(a_change_of_image_before_the_disk_is_made_is_obeyed),
        SIM_TEST(another_backend_waits_for_a_recreation),
        SIM_TEST(a_backend_that_is_not_here_is_told),
        SIM_TEST(up_provisions_once),
        SIM_TEST(provision_from_a_step_leaves_out_those_before_it),
        SIM_TEST(a_new_disk_gets_all_steps_whatever_was_asked_for_since),
        SIM_TEST(each_step_has_a_record_of_its_last_run_on_this_disk),
        SIM_TEST(provision_runs_the_steps_again),
        SIM_TEST(a_failing_step_ends_provisioning_until_up),
        SIM_TEST(steps_that_change_while_they_run_start_over),
        SIM_TEST(changed_steps_wait_for_the_users_word),
        SIM_TEST(a_recreation_makes_a_new_disk_and_provisions_it_if_asked),
        SIM_TEST(delete_leaves_nothing),
        SIM_TEST(a_vm_being_deleted_refuses_everything_else),
        SIM_TEST(delete_works_at_every_stage),
        SIM_TEST(a_deleted_name_can_be_used_again),
        SIM_TEST(a_host_port_of_another_vm_is_a_conflict_until_it_is_stopped),
        SIM_TEST(a_forward_that_was_removed_is_free_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
