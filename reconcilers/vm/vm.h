/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One VM in the memory of the controller: the backend's handles, the operation in progress and its
 * results, and the last failure. Nothing here needs to survive a crash; that is in vm_status.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/image/image_removal.h"
#include "reconcilers/vm/decide.h"
#include "reconcilers/vm/failure.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/vm/spec_diff.h"
#include "specs/vm/vm_steps.h"

struct step_secrets;
struct vm;
struct vm_registry;

/* The last attempt at `action` failed; cleared when the action succeeds or the desired record
 * changes. */
struct vm_failure {
    enum action action;  /* ACTION_NONE: no failure */
    struct error *error; /* owned; set unless ACTION_NONE */
    uint32_t count;      /* in a row */
    int64_t retry_at_ms; /* monotonic */
    uint64_t generation; /* of the desired record it failed for */
};

/* The results of the operation in progress, kept until a pass records them in the status. */
struct vm_outcome {
    struct error *error; /* owned; NULL: it succeeded, or has not finished */
    struct image_result image;
    struct vm_prepared prepared;
    char disk_stamp[DIGEST_SIZE]; /* of the file that was made, or looked at */
    struct vm_instance instance;
    struct boot_result boot;
    struct step_result step;
    struct cloud_init_report cloud_init;
    struct clock_result clock;
    struct growth_result growth;
    char mounted[DIGEST_SIZE]; /* ACTION_MOUNT: as in vm_status */
    struct mount_result mount;
    int64_t slept_ms;      /* ACTION_SET_CLOCK: of the host, when it began */
    enum check_kind check; /* ACTION_PROBE: which */
    struct snapshot_order
        snapshot;      /* ACTION_SNAPSHOT: without a token it is the controller's own */
    bool is_thaw;      /* … or it only thaws a guest … */
    bool is_used_disk; /* … and of a machine that runs … */
    struct snapshot_made snapshot_made; /* … whose copy this is */
};

/* The state of `ready` or `live` between two tries. It is lost with the controller, and the probes
 * are then tried at once. The rest is in vm_status.probing. */
struct vm_check {
    int64_t due_ms;    /* monotonic; 0: at once */
    uint32_t failures; /* CHECK_READY: in a row */
};

/* The difference between running instance and desired spec. hot_change.c computes it once per
 * instance and generation, because it is expensive. */
struct vm_comparison {
    bool is_made;
    char instance_id[TEXT_ID_SIZE];
    uint64_t generation;
    bool is_outdated; /* as observed: media_facts.is_outdated */
    struct spec_diff diff;
    bool is_pending; /* some of it can be applied to the running machine */
};

/* vm_steps_state(), whose digests each pass needs, and all that it follows from. */
struct vm_steps {
    char uid[TEXT_ID_SIZE];
    uint64_t revision; /* of the desired record */
    char digest[DIGEST_SIZE];
    uint32_t total;
    bool is_failed;
    enum steps_state state;
};

struct vm {
    char *name;
    struct reconciler_host *host; /* borrowed: outlives every VM */
    const struct backend *backend;
    struct machine *machine;
    struct guest *guest;
    struct tunnel *tunnel; /* NULL: nothing is forwarded over SSH */
    struct op *op;         /* NULL: none */
    enum action
        op_action; /* of `op`, or of `outcome` when that has finished; ACTION_NONE: neither */
    uint64_t op_generation;
    int64_t op_began_ms;        /* monotonic */
    struct vm_outcome *outcome; /* owned; NULL: neither */
    struct vm_steps *steps;     /* owned; NULL: not known, as when the VM is not under way */
    struct vm_failure failure;
    struct vm_failure put_off; /* of ACTION_REPLACE: other actions do not wait for its next try */
    bool is_guest_settled;     /* ACTION_FREEZE: its first half is done */
    char woken_instance_id[TEXT_ID_SIZE];      /* … whose guest it has let run from memory … */
    char identified_instance_id[TEXT_ID_SIZE]; /* … and that is itself */
    char launched_instance_id[TEXT_ID_SIZE];   /* the instance this process launched, "": none */
    char booted_instance_id[TEXT_ID_SIZE];     /* the one whose boot it saw done … */
    char *booted_vnc;                          /* … its screen … */
    struct ssh_source *ssh_source;             /* of its Host block (ssh_file.c); NULL: not yet */
    char *booted_machine;                 /* … and its machine type; until they are committed */
    struct step_secrets *secrets;         /* of the step that is next; owned; NULL: it has none */
    char checked_disk_stamp[DIGEST_SIZE]; /* of the disk's file when it was last found good */
    struct image_result image; /* where the base image is; path NULL: not looked up yet */
    struct vm_comparison comparison;
    int64_t checked_at_ms;     /* monotonic; when the machine was last compared with the spec */
    int64_t growth_due_ms;     /* monotonic; before it the guest is not tried to be grown again */
    int64_t reach_deadline_ms; /* monotonic; 0: the guest is not being waited for */
    int64_t refused_since_ms;  /* monotonic; begin of the first try that was refused; 0: none */
    int64_t refused_at_ms;     /* … and when it last did */
    int64_t setup_since_ms;    /* monotonic; when its cloud-init was first queried; 0: not yet */
    int64_t setup_due_ms;      /* monotonic; when it is queried again */
    int64_t console_size;      /* bytes of console.log, as of … */
    int64_t console_grew_ms;   /* … this moment, monotonic, when the log last grew */
    struct vm_check checks[CHECK_KIND_COUNT_];
    int64_t last_command_ms; /* monotonic, 0: none; spaces out repeated stop commands */
    enum machine_command last_command;
    bool is_freeze_ours;     /* this controller recorded it, and the copy is yet to be begun */
    uint32_t n_thaws_failed; /* in a row; the first was reported */
    int64_t thaw_due_ms;     /* monotonic; before it no other is tried */
    uint32_t n_resets;       /* of the guest, as far as they are recorded */
    bool has_guest_left;     /* during a stop the guest powered itself off */
    uint32_t n_interrupted;  /* connections lost since a provision step ended */
    uint32_t n_clock_lost;   /* connections lost in a row while the guest's clock was being set */
    uint32_t n_growth_lost;  /* … and while it was made to use what was added */
    uint32_t n_ports_tried;  /* SSH ports in a row that another program had taken */
};

struct vm_registry *vm_registry_new(struct reconciler_host *host);
void vm_registry_free(struct vm_registry *registry); /* VMs keep running */

/* Returns the VM's runtime, opened with the backend of `kind` if it does not exist yet. Never NULL.
 */
struct vm *vm_registry_open(struct vm_registry *registry, const char *name, enum backend_kind kind);
void vm_registry_drop(struct vm_registry *registry, const char *name);
/* For struct image_pins. */
void vm_registry_each_pin(const struct vm_registry *registry, image_pin_fn *pin, void *context);

/* Wakes the VMs whose last attempt failed with `code`; their backoff ends now. */
void vm_registry_retry(struct vm_registry *registry, enum error_code code);

/* Ends every VM's process without asking its guest. */
void vm_registry_kill(struct vm_registry *registry);

/* Records that the operation of `action` starts now; the caller then sets vm->op. */
void vm_begin(struct vm *vm, enum action action, uint64_t generation);
/* The completion every operation is started with; context is the vm. */
void vm_op_done(void *vm, const struct error *err);
/* Cancels the operation under way and forgets its outcome. */
void vm_cancel(struct vm *vm);
void vm_forget_outcome(struct vm *vm);
void vm_forget_image(struct vm *vm);
/* To be called when another applied spec is committed. */
void vm_forget_comparison(struct vm *vm);

/* The probes, the guest or its instance changed: earlier results are discarded. */
void vm_forget_checks(struct vm *vm);

/* Call when the guest boots: its timeouts start now. */
void vm_forget_boot(struct vm *vm);

/* Remembers a failed attempt and when to try again; copies `error`. */
void vm_fail(struct vm *vm, enum action action, const struct error *error, uint64_t generation);
void vm_failure_clear(struct vm_failure *failure);
/* Returns the class of the failure (failure.h); of ERR_NONE if there is none. */
struct failure_class vm_failure_class(const struct vm_failure *failure);

/*
 * Returns the backend to use: the one that made the instance or the disk while either exists, else
 * the one in the spec. `spec` is NULL for an orphan.
 */
enum backend_kind vm_backend_kind(const struct vm_spec *spec, const struct vm_status *status);
