/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The decision: desired × recorded × observed -> one action. A pure function: no I/O, no clock, no
 * memory of earlier calls. The first matching row of the table in decide.c wins; decide() also
 * returns its number, for tests and log lines.
 *
 * The engine (reconcile.c) executes the action, observes and decides again, until the action is
 * ACTION_NONE; before an action with an effect it commits the record. Events have no meaning here:
 * they only start another pass.
 */
#pragma once

#include <stdbool.h>

#include "reconcilers/backend/backend.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"

/* How far the stop ladder has come, by the clock. */
enum stop_stage {
    STOP_STAGE_POWERDOWN, /* within the guest's grace */
    STOP_STAGE_QUIT,
    STOP_STAGE_TERMINATE,
    STOP_STAGE_KILL,
    STOP_STAGE_UNKILLABLE, /* SIGKILL had no effect: a process in uninterruptible sleep */
    STOP_STAGE_COUNT_
};

/* A new disk is made beside the old one before the VM is stopped for it. */
enum recreation {
    RECREATION_NONE, /* not requested, or put off after a failure until the next try */
    RECREATION_ASKED,
    RECREATION_READY, /* the replacement of the disk exists */
};

/* How far a builder is (templates.h). */
enum build {
    BUILD_NONE, /* it is a VM */
    BUILD_UNDER_WAY,
    BUILD_TO_FREEZE, /* its steps have run: its guest is to be frozen */
    BUILD_STALE,     /* it ended in a way that left an incomplete disk */
    BUILD_DONE,      /* its steps have run: it is shut down and sealed */
    BUILD_SEALED,    /* the template exists: the builder is not needed any more … */
    BUILD_FAILED,    /* … or will not be */
};

/* The template that a new disk is to be a clone of. */
enum template_state {
    TEMPLATE_UNNEEDED, /* no new disk is due, it is to be made on the image, or its base is chosen
                          already */
    TEMPLATE_MISSING,
    TEMPLATE_BUILDING,
    TEMPLATE_READY,
    TEMPLATE_UNUSABLE,
};

struct situation {
    /* Desired. */
    bool is_desired; /* there is a desired record */
    bool is_deleting;
    enum power power;
    bool is_to_disk;     /* with POWER_SUSPENDED: its memory is to be saved and its process ended */
    bool is_halted;      /* a shutdown of the host keeps it down, whatever `power` is */
    bool wants_prepared; /* `create`: image and disk are to be made although it is stopped */
    bool is_snapshot_asked;  /* something is to be done with a snapshot */
    bool is_restart_pending; /* its token has not been handled yet */
    enum recreation recreation;
    enum build build;
    enum template_state template;
    enum wake wake;         /* of the disk, as recorded */
    bool is_wake_refused;   /* its guest is not to be woken, or not again because that failed */
    bool is_wake_ours;      /* begun by this controller, which has not identified it before */
    bool is_freezing;       /* that operation is under way */
    enum saved_phase saved; /* its memory, as recorded */
    bool is_save_failing;   /* the last try to save it failed */

    /* Recorded, as committed. */
    bool has_instance; /* an instance, or at least the intent to start one */
    enum intent intent;
    bool has_pid;               /* the instance's process was recorded */
    bool is_start_outdated;     /* the spec changed since the start was recorded */
    bool is_held;               /* the last exit allows no restart until the user requests one */
    bool is_backing_off;        /* crash loop: the next try is in the future */
    bool is_dependency_missing; /* a VM that this one depends on is not ready */

    /* Observed. */
    bool is_alive;
    bool is_waiting;   /* launched, waits for release */
    bool is_launching; /* the operation that launches it has not reported its pid yet */
    enum run_state run_state;
    bool is_boot_unknown;  /* a start whose boot this controller has not seen succeed */
    bool is_start_overdue; /* alive, but QMP did not answer within the start's deadline */
    enum stop_stage stage; /* with INTENT_STOP */
    bool is_grace_shorter; /* the user now allows less time than the recorded deadline */
    bool has_dir;
    bool has_image;
    bool is_image_changed;
    bool is_image_unsure; /* its base may have changed: its bytes have to be compared */
    bool is_volume_due;   /* a volume that the machine does not have yet has to be created */
    bool is_identity_due; /* the digest of a base in use, or of another one, is not known yet */
    enum disk_state disk;

    /* The guest, once the instance runs. */
    bool expects_ssh;
    bool is_reached;
    bool is_setting_up;         /* its cloud-init has not ended, or was not queried yet */
    bool has_setup_failed;      /* its cloud-init ended with errors: no step is run on top of it */
    bool is_hot_change_pending; /* the running machine differs from the spec, or may */
    bool is_clock_due;          /* it was stopped since its clock was last set */
    bool is_growth_due;  /* with SSH: it may not use the resources added to its machine yet */
    bool is_mount_due;   /* its volumes are not mounted as they are to be */
    bool is_unmount_due; /* … and a volume to be detached has to be unmounted first */
    bool has_step;       /* a provision step is waiting to be run */
    bool has_appended;   /* steps were appended after those that ran; they have to run, too */
    bool is_probe_due;   /* `ready` or `live` probes are to be tried, or are being tried */
    bool is_unhealthy;   /* the `live` probes failed as often as they may */
    bool is_share_lost;  /* a shared folder's server or its TPM's emulator ended; a restart restores
                            it */
};

enum action {
    ACTION_NONE,
    ACTION_ADOPT_ORPHAN, /* alive without a desired record: report, leave alone */
    ACTION_QUARANTINE,   /* files without a desired record: move aside, never delete */
    ACTION_FORGET,       /* drop all records */
    ACTION_BEGIN_STOP,   /* record the intent to stop, with a deadline */
    ACTION_POWERDOWN,
    ACTION_QUIT,
    ACTION_TERMINATE,
    ACTION_KILL,
    ACTION_RECORD_EXIT, /* the process is gone: record why, and what comes next */
    ACTION_DISCARD_ALL,
    ACTION_SEAL,           /* make the template of what a builder did */
    ACTION_FREEZE,         /* stop a builder's guest for good and record its machine */
    ACTION_SAVE,           /* stop the guest, and write its memory and machine to disk */
    ACTION_DROP_MEMORY,    /* the saved memory is no longer needed */
    ACTION_DISMISS,        /* a builder is no longer needed */
    ACTION_BEGIN_TEMPLATE, /* put the record of its builder */
    ACTION_AWAIT_TEMPLATE,
    ACTION_CHOOSE_BASE, /* record what the new disk is made on: the template, or the image */
    ACTION_SNAPSHOT,    /* make, restore or remove a snapshot of the disk */
    ACTION_REPLACE,     /* make the replacement of the disk, which is used until then */
    ACTION_DISCARD_DISK,
    ACTION_MARK_RESTARTED, /* a restart was requested and the VM is down: that part is done */
    ACTION_HOLD,           /* stays down until the user requests a start */
    ACTION_IDENTIFY_IMAGE, /* hash the base, or the file that may be it */
    ACTION_REFUSE_IMAGE,   /* the base changed under the overlay: starting would corrupt */
    ACTION_FETCH_IMAGE,
    ACTION_CHECK_DISK, /* check that the disk is still the one that was used */
    ACTION_PREPARE,
    ACTION_MAKE_VOLUMES,
    ACTION_BACK_OFF,
    ACTION_AWAIT_DEPENDENCY, /* start after the VMs it depends on are ready */
    ACTION_BOOT_COLD, /* record that the disk's first guest boots instead of being woken, and why */
    ACTION_BEGIN_START, /* record the intent to start, with instance id, ports, MAC */
    ACTION_LAUNCH,
    ACTION_RELEASE, /* the pid is committed: let the child become QEMU */
    ACTION_LOAD, /* load the memory of its template, on a disk that no guest has run on; or its own
                    saved memory */
    ACTION_MARK_WOKEN, /* record that its guest may run from now on */
    ACTION_BOOT, /* set it up over QMP and start the guest; parts that are done already are skipped
                  */
    ACTION_IDENTIFY,      /* give the woken guest its own identity */
    ACTION_CONFIRM_START, /* it runs: clear the intent */
    ACTION_GIVE_UP_START, /* QMP never answered: stop it and count a failure */
    ACTION_RECORD_CAUSE,  /* guest off or broken: remember why, then stop the process */
    ACTION_RESUME,
    ACTION_PAUSE,
    ACTION_RETRY_IO,
    ACTION_AWAIT_MACHINE, /* alive but not responding: poll it, never start a second one */
    ACTION_APPLY,         /* bring forwards, disk, CPUs, memory of the running machine in line */
    ACTION_REACH,
    ACTION_SET_CLOCK,        /* to the host's time, unless it is right */
    ACTION_GROW_GUEST,       /* make it use what was added to its machine */
    ACTION_MOUNT,            /* mount the volumes, and unmount those that leave */
    ACTION_AWAIT_CLOUD_INIT, /* query how far the guest's cloud-init is */
    ACTION_RUN_STEP,
    ACTION_APPEND_STEPS, /* record that the steps behind those that were run are to run too */
    ACTION_PROBE,        /* try the `ready` or `live` probes */
    /* Stop the guest whose `live` probes fail, or that lost a shared folder; its policy starts it
     * again. */
    ACTION_END_UNHEALTHY,
    ACTION_COUNT_
};

struct decision {
    enum action action;
    int row; /* in the table of decide.c */
};

struct decision decide(const struct situation *s);

/* Returns whether the process has to end before anything else: the user requested it, or the host
 * shuts down. */
bool situation_must_be_down(const struct situation *s);

/* Returns whether the guest can be probed: it runs, is reached, its cloud-init has ended, and no
 * step is left to run. */
bool situation_is_probeable(const struct situation *s);

/* The action of one row, for tests. Rows are numbered from 1 to DECIDE_ROWS. */
enum { DECIDE_ROWS = 73 };
enum action decide_action_of_row(int row);

const char *action_name(enum action action);
