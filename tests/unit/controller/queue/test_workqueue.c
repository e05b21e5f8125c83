/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/queue/workqueue.h"

#include <time.h>

#include "specs/base/cleanup.h"
#include "tests/unit/controller/test_support.h"

static int set_up(void **state)
{
    *state = workqueue_new();
    return 0;
}

static int tear_down(void **state)
{
    workqueue_free(*state);
    return 0;
}

static void assert_takes(struct workqueue *queue, int64_t now_ms, const char *key)
{
    const char *taken = workqueue_take(queue, now_ms).name;
    assert_non_null(taken);
    assert_string_equal(taken, key);
}

static void take_and_finish(struct workqueue *queue, int64_t now_ms, const char *key)
{
    assert_takes(queue, now_ms, key);
    workqueue_done(queue, key_of(KEY_VM, key));
}

/* ---- client-go's queue_test.go ---- */

static void within_a_priority_first_in_is_first_out(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    workqueue_add(queue, key_of(KEY_VM, "b"), WORK_EVENT);
    workqueue_add(queue, key_of(KEY_VM, "c"), WORK_EVENT);
    assert_int_equal(workqueue_length(queue), 3);
    take_and_finish(queue, 0, "a");
    take_and_finish(queue, 0, "b");
    take_and_finish(queue, 0, "c");
    assert_null(workqueue_take(queue, 0).name);
    assert_int_equal(workqueue_length(queue), 0);
}

static void a_key_added_twice_waits_once(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    assert_int_equal(workqueue_length(queue), 1);
    take_and_finish(queue, 0, "a");
    assert_null(workqueue_take(queue, 0).name);
}

static void a_key_added_while_processed_is_not_handed_out_before_done(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    assert_takes(queue, 0, "a");
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    assert_null(workqueue_take(queue, 0).name);
    assert_int_equal(workqueue_length(queue), 0);
    workqueue_done(queue, key_of(KEY_VM, "a"));
    take_and_finish(queue, 0, "a");
    assert_null(workqueue_take(queue, 0).name);
}

static void done_without_an_add_forgets_the_key(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    take_and_finish(queue, 0, "a");
    assert_int_equal(workqueue_next_due(queue, 0), -1);
    assert_int_equal(workqueue_length(queue), 0);
}

/* ---- priorities ---- */

static void the_highest_priority_goes_first(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "background"), WORK_BACKGROUND);
    workqueue_add(queue, key_of(KEY_VM, "event"), WORK_EVENT);
    workqueue_add(queue, key_of(KEY_VM, "user"), WORK_USER);
    workqueue_add(queue, key_of(KEY_VM, "retry"), WORK_RETRY);
    take_and_finish(queue, 0, "user");
    take_and_finish(queue, 0, "event");
    take_and_finish(queue, 0, "retry");
    take_and_finish(queue, 0, "background");
}

static void adding_again_raises_the_priority_and_never_lowers_it(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_BACKGROUND);
    workqueue_add(queue, key_of(KEY_VM, "b"), WORK_EVENT);
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_USER);
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_BACKGROUND);
    take_and_finish(queue, 0, "a");
    take_and_finish(queue, 0, "b");
}

static void an_add_while_processed_keeps_its_priority(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_BACKGROUND);
    assert_takes(queue, 0, "a");
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_USER);
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_BACKGROUND);
    workqueue_add(queue, key_of(KEY_VM, "b"), WORK_EVENT);
    workqueue_done(queue, key_of(KEY_VM, "a"));
    take_and_finish(queue, 0, "a");
    take_and_finish(queue, 0, "b");
}

static void the_priority_of_the_last_time_is_not_inherited(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_USER);
    assert_takes(queue, 0, "a");
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_BACKGROUND);
    workqueue_add(queue, key_of(KEY_VM, "b"), WORK_EVENT);
    workqueue_done(queue, key_of(KEY_VM, "a"));
    take_and_finish(queue, 0, "b");
    take_and_finish(queue, 0, "a");
}

/* ---- later: client-go's delaying_queue_test.go ---- */

static void a_delayed_key_is_ready_when_it_is_due_and_not_before(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 50);
    assert_int_equal(workqueue_length(queue), 1);
    assert_null(workqueue_take(queue, 49).name);
    assert_int_equal(workqueue_next_due(queue, 10), 50);
    assert_int_equal(workqueue_next_due(queue, 60), 60);
    take_and_finish(queue, 50, "a");
    assert_int_equal(workqueue_next_due(queue, 60), -1);
}

static void the_earliest_of_several_times_counts(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 50);
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 30);
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 70);
    assert_int_equal(workqueue_length(queue), 1);
    assert_int_equal(workqueue_next_due(queue, 0), 30);
    take_and_finish(queue, 30, "a");
    assert_null(workqueue_take(queue, 1000).name);
}

static void delayed_keys_come_in_order_of_time_and_then_of_arrival(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add_at(queue, key_of(KEY_VM, "late"), 90);
    workqueue_add_at(queue, key_of(KEY_VM, "first"), 20);
    workqueue_add_at(queue, key_of(KEY_VM, "second"), 20);
    workqueue_add_at(queue, key_of(KEY_VM, "early"), 10);
    take_and_finish(queue, 100, "early");
    take_and_finish(queue, 100, "first");
    take_and_finish(queue, 100, "second");
    take_and_finish(queue, 100, "late");
}

static void an_add_overtakes_the_wait_and_leaves_no_second_run_behind(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 50);
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_USER);
    assert_int_equal(workqueue_next_due(queue, 0), 0);
    take_and_finish(queue, 0, "a");
    assert_null(workqueue_take(queue, 1000).name);
}

static void a_time_for_a_ready_key_changes_nothing(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 50);
    take_and_finish(queue, 0, "a");
    assert_null(workqueue_take(queue, 1000).name);
}

static void a_time_set_while_processed_counts_from_done(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_USER);
    assert_takes(queue, 0, "a");
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 50);
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 40);
    assert_int_equal(workqueue_next_due(queue, 0), -1);
    workqueue_done(queue, key_of(KEY_VM, "a"));
    assert_int_equal(workqueue_next_due(queue, 0), 40);
    workqueue_add(queue, key_of(KEY_VM, "b"), WORK_EVENT);
    take_and_finish(queue, 40, "b"); /* it was the user's, now it is a retry */
    take_and_finish(queue, 40, "a");
}

static void an_add_while_processed_beats_a_time(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    assert_takes(queue, 0, "a");
    workqueue_add_at(queue, key_of(KEY_VM, "a"), 50);
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    workqueue_done(queue, key_of(KEY_VM, "a"));
    take_and_finish(queue, 0, "a");
    assert_null(workqueue_take(queue, 1000).name);
}

/* ---- kinds of key ---- */

static void one_name_in_two_kinds_is_two_keys_of_one_order(void **state)
{
    struct workqueue *queue = *state;
    workqueue_add(queue, key_of(KEY_IMAGE, "a"), WORK_EVENT);
    workqueue_add(queue, key_of(KEY_VM, "a"), WORK_EVENT);
    workqueue_add(queue, key_of(KEY_SOURCE, "a"), WORK_USER);
    assert_int_equal(workqueue_length(queue), 3);
    static const enum key_kind order[] = {KEY_SOURCE, KEY_IMAGE, KEY_VM};
    for (size_t i = 0; i < 3; i++) {
        struct key key = workqueue_take(queue, 0);
        assert_int_equal(key.kind, order[i]);
        assert_string_equal(key.name, "a");
    }
    workqueue_add(queue, key_of(KEY_IMAGE, "a"), WORK_EVENT); /* while all three are processed */
    workqueue_done(queue, key_of(KEY_VM, "a"));
    assert_null(workqueue_take(queue, 0).name);
    workqueue_done(queue, key_of(KEY_IMAGE, "a"));
    assert_int_equal(workqueue_take(queue, 0).kind, KEY_IMAGE);
}

/* ---- a seeded walk against a model too simple to be wrong ---- */

enum { MODEL_KEYS = 24, FUZZ_STEPS = 100000 };

struct model_key {
    bool is_ready, is_processing, is_dirty;
    enum work_priority priority;
    uint64_t order; /* of arrival in its priority */
    int64_t due_ms; /* -1: none */
    uint64_t due_order;
};

struct model {
    struct model_key keys[MODEL_KEYS];
    uint64_t last_order;
    int64_t now_ms;
};

static void model_ready(struct model *model, struct model_key *key, enum work_priority priority)
{
    key->is_ready = true;
    key->priority = priority;
    key->order = ++model->last_order;
    key->due_ms = -1;
}

static void model_add(struct model *model, struct model_key *key, enum work_priority priority)
{
    if (key->is_processing) {
        key->priority = key->is_dirty && key->priority > priority ? key->priority : priority;
        key->is_dirty = true;
    } else if (!key->is_ready) {
        bool is_delayed = key->due_ms >= 0;
        model_ready(model, key, is_delayed && priority < WORK_RETRY ? WORK_RETRY : priority);
    } else if (priority > key->priority) {
        model_ready(model, key, priority);
    }
}

static void model_add_at(struct model *model, struct model_key *key, int64_t due_ms)
{
    if (key->is_ready || (key->due_ms >= 0 && key->due_ms <= due_ms)) {
        return;
    }
    if (key->due_ms < 0) {
        key->due_order = ++model->last_order;
    }
    key->due_ms = due_ms;
}

static void model_promote(struct model *model)
{
    for (;;) {
        struct model_key *next = NULL;
        for (size_t i = 0; i < MODEL_KEYS; i++) {
            struct model_key *key = &model->keys[i];
            bool is_due = !key->is_processing && key->due_ms >= 0 && key->due_ms <= model->now_ms;
            if (is_due && (!next || key->due_ms < next->due_ms ||
                              (key->due_ms == next->due_ms && key->due_order < next->due_order))) {
                next = key;
            }
        }
        if (!next) {
            return;
        }
        model_ready(model, next, WORK_RETRY);
    }
}

static int model_take(struct model *model)
{
    int best = -1;
    model_promote(model);
    for (int i = 0; i < MODEL_KEYS; i++) {
        const struct model_key *key = &model->keys[i];
        const struct model_key *other = best >= 0 ? &model->keys[best] : NULL;
        if (key->is_ready && (!other || key->priority > other->priority ||
                                 (key->priority == other->priority && key->order < other->order))) {
            best = i;
        }
    }
    if (best >= 0) {
        model->keys[best].is_ready = model->keys[best].is_dirty = false;
        model->keys[best].is_processing = true;
    }
    return best;
}

static void model_done(struct model *model, struct model_key *key)
{
    key->is_processing = false;
    if (key->is_dirty) {
        key->is_dirty = false;
        model_ready(model, key, key->priority);
    } else if (key->due_ms >= 0) {
        key->due_order = ++model->last_order;
    }
}

static size_t model_length(const struct model *model)
{
    size_t length = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        const struct model_key *key = &model->keys[i];
        length += !key->is_processing && (key->is_ready || key->due_ms >= 0);
    }
    return length;
}

static uint32_t roll(uint64_t *state, uint32_t sides)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % sides;
}

static void assert_same_take(struct workqueue *queue, struct model *model)
{
    int expected = model_take(model);
    const char *key = workqueue_take(queue, model->now_ms).name;
    if (expected < 0) {
        assert_null(key);
    } else {
        char name[16];
        snprintf(name, sizeof(name), "vm-%d", expected);
        assert_non_null(key);
        assert_string_equal(key, name);
    }
}

static void walk_a_step(struct workqueue *queue, struct model *model, uint64_t *rng)
{
    uint32_t index = roll(rng, MODEL_KEYS);
    struct model_key *key = &model->keys[index];
    char name[16];
    snprintf(name, sizeof(name), "vm-%u", index);
    switch (roll(rng, 6)) {
    case 0: {
        enum work_priority priority = (enum work_priority)roll(rng, WORK_PRIORITY_COUNT_);
        workqueue_add(queue, key_of(KEY_VM, name), priority);
        model_add(model, key, priority);
        break;
    }
    case 1: {
        int64_t due_ms = model->now_ms + (int64_t)roll(rng, 40);
        workqueue_add_at(queue, key_of(KEY_VM, name), due_ms);
        model_add_at(model, key, due_ms);
        break;
    }
    case 2:
        model->now_ms += (int64_t)roll(rng, 10);
        break;
    case 3:
        assert_same_take(queue, model);
        break;
    default: /* twice as often, so that not everything ends up processing */
        if (key->is_processing) {
            workqueue_done(queue, key_of(KEY_VM, name));
            model_done(model, key);
        }
    }
    assert_int_equal(workqueue_length(queue), model_length(model));
}

static void a_long_random_walk_agrees_with_a_simple_model(void **state)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct workqueue *queue = workqueue_new();
        struct model model = {0};
        for (size_t i = 0; i < MODEL_KEYS; i++) {
            model.keys[i].due_ms = -1;
        }
        uint64_t rng = seed;
        for (int step = 0; step < FUZZ_STEPS; step++) {
            walk_a_step(queue, &model, &rng);
        }
        workqueue_free(queue);
    }
    (void)state;
}

/* Not an assertion, which would fail on a busy machine: a figure to look at. */
static void report_the_cost_of_add_take_done(void **state)
{
    enum { KEYS = 1000, ROUNDS = 200 };
    struct workqueue *queue = *state;
    char names[KEYS][16];
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "vm-%d", i);
    }
    clock_t before = clock();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < KEYS; i++) {
            workqueue_add(queue, key_of(KEY_VM, names[i]), WORK_EVENT);
        }
        for (int i = 0; i < KEYS; i++) {
            workqueue_done(queue, workqueue_take(queue, 0));
        }
    }
    double seconds = (double)(clock() - before) / CLOCKS_PER_SEC;
    print_message("add+take+done: %.0f ns\n", seconds * 1e9 / (KEYS * ROUNDS));
    assert_int_equal(workqueue_length(queue), 0);
}

#define WITH_QUEUE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_QUEUE(within_a_priority_first_in_is_first_out),
        WITH_QUEUE(a_key_added_twice_waits_once),
        WITH_QUEUE(a_key_added_while_processed_is_not_handed_out_before_done),
        WITH_QUEUE(done_without_an_add_forgets_the_key),
        WITH_QUEUE(the_highest_priority_goes_first),
        WITH_QUEUE(adding_again_raises_the_priority_and_never_lowers_it),
        WITH_QUEUE(an_add_while_processed_keeps_its_priority),
        WITH_QUEUE(the_priority_of_the_last_time_is_not_inherited),
        WITH_QUEUE(a_delayed_key_is_ready_when_it_is_due_and_not_before),
        WITH_QUEUE(the_earliest_of_several_times_counts),
        WITH_QUEUE(delayed_keys_come_in_order_of_time_and_then_of_arrival),
        WITH_QUEUE(an_add_overtakes_the_wait_and_leaves_no_second_run_behind),
        WITH_QUEUE(a_time_for_a_ready_key_changes_nothing),
        WITH_QUEUE(a_time_set_while_processed_counts_from_done),
        WITH_QUEUE(an_add_while_processed_beats_a_time),
        WITH_QUEUE(one_name_in_two_kinds_is_two_keys_of_one_order),
        cmocka_unit_test(a_long_random_walk_agrees_with_a_simple_model),
        WITH_QUEUE(report_the_cost_of_add_take_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
