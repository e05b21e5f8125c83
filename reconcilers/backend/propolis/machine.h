/* SPDX-License-Identifier: MPL-2.0 */
/* The handle of one VM: what was last seen of its zone and its server. */
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
    char instance_id[TEXT_ID_SIZE]; /* the instance that is looked after; "": none */
    bool is_starting;               /* its server need not be there yet */

    /* Seen. */
    bool is_seen; /* else what follows says nothing */
    struct zone_facts zone;
    enum run_state run_state;
    int64_t silent_since_ms; /* monotonic, 0: it answers */

    /* Under way. */
    struct op *look;
    struct loop_timer *timer; /* until the next look */
    struct zone_facts looked;
    struct rest_answer answer;
    bool is_launching;
    struct op *command;
    enum machine_command command_sent;
    struct rest_answer command_answer;
    struct zone_facts command_zone;
};

/* Takes note of what was seen, and tells if it is news. */
void machine_note(struct machine *machine, struct zone_facts zone, enum run_state run_state);
/* What was seen says nothing any more: look again. */
void machine_forget(struct machine *machine);

/* machine_ops.boot, see there: boot.c. */
struct op *propolis_boot(struct machine *machine, const struct vm_env *env,
    struct boot_result *result, op_done_fn *done, void *context);
