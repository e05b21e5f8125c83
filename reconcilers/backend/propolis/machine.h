/* SPDX-License-Identifier: MPL-2.0 */
/* The handle of one VM: the last observed state of its zone and its server. */
#pragma once

#include "reconcilers/backend/propolis/rest.h"
#include "reconcilers/backend/propolis/zone.h"
#include "specs/base/text.h"

struct loop_timer;

struct machine {
    struct reconciler_host *host; /* borrowed */
    char *name;
    void (*changed)(void *context);
    void *context;
    struct multi *multi;
    struct rest_server server;      /* of the instance */
    char instance_id[TEXT_ID_SIZE]; /* the instance that is polled; "": none */
    bool is_starting;               /* its server may not answer yet */

    /* Observed. */
    bool is_seen; /* else the following members are invalid */
    struct zone_facts zone;
    enum run_state run_state;
    int64_t silent_since_ms; /* monotonic, 0: it answers */

    /* In progress. */
    struct op *poll;
    struct loop_timer *timer; /* until the next poll */
    struct zone_facts polled;
    struct rest_answer answer;
    struct op *monitor; /* answers when the server's generation is `generation` */
    struct rest_answer monitor_answer;
    int64_t generation;
    bool is_unmonitored; /* it does not answer as it should: polling is all there is */
    bool is_launching;
    struct op *command;
    enum machine_command command_sent;
    struct rest_answer command_answer;
    struct zone_facts command_zone;
};

/* Records an observed state, and calls `changed` if it differs from the last. */
void machine_note(struct machine *machine, struct zone_facts zone, enum run_state run_state);
/* Discards the observed state. */
void machine_forget(struct machine *machine);

/* machine_ops.boot, see there: boot.c. */
struct op *propolis_boot(struct machine *machine, const struct vm_env *env,
    struct boot_result *result, op_done_fn *done, void *context);
