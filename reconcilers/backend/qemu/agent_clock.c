/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Setting the clock of a guest by its agent:
 *
 *   guest-ping -> guest-get-time -> (guest-set-time -> guest-get-time)* -> done
 *
 * An agent that fails is no failure of the VM: the operation ends with what it says.
 */
#include <stdlib.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/backend/qemu/agent.h"
#include "reconcilers/backend/qemu/agent_watch.h"
#include "reconcilers/backend/qemu/machine.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

enum { CALL_MS = 10000, SETS_MAX = 3, NS_IN_MS = 1000000 };

struct agent_clock {
    struct op op;            /* first */
    struct machine *machine; /* borrowed: an operation is cancelled before its machine is closed */
    struct agent *agent;
    struct clock_result *result; /* borrowed until done */
    unsigned n_sets;
    char *set_error; /* of the last set; NULL: it did not fail */
};

static void on_cancel(struct op *op)
{
    struct agent_clock *self = (struct agent_clock *)(void *)op;
    agent_free(self->agent);
    free(self->set_error);
    free(self);
}

static int64_t wall_ms(const struct agent_clock *self)
{
    return clock_wall_ms(self->machine->host->clock);
}

static void end_refused(struct agent_clock *self, const char *reason)
{
    free(self->result->refusal);
    self->result->refusal = mem_strdup(reason);
    op_finish(&self->op, NULL);
}

static void give_up(struct agent_clock *self, const struct error *err)
{
    if (err->code == ERR_TIMEOUT) {
        agent_watch_doubt(self->machine->agent);
    }
    end_refused(self, err->message);
}

static void get_time(struct agent_clock *self);

/* It sets the hardware clock, too, and fails if it cannot: the clock itself says what came of it.
 */
static void on_set(void *context, const json_t *value, const struct error *err)
{
    struct agent_clock *self = context;
    (void)value;
    if (err && err->code == ERR_TIMEOUT) {
        give_up(self, err);
        return;
    }
    free(self->set_error);
    self->set_error = mem_strdup(err ? err->message : NULL);
    get_time(self);
}

static void set_time(struct agent_clock *self)
{
    json_t *arguments = json_object();
    int64_t then_ms = wall_ms(self) + agent_trip_ms(self->agent) / 2;
    json_put_int(arguments, "time", then_ms * NS_IN_MS);
    self->n_sets++;
    agent_call(self->agent, "guest-set-time", arguments, CALL_MS, on_set, self);
}

static void on_time(void *context, const json_t *value, const struct error *err)
{
    struct agent_clock *self = context;
    if (err) {
        give_up(self, err);
        return;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        end_refused(self, "the guest's agent does not report the time");
        return;
    }
    int64_t guest_ms = json_integer_value(value) / NS_IN_MS;
    int64_t off_ms = guest_ms - (wall_ms(self) - agent_trip_ms(self->agent) / 2);
    if (self->n_sets == 0) {
        self->result->off_ms = off_ms;
    }
    if (llabs(off_ms) < CLOCK_RIGHT_MS) {
        self->result->was_set = self->n_sets > 0;
        op_finish(&self->op, NULL);
    } else if (self->set_error) {
        end_refused(self, self->set_error);
    } else if (self->n_sets < SETS_MAX) {
        set_time(self);
    } else {
        end_refused(self, "it was set and is wrong again: another program in the guest sets it");
    }
}

static void get_time(struct agent_clock *self)
{
    agent_call(self->agent, "guest-get-time", NULL, CALL_MS, on_time, self);
}

/* From here on an answer takes as long as it takes the guest. */
static void on_ping(void *context, const json_t *value, const struct error *err)
{
    (void)value;
    if (err) {
        give_up(context, err);
    } else {
        get_time(context);
    }
}

struct op *machine_set_clock(struct machine *machine, const struct vm_env *env,
    struct clock_result *result, op_done_fn *done, void *context)
{
    cleanup_free char *path = paths_vm(machine->host->paths, env->name, VM_AGENT_SOCKET);
    struct agent_clock *self = mem_new(struct agent_clock);
    *self = (struct agent_clock){.op = {on_cancel, done, context},
        .machine = machine,
        .agent = agent_new(machine->host->loop, path),
        .result = result};
    agent_call(self->agent, "guest-ping", NULL, CALL_MS, on_ping, self);
    return &self->op;
}
