/* SPDX-License-Identifier: MPL-2.0 */
/* What the agent in a guest does for a VM: it is used when it answers, and never waited for. */
#include "reconcilers/vm/pass.h"

#include <stdlib.h>

#include "specs/base/mem.h"
#include "specs/base/text.h"

void pass_note_agent(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    if (!text_eq(status->agent, pass->machine.agent)) {
        free(status->agent);
        status->agent = mem_strdup(pass->machine.agent);
    }
}
