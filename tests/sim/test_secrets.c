/* SPDX-License-Identifier: MPL-2.0 */
/* Steps with secrets: what waits for them, what begins with them, and what is left of them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "controller/reconciler.h"
#include "controller/secrets.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "tests/sim/sim.h"
#include "tests/sim/step_checks.h"

/* One step without, and one with, a secret. */
static struct vm_spec *a_spec(enum step_run run, enum secret_source source, const char *from)
{
    struct vm_spec *spec = sim_spec_with_steps("web", 2);
    struct spec_step *step = &spec->steps[1];
    step->run = run;
    step->is_per_vm = true;
    mem_grow(step->secrets, step->n_secrets);
    step->secrets[step->n_secrets++] =
        (struct spec_secret){mem_strdup("TOKEN"), source, mem_strdup(from)};
    return spec;
}

/* The first step of a_spec() is the one with the secret. */
static struct vm_spec *a_spec_that_begins_with_it(enum step_run run)
{
    struct vm_spec *spec = a_spec(run, SECRET_FROM_ENV, "T");
    struct spec_step without = spec->steps[0];
    spec->steps[0] = spec->steps[1];
    spec->steps[1] = without;
    return spec;
}

/* As a command does. */
static void hand_over(struct sim *sim, const char *value)
{
    struct secrets *secrets = controller_host(sim->controller)->secrets;
    struct buf message = BUF_INIT(0);
    buf_add(&message, "web\0env:T", sizeof("web\0env:T"));
    buf_add(&message, value, strlen(value) + 1);
    assert_true(secrets_take(secrets, message.data, message.len));
    buf_clear(&message);
}

static void again(struct sim *sim)
{
    const struct change change = {.name = "web", .provision = PROVISION_AGAIN, .retries = true};
    (void)sim_change(sim, &change);
}

static const char *kept(struct sim *sim)
{
    return secrets_get(controller_host(sim->controller)->secrets, "web", "env:T");
}

static void a_step_waits_for_its_secret_before_anything_of_it_runs(void **state)
{
    struct sim *sim = *state;
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_ENV, "T"));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_SECRET_MISSING);
    assert_step_outcomes(sim, "D-");
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->blocker.code, error_code_name(ERR_SECRET));
    assert_non_null(strstr(record.status->blocker.message, "\"TOKEN\" (from-env \"T\")"));
    assert_int_equal(record.status->provision.run.started_at_ms, 0);
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_ENV, "T"));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_step_outcomes(sim, "DD");
    assert_null(kept(sim)); /* no longer than it is needed */
}

static void handed_over_before_it_is_asked_for_it_is_there(void **state)
{
    struct sim *sim = *state;
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_COMMAND, "T")); /* that is another one */
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_SECRET_MISSING);
    (void)sim_delete(sim, "web");
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
    assert_null(kept(sim));
    unsigned n_before = sim_count_events(sim, "web", REASON_SECRET_MISSING);
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_ENV, "T"));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_SECRET_MISSING), n_before);
}

/* The backend checks what it is handed with each. */
static void the_step_behind_is_not_handed_them(void **state)
{
    struct sim *sim = *state;
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec_that_begins_with_it(RUN_ALWAYS));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_step_outcomes(sim, "DD");
}

static void a_step_that_was_to_run_once_waits_for_none_when_it_is_done(void **state)
{
    struct sim *sim = *state;
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ONCE, SECRET_FROM_ENV, "T"));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    int64_t first_ms = step_ended_at(sim, 1);
    assert_null(kept(sim));
    again(sim);
    sim_advance(sim, MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(step_ended_at(sim, 1), first_ms);
    assert_int_equal(sim_count_events(sim, "web", REASON_SECRET_MISSING), 0);
}

static void steps_that_are_taken_back_leave_none_behind(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_script(sim, "web", "{\"stepMs\": 5000}");
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_ENV, "T")); /* appends one */
    sim_advance(sim, 2000);
    assert_non_null(kept(sim));
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_null(kept(sim));
}

/* What was cut off goes on as appended steps, for which the command has just handed it over. */
static void steps_that_are_changed_keep_theirs(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_script(sim, "web", "{\"stepMs\": 5000}");
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_ENV, "T"));
    sim_advance(sim, 2000);
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ONCE, SECRET_FROM_ENV, "T"));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_step_outcomes(sim, "DD");
    assert_int_equal(sim_count_events(sim, "web", REASON_SECRET_MISSING), 0);
}

static void looked_for_again_before_its_time_it_is_missing_once(void **state)
{
    struct sim *sim = *state;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_ENV, "T"));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_settle(sim);
    sim_store_digest(sim, before);
    for (int i = 0; i < 5; i++) {
        struct reconciler_host *host = controller_host(sim->controller);
        host->wake(host, key_of(KEY_VM, "web"), WORK_USER);
        sim_settle(sim);
    }
    sim_store_digest(sim, after);
    assert_string_equal(after, before);
}

/* Before the step begins it waits again; a step that has begun ends without it. */
static void a_controller_that_is_killed_takes_them_with_it(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"stepMs\": 5000}");
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_ENV, "T"));
    sim_advance(sim, 2000); /* amid the first step */
    sim_kill(sim);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_step_outcomes(sim, "D-");
    hand_over(sim, "s3cret");
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_ENV, "T"));
    sim_advance(sim, 2000); /* amid the second */
    sim_kill(sim);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_step_outcomes(sim, "DD");
}

static void another_secret_runs_a_step_on_change_and_no_other(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"stepMs\": 1000}");
    hand_over(sim, "one");
    sim_up(sim, a_spec(RUN_ON_CHANGE, SECRET_FROM_ENV, "T"));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    int64_t first_ms = step_ended_at(sim, 1);
    hand_over(sim, "one");
    again(sim);
    sim_advance(sim, MINUTE_MS);
    assert_int_equal(step_ended_at(sim, 1), first_ms);
    hand_over(sim, "two");
    sim_advance(sim, MINUTE_MS); /* nothing runs for that alone */
    assert_int_equal(step_ended_at(sim, 1), first_ms);
    again(sim);
    sim_advance(sim, MINUTE_MS);
    assert_true(step_ended_at(sim, 1) > first_ms);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_null(strstr(record.status->provision.done, "two"));
}

static void a_secret_of_a_file_is_read_when_the_step_begins(void **state)
{
    struct sim *sim = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = paths_path(&sim->paths, "token");
    sim_up(sim, a_spec(RUN_ALWAYS, SECRET_FROM_FILE, path));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_non_null(strstr(record.status->blocker.message, path));
    assert_int_equal(fs_write_file(path, "\n", 1, 0600, &err), 0);
    sim_advance(sim, MINUTE_MS);
    cleanup_with(vm_record_clear) struct vm_record empty = sim_record(sim, "web");
    assert_non_null(strstr(empty.status->blocker.message, "it is empty"));
    assert_int_equal(fs_write_file(path, "s3cret\n", 7, 0600, &err), 0);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS); /* by itself */
    assert_step_outcomes(sim, "DD");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(a_step_waits_for_its_secret_before_anything_of_it_runs),
        SIM_TEST(handed_over_before_it_is_asked_for_it_is_there),
        SIM_TEST(the_step_behind_is_not_handed_them),
        SIM_TEST(a_step_that_was_to_run_once_waits_for_none_when_it_is_done),
        SIM_TEST(steps_that_are_taken_back_leave_none_behind),
        SIM_TEST(steps_that_are_changed_keep_theirs),
        SIM_TEST(looked_for_again_before_its_time_it_is_missing_once),
        SIM_TEST(a_controller_that_is_killed_takes_them_with_it),
        SIM_TEST(another_secret_runs_a_step_on_change_and_no_other),
        SIM_TEST(a_secret_of_a_file_is_read_when_the_step_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
