/* SPDX-License-Identifier: MPL-2.0 */
/* The parts of the messenger (messenger.h), each in a file of its name. Each works on its member
 * alone, and none calls another. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/loop/op.h"
#include "specs/base/json.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_ask.h"

struct engine_rows;
struct error;
struct member;
struct vm_desired;

/*
 * link_state.c: how the messenger finds the fleet, for the commands of this host: the row `link`
 *
 *   {"state": "up" | "down" | "frozen", "since": wall, "code", "message", "help", "revision",
 *    "uid"}
 *
 * which is written when it changes, and the time of FLEET_CONTACT_FILE, updated whenever etcd
 * answers. A revision lower than the recorded one shows that etcd was restored.
 */
struct link_state *link_state_new(struct member *member);
void link_state_free(struct link_state *link); /* NULL is fine, here and below */

/* Checks that the rows are this fleet's, and not older than those seen before. -ERR_FLEET_FROZEN.
 */
int link_state_check(struct link_state *link, const struct engine_rows *rows, struct error *err);
void link_state_heard(struct link_state *link, int64_t revision); /* 0: none is known */
void link_state_up(struct link_state *link);
void link_state_down(struct link_state *link, const struct error *err);
void link_state_frozen(struct link_state *link, const struct error *err);

/*
 * read_all.c: reads all rows of the fleet at one revision, page by page: an answer of the engine is
 * limited (ENGINE_ANSWER_MAX), and 200 nodes of 500 VMs have 300 MB. `done` is called once, with an
 * error or with the rows, which live until the operation is freed.
 */
typedef void read_all_fn(void *context, const struct engine_rows *rows, const struct error *err);
struct read_all *read_all_start(struct member *member, read_all_fn *done, void *context);
void read_all_free(struct read_all *reading);

/*
 * register.c: registers this node in the fleet: alive/N on a lease that it renews, reg/N, and
 * node/N with what the node has. It calls `changed` without an error once alive/N is its own, and
 * with one when it cannot have the row or has lost it: then it has ended. ERR_FLEET_FROZEN: another
 * host has this node's name.
 */
struct registration *registration_new(struct member *member, op_done_fn *changed, void *context);
void registration_free(struct registration *registration);
void registration_start(struct registration *registration); /* the rows were read */
/* Whether alive/N, according to the mirror, is this messenger's. */
bool registration_holds(const struct registration *registration);
/* Called when etcd has answered: renews the lease if it is due, so that the process wakes up only
 * once for both. */
void registration_beat(struct registration *registration);
void registration_stop(struct registration *registration);

/* executor.c: carries out what fleet_decide() says about each VM of this node. It writes records of
 * this host's store at once, and rows of etcd by one transaction at a time. */
struct executor *executor_new(struct member *member);
void executor_free(struct executor *executor);
void executor_look(struct executor *executor);

/*
 * publish.c: publishes this node's VMs for the other nodes: it writes st/N/V of each when it
 * changes, and removes it with the VM. Others trust a row while its session is that of alive/N; a
 * row whose status the running vmctld has not observed has no session.
 */
struct publisher *publisher_new(struct member *member);
void publisher_free(struct publisher *publisher);
/* Sends what has changed. While an earlier transaction is open, it looks again after that. */
void publisher_look(struct publisher *publisher);

/*
 * request.c: carries out requests of this host's commands to the fleet, rows ask/ID of the store,
 * one after another, each VM in a transaction of its own, and replaces the rows by their answers
 * (specs/fleet/fleet_ask.h).
 *
 * A messenger that was killed, or did not learn the outcome of a transaction, repeats the request:
 * a VM's uid and its tokens are derived from the request's id, so that it finds what was done.
 */
struct requests *requests_new(struct member *member);
void requests_free(struct requests *requests);
void requests_look(struct requests *requests);

/*
 * republish.c: requests to restore records that etcd has lost because it was wiped or restored: it
 * writes the fleet's VMs of this host as they are here, each in one transaction. Of two nodes that
 * have a VM, the one with the higher epoch keeps it; the other finds a mark (tombstone.h).
 */
struct republisher *republisher_new(struct member *member);
void republisher_free(struct republisher *republisher);
void republisher_look(struct republisher *republisher);

/*
 * move.c: requests to move a VM, each in one transaction. Several may be open: a request that waits
 * delays no other. As above, a repeated request finds itself done.
 *
 * A VM whose node is offline is given to another node, or destroyed, only while alive/N is missing
 * and reg/N unchanged: a node that was online in between has written another reg/N. Unless the user
 * says that the node is off, both must hold for a whole TTL of that node, by this node's clock and
 * since it first saw alive/N missing: by then a node that can reach etcd has registered again,
 * whatever ended its lease. A node that cannot reach etcd may still run the VM: when it is back, it
 * finds the mark by which it has to end the VM (tombstone.h), and the VM's new life has another
 * epoch, MAC address and disk.
 */
struct moves *moves_new(struct member *member);
void moves_free(struct moves *moves);
void moves_look(struct moves *moves);

/*
 * intake.c: takes in the VMs that move to this node, its rows in/N/V. Once the old node has set
 * "offered" there, `vmctl fleet fetch V` fetches the disk, one VM at a time, and reports its
 * progress in fetched/V (specs/fleet/fleet_keys.h). Then one transaction assigns the VM to this
 * node, with the next epoch, and puts the mark for the old one (tombstone.h). Until then the VM
 * belongs to the old node, whatever is killed on either:
 *
 *   fetch      ends with this process, and leaves only what it has recorded as done; started again,
 *              it finds that, or starts from the beginning
 *   move-end   finds itself done, because in/N/V is gone
 *   fetched/V  protects the files (reconcilers/media/imported.h), and is removed once this host has
 * a record of the VM that names them, or the VM is no longer to come
 */
struct intake *intake_new(struct member *member, const char *program);
void intake_free(struct intake *intake);
void intake_look(struct intake *intake);

/* move_plan.c: what a request to move a VM writes into etcd, and what it must find there. */
struct move_plan {
    char *row;              /* ask/ID; NULL: none */
    json_t *ask;            /* … as the command wrote it */
    struct fleet_move move; /* borrows from that */
    char token[TEXT_ID_SIZE];
    char *from; /* the VM's node */
    struct vm_desired *vm;
    struct vm_desired *next;    /* NULL: it is destroyed */
    struct strings rows, texts; /* to write; "": to delete */
    struct strings unchanged;   /* rows that must be as in the mirror */
    char *absent, *present;     /* rows that must be absent, and present; NULL: none */
};
void move_plan_clear(struct move_plan *plan);

/* Each of `vm`, which is read, at its node `from`. */
void move_plan_loss(const struct member *member, struct move_plan *plan);
void move_plan_begin(const struct member *member, struct move_plan *plan);
void move_plan_cancel(const struct member *member, struct move_plan *plan);
