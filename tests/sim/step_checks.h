/* SPDX-License-Identifier: MPL-2.0 */
/* What the record of a world's VM "web" says of its provision steps. */
#pragma once

#include "tests/sim/sim.h"

/* How each step's last run ended: "D" done, "F" failed, "-" never run. */
static inline void assert_step_outcomes(struct sim *sim, const char *outcomes)
{
    struct vm_record record = sim_record(sim, "web");
    char have[8] = "";
    for (uint32_t i = 0; i < record.desired->spec->n_steps; i++) {
        const struct vm_step_record *last = vm_provision_step(&record.status->provision, i);
        have[i] = last ? step_outcome_name(last->outcome)[0] : '-';
    }
    assert_string_equal(have, outcomes);
    vm_record_clear(&record);
}

static inline int64_t step_ended_at(struct sim *sim, uint32_t step)
{
    struct vm_record record = sim_record(sim, "web");
    int64_t at_ms = record.status->provision.steps[step].ended_at_ms;
    vm_record_clear(&record);
    return at_ms;
}
