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
#include "store/batch.h"
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

/* The name of a builder, NULL: there is none. free() it. */
static char *find_builder(struct sim *sim)
{
    struct vm_summary_list list = {.count = 0};
    struct error err = {.code = ERR_NONE};
    char *name = NULL;
    assert_int_equal(store_list_summaries(sim->store, &list, &err), 0);
    for (size_t i = 0; i < list.count && !name; i++) {
        bool is_one = vm_spec_name_is_of_template(list.items[i].name);
        name = is_one ? mem_strdup(list.items[i].name) : NULL;
    }
    vm_summary_list_clear(&list);
    return name;
}

static bool has_builder(struct sim *sim, const char *unused)
{
    (void)unused;
    cleanup_free char *name = find_builder(sim);
    return name != NULL;
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
static void kill_now(struct sim *sim, bool kills_vm)
{
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
}

static void kill_all_along(struct sim *sim, bool kills_vm, int64_t after_ms)
{
    sim_up(sim, warm_spec("web"));
    sim_advance(sim, after_ms);
    kill_now(sim, kills_vm);
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

/* ---- with memory ---- */

static struct vm_spec *woken_spec(const char *name, enum warm warm)
{
    struct vm_spec *spec = warm_spec(name);
    spec->warm = warm;
    return spec;
}

static void expect_woken(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    assert_int_equal(record.status->prepared.wake, WAKE_NONE);
    assert_null(record.status->warm.cold);
    assert_int_equal(sim_count_events(sim, name, REASON_CLONED), 2);
    expect_clone(sim, name);
}

/* Memory was never loaded onto a disk on which a guest had run. */
static void expect_unharmed(const struct sim *sim)
{
    cleanup_free char *ruined = paths_path(&sim->paths, "noop/ruined");
    assert_false(fs_exists(ruined));
}

static void a_guest_is_woken_once(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, woken_spec("a", WARM_AUTO));
    expect_woken(sim, "a");
    sim_bring_up(sim, woken_spec("b", WARM_REQUIRE));
    expect_woken(sim, "b");
    assert_int_equal(templates_of(sim).n, 1);
    sim_power(sim, "a", POWER_STOPPED);
    sim_wait(sim, "a", sim_is_stopped, MINUTE_MS);
    sim_power(sim, "a", POWER_RUNNING); /* boots */
    sim_wait(sim, "a", sim_is_ready, 10 * MINUTE_MS);
    expect_woken(sim, "a");
    expect_unharmed(sim);
}

/* Whatever is killed, and whenever: memory is loaded onto new disks alone, and all ends the same.
 */
static void a_waking_killed_at_any_time_ends_the_same(void **state)
{
    (void)state;
    for (int64_t at_ms = 0; at_ms < 4 * SECOND_MS; at_ms += 110) {
        for (int kills_vm = 0; kills_vm < 2; kills_vm++) {
            struct sim *sim = sim_new(1);
            sim_script(sim, "default",
                "{\"stepMs\": 200, \"prepareMs\": 100, \"probeMs\": 100, \"freezeMs\": 200, "
                "\"settleMs\": 200, \"loadMs\": 200, \"identifyMs\": 300, \"bootMs\": 100}");
            sim_start(sim);
            sim_up(sim, woken_spec("web", WARM_AUTO));
            sim_advance(sim, at_ms);
            kill_now(sim, kills_vm);
            sim_wait(sim, "web", sim_is_ready, 20 * MINUTE_MS);
            expect_clone(sim, "web");
            expect_unharmed(sim);
            sim_wait(sim, "", has_no_builder, 5 * MINUTE_MS);
            assert_int_equal(templates_of(sim).n, 1);
            sim_check(sim);
            sim_free(sim);
        }
    }
}

static const char *cold_of(struct sim *sim, const char *name)
{
    static char text[256];
    struct vm_record record = sim_record(sim, name);
    (void)snprintf(
        text, sizeof(text), "%s", record.status->warm.cold ? record.status->warm.cold : "");
    vm_record_clear(&record);
    return text;
}

static void what_cannot_be_woken_boots_from_its_disk(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, woken_spec("a", WARM_AUTO));
    sim_script(sim, "load", "{\"failLoad\": 9}");
    sim_bring_up(sim, woken_spec("load", WARM_AUTO));
    expect_clone(sim, "load");
    assert_non_null(strstr(cold_of(sim, "load"), "noop: failure (failLoad)"));
    sim_script(sim, "mute", "{\"failIdentify\": 9}");
    sim_bring_up(sim, woken_spec("mute", WARM_AUTO));
    expect_clone(sim, "mute");
    assert_non_null(strstr(cold_of(sim, "mute"), "noop: failure (failIdentify)"));
    sim_script(sim, "default", "{\"host\": 1}"); /* QEMU was replaced */
    sim_bring_up(sim, woken_spec("host", WARM_AUTO));
    expect_clone(sim, "host");
    assert_non_null(strstr(cold_of(sim, "host"), "host 0; this is host 1"));
    expect_unharmed(sim);
    assert_int_equal(templates_of(sim).n, 1);
}

static bool has_begun_building(struct sim *sim, const char *name)
{
    (void)name;
    cleanup_free char *builder = find_builder(sim);
    return builder && sim_is_alive(sim, builder);
}

/* QEMU was replaced while the builder's ran: its memory is of the one that was started. */
static void memory_is_of_the_host_on_which_its_machine_began(void **state)
{
    struct sim *sim = *state;
    sim_up(sim, woken_spec("a", WARM_AUTO));
    sim_wait(sim, "a", has_begun_building, MINUTE_MS);
    sim_script(sim, "default", "{\"host\": 1}");
    sim_wait(sim, "a", sim_is_ready, 20 * MINUTE_MS);
    assert_non_null(strstr(cold_of(sim, "a"), "host 0; this is host 1"));
    expect_clone(sim, "a");
}

static bool is_freezing(struct sim *sim, const char *name)
{
    (void)name;
    cleanup_free char *builder = find_builder(sim);
    return builder && text_eq(sim_run_state(sim, builder), "paused");
}

/* The controller was killed after the freeze, and before it was recorded. */
static void a_builder_that_was_frozen_unseen_is_made_again(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "default", "{\"freezeMs\": 5000}");
    sim_up(sim, woken_spec("web", WARM_AUTO));
    sim_wait(sim, "web", is_freezing, 10 * MINUTE_MS);
    cleanup_free char *builder = find_builder(sim);
    sim_kill(sim);
    sim_edit_machine(sim, builder, "runState", json_string("postmigrate"));
    sim_script(sim, "default", NULL);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_ready, 20 * MINUTE_MS);
    expect_woken(sim, "web");
    expect_unharmed(sim);
}

static bool is_becoming_itself(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    return record.status && record.status->prepared.wake == WAKE_BEGUN &&
           text_eq(sim_run_state(sim, name), "running");
}

/* Woken from memory whose guest ends in such a run state, before it is itself. */
static void wake_to_an_end(struct sim *sim, const char *name, const char *run_state, enum warm warm)
{
    sim_script(sim, name, "{\"identifyMs\": 5000}");
    sim_up(sim, woken_spec(name, warm));
    sim_wait(sim, name, is_becoming_itself, MINUTE_MS);
    sim_set_run_state(sim, name, run_state);
}

static void a_guest_that_ends_when_it_is_woken_boots_from_its_disk(void **state)
{
    static const struct {
        const char *name, *run_state, *words;
    } ends[] = {
        {"panic", "guest-panicked", "panicked before it had its own identity"},
        {"off", "shutdown", "powered itself off before"},
        {"broken", "internal-error", "could not continue"},
    };
    struct sim *sim = *state;
    sim_bring_up(sim, woken_spec("a", WARM_AUTO));
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        wake_to_an_end(sim, ends[i].name, ends[i].run_state, WARM_AUTO);
        sim_wait(sim, ends[i].name, sim_is_ready, MINUTE_MS);
        expect_clone(sim, ends[i].name);
        assert_non_null(strstr(cold_of(sim, ends[i].name), ends[i].words));
        cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, ends[i].name);
        assert_int_equal(record.status->restart.count, 0);
    }
    expect_unharmed(sim);
}

static void a_machine_that_ends_when_it_is_woken_boots_from_its_disk(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, woken_spec("a", WARM_AUTO));
    sim_script(sim, "web", "{\"identifyMs\": 5000}");
    sim_up(sim, woken_spec("web", WARM_AUTO));
    sim_wait(sim, "web", is_becoming_itself, MINUTE_MS);
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    expect_clone(sim, "web");
    assert_non_null(strstr(cold_of(sim, "web"), "ended before its guest had its own identity"));
    expect_unharmed(sim);
}

static bool is_stalled(struct sim *sim, const char *name)
{
    return sim_state(sim, name, CONDITION_STALLED) == CONDITION_TRUE;
}

static void what_has_to_be_woken_is_not_booted(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, woken_spec("a", WARM_AUTO));
    sim_script(sim, "default", "{\"host\": 1}");
    sim_up(sim, woken_spec("web", WARM_REQUIRE));
    sim_wait(sim, "web", is_stalled, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), 0);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_TEMPLATE_FAILED);
    sim_script(sim, "default", NULL);
    sim_wait(sim, "web", sim_is_ready, 20 * MINUTE_MS);
    expect_woken(sim, "web");
}

static void what_ends_when_it_has_to_be_woken_is_not_booted(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, woken_spec("a", WARM_AUTO));
    wake_to_an_end(sim, "web", "guest-panicked", WARM_REQUIRE);
    sim_wait(sim, "web", is_stalled, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), 0);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_TEMPLATE_FAILED);
}

/* "web" has a disk that waits for its memory. Returns the change that did it. */
static struct change prepare_to_be_woken(struct sim *sim, const struct vm_spec *spec)
{
    sim_bring_up(sim, woken_spec("a", WARM_AUTO));
    const struct change change = {.name = "web",
        .spec = spec,
        .sets_power = true,
        .power = POWER_STOPPED,
        .wants_prepared = true,
        .provision = PROVISION_ON_START};
    sim_change(sim, &change);
    sim_advance(sim, 10 * SECOND_MS);
    struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->prepared.wake, WAKE_DUE);
    vm_record_clear(&record);
    return change;
}

/* Prepared, and then asked for as another machine. */
static void memory_of_another_machine_is_not_loaded(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = woken_spec("web", WARM_AUTO);
    struct change change = prepare_to_be_woken(sim, spec);
    spec->memory_mib *= 2;
    change.power = POWER_RUNNING;
    sim_change(sim, &change);
    vm_spec_free(spec);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    expect_clone(sim, "web");
    assert_non_null(strstr(cold_of(sim, "web"), "another machine than its template: memory "));
}

/* The image was touched, and known by its bytes: they are what the template lies on. */
static void a_touched_image_is_no_other_machine(void **state)
{
    struct sim *sim = *state;
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = woken_spec("web", WARM_REQUIRE);
    struct change change = prepare_to_be_woken(sim, spec);
    sim_kill(sim);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    digest_text("touched", record.status->prepared.image_id);
    struct store_batch *batch = store_batch_new();
    store_batch_put_status(batch, "web", record.status);
    assert_int_equal(store_commit(sim->store, batch, &err), 0);
    store_batch_free(batch);
    sim_start(sim);
    change.power = POWER_RUNNING;
    sim_change(sim, &change);
    vm_spec_free(spec);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    expect_woken(sim, "web");
}

static void memory_that_is_not_wanted_once_is_not_loaded(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = woken_spec("web", WARM_REQUIRE);
    struct change change = prepare_to_be_woken(sim, spec);
    change.power = POWER_RUNNING;
    change.is_cold = true;
    sim_change(sim, &change);
    vm_spec_free(spec);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    expect_clone(sim, "web");
    assert_non_null(strstr(cold_of(sim, "web"), "--cold"));
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
        SIM_TEST(a_guest_is_woken_once),
        cmocka_unit_test(a_waking_killed_at_any_time_ends_the_same),
        SIM_TEST(what_cannot_be_woken_boots_from_its_disk),
        SIM_TEST(memory_is_of_the_host_on_which_its_machine_began),
        SIM_TEST(a_builder_that_was_frozen_unseen_is_made_again),
        SIM_TEST(a_guest_that_ends_when_it_is_woken_boots_from_its_disk),
        SIM_TEST(a_machine_that_ends_when_it_is_woken_boots_from_its_disk),
        SIM_TEST(what_has_to_be_woken_is_not_booted),
        SIM_TEST(what_ends_when_it_has_to_be_woken_is_not_booted),
        SIM_TEST(memory_that_is_not_wanted_once_is_not_loaded),
        SIM_TEST(memory_of_another_machine_is_not_loaded),
        SIM_TEST(a_touched_image_is_no_other_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
