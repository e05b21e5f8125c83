/* SPDX-License-Identifier: MPL-2.0 */
/*
 * All states that two nodes and one VM can come to while it moves, with its disk or without its
 * node being heard of, whatever is cut, killed, cancelled or takes its time, with the real
 * fleet_decide(); and that the checks would find each guard that was left out. What happens to etcd
 * itself is in test_fleet_model.c.
 */
#include "specs/base/cleanup.h"
#include "tests/unit/controller/fleet/model.h"

enum { NODES = 2, GENERATIONS = 4, FETCH_PARTLY = 1, FETCH_WHOLE = 2 };

/* Bytes only, so that two are compared and hashed as such. */
struct node {
    uint8_t has_record, epoch, generation, is_moving, is_fenced;
    uint8_t is_seen;     /* its vmctld has seen the record as it is */
    uint8_t is_starting; /* … or another one before it, and has recorded a start */
    uint8_t is_locked, lock_epoch;
    uint8_t fetched; /* of the VM that is to come */
    uint8_t is_linked;
    uint8_t is_registered; /* since it is linked */
    uint8_t has_lease;
};

/* Since reg/N is as it is. */
enum wait { WAIT_NONE, WAIT_BEGUN, WAIT_OVER, WAIT_STALE /* it has changed */ };

struct world {
    uint8_t owner, epoch, generation, is_moving, is_offered;
    uint8_t tombs[NODES]; /* their epochs; 0: none */
    uint8_t waits[NODES]; /* of who wants to take the VM away from there: enum wait */
    uint8_t is_forced, has_revoked;
    struct node nodes[NODES];
};

/* What is left out. */
static struct {
    decide_fn *decide;
    uint8_t epochs; /* that are looked at */
    bool has_no_wait, has_no_reg, has_no_epoch, has_no_check, has_no_mark, is_not_pinned;
} guards;

/* ---- a node's messenger ---- */

static struct fleet_situation look(const struct world *world, size_t i)
{
    const struct node *node = &world->nodes[i];
    bool has_object = world->owner == i;
    return (struct fleet_situation){
        .is_read = true,
        .has_object = has_object,
        .is_moving = has_object && world->is_moving,
        .is_offered = has_object && world->is_offered,
        .object_epoch = has_object ? world->epoch : 0,
        .object_generation = has_object ? world->generation : 0,
        .has_tombstone = world->tombs[i] != 0,
        .tombstone_epoch = world->tombs[i],
        .has_record = node->has_record,
        .is_fleets = node->has_record,
        .is_same_vm = node->has_record && has_object,
        .is_fenced = node->is_fenced,
        .epoch = node->epoch,
        .generation = node->generation,
        .has_directory = node->has_record,
        .is_settled = node->has_record && node->is_seen && !node->is_starting && !node->is_locked,
        .is_locked = node->is_locked,
    };
}

static void act(struct world *world, size_t i)
{
    struct node *node = &world->nodes[i];
    struct fleet_situation situation = look(world, i);
    if (!node->has_lease) { /* again, as each time that it finds its lease gone */
        node->has_lease = node->is_registered = 1;
        if (world->waits[i] != WAIT_NONE && !guards.has_no_reg) {
            world->waits[i] = WAIT_STALE;
        }
        return;
    }
    switch (guards.decide(&situation)) {
    case FLEET_WRITE_NEW:
    case FLEET_WRITE_CHANGE:
        check(!node->is_fenced, "what is being ended is taken up again");
        node->has_record = 1;
        node->epoch = world->epoch;
        node->generation = world->generation;
        node->is_moving = world->is_moving;
        node->is_seen = node->is_fenced = 0;
        break;
    case FLEET_FENCE:
        node->is_fenced = 1;
        node->is_seen = 0;
        break;
    case FLEET_REMOVE_TOMBSTONE:
        world->tombs[i] = 0;
        break;
    case FLEET_OFFER:
        world->is_offered = 1;
        break;
    default:
        break;
    }
}

/* ---- a node's vmctld ---- */

/* A start that is recorded is made, whatever the record says by then; and found the next time. */
static void run_machine(struct world *world, size_t i)
{
    struct node *node = &world->nodes[i];
    bool is_kept_down = node->is_fenced || (node->is_moving && !guards.is_not_pinned);
    if (node->is_starting) {
        node->is_starting = 0;
        node->is_locked = 1;
        node->lock_epoch = node->epoch;
    } else if (node->has_record && !node->is_seen) {
        node->is_seen = 1;
    } else if (node->has_record && !is_kept_down && !node->is_locked) {
        node->is_starting = 1;
    } else if (node->has_record && is_kept_down && node->is_locked) {
        node->is_locked = node->lock_epoch = 0;
    } else if (node->is_fenced) { /* its files first, then its record */
        node->has_record = node->is_fenced = node->epoch = node->generation = 0;
        node->is_moving = node->is_seen = 0;
    }
}

/* ---- moves ---- */

static void fetch(struct world *world, size_t i)
{
    struct node *node = &world->nodes[i];
    bool may = world->owner != i && world->is_moving && world->is_offered && node->is_linked;
    if (may && node->fetched < FETCH_WHOLE) {
        node->fetched++;
    }
}

static void give(struct world *world, size_t to)
{
    world->tombs[world->owner] = guards.has_no_mark ? 0 : world->epoch;
    world->owner = (uint8_t)to;
    world->epoch = (uint8_t)(world->epoch + !guards.has_no_epoch);
    world->generation++;
    world->is_moving = world->is_offered = 0;
    world->nodes[0].fetched = world->nodes[1].fetched = 0;
}

static void end_move(struct world *world, size_t i)
{
    struct node *node = &world->nodes[i];
    bool is_there = node->fetched == FETCH_WHOLE || (guards.has_no_check && node->fetched);
    bool may = world->owner != i && world->is_moving && world->is_offered && node->is_linked &&
               node->has_lease && !node->has_record;
    if (may && is_there) {
        check(node->fetched == FETCH_WHOLE, "it goes without its disk");
        give(world, i);
    }
}

static void force(struct world *world, size_t i)
{
    struct node *node = &world->nodes[i];
    bool has_waited = guards.has_no_wait || world->waits[i] == WAIT_OVER;
    if (world->owner == i && !node->has_lease && has_waited && world->nodes[1 - i].has_lease &&
        world->epoch < guards.epochs) {
        check(!node->is_registered, "a node that can reach etcd loses its VM");
        world->waits[i] = WAIT_NONE;
        world->is_forced = 1;
        give(world, 1 - i);
    }
}

/* A node that can reach etcd has registered again when a whole lease has passed. */
static void wait_for(struct world *world, size_t i)
{
    const struct node *node = &world->nodes[i];
    if (node->has_lease) {
        world->waits[i] = guards.has_no_reg ? world->waits[i] : WAIT_NONE;
    } else if (world->waits[i] == WAIT_NONE || world->waits[i] == WAIT_STALE) {
        world->waits[i] = WAIT_BEGUN;
    } else if (!node->is_registered) {
        world->waits[i] = WAIT_OVER;
    }
}

/* ---- what else happens ---- */

enum event {
    EVENT_BEGIN,
    EVENT_CANCEL,
    EVENT_FETCH,
    EVENT_END,
    EVENT_WAIT,
    EVENT_FORCE,
    EVENT_REVOKE,
    EVENT_EXPIRE,
    EVENT_CUT,
    EVENT_HEAL,
    EVENT_DIE,
    EVENT_MACHINE,
    EVENT_MESSENGER,
    EVENT_COUNT_
};

static void happen(struct world *world, enum event event, size_t i)
{
    struct node *node = &world->nodes[i];
    bool is_owner = world->owner == i;
    switch (event) {
    case EVENT_BEGIN:
        if (is_owner && !world->is_moving && world->generation < GENERATIONS && node->has_lease &&
            world->nodes[1 - i].has_lease && world->epoch < guards.epochs) {
            world->is_moving = 1;
            world->generation++;
        }
        break;
    case EVENT_CANCEL:
        if (is_owner && world->is_moving && world->generation < GENERATIONS) {
            world->is_moving = world->is_offered = 0;
            world->generation++;
            world->nodes[1 - i].fetched = 0;
        }
        break;
    case EVENT_FETCH:
        fetch(world, i);
        break;
    case EVENT_END:
        end_move(world, i);
        break;
    case EVENT_WAIT:
        wait_for(world, i);
        break;
    case EVENT_FORCE:
        force(world, i);
        break;
    case EVENT_REVOKE: /* by a leader that was stuck */
        if (node->is_linked && node->has_lease && !world->has_revoked) {
            node->has_lease = 0;
            world->has_revoked = 1;
        }
        break;
    case EVENT_EXPIRE:
        node->has_lease = node->is_linked ? node->has_lease : 0;
        break;
    case EVENT_CUT:
        node->is_linked = node->is_registered = 0;
        break;
    case EVENT_HEAL:
        node->is_linked = 1;
        break;
    case EVENT_DIE:
        node->is_locked = node->lock_epoch = 0;
        break;
    case EVENT_MACHINE:
        run_machine(world, i);
        break;
    default:
        if (node->is_linked) {
            act(world, i);
        }
    }
}

static void check_lives(const struct world *world)
{
    const struct node *a = &world->nodes[0], *b = &world->nodes[1];
    bool are_two = a->is_locked && b->is_locked;
    check(!are_two || a->lock_epoch != b->lock_epoch, "two lives of one VM in one epoch");
    check(!are_two || world->is_forced, "two lives of one VM");
}

/* Nothing fails any more: it is where etcd says, runs there alone, and nothing is left elsewhere.
 */
static void check_rest(const struct world *begin)
{
    enum { STEPS = 60 };
    struct world world = *begin, before;
    int steps = 0;
    do {
        before = world;
        for (size_t i = 0; i < NODES; i++) {
            world.nodes[i].is_linked = 1;
            act(&world, i);
            run_machine(&world, i);
            fetch(&world, i);
            end_move(&world, i);
        }
    } while (memcmp(&before, &world, sizeof(world)) != 0 && ++steps < STEPS);
    check(steps < STEPS, "it never comes to rest");
    for (size_t i = 0; i < NODES; i++) {
        const struct node *node = &world.nodes[i];
        bool is_owner = world.owner == i;
        check(is_owner == node->is_locked, "it does not run where it is to, or elsewhere");
        check(is_owner == node->has_record, "it is not where it is to be, or left elsewhere");
        check(!is_owner || node->epoch == world.epoch, "it is not what etcd says");
        check(world.tombs[i] == 0, "a mark stays");
    }
    check(!world.is_moving, "a move never ends");
}

/* ---- all of them ---- */

/* All events together are too many states, but for the VM's first change of node. */
static const struct {
    uint32_t left_out;
    uint8_t epochs;
} sets[] = {
    {1u << EVENT_WAIT | 1u << EVENT_FORCE | 1u << EVENT_REVOKE | 1u << EVENT_EXPIRE, 3},
    {1u << EVENT_BEGIN | 1u << EVENT_CANCEL | 1u << EVENT_FETCH | 1u << EVENT_END, 3},
    {1u << EVENT_DIE | 1u << EVENT_REVOKE | 1u << EVENT_CANCEL, 2},
};

/* The first violation, NULL: there is none; and how many states there are. */
static const char *explore_set(uint32_t left_out, size_t *ret_count)
{
    struct search search = search_new(sizeof(struct world));
    struct world begin, at_hand, next;
    memset(&begin, 0, sizeof(begin));
    begin.epoch = begin.generation = 1;
    for (size_t i = 0; i < NODES; i++) {
        begin.nodes[i].is_linked = begin.nodes[i].is_registered = begin.nodes[i].has_lease = 1;
    }
    violation = NULL;
    search_add(&search, &begin);
    for (size_t at = 0; at < search.count && !violation; at++) {
        search_get(&search, at, &at_hand);
        check_rest(&at_hand);
        for (int event = 0; event < EVENT_COUNT_; event++) {
            for (size_t i = 0; i < NODES; i++) {
                next = at_hand;
                if (!(left_out >> event & 1)) {
                    happen(&next, (enum event)event, i);
                    check_lives(&next);
                    search_add(&search, &next);
                }
            }
        }
    }
    *ret_count += search.count;
    search_free(&search);
    return violation;
}

static const char *explore(size_t *ret_count)
{
    const char *found = NULL;
    *ret_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(sets) && !found; i++) {
        guards.epochs = sets[i].epochs;
        found = explore_set(sets[i].left_out, ret_count);
    }
    return found;
}

static void no_state_breaks_what_must_hold(void **state)
{
    (void)state;
    size_t count;
    memset(&guards, 0, sizeof(guards));
    guards.decide = fleet_decide;
    const char *found = explore(&count);
    if (found) {
        fail_msg("%s, after %zu states", found, count);
    }
    assert_true(count > 1000);
    print_message("%zu states\n", count);
}

/* ---- and each of these would have been found ---- */

static enum fleet_action a_lock_alone_counts(const struct fleet_situation *s)
{
    struct fleet_situation other = *s;
    other.is_settled = true;
    return fleet_decide(&other);
}

static enum fleet_action a_lock_does_not_count(const struct fleet_situation *s)
{
    struct fleet_situation other = *s;
    other.is_settled = true;
    other.is_locked = false;
    return fleet_decide(&other);
}

static enum fleet_action it_is_never_offered(const struct fleet_situation *s)
{
    enum fleet_action action = fleet_decide(s);
    return action == FLEET_OFFER ? FLEET_NOTHING : action;
}

static enum fleet_action the_record_here_does_not_count(const struct fleet_situation *s)
{
    struct fleet_situation other = *s;
    other.generation = s->object_generation;
    return s->is_moving ? fleet_decide(&other) : fleet_decide(s);
}

static void assert_found(const char *name)
{
    size_t count;
    const char *found = explore(&count);
    if (!found) {
        fail_msg("not found: %s", name);
    }
    print_message("%s: %s, after %zu states\n", name, found, count);
}

static void each_guard_that_is_left_out_is_found(void **state)
{
    static const struct {
        const char *name;
        decide_fn *decide;
    } mutants[] = {
        {"a lock alone counts", a_lock_alone_counts},
        {"a lock does not count", a_lock_does_not_count},
        {"marks are not read", marks_are_not_read},
        {"what is ended is taken up", what_is_ended_is_taken_up},
        {"it is never offered", it_is_never_offered},
        {"the record here does not count", the_record_here_does_not_count},
    };
    bool *const flags[] = {&guards.has_no_wait, &guards.has_no_reg, &guards.has_no_epoch,
        &guards.has_no_check, &guards.has_no_mark, &guards.is_not_pinned};
    static const char *const names[] = {"no wait", "reg/N is not compared", "no epoch",
        "an end without a check", "no mark", "it starts while it moves"};
    (void)state;
    memset(&guards, 0, sizeof(guards));
    for (size_t i = 0; i < ARRAY_LEN(mutants); i++) {
        guards.decide = mutants[i].decide;
        assert_found(mutants[i].name);
    }
    guards.decide = fleet_decide;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        *flags[i] = true;
        assert_found(names[i]);
        *flags[i] = false;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_state_breaks_what_must_hold),
        cmocka_unit_test(each_guard_that_is_left_out_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
