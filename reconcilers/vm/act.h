/* SPDX-License-Identifier: MPL-2.0 */
/* The actions that have a file of their own; act.c has the table of all. */
#pragma once

#include "reconcilers/vm/pass.h"

/* Carries out pass->decision.action. Returns when to look again, as struct verdict tells it. */
typedef int64_t act_fn(struct pass *pass);

/* act_stop.c: the stop ladder, and what else is told a machine that lives. */
act_fn act_begin_stop, act_give_up_start, act_record_cause, act_powerdown, act_quit;
act_fn act_terminate, act_kill, act_resume, act_pause, act_retry_io, act_end_unhealthy;
