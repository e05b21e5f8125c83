/* SPDX-License-Identifier: MPL-2.0 */
/*
 * All states that two nodes and one VM can come to, whatever is cut, moved, deleted, wiped and
 * restored in between, with the real fleet_decide(); and that the checks would find each of its
 * rows that were wrong.
 */
#include "specs/base/cleanup.h"
#include "tests/unit/controller/fleet/model.h"

enum { NODES = 2, EPOCHS = 3, GENERATIONS = 2, HERE_NOTHING = 0, HERE_FLEETS = 1, HERE_LOCAL = 2 };

/* Bytes only, so that two are compared and hashed as such. */
struct etcd {
    uint8_t owner; /* 0: there is no object; else the node's number + 1 */
    uint8_t epoch, generation, is_deleting;
    uint8_t tombs[NODES]; /* their epochs; 0: none */
};

struct node {
    uint8_t here;
    uint8_t epoch, generation, is_ahead, base, is_deleting;
    uint8_t is_locked, lock_epoch;
    uint8_t is_fenced;  /* its record says that it is to be ended, and its files set aside */
    uint8_t left_epoch; /* of the directory whose record is lost; 0: there is none */
    uint8_t is_linked;
};

struct world {
    struct etcd etcd, saved;
    struct node nodes[NODES];
    uint8_t has_saved, has_placed, is_restored, is_foreign, has_user_deleted;
};

/* ---- a node's messenger ---- */

static struct fleet_situation look(const struct world *world, size_t i)
{
    const struct node *node = &world->nodes[i];
    const struct etcd *etcd = &world->etcd;
    bool has_object = etcd->owner == i + 1;
    return (struct fleet_situation){
        .is_foreign = world->is_foreign,
        .is_read = true,
        .has_object = has_object,
        .is_object_deleting = has_object && etcd->is_deleting,
        .object_epoch = has_object ? etcd->epoch : 0,
        .object_generation = has_object ? etcd->generation : 0,
        .has_tombstone = etcd->tombs[i] && node->here != HERE_LOCAL,
        .has_spent_tombstone = etcd->tombs[i] && node->here == HERE_LOCAL,
        .tombstone_epoch = etcd->tombs[i],
        .has_record = node->here != HERE_NOTHING,
        .is_fleets = node->here == HERE_FLEETS,
        .is_same_vm = node->here == HERE_FLEETS,
        .is_ahead = node->is_ahead,
        .is_fenced = node->is_fenced,
        .epoch = node->epoch,
        .generation = node->generation,
        .base = node->base,
        .has_directory = node->here != HERE_NOTHING || node->left_epoch,
        .is_locked = node->is_locked,
    };
}

static void write_record(struct world *world, size_t i)
{
    struct node *node = &world->nodes[i];
    check(node->here != HERE_LOCAL, "the VM of a host is overwritten");
    check(node->here == HERE_NOTHING || world->etcd.epoch >= node->epoch, "an epoch goes back");
    check(
        !node->is_ahead || world->etcd.generation != node->base || world->etcd.epoch != node->epoch,
        "a change made here is lost");
    check(!node->is_fenced, "what is being ended is taken up again");
    check(!node->left_epoch || node->left_epoch == world->etcd.epoch,
        "the disk of an earlier life is used");
    node->left_epoch = 0;
    node->here = HERE_FLEETS;
    node->epoch = world->etcd.epoch;
    node->generation = world->etcd.generation;
    node->is_deleting = world->etcd.is_deleting;
    node->is_ahead = node->base = node->is_fenced = 0;
}

/* What the messenger does, and whether that changes anything. */
static bool act(struct world *world, size_t i, decide_fn *decide)
{
    struct node *node = &world->nodes[i];
    struct world before = *world;
    struct fleet_situation situation = look(world, i);
    switch (decide(&situation)) {
    case FLEET_COMMIT_DESTROYED:
        check(node->here != HERE_FLEETS, "it is called destroyed, and is here");
        world->etcd.owner = world->etcd.epoch = world->etcd.generation = 0;
        world->etcd.is_deleting = 0;
        break;
    case FLEET_WRITE_NEW:
    case FLEET_WRITE_CHANGE:
    case FLEET_DROP_OVERRIDE:
        write_record(world, i);
        break;
    case FLEET_PUSH:
        world->etcd.generation = node->generation;
        node->is_ahead = node->base = 0;
        break;
    case FLEET_FENCE:
        check(world->etcd.tombs[i] && world->etcd.tombs[i] >= node->epoch,
            "a machine is ended without a mark");
        check(node->here != HERE_LOCAL, "the VM of a host is ended");
        node->epoch = node->here == HERE_FLEETS ? node->epoch : world->etcd.tombs[i];
        node->here = HERE_FLEETS;
        node->left_epoch = 0;
        node->is_ahead = node->base = 0;
        node->is_fenced = 1; /* ending it here would have it started again */
        break;
    case FLEET_REMOVE_TOMBSTONE:
        check(node->here != HERE_FLEETS || node->epoch > world->etcd.tombs[i],
            "a mark goes before what it marks");
        world->etcd.tombs[i] = 0;
        break;
    default:
        break;
    }
    bool is_changed = memcmp(&before, world, sizeof(before)) != 0;
    check(!is_changed || !world->is_foreign, "something is done on the word of another etcd");
    return is_changed;
}

/* ---- a node's vmctld ---- */

static bool run_machine(struct world *world, size_t i)
{
    struct node *node = &world->nodes[i];
    bool must_be_off = node->is_deleting || node->is_fenced;
    if (node->here == HERE_FLEETS && !must_be_off && !node->is_locked) {
        node->is_locked = 1;
        node->lock_epoch = node->epoch;
        return true;
    }
    if (node->here == HERE_FLEETS && must_be_off && node->is_locked) {
        node->is_locked = node->lock_epoch = 0;
        return true;
    }
    if (node->here == HERE_FLEETS && node->is_fenced) { /* its files first, then its record */
        *node = (struct node){.is_linked = node->is_linked};
        return true;
    }
    if (node->here == HERE_FLEETS && node->is_deleting) { /* its files first, then its record */
        check(world->has_user_deleted, "a VM is erased that nobody deleted");
        *node = (struct node){.is_linked = node->is_linked};
        return true;
    }
    return false;
}

/* ---- what else happens ---- */

enum event {
    EVENT_PLACE,
    EVENT_CHANGE,
    EVENT_DELETE,
    EVENT_FORCE,
    EVENT_SAVE,
    EVENT_RESTORE_SEEN,
    EVENT_RESTORE_UNSEEN,
    EVENT_WIPE,
    EVENT_MAKE_LOCAL,
    EVENT_CHANGE_HERE,
    EVENT_LOSE_RECORD,
    EVENT_LOSE_STORE,
    EVENT_CUT,
    EVENT_HEAL,
    EVENT_DIE,
    EVENT_MACHINE,
    EVENT_MESSENGER,
    EVENT_COUNT_
};

static bool happen(struct world *world, enum event event, size_t i, decide_fn *decide)
{
    struct etcd *etcd = &world->etcd;
    struct node *node = &world->nodes[i];
    switch (event) {
    case EVENT_PLACE:
        if (etcd->owner || world->has_placed || world->is_foreign) {
            return false;
        }
        etcd->owner = (uint8_t)(i + 1);
        etcd->epoch = 1;
        etcd->generation = 1;
        world->has_placed = 1;
        return true;
    case EVENT_CHANGE:
        if (etcd->owner != i + 1 || etcd->generation >= GENERATIONS || etcd->is_deleting) {
            return false;
        }
        etcd->generation++;
        return true;
    case EVENT_DELETE:
        if (etcd->owner != i + 1 || etcd->is_deleting) {
            return false;
        }
        etcd->is_deleting = 1;
        etcd->generation++;
        world->has_user_deleted = 1;
        return true;
    case EVENT_FORCE: /* from i to the other one, while i is not heard of */
        if (etcd->owner != i + 1 || etcd->epoch >= EPOCHS || node->is_linked || etcd->is_deleting) {
            return false;
        }
        etcd->tombs[i] = etcd->epoch;
        etcd->owner = (uint8_t)(2 - i);
        etcd->epoch++;
        return true;
    case EVENT_SAVE:
        if (world->has_saved || world->is_restored) {
            return false;
        }
        world->saved = *etcd;
        world->has_saved = 1;
        return true;
    case EVENT_RESTORE_SEEN:
    case EVENT_RESTORE_UNSEEN: /* it was written to since, past the revision that is remembered */
        if (!world->has_saved || world->is_restored) {
            return false;
        }
        *etcd = world->saved;
        world->saved = (struct etcd){0};
        world->is_restored = 1;
        world->is_foreign = event == EVENT_RESTORE_SEEN;
        return true;
    case EVENT_WIPE:
        if (world->is_restored) {
            return false;
        }
        *etcd = world->saved = (struct etcd){0};
        world->is_restored = 1;
        return true;
    case EVENT_MAKE_LOCAL:
        if (node->here != HERE_NOTHING || world->has_saved) {
            return false;
        }
        node->here = HERE_LOCAL;
        return true;
    case EVENT_CHANGE_HERE:
        if (node->here != HERE_FLEETS || node->is_linked || node->is_ahead || node->is_deleting ||
            node->generation > GENERATIONS) {
            return false;
        }
        node->is_ahead = 1;
        node->base = node->generation++;
        return true;
    case EVENT_LOSE_RECORD: /* and its directory: a new disk in the host */
        if (node->here != HERE_FLEETS || node->is_locked || world->is_restored) {
            return false;
        }
        *node = (struct node){.is_linked = node->is_linked};
        return true;
    case EVENT_LOSE_STORE: /* what it knew is in its directory, and may run */
        if (node->here != HERE_FLEETS || node->is_fenced || world->is_restored) {
            return false;
        }
        *node = (struct node){.is_linked = node->is_linked,
            .left_epoch = node->epoch,
            .is_locked = node->is_locked,
            .lock_epoch = node->lock_epoch};
        return true;
    case EVENT_CUT:
    case EVENT_HEAL:
        if (node->is_linked != (event == EVENT_CUT)) {
            return false;
        }
        node->is_linked = event == EVENT_HEAL;
        return true;
    case EVENT_DIE:
        if (!node->is_locked) {
            return false;
        }
        node->is_locked = node->lock_epoch = 0;
        return true;
    case EVENT_MACHINE:
        return run_machine(world, i);
    default:
        return node->is_linked && act(world, i, decide);
    }
}

static void check_lives(const struct world *world)
{
    const struct node *a = &world->nodes[0], *b = &world->nodes[1];
    check(!a->is_locked || !b->is_locked || a->lock_epoch != b->lock_epoch,
        "two lives of one VM in one epoch");
}

/* Nothing fails any more: all comes to rest, with what etcd says. */
static void check_rest(const struct world *begin, decide_fn *decide)
{
    enum { STEPS = 40 };
    struct world world = *begin;
    int steps = 0;
    bool is_changed = true;
    world.nodes[0].is_linked = world.nodes[1].is_linked = 1;
    for (; is_changed && steps < STEPS; steps++) {
        is_changed = false;
        for (size_t i = 0; i < NODES; i++) {
            is_changed |= act(&world, i, decide);
            is_changed |= run_machine(&world, i);
        }
    }
    check(steps < STEPS, "it never comes to rest");
    if (world.is_foreign || world.is_restored) {
        return;
    }
    check(!world.nodes[0].is_locked || !world.nodes[1].is_locked, "two lives remain");
    for (size_t i = 0; i < NODES; i++) {
        const struct node *node = &world.nodes[i];
        bool is_owner = world.etcd.owner == i + 1;
        check(!is_owner || node->here != HERE_NOTHING, "an accepted request is lost");
        check(!is_owner || node->here != HERE_FLEETS ||
                  (node->generation == world.etcd.generation && node->is_locked),
            "it is not what etcd says");
        check(is_owner || node->here != HERE_FLEETS, "what is another's stays");
    }
}

/* ---- all of them ---- */

/* All events together are too many states: what is changed, and what happens to etcd itself. */
static const uint32_t event_sets[] = {
    ~(1u << EVENT_SAVE | 1u << EVENT_RESTORE_SEEN | 1u << EVENT_RESTORE_UNSEEN | 1u << EVENT_WIPE |
        1u << EVENT_MAKE_LOCAL | 1u << EVENT_LOSE_STORE),
    ~(1u << EVENT_CHANGE | 1u << EVENT_CHANGE_HERE | 1u << EVENT_LOSE_RECORD |
        1u << EVENT_MAKE_LOCAL | 1u << EVENT_LOSE_STORE),
    ~(1u << EVENT_SAVE | 1u << EVENT_RESTORE_SEEN | 1u << EVENT_RESTORE_UNSEEN | 1u << EVENT_WIPE |
        1u << EVENT_MAKE_LOCAL | 1u << EVENT_CHANGE_HERE | 1u << EVENT_CHANGE),
    ~(1u << EVENT_SAVE | 1u << EVENT_RESTORE_SEEN | 1u << EVENT_RESTORE_UNSEEN |
        1u << EVENT_CHANGE_HERE | 1u << EVENT_CHANGE | 1u << EVENT_LOSE_STORE),
};

/* The first violation, NULL: there is none; and how many states there are. */
static const char *explore_set(decide_fn *decide, uint32_t events, size_t *ret_count)
{
    struct search search = search_new(sizeof(struct world));
    struct world begin, at_hand, next;
    memset(&begin, 0, sizeof(begin));
    begin.nodes[0].is_linked = begin.nodes[1].is_linked = 1;
    violation = NULL;
    search_add(&search, &begin);
    for (size_t at = 0; at < search.count && !violation; at++) {
        search_get(&search, at, &at_hand);
        check_rest(&at_hand, decide);
        for (int event = 0; event < EVENT_COUNT_; event++) {
            for (size_t i = 0; i < NODES; i++) {
                next = at_hand;
                if (events >> event & 1 && happen(&next, (enum event)event, i, decide)) {
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

static const char *explore(decide_fn *decide, size_t *ret_count)
{
    const char *found = NULL;
    *ret_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(event_sets) && !found; i++) {
        found = explore_set(decide, event_sets[i], ret_count);
    }
    return found;
}

static void no_state_breaks_what_must_hold(void **state)
{
    (void)state;
    size_t count;
    const char *found = explore(fleet_decide, &count);
    if (found) {
        fail_msg("%s, after %zu states", found, count);
    }
    assert_true(count > 1000);
    print_message("%zu states\n", count);
}

/* ---- and each of these would have been found ---- */

static enum fleet_action absence_is_deletion(const struct fleet_situation *s)
{
    enum fleet_action action = fleet_decide(s);
    return action == FLEET_REPORT_ORPHANED ? FLEET_FENCE : action;
}

static enum fleet_action epochs_do_not_count(const struct fleet_situation *s)
{
    enum fleet_action action = fleet_decide(s);
    return action == FLEET_REPORT_OLD_EPOCH ? FLEET_WRITE_CHANGE : action;
}

static enum fleet_action any_etcd_will_do(const struct fleet_situation *s)
{
    struct fleet_situation other = *s;
    other.is_foreign = false;
    return fleet_decide(&other);
}

static enum fleet_action what_is_left_does_not_count(const struct fleet_situation *s)
{
    struct fleet_situation other = *s;
    other.has_directory = other.is_locked = false;
    return fleet_decide(&other);
}

static enum fleet_action a_mark_goes_at_once(const struct fleet_situation *s)
{
    return s->has_tombstone && s->is_read && !s->is_foreign ? FLEET_REMOVE_TOMBSTONE
                                                            : fleet_decide(s);
}

static enum fleet_action deleted_is_destroyed(const struct fleet_situation *s)
{
    return s->has_object && s->is_object_deleting && s->is_read && !s->is_foreign
               ? FLEET_COMMIT_DESTROYED
               : fleet_decide(s);
}

static enum fleet_action names_are_not_compared(const struct fleet_situation *s)
{
    enum fleet_action action = fleet_decide(s);
    return action == FLEET_REPORT_NAME_TAKEN ? FLEET_WRITE_CHANGE : action;
}

static enum fleet_action etcd_always_wins(const struct fleet_situation *s)
{
    enum fleet_action action = fleet_decide(s);
    return action == FLEET_PUSH ? FLEET_DROP_OVERRIDE : action;
}

static enum fleet_action changes_are_not_seen(const struct fleet_situation *s)
{
    enum fleet_action action = fleet_decide(s);
    return action == FLEET_WRITE_CHANGE ? FLEET_NOTHING : action;
}

static enum fleet_action old_tombstones_count(const struct fleet_situation *s)
{
    return s->has_tombstone && s->is_read && !s->is_foreign && s->is_fleets
               ? (s->is_fenced ? FLEET_AWAIT_CLEARED : FLEET_FENCE)
               : fleet_decide(s);
}

static void every_wrong_row_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        decide_fn *decide;
    } mutants[] = {
        {"absence is deletion", absence_is_deletion},
        {"epochs do not count", epochs_do_not_count},
        {"any etcd will do", any_etcd_will_do},
        {"marks are not read", marks_are_not_read},
        {"what is left does not count", what_is_left_does_not_count},
        {"what is ended is taken up", what_is_ended_is_taken_up},
        {"a mark goes at once", a_mark_goes_at_once},
        {"deleted is destroyed", deleted_is_destroyed},
        {"names are not compared", names_are_not_compared},
        {"etcd always wins", etcd_always_wins},
        {"changes are not seen", changes_are_not_seen},
        {"old tombstones count", old_tombstones_count},
    };
    for (size_t i = 0; i < ARRAY_LEN(mutants); i++) {
        size_t count;
        const char *found = explore(mutants[i].decide, &count);
        if (!found) {
            fail_msg("not found: %s", mutants[i].name);
        }
        print_message("%s: %s, after %zu states\n", mutants[i].name, found, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_state_breaks_what_must_hold),
        cmocka_unit_test(every_wrong_row_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
