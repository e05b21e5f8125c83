/* SPDX-License-Identifier: MPL-2.0 */
/* Thawing the file systems of a guest that another controller froze, or a copy whose own try to
 * thaw them failed. Done twice, the agent finds nothing frozen. */
#include <stdlib.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/agent.h"
#include "reconcilers/backend/qemu/agent_watch.h"
#include "reconcilers/backend/qemu/machine.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

enum { THAW_MS = 10000 };

struct agent_thaw {
    struct op op; /* first */
    struct machine *machine;
    struct agent *agent;
};

static void on_cancel(struct op *op)
{
    struct agent_thaw *self = (struct agent_thaw *)(void *)op;
    agent_free(self->agent);
    free(self);
}

static void on_reply(void *context, const json_t *value, const struct error *err)
{
    struct agent_thaw *self = context;
    (void)value;
    if (err && err->code == ERR_TIMEOUT) {
        agent_watch_doubt(self->machine->agent);
    }
    op_finish(&self->op, err);
}

struct op *machine_thaw(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context)
{
    cleanup_free char *path = paths_vm(machine->host->paths, env->name, VM_AGENT_SOCKET);
    struct agent_thaw *self = mem_new(struct agent_thaw);
    *self = (struct agent_thaw){.op = {on_cancel, done, context},
        .machine = machine,
        .agent = agent_new(machine->host->loop, path)};
    agent_call(self->agent, "guest-fsfreeze-thaw", NULL, THAW_MS, on_reply, self);
    return &self->op;
}
