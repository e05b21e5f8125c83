/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the controller last knew of one VM. Only the controller writes it; everyone may read it.
 * What must survive a crash of the controller is here; what can be observed again is not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/json.h"
#include "specs/base/text.h"
#include "specs/vm/condition.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_snapshot.h"

struct error;

/* What the controller last intended for the instance. Recorded before the effect. */
enum intent {
    INTENT_NONE,  /* no process of this VM is meant to exist, or it runs undisturbed */
    INTENT_START, /* a start is under way; `instance.instance_id` names it */
    INTENT_STOP,  /* the stop ladder is under way; `instance.stop_deadline_ms` bounds its grace */
    INTENT_COUNT_
};

/* Why the last instance ended. */
enum exit_cause {
    EXIT_NONE,
    EXIT_BY_USER,        /* stopped, restarted or deleted on request */
    EXIT_GUEST_SHUTDOWN, /* the guest powered itself off */
    EXIT_GUEST_PANIC,
    EXIT_INTERNAL_ERROR, /* QEMU's run state internal-error */
    EXIT_PROCESS_DIED,   /* killed or crashed */
    EXIT_START_FAILED,   /* never answered */
    EXIT_HOST_REBOOT,
    EXIT_HOST_SHUTDOWN,      /* shut down with the host, in order */
    EXIT_LIVENESS_FAILED,    /* its `live` probes failed: stopped to be started again */
    EXIT_SHARE_LOST,         /* the server of a shared folder ended: the same */
    EXIT_TPM_LOST,           /* the emulator of its TPM: the same */
    EXIT_SAVED,              /* its memory is on disk, and it continues from there */
    EXIT_OOM_KILLED,         /* the kernel killed it: it needed more than its `memory-limit` */
    EXIT_HOST_OUT_OF_MEMORY, /* … or the host had no memory left */
    EXIT_CAUSE_COUNT_
};

struct vm_instance {
    char instance_id[TEXT_ID_SIZE]; /* "" : no instance recorded */
    enum intent intent;
    char boot_id[CLOCK_BOOT_ID_SIZE];
    int32_t pid;           /* 0 until the child is recorded; of Propolis: the zone's id */
    uint64_t start_ticks;  /* field 22 of /proc/PID/stat: with pid and boot_id it is an identity */
    int64_t started_at_ms; /* wall */
    int64_t start_deadline_ms; /* monotonic, same boot_id: QMP must answer by then */
    int64_t stop_deadline_ms;  /* monotonic, same boot_id: end of the guest's grace */
    enum exit_cause cause;     /* as QMP reported before `quit`; EXIT_NONE until then */
    char *accel;               /* "kvm" or "tcg", what the probe chose */
    char *server; /* Propolis: where its server answers, "10.0.0.5:12400"; NULL: not recorded */
    char *guest;  /* Propolis: the guest's address as configured; NULL: not known */
    char *no_virtiofs; /* why its shared folders are served by 9p; NULL: they are not, or there are
                        * none */
    char *memory_host; /* of a machine that may be frozen: machine_ops.memory_host when it began */
    bool is_woken;     /* its memory is a template's, in part: it cannot be saved */
    bool has_agent;    /* its machine has a channel to the guest's agent */
};

void vm_instance_clear(struct vm_instance *instance);

struct vm_restart {
    uint32_t count;                             /* failures in a row */
    char last_failed_instance_id[TEXT_ID_SIZE]; /* a failure is counted once */
    int64_t not_before_ms;                      /* wall: survives a host reboot */
    enum exit_cause last_cause;
    int32_t last_exit_status; /* as waitid(2) reports it; -1 unknown */
    char *last_message;       /* e.g. the last line of qemu.log */
    uint64_t held_generation; /* GuestShutdown: stay off until the generation or a token changes */
    uint32_t total; /* starts, over the VM's life, after an end that nobody had requested */
    bool is_due;    /* it has ended so, and neither was started nor changed by the user since */
};

/* The memory of a template belongs to its disk: it is loaded only onto a clone of that disk on
 * which no guest has run. */
enum wake {
    WAKE_NONE,  /* the guest boots */
    WAKE_DUE,   /* the disk is new, and its first guest is to be woken from the template's memory */
    WAKE_BEGUN, /* committed before that guest may run, until it has an identity of its own: a disk
                 * that is found so without it is made again */
    WAKE_COUNT_
};

/* The memory of a guest that is suspended to disk, in VM_SAVED_MEMORY. It belongs to the disk as
 * that was when the guest stood still: it is loaded once, and no guest may run on the disk before.
 */
enum saved_phase {
    SAVED_NONE,
    SAVED_BEGUN,  /* committed before the first byte: a guest that has left with its memory
                   * (RUN_STATE_POSTMIGRATE) left to there, and may continue where it is */
    SAVED_WHOLE,  /* it is on stable storage: from now on the guest is there, and nowhere else */
    SAVED_LOADED, /* committed before the guest resumes: the saved memory is invalid from then on */
    SAVED_PHASE_COUNT_
};

struct vm_saved {
    enum saved_phase phase;
    char *host;                   /* machine_ops.memory_host of when it was saved … */
    char *accel;                  /* … and the accelerator */
    bool has_agent;               /* as in vm_instance */
    bool is_frozen;               /* as with vm_status_is_frozen() then */
    uint64_t bytes;               /* of the file … */
    char stamp[DIGEST_SIZE];      /* … and which it is (file_stamp.h) */
    char disk_stamp[DIGEST_SIZE]; /* of the disk once its process had ended */
    uint32_t n_refused;           /* machines that ended while they loaded it … */
    uint64_t refused_generation;  /* … the last of them for this one … */
    char *refusal;                /* … and what it said; NULL: nothing */
};

struct vm_prepared {
    char digest[DIGEST_SIZE];          /* of what the files were made from; "" : nothing prepared */
    char *image_path;                  /* the base image in use */
    char template_digest[DIGEST_SIZE]; /* the template between it and the disk, "": none */
    enum wake wake;
    char image_id[DIGEST_SIZE];     /* of the base: sha256, or digest of inode, size and mtime */
    char image_sha256[DIGEST_SIZE]; /* of a base with such a digest, "": not hashed yet … */
    uint64_t image_size;            /* … and its bytes */
    char seed_digest[DIGEST_SIZE];  /* what `digest` has besides the image; "": not recorded */
    uint32_t disk_gib;   /* as the VMFile had it when the disk got its size; 0: it had none */
    uint64_t disk_bytes; /* the disk's size; 0: not recorded */
    uint64_t file_bytes; /* … and that of its file when an instance ended, 0: none has */
    /* The last guest that ran on it did not shut down, as far as is known: it was killed, crashed,
     * or its memory was saved. The disk is as a power cut left it. */
    bool is_crash_consistent;
};

/* How the last run of a step ended. */
enum step_outcome {
    STEP_NOT_RUN, /* never, on this disk */
    STEP_DONE,
    STEP_FAILED,
    STEP_TIMED_OUT,
    STEP_INTERRUPTED,
    STEP_OUTCOME_COUNT_
};

enum { STEP_CONTENT_SIZE = 17 };

struct vm_step_record {
    char content[STEP_CONTENT_SIZE]; /* digest of what the step did then (specs/vm/step_notes.h) */
    enum step_outcome outcome;
    int32_t exit_status; /* of its command; -1: none is known */
    int64_t ended_at_ms; /* wall */
    int64_t duration_ms; /* since it was begun, across restarts of the controller */
};

/* The intent to run a step, committed before the guest receives it. The name of a run in the guest
 * is made of the request, the steps' digest, the step and the try. */
struct vm_step_run {
    /* The instance the run was begun in; "": one whose record was lost. */
    char instance_id[TEXT_ID_SIZE];
    uint32_t tries;        /* of this step that were lost before */
    int64_t started_at_ms; /* wall; 0: not begun */
    uint64_t log_begin;    /* size of provision.log before the run */
};

struct vm_provision {
    char digest[DIGEST_SIZE];     /* of the steps being run or last run; "": none ever were */
    uint32_t next_step;           /* from 0 */
    uint32_t total;               /* the digest is of so many */
    char ran_digest[DIGEST_SIZE]; /* of those before next_step: still valid when the rest
                                     changes */
    uint32_t asked_step;          /* `--from`, from 1: runs whatever its `run`; 0 none */
    int32_t last_exit_status;     /* of a failed step; -1 none */
    char token[TEXT_ID_SIZE];     /* the user's request these steps are run for */
    bool is_failed;               /* a step failed: final until the user requests another run */
    bool is_continued;            /* those before the first that was run count as done: these were
                                     appended to a list that was complete, or asked_step was not 1 */
    char *done; /* notes of steps that need not run again (specs/vm/step_notes.h), NULL none */
    struct vm_step_run run;       /* of next_step */
    struct vm_step_record *steps; /* owned; by step, of their last runs; as many as were begun */
    uint32_t n_steps;
};

struct vm_snapshot {
    char name[SNAPSHOT_NAME_SIZE];
    char file[TEXT_ID_SIZE];        /* its files' name, without directory and ending */
    int64_t created_ms;             /* wall */
    int64_t ends_ms;                /* wall; the controller removes it then; 0: the user does */
    uint64_t bytes;                 /* of its disk's file */
    bool was_used;                  /* a guest ran */
    bool was_frozen;                /* … and its file systems were frozen: they are whole */
    char since[SNAPSHOT_NAME_SIZE]; /* as in the order: its disk has only what was written since
                                     * that one; "": all of it … */
    char *whole_because;            /* … though less was asked for; NULL: it was not */
    char *volume;                   /* it is of that, as in the order; NULL: of the VM's disk */
    struct vm_prepared prepared;
    struct vm_provision provision;
};

/* What the first disk of a VM is a copy of (`vmctl clone`, `vmctl import`). */
struct vm_origin {
    char *vm;      /* whose snapshot it is; of an import: the VM that was exported */
    bool is_taken; /* it was made for this alone: its file becomes the disk */
    char *import;  /* the files are in this folder (vm_import.h); NULL: they are a snapshot's */
    char *mac;     /* of an imported VM, which keeps it; NULL: it gets one */
    struct vm_snapshot snapshot;
};

/* Results of this instance's `live` probes. Recorded, so that a controller that is killed again and
 * again still ends a guest that hangs. */
struct vm_liveness {
    bool has_passed;   /* once */
    uint32_t failures; /* in a row, those that count */
    int64_t due_ms;    /* after a failure: monotonic, same boot; the time of the next try */
    char *failure;     /* the last that counted, NULL none */
};

/* The last result of this instance's `ready` probes. Recorded, so that a new controller neither
 * forgets that a VM was Ready nor takes it for Ready. */
struct vm_probing {
    bool is_passed;
    char *failure;            /* "http /healthz port 80: connection refused", NULL none */
    int64_t unready_since_ms; /* monotonic, same boot: when it stopped being Ready; 0: it is, or
                               * was not tried */
    struct vm_liveness live;
};

/* The state of cloud-init in this boot of the guest, as last queried. */
enum cloud_init_state {
    CLOUD_INIT_UNKNOWN, /* not queried since the guest booted */
    CLOUD_INIT_RUNNING,
    CLOUD_INIT_DONE,
    CLOUD_INIT_DEGRADED, /* done, with what it calls recoverable errors */
    CLOUD_INIT_FAILED,   /* done, with errors */
    CLOUD_INIT_DISABLED, /* installed, and does not run in this boot */
    CLOUD_INIT_ABSENT,   /* not installed */
    CLOUD_INIT_STATE_COUNT_
};

struct vm_cloud_init {
    enum cloud_init_state state;
    char *message; /* its stage while it runs, else its errors, as it reports them; NULL none */
};

/* Whether the guest stood still since its clock was last known to be right. */
struct vm_clock {
    bool is_due;      /* it was paused, or its disk full: the clock is to be checked, and set */
    int64_t slept_ms; /* clock_slept_ms() as of then; same boot */
};

/* What was added to the running machine, and its guest is not known to use. */
struct vm_growth {
    bool vcpus, memory, disk;
    char *refusal; /* why it does not, as last found; NULL: it was not tried yet */
};

/* A forward over SSH of a unix socket or of a port that the guest listens on. Recorded before it is
 * made and until it is removed. */
struct vm_forward {
    char *socket, *guest_socket; /* both NULL: a port */
    enum socket_direction direction;
    uint16_t guest_port;
    uint16_t host_port;  /* of 127.0.0.1; 0: none */
    char *guest_address; /* where the guest listens: "127.0.0.1", "localhost" */
    bool is_leased;      /* what it takes of this host is the VM's; else it is only named here */
    bool is_made;
    bool is_leaving; /* it has to be removed, and may still exist */
    char *refusal;   /* why it is not made; NULL: nothing is in the way */
};

/* The error that blocks the VM now, as struct error has it; all NULL when there is none. */
struct vm_blocker {
    char *code; /* "vmctl::image::not_found" */
    char *message;
    char *help;
};

/* Of a VM whose spec is `warm`: what its next disk is made of. */
struct vm_warm {
    char template_digest[DIGEST_SIZE]; /* the intent to clone it, from before the disk is made until
                                        * it is recorded: the template stays meanwhile */
    char *refusal; /* why it is the image instead; NULL: nothing is in the way of a template */
    char *cold;    /* why its guest boots from the disk and is not woken; NULL: it may be */
    /* Of a builder whose memory is frozen: as in struct template_memory; NULL: it is not. */
    char *host;
    char *accel;
    bool has_agent; /* as in vm_instance */
};

/* A network card of a VM besides its first. */
struct vm_card {
    char *mac;
    char *address; /* on a project network, or the one found on a bridge; NULL: none known */
};

struct vm_status {
    char uid[TEXT_ID_SIZE];
    /* The controller run that wrote this status. Facts written by a previous run are stale, for the
     * VM may have died since, until the present one has observed all VMs (store/session.h). */
    char observer[TEXT_ID_SIZE];
    uint64_t observed_generation; /* the newest desired generation that was reconciled */
    uint64_t applied_generation;  /* the one the running instance was built from */
    char handled_restart_token[TEXT_ID_SIZE];
    char handled_recreate_token[TEXT_ID_SIZE];
    char handled_provision_token[TEXT_ID_SIZE];
    char ended_provision_token[TEXT_ID_SIZE]; /* the last request whose steps all ended well */
    struct condition conditions[CONDITION_TYPE_COUNT_];
    struct vm_instance instance;
    struct vm_restart restart;
    struct vm_prepared prepared;
    struct vm_saved saved;
    /* The disk that a requested recreation is to put in the place of the present one, … */
    struct vm_prepared replacement;
    char replacement_stamp[DIGEST_SIZE];  /* … its file (file_stamp.h) … */
    char replacement_token[TEXT_ID_SIZE]; /* … and the request it was made for */
    /* The request for a recreation that came with a spec which the disk was not made from. */
    char other_recreate_token[TEXT_ID_SIZE];
    struct vm_blocker
        recreate_failure; /* why a requested new disk is not made; all NULL: nothing */
    struct vm_warm warm;
    struct vm_blocker build_failure; /* of what should have become a template; all NULL: none … */
    int64_t build_failed_ms;         /* … and when, wall */
    struct vm_provision provision;
    struct vm_cloud_init cloud_init;
    /* Of the volumes and shared folders that are mounted, and how, in this boot of the guest; "":
     * not done yet. */
    char mounted[DIGEST_SIZE];
    char *share_note; /* what mounting the shared folders found; NULL: all is well */
    char *share_user; /* the guest's user, as last seen, who owns them from the next start on:
                       * "1000:1000"; NULL: not known */
    struct vm_probing probing;
    struct vm_clock clock;
    struct vm_growth growth; /* of this instance */
    struct vm_blocker blocker;
    struct vm_forward *forwards; /* owned; over SSH */
    uint32_t n_forwards;
    struct vm_snapshot *snapshots; /* owned; the oldest first */
    uint32_t n_snapshots;
    char handled_snapshot_token[TEXT_ID_SIZE]; /* of the last request that is over … */
    struct vm_blocker snapshot_failure;        /* … and why it failed; all NULL: it did not */
    /* The spec the instance was started from, with the changes applied since. Kept when it ends.
     * NULL: none, or one that this version cannot represent, … */
    const struct vm_spec *applied_spec; /* copies share it: it is replaced, not changed */
    char *
        unread_spec; /* … which is kept here and written back as it was, for the version that can */
    /* The intent to freeze the file systems of this instance's guest, from before it is sent until
     * they are thawed; "": none. */
    char frozen_instance_id[TEXT_ID_SIZE];
    char *agent;      /* version of the agent in the guest that answers; NULL: none does */
    bool was_reached; /* the guest answered on SSH in this instance */
    char *ssh_host;   /* where SSH answers, NULL: nowhere */
    uint16_t ssh_port;
    char *mac;
    char *address;         /* on a project network; NULL: it has had none yet */
    struct vm_card *cards; /* owned; of the spec's further networks, in their order */
    size_t n_cards;
    char *vnc; /* path of its socket, or "127.0.0.1:5901" of a spec with a port; NULL: none */
    char *renamed_from; /* the name that it had, and still holds; NULL: none
                         * (store/desired/rename.h) */
    bool has_moved;     /* its files are not under that any more, whatever is there */
    uint64_t dir_inode; /* of its directory, when it was renamed; 0: there was none */
    char *machine; /* QEMU's machine type, of the VM's last start: "pc-q35-7.2"; NULL: not known */
};

/* What the machine that exists was started with, and has taken up since; NULL: none exists. */
const struct vm_spec *vm_status_running_spec(const struct vm_status *status);
/* Replaces the applied spec, also one that could not be read; with a copy, or with `spec_take`. */
void vm_status_set_applied_spec(struct vm_status *status, const struct vm_spec *spec);
void vm_status_take_applied_spec(struct vm_status *status, struct vm_spec *spec_take);

/* Of the i-th network's card; NULL: not known yet. Borrowed. */
const char *vm_status_mac(const struct vm_status *status, size_t i);
const char *vm_status_address(const struct vm_status *status, size_t i);

struct vm_status *vm_status_new(const char *uid);
void vm_status_free(struct vm_status *status); /* NULL is fine */
struct vm_status *vm_status_copy(const struct vm_status *status);
bool vm_status_equal(const struct vm_status *a, const struct vm_status *b);

extern const struct fields vm_forward_fields;

json_t *vm_status_to_json(const struct vm_status *status); /* caller owns */
/*
 * The status without what only counts on its host: processes, monotonic deadlines, boot ids, the
 * intents by which a crash of the controller is survived, and paths of files. vm_status_read()
 * takes it like any, and goals (cli/wait/goal.h) judge it alike. Caller owns.
 */
json_t *vm_status_public(const struct vm_status *status);
/* Missing or unknown keys and words read as their default; only a missing uid is an error. Times
 * and numbers that no record holds (negative, above 2^63) read as 0. Texts other than conditions'
 * messages must be UTF-8: JSON holds nothing else. */
struct vm_status *vm_status_read(struct bytes json, struct error *err);

/*
 * Sets one condition: `message` is copied (NULL or "": none), made printable UTF-8. The transition
 * time moves to `now_ms` only when the state changes; the condition's observed generation becomes
 * the status', so set that first. CONDITION_ABSENT clears the condition.
 */
void vm_status_set(struct vm_status *status, enum condition_type type, enum condition_state state,
    enum reason reason, const char *message, int64_t now_ms);
/* The file systems of the guest that runs are frozen, or may be. */
bool vm_status_is_frozen(const struct vm_status *status);
bool vm_status_is_true(const struct vm_status *status, enum condition_type type);
/* The spec whose `cpu-limit` and `memory-limit` the kernel enforces now; NULL: it enforces none.
 * Borrowed. */
const struct vm_spec *vm_status_limited_spec(const struct vm_status *status);

const char *exit_cause_name(enum exit_cause cause);
bool exit_cause_is_oom_kill(enum exit_cause cause); /* the kernel killed it for lack of memory */
const char *intent_name(enum intent intent);
const char *step_outcome_name(enum step_outcome outcome);       /* "Done" */
const char *cloud_init_state_name(enum cloud_init_state state); /* "Done" */

/* NULL: there is none of that name. Borrowed. */
struct vm_snapshot *vm_status_snapshot(const struct vm_status *status, const char *name);

/* Records the present disk, whose copy is `file` and has so many bytes, under that name; another
 * one of the name is forgotten. */
void vm_status_add_snapshot(
    struct vm_status *status, const char *name, const char *file, uint64_t bytes, int64_t now_ms);
void vm_status_remove_snapshot(struct vm_status *status, const char *name);
/* As a power cut would have left the disk: of a guest that ran, or had not shut down. */
bool vm_snapshot_is_crash_consistent(const struct vm_snapshot *snapshot);
/* The present disk is a copy of that snapshot now; `bytes`: of its file. */
void vm_status_restore_snapshot(
    struct vm_status *status, const struct vm_snapshot *snapshot, uint64_t bytes);

/* For a guest that boots again: discards what its cloud-init did before, and its mounts. */
void vm_status_forget_cloud_init(struct vm_status *status);

/* The record of a step's last run; NULL when it never ran on this disk. */
const struct vm_step_record *vm_provision_step(
    const struct vm_provision *provision, uint32_t index);
/* Records how a step's run ended. */
void vm_provision_record(
    struct vm_provision *provision, uint32_t index, const struct vm_step_record *record);
