/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a hypervisor must offer, in three parts so that backends share what is the same:
 *
 *   machine  the process that is the VM              backend/qemu, backend/noop, backend/propolis
 *   media    image, keys, disk, seed in files        reconcilers/media/media.c (QEMU), and the same
 *   guest    reaching and provisioning over SSH      reconcilers/guest/guest.c (QEMU), backend/noop
 *
 * Nothing here decides anything: reconcilers/vm/decide.c does. Observing is cheap, never blocks and
 * has no side effect a VM could notice; effects are idempotent, so that a controller killed between
 * an effect and its record may do it again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/loop/op.h"
#include "controller/reconciler.h"
#include "specs/vm/backend_traits.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

struct error;

/* One VM as its owner (reconcilers/vm/vm.c) knows it in this pass. Borrowed for the call; an
 * operation copies what it needs for longer. */
struct vm_env {
    struct reconciler_host *host;
    const char *name;
    const struct vm_spec *spec;     /* desired; NULL for an orphan */
    const char *uid;                /* of the desired or, for an orphan, the status record */
    const struct vm_status *status; /* as committed */
};

/* ---- machine ---- */

/* QEMU's RunState (qapi/run-state.json), reduced to what decisions need. */
enum run_state {
    RUN_STATE_UNKNOWN,   /* no answer (yet): connecting, hung, or no process */
    RUN_STATE_PRELAUNCH, /* made, never ran: started with -S */
    RUN_STATE_RUNNING,
    RUN_STATE_PAUSED,
    RUN_STATE_SHUTDOWN, /* the guest powered off; -no-shutdown keeps the process */
    RUN_STATE_PANICKED,
    RUN_STATE_IO_ERROR,
    RUN_STATE_INTERNAL_ERROR,
    RUN_STATE_COUNT_
};

struct machine_facts {
    bool is_alive;   /* alive.lock is held: a process of this VM exists, whoever started it */
    bool is_waiting; /* it is our child and still waits for release(); no QEMU runs yet */
    enum run_state run_state;
    uint32_t n_resets; /* of the guest, seen since the handle was opened or the instance found */
    int64_t silent_ms; /* alive but without an answer for so long; 0 when it answers */
    int exit_status;   /* wait status of the last process once !is_alive, -1 unknown */
    const char *last_output; /* its last line on stderr, NULL none; borrowed until the next call */
};

enum machine_command {
    MACHINE_RESUME,    /* QMP cont */
    MACHINE_PAUSE,     /* QMP stop */
    MACHINE_POWERDOWN, /* ACPI power button; a booting guest ignores it, so it is sent again */
    MACHINE_QUIT,      /* QMP quit */
    MACHINE_TERMINATE, /* SIGTERM */
    MACHINE_KILL,      /* SIGKILL */
    MACHINE_COMMAND_COUNT_
};

/* Filled by boot(). Strings owned by the result's holder. */
struct boot_result {
    char *vnc; /* "127.0.0.1:5900", NULL none */
    char
        *changes; /* what was not as it should be and was brought in line, in words; NULL nothing */
    char *taken_port; /* with ERR_PORT_TAKEN: lease key of the port that was not free */
};

struct machine; /* the backend's handle of one VM: sockets, watches; no process of its own */

struct machine_ops {
    /* `changed` is called from the loop whenever observe() would answer differently. */
    struct machine *(*open)(struct reconciler_host *host, const char *vm_name,
        void (*changed)(void *context), void *context);
    void (*close)(struct machine *machine); /* the VM keeps running; NULL is fine */

    /* Also takes up what runs: finds the process of status->instance again, connects to QMP. */
    void (*observe)(struct machine *machine, const struct vm_env *env, struct machine_facts *ret);

    /*
     * Makes the process of instance->iid up to the point where it waits for release(): takes
     * alive.lock, binds the sockets, forks. Fills pid, start_ticks, boot_id, accel of *instance
     * (which must live until `done`). Killed before release(): the child sees EOF and exits.
     */
    struct op *(*launch)(struct machine *machine, const struct vm_env *env,
        struct vm_instance *instance, op_done_fn *done, void *context);
    /* Lets the launched process become QEMU. Call only after its pid was committed. */
    void (*release)(struct machine *machine);

    /*
     * From RUN_STATE_PRELAUNCH: verifies that QEMU's UUID is instance.iid, adds the host forwards
     * (the SSH port of the status and the spec's), resizes the disk to the spec's size, asks for
     * the VNC address; then lets the guest run. Doing it twice does no harm.
     *
     * On a machine that runs it brings all that in line with the spec, and adds CPUs and memory as
     * far as the machine was started with room for them.
     */
    struct op *(*boot)(struct machine *machine, const struct vm_env *env,
        struct boot_result *result, op_done_fn *done, void *context);

    /* Fire and forget: the effect shows in observe(). */
    void (*command)(
        struct machine *machine, const struct vm_env *env, enum machine_command command);
};

/* ---- media ---- */

enum disk_state {
    DISK_NONE,    /* nothing, or a part: prepare() makes the rest */
    DISK_TO_GROW, /* ready, but smaller than the spec says */
    DISK_READY,
};

struct media_facts {
    bool has_dir;   /* vms/NAME exists */
    bool has_image; /* the base image is there: local file, or in the cache */
    enum disk_state disk;
    /* The files were made from something else than the spec now says (image, cloud-init): only a
     * recreation brings them in line. */
    bool is_outdated;
    bool has_remains;      /* there is, or may be, what only destroy() takes away */
    bool is_image_changed; /* the base under the overlay is not the one it was made on */
    int64_t free_bytes;    /* of the file system that the disk grows on; INT64_MAX unknown */
};

struct image_result {
    char *path; /* owned by the result's holder */
    char id[DIGEST_SIZE];
    json_t
        *record; /* owned: what to remember of the URL in the image table; NULL for local files */
};

struct media_ops {
    /* By stat() only. */
    void (*observe)(const struct vm_env *env, struct media_facts *ret);

    /* Gets the base image of the spec into reach and finds its identity. `progress` is called now
     * and then with words for people ("120 of 620 MB"), may be NULL. */
    struct op *(*fetch_image)(const struct vm_env *env, struct image_result *result,
        void (*progress)(void *context, const char *text), op_done_fn *done, void *context);

    /* Makes or completes keys, overlay and seed; grows the overlay to the spec's size. `result` is
     * what to record; its image_path and image_id are given (from fetch_image). */
    struct op *(*prepare)(
        const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context);

    /* Takes away what lies outside of the VM's directory: its disk, and with `whole_dir` all the
     * rest. NULL: nothing does. Only while no process lives, and done before discard(). */
    struct op *(*destroy)(
        const struct vm_env *env, bool whole_dir, op_done_fn *done, void *context);

    /* Renames overlay and seed (and with `whole_dir` the VM's directory, keys and logs too) into
     * DATA/trash and deletes them there in the background. Only while no process lives. */
    int (*discard)(const struct vm_env *env, bool whole_dir, struct error *err);
};

/* ---- guest ---- */

struct guest; /* the backend's handle of one VM's SSH session, kept between steps */

struct step_result {
    int exit_status; /* of the step's command; -1: it did not get that far */
};

/* How far the guest's cloud-init is. */
struct cloud_init_report {
    enum cloud_init_state state; /* never CLOUD_INIT_UNKNOWN */
    char *message;               /* owned by the report's holder; as in vm_cloud_init */
};

struct guest_ops {
    struct guest *(*open)(struct reconciler_host *host, const char *vm_name);
    void (*close)(struct guest *guest); /* NULL is fine */

    /* One try to log in and run `true`, bounded to a few seconds. ERR_SSH: not (yet) reachable;
     * ERR_SSH_AUTH, ERR_SSH_HOSTKEY, ERR_KEY_UNREADABLE as they say. */
    struct op *(*probe)(
        struct guest *guest, const struct vm_env *env, op_done_fn *done, void *context);

    /* Asks how far cloud-init is in this boot; does not wait for it. Errors: those of probe(). */
    struct op *(*cloud_init)(struct guest *guest, const struct vm_env *env,
        struct cloud_init_report *report, op_done_fn *done, void *context);

    /* One round over the probes of the spec's check, over SSH if the VM is expected to answer there
     * (probe/round.h). ERR_PROBE and ERR_TIMEOUT: the guest answers, but not as it should; ERR_SSH
     * and those of probe(): it could not be asked; ERR_IP_TIMEOUT: it has no address yet. */
    struct op *(*check)(struct guest *guest, const struct vm_env *env, enum check_kind kind,
        op_done_fn *done, void *context);

    /* Runs step `index` of the spec, or goes on with it: as status->provision.run says, which was
     * committed before. Its output goes to provision.log as it comes, under a header line. Errors:
     * ERR_PROVISION it failed; ERR_PROVISION_TIMEOUT; ERR_PROVISION_LOST it was begun and is gone;
     * ERR_SSH the connection was lost, doing it again goes on with the same run. */
    struct op *(*run_step)(struct guest *guest, const struct vm_env *env, uint32_t index,
        struct step_result *result, op_done_fn *done, void *context);
};

/* What people are told of its machines: each a clause without a full stop. */
struct backend_words {
    const char *died;
    const char *internal_error;
    const char *not_up;                        /* it was started, and never answered */
    const char *silence;                       /* why that was given up */
    const char *stops[MACHINE_COMMAND_COUNT_]; /* how it stopped, by the last command it needed */
    const char *log;                           /* its own log in the VM's directory; NULL none */
};

struct backend {
    const char *name;
    const struct backend_words *words;
    const struct backend_traits *traits;
    /* Before an image is fetched, a disk made or a machine started: -ERR_BACKEND_UNAVAILABLE when
     * this host does not have it, or when it cannot do what the spec asks for. NULL: never. */
    int (*check)(const struct vm_spec *spec, struct error *err);
    const struct machine_ops *machine;
    const struct media_ops *media;
    const struct guest_ops *guest;
};

/* The tables; NULL-free but for `check`. */
const struct backend *backend_qemu(void);
const struct backend *backend_noop(void);
const struct backend *backend_propolis(void);
const struct media_ops *media_files(void); /* reconcilers/media/media.c */
const struct guest_ops *guest_ssh(void);   /* reconcilers/guest/guest.c */
