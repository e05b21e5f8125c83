/* SPDX-License-Identifier: MPL-2.0 */
/* The parts of the messenger (messenger.h), each in a file of its name. All of them work on the
 * member that they are given, and none knows of another. */
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
 * "uid"}
 *
 * which is written when it changes, and the time of FLEET_CONTACT_FILE, which moves with each sign
 * of life. The revision that was seen is what shows that etcd was restored.
 */
struct link_state *link_state_new(struct member *member);
void link_state_free(struct link_state *link); /* NULL is fine, here and below */

/* Whether these are the rows of our fleet, and no older than what was seen: -ERR_FLEET_FROZEN. */
int link_state_check(struct link_state *link, const struct engine_rows *rows, struct error *err);
void link_state_heard(struct link_state *link, int64_t revision); /* 0: none is known */
void link_state_up(struct link_state *link);
void link_state_down(struct link_state *link, const struct error *err);
void link_state_frozen(struct link_state *link, const struct error *err);

/*
 * read_all.c: all rows of the fleet at one revision, page by page: an answer of the engine has a
 * limit (ENGINE_ANSWER_MAX), and 200 nodes of 500 VMs have 300 MB. `done` is called once, with the
 * rows, which live until it is freed, or with an error.
 */
typedef void read_all_fn(void *context, const struct engine_rows *rows, const struct error *err);
struct read_all *read_all_start(struct member *member, read_all_fn *done, void *context);
void read_all_free(struct read_all *reading);

/*
 * register.c: this node in the fleet: alive/N on a lease that is renewed, reg/N, and node/N with
 * what it has. `changed` is called without an error once alive/N is ours, and with one when that
 * cannot be had or was lost: then it has ended. ERR_FLEET_FROZEN: another host has this node's
 * name.
 */
struct registration *registration_new(struct member *member, op_done_fn *changed, void *context);
void registration_free(struct registration *registration);
void registration_start(struct registration *registration); /* the rows were read */
/* Whether alive/N, as the rows are known, is ours. */
bool registration_holds(const struct registration *registration);
/* Something was heard of etcd: the lease is renewed if it is time, so that the process wakes for
 * both once. */
void registration_beat(struct registration *registration);
void registration_stop(struct registration *registration);

/* executor.c: carries out what fleet_decide() says about each VM of this node. Records of this
 * host's store are written at once, rows of etcd by one transaction at a time. */
struct executor *executor_new(struct member *member);
void executor_free(struct executor *executor);
void executor_look(struct executor *executor);

/*
 * publish.c: what the other nodes see of this one's VMs: st/N/V of each, written when it changes,
 * and removed with the VM. A row counts for others while its session is that of alive/N; one whose
 * status was not observed by the vmctld that runs has none.
 */
struct publisher *publisher_new(struct member *member);
void publisher_free(struct publisher *publisher);
/* Sends what has changed, unless something is on its way already: then it looks again by itself. */
void publisher_look(struct publisher *publisher);

/*
 * request.c: requests of this host's commands to the fleet: rows ask/ID of the store, carried out
 * one after another, each VM by a transaction of its own, and answered in their place
 * (specs/fleet/fleet_ask.h).
 *
 * A messenger that is killed, or does not learn what became of a transaction, does the request once
 * more: a VM's uid and its tokens are made of the request's id, so that what was done is found.
 */
struct requests *requests_new(struct member *member);
void requests_free(struct requests *requests);
void requests_look(struct requests *requests);

/*
 * republish.c: requests to put into etcd what it has lost, as one that was wiped or restored: VMs
 * of the fleet that are here, as they are here, each by one transaction. Of two nodes that have a
 * VM the one of the higher epoch keeps it; the other finds a mark (tombstone.h).
 */
struct republisher *republisher_new(struct member *member);
void republisher_free(struct republisher *republisher);
void republisher_look(struct republisher *republisher);

/*
 * move.c: requests for a VM's node, each by one transaction, several at a time: one that waits
 * keeps no other from being carried out. As above, one that is done once more is found done.
 *
 * A VM whose node is not heard of is given to another one, or destroyed, only while alive/N is
 * missing and reg/N is as it was: a node that was heard of in between has another one. Unless the
 * user says that the node is off, both have to hold for a whole TTL of that node, by the clock of
 * this one and from when it saw first that alive/N is missing: by then a node that can reach etcd
 * has registered again, whatever ended its lease. What this does not show is that a node runs
 * nothing which cannot reach etcd: when it is back, it finds the mark that it has to end it
 * (tombstone.h), and the VM's new life has another epoch, MAC address and disk.
 */
struct moves *moves_new(struct member *member);
void moves_free(struct moves *moves);
void moves_look(struct moves *moves);

/*
 * intake.c: the VMs that this node is to have, in/N/V of it: once its node has put "offered" there,
 * their disks are fetched, one at a time, by a `vmctl fleet fetch V`, which says in fetched/V how
 * far it is (specs/fleet/fleet_keys.h). When that is done, one transaction makes the VM this
 * node's, with the next epoch, and puts the mark for the other one (tombstone.h). Until then it is
 * that one's, whatever is killed here or there:
 *
 *   fetch    ends with this process, and leaves nothing but what it has recorded as done; begun
 *            again, it finds that, or begins from the start
 *   move-end is found done, as in/N/V is not there any more
 *   fetched/V, which keeps the files (reconcilers/media/imported.h), goes when the VM's record is
 *            here that names them, or when the VM is not to come any more
 */
struct intake *intake_new(struct member *member, const char *program);
void intake_free(struct intake *intake);
void intake_look(struct intake *intake);

/* move_plan.c: what such a request writes into etcd, and what it has to find there. */
/* The request that is carried out. */
struct move_plan {
    char *row;              /* ask/ID; NULL: none */
    json_t *ask;            /* … as the command wrote it */
    struct fleet_move move; /* borrows from that */
    char token[TEXT_ID_SIZE];
    char *from; /* the VM's node */
    struct vm_desired *vm;
    struct vm_desired *next;    /* NULL: it is destroyed */
    struct strings rows, texts; /* that are written; "": deleted */
    struct strings unchanged;   /* rows that have to be as they are known */
    char *absent, *present;     /* rows that must not, and that have to be there; NULL: any */
};
void move_plan_clear(struct move_plan *plan);

/* Each of `vm`, which is read, at its node `from`. */
void move_plan_loss(const struct member *member, struct move_plan *plan);
void move_plan_begin(const struct member *member, struct move_plan *plan);
void move_plan_cancel(const struct member *member, struct move_plan *plan);
