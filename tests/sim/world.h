/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An abstract world of one VM for test_model.c: what there is to see, what each action of the
 * decision table may do to it, what time does, and what may never be done. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "reconcilers/vm/decide.h"

enum image { IMAGE_MISSING, IMAGE_THERE, IMAGE_CHANGED, IMAGE_UNSURE };
/* Of the volumes: one has to be made, mounted, or unmounted because it leaves. */
enum volumes { VOLUMES_RIGHT, VOLUME_TO_MAKE, VOLUME_TO_MOUNT, VOLUME_TO_LEAVE };
enum process { PROCESS_NONE, PROCESS_WAITING, PROCESS_DYING, PROCESS_UP };

/* Packed into 64 bits so that a set of states is a set of numbers. */
union world {
    struct {
        /* the user */
        uint64_t is_desired : 1, is_deleting : 1, power : 2, wants_prepared : 1;
        uint64_t restart : 1, recreation : 2, snapshot : 1;
        /* the record */
        uint64_t has_instance : 1, intent : 2, has_pid : 1, is_outdated : 1, is_held : 1;
        uint64_t is_backing_off : 1, stage : 3, is_overdue : 1, is_grace_shorter : 1;
        /* the world */
        uint64_t process : 2, run_state : 4, is_silent : 1, has_dir : 1, image : 2;
        uint64_t is_identity_due : 1; /* the base's digest, while the guest runs */
        uint64_t volumes : 2;
        uint64_t disk : 2, is_reached : 1, has_step : 1;
        uint64_t is_clock_due : 1;                        /* it stood still */
        uint64_t is_growth_due : 1;                       /* something was added to its machine */
        uint64_t is_setting_up : 1, has_setup_failed : 1; /* its cloud-init */
        uint64_t wake : 2, is_wake_refused : 1;           /* of the disk: vm_prepared.wake */
        uint64_t has_appended : 1; /* steps came behind those that were run */
        uint64_t is_dependency_missing : 1, is_hot_change_pending : 1;
        uint64_t is_probe_due : 1, is_unhealthy : 1; /* its `live` probes failed for good */
        /* the controller */
        uint64_t is_up : 1, is_launching : 1;
        uint64_t is_boot_lost : 1; /* it died before it recorded what the boot had told */
        uint64_t is_wake_ours : 1; /* it let the guest run whose memory was loaded */
        uint64_t is_adopted : 1;   /* a process that lived before its record: its pid is unknown */
    };
    uint64_t bits;
};
_Static_assert(sizeof(union world) == sizeof(uint64_t), "a world is one number");

/* What may come of it: the good end first, then what else may happen. */
struct outcomes {
    union world worlds[4];
    size_t count;
};

struct outcomes world_carry_out(union world w, enum action action);

/* What happens by itself sooner or later; the fair end of waiting. */
union world world_pass_of_time(union world w);

/* Why the action must not be done here, or why there must be no such world; NULL: all is well. */
const char *world_danger_of(union world w, enum action action);
const char *world_state_danger_of(union world w);

/* The machine ends; what it leaves to see is nothing. */
union world world_without_process(union world w);
/* The store is lost, all else stays. */
union world world_without_record(union world w);
/* The controller dies, and with it a child that it has not let go. */
union world world_without_controller(union world w);
union world world_with_run_state(union world w, enum run_state run_state);
