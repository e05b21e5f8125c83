/* SPDX-License-Identifier: MPL-2.0 */
/* Templates: one is made for many, clones have its steps, and what goes wrong ends in a cold boot.
 */
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/template.h"
#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

/* Two steps that are the template's, and one of each VM. */
static struct vm_spec *warm_spec(const char *name)
{
    struct vm_spec *spec = sim_spec_with_steps(name, 3);
    spec->warm = WARM_DISK;
    spec->steps[2].is_per_vm = true;
    return spec;
}

struct found {
    char digest[DIGEST_SIZE];
    size_t n;
};

static void find_name(void *context, int dir_fd, const char *name)
{
    struct found *found = context;
    (void)dir_fd;
    assert_true(template_digest_is_valid(name)); /* nothing half-made lies about */
    (void)snprintf(found->digest, DIGEST_SIZE, "%s", name);
    found->n++;
}

static struct found templates_of(const struct sim *sim)
{
    struct found found = {.n = 0};
    cleanup_free char *path = paths_path(&sim->paths, "templates");
    fs_each_entry(path, find_name, &found);
    return found;
}

static bool has_builder(struct sim *sim, const char *unused)
{
    struct vm_summary_list list = {.count = 0};
    struct error err = {.code = ERR_NONE};
    bool is_there = false;
    (void)unused;
    assert_int_equal(store_list_summaries(sim->store, &list, &err), 0);
    for (size_t i = 0; i < list.count; i++) {
        is_there = is_there || vm_spec_name_is_of_template(list.items[i].name);
    }
    vm_summary_list_clear(&list);
    return is_there;
}

static bool has_no_builder(struct sim *sim, const char *unused)
{
    return !has_builder(sim, unused);
}

static void expect_clone(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    assert_string_equal(record.status->prepared.template_digest, templates_of(sim).digest);
    assert_string_equal(record.status->warm.template_digest, "");
    assert_int_equal(sim_reason(sim, name, CONDITION_WARM), REASON_CLONED);
    assert_int_equal(record.status->provision.next_step, 3);
    assert_int_equal(record.status->provision.steps[0].outcome, STEP_DONE);
    assert_int_equal(record.status->provision.steps[2].outcome, STEP_DONE);
}

static void expect_cold(struct sim *sim, const char *name, enum reason reason)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    assert_string_equal(record.status->prepared.template_digest, "");
    assert_int_equal(sim_reason(sim, name, CONDITION_WARM), reason);
    assert_int_equal(record.status->provision.next_step, 3);
}

static void many_that_want_one_have_it_made_once(void **state)
{
    struct sim *sim = *state;
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        sim_up(sim, warm_spec(names[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        sim_wait(sim, names[i], sim_is_ready, 10 * MINUTE_MS);
        expect_clone(sim, names[i]);
    }
    assert_int_equal(templates_of(sim).n, 1);
    sim_wait(sim, "", has_no_builder, MINUTE_MS);
    sim_bring_up(sim, warm_spec("e")); /* later: without a builder */
    assert_int_equal(sim_count_events(sim, "e", REASON_TEMPLATE_BUILDING), 0);
    expect_clone(sim, "e");
}

static void a_vm_that_does_not_want_one_has_none(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 2));
    assert_int_equal(templates_of(sim).n, 0);
    assert_int_equal(sim_state(sim, "web", CONDITION_WARM), CONDITION_ABSENT);
    struct vm_spec *spec = warm_spec("own");
    spec->steps[0].is_per_vm = true; /* nothing would be saved */
    sim_bring_up(sim, spec);
    expect_cold(sim, "own", REASON_NO_TEMPLATE);
    spec = warm_spec("cold");
    const struct change change = {.name = "cold",
        .spec = spec,
        .sets_power = true,
        .power = POWER_RUNNING,
        .provision = PROVISION_ON_START,
        .is_cold = true};
    sim_change(sim, &change);
    vm_spec_free(spec);
    sim_wait(sim, "cold", sim_is_ready, 10 * MINUTE_MS);
    expect_cold(sim, "cold", REASON_NO_TEMPLATE);
    assert_int_equal(templates_of(sim).n, 0);
}

/* Whatever is killed, and whenever: all of them are Ready in the end, as clones, and once. */
static void kill_all_along(struct sim *sim, bool kills_vm, int64_t after_ms)
{
    sim_up(sim, warm_spec("web"));
    sim_advance(sim, after_ms);
    struct vm_summary_list list = {.count = 0};
    struct error err = {.code = ERR_NONE};
    assert_int_equal(store_list_summaries(sim->store, &list, &err), 0);
    for (size_t i = 0; kills_vm && i < list.count; i++) {
        if (sim_is_alive(sim, list.items[i].name)) {
            sim_kill_vm(sim, list.items[i].name);
        }
    }
    vm_summary_list_clear(&list);
    if (!kills_vm) {
        sim_kill(sim);
        sim_start(sim);
    }
    sim_wait(sim, "web", sim_is_ready, 20 * MINUTE_MS);
    expect_clone(sim, "web");
    sim_wait(sim, "", has_no_builder, 5 * MINUTE_MS);
    assert_int_equal(templates_of(sim).n, 1);
}

static void killed_at_any_time_it_ends_the_same(void **state)
{
    (void)state;
    for (int64_t at_ms = 0; at_ms < 6 * SECOND_MS; at_ms += 150) {
        for (int kills_vm = 0; kills_vm < 2; kills_vm++) {
            struct sim *sim = sim_new(1);
            sim_script(sim, "default", "{\"stepMs\": 700, \"prepareMs\": 200, \"probeMs\": 300}");
            sim_start(sim);
            kill_all_along(sim, kills_vm, at_ms);
            sim_check(sim);
            sim_free(sim);
        }
    }
}

static void a_host_that_reboots_has_it_made_once_more(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "default", "{\"stepMs\": 60000}");
    sim_up(sim, warm_spec("web"));
    sim_wait(sim, "", has_builder, MINUTE_MS);
    sim_advance(sim, 30 * SECOND_MS);
    sim_reboot_host(sim);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_ready, 30 * MINUTE_MS);
    expect_clone(sim, "web");
}

/* The reason is kept, is not tried again by the next VM, and is forgotten after a while. */
static void a_step_that_fails_leads_to_the_image(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "default", "{\"failStep\": 1}");
    sim_up(sim, warm_spec("web"));
    sim_wait(sim, "", has_builder, MINUTE_MS);
    struct vm_summary_list list = {.count = 0};
    struct error err = {.code = ERR_NONE};
    assert_int_equal(store_list_summaries(sim->store, &list, &err), 0);
    cleanup_free char *builder = mem_strdup(list.items[list.count - 1].name);
    vm_summary_list_clear(&list);
    sim_script(sim, "web", "{\"failStep\": 0}"); /* only the builder's fails */
    sim_script(sim, "db", "{\"failStep\": 0}");
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    expect_cold(sim, "web", REASON_TEMPLATE_FAILED);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_non_null(strstr(record.status->warm.refusal, builder + 1));
    assert_non_null(strstr(record.status->warm.refusal, "template rm"));
    sim_wait(sim, builder, sim_is_dead, 5 * MINUTE_MS); /* it takes no memory meanwhile */
    assert_int_equal(sim_count_events(sim, builder, REASON_RUNNING), 1);
    sim_bring_up(sim, warm_spec("db"));
    expect_cold(sim, "db", REASON_TEMPLATE_FAILED);
    assert_int_equal(sim_count_events(sim, builder, REASON_RUNNING), 1);
    assert_int_equal(templates_of(sim).n, 0);
    sim_script(sim, "default", NULL);
    sim_wait(sim, "", has_no_builder, 61 * MINUTE_MS);
    sim_bring_up(sim, warm_spec("now"));
    expect_clone(sim, "now");
}

static void a_recreation_takes_a_clone_of_what_fits_now(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, warm_spec("web"));
    struct found first = templates_of(sim);
    struct vm_spec *spec = warm_spec("web");
    free(spec->steps[0].command);
    spec->steps[0].command = mem_strdup("edited");
    const struct change change = {.name = "web",
        .spec = spec,
        .recreates = true,
        .source = "/project/VMFile.kdl",
        .sets_power = true,
        .power = POWER_RUNNING,
        .provision = PROVISION_ON_START};
    sim_change(sim, &change);
    vm_spec_free(spec);
    sim_wait(sim, "", has_builder, MINUTE_MS);
    sim_wait(sim, "", has_no_builder, 10 * MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_int_equal(templates_of(sim).n, 2);
    assert_string_not_equal(record.status->prepared.template_digest, first.digest);
    assert_int_equal(sim_reason(sim, "web", CONDITION_WARM), REASON_CLONED);
}

static void remove_template(struct sim *sim)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = template_path(&sim->paths, templates_of(sim).digest, "");
    assert_int_equal(fs_remove_tree(path, &err), 0);
}

/* By hand, while a clone of it is being made. */
static void one_that_vanishes_is_made_once_more(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, warm_spec("a"));
    sim_wait(sim, "", has_no_builder, MINUTE_MS);
    sim_script(sim, "b", "{\"prepareMs\": 60000}");
    sim_up(sim, warm_spec("b"));
    sim_advance(sim, 5 * SECOND_MS);
    struct vm_record record = sim_record(sim, "b");
    assert_string_equal(record.status->warm.template_digest, templates_of(sim).digest);
    vm_record_clear(&record);
    remove_template(sim);
    sim_wait(sim, "b", sim_is_ready, 20 * MINUTE_MS);
    expect_clone(sim, "b");
}

static bool is_stopped_builder(struct sim *sim, const char *name)
{
    return has_no_builder(sim, name) && sim_is_stopped(sim, name);
}

/* What the user wants meanwhile comes first, and the template is made all the same. */
static void stopped_or_destroyed_meanwhile(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "default", "{\"stepMs\": 5000}");
    sim_up(sim, warm_spec("web"));
    sim_up(sim, warm_spec("db"));
    sim_wait(sim, "", has_builder, MINUTE_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, 5 * SECOND_MS);
    sim_delete(sim, "db");
    sim_wait(sim, "db", sim_is_gone, 5 * SECOND_MS);
    sim_wait(sim, "web", is_stopped_builder, 10 * MINUTE_MS);
    assert_int_equal(templates_of(sim).n, 1);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(many_that_want_one_have_it_made_once),
        SIM_TEST(a_vm_that_does_not_want_one_has_none),
        cmocka_unit_test(killed_at_any_time_it_ends_the_same),
        SIM_TEST(a_host_that_reboots_has_it_made_once_more),
        SIM_TEST(a_step_that_fails_leads_to_the_image),
        SIM_TEST(a_recreation_takes_a_clone_of_what_fits_now),
        SIM_TEST(one_that_vanishes_is_made_once_more),
        SIM_TEST(stopped_or_destroyed_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
