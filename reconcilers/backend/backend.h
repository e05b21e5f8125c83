/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The interface of a hypervisor, in three parts so that backends can share them:
 *
 *   machine  the process that is the VM              backend/qemu, backend/noop, backend/propolis
 *   media    image, keys, disk, seed in files        reconcilers/media/media.c (QEMU), noop,
 * propolis guest    login and provisioning over SSH         reconcilers/guest/guest.c (QEMU),
 * backend/noop
 *
 * A backend decides nothing: reconcilers/vm/decide.c does. Observing is cheap, never blocks and
 * has no side effect a VM could notice; effects are idempotent, so that a controller killed between
 * an effect and its record may do it again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/loop/op.h"
#include "controller/reconciler.h"
#include "specs/base/control_group.h"
#include "specs/vm/backend_traits.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

struct error;
struct proxies;
struct step_secrets;
struct template_record;

/* One VM as its owner (reconcilers/vm/vm.c) knows it in this pass. Borrowed for the call; an
 * operation copies what it needs longer. */
struct vm_env {
    struct reconciler_host *host;
    const char *name;
    const struct vm_spec *spec;     /* desired; NULL for an orphan */
    const char *uid;                /* of the desired or, for an orphan, the status record */
    const struct vm_status *status; /* as committed */
    bool has_vmfile;                /* it came from a VMFile, which `vmctl reload` reads */
    const struct proxies *proxies;  /* for downloads; NULL: none */
    const struct vm_origin
        *origin;                  /* the disk is, or is to be, a copy of this; NULL: its image's */
    struct step_secrets *secrets; /* of the step that run_step() is to run; NULL: it has none.
                                   * They outlive the operation */
};

/* ---- machine ---- */

/* QEMU's RunState (qapi/run-state.json), reduced to what decisions need. */
enum run_state {
    RUN_STATE_UNKNOWN,   /* no answer (yet): connecting, hung, or no process */
    RUN_STATE_PRELAUNCH, /* created but never ran: started with -S */
    RUN_STATE_RUNNING,
    RUN_STATE_PAUSED,
    RUN_STATE_SHUTDOWN, /* the guest powered off; -no-shutdown keeps the process */
    RUN_STATE_PANICKED,
    RUN_STATE_IO_ERROR,
    RUN_STATE_INTERNAL_ERROR,
    RUN_STATE_INMIGRATE,   /* waits for the memory of a guest, or receives it: none ran yet */
    RUN_STATE_POSTMIGRATE, /* the guest's memory was sent away: it may run elsewhere on this disk */
    RUN_STATE_COUNT_
};

struct machine_facts {
    bool is_alive;   /* alive.lock is held: a process of this VM exists, no matter who started it */
    bool is_waiting; /* our child waits for release(); QEMU does not run yet */
    enum run_state run_state;
    uint32_t n_resets;    /* of the guest, seen since the handle was opened or the instance found */
    bool is_cut_off;      /* its network's switch is gone; boot() restores it */
    bool is_network_lost; /* … and was, in this controller's life */
    int64_t silent_ms;    /* time since a living process last answered; 0: it answers */
    int exit_status;      /* wait status of the last process once !is_alive, -1 unknown */
    enum oom_kill oom_kill; /* whether the kernel killed it for lack of memory */
    const char *lost_share; /* where its guest sees a folder whose server ended; NULL: none did;
                             * borrowed until the next call */
    bool is_limited;        /* its `cpu-limit` and `memory-limit` are enforced … */
    const char *limit_fault; /* … or why not; NULL: it has none, or it is not known yet; borrowed */
    bool is_tpm_lost;        /* its TPM's emulator ended */
    const char *agent; /* version of the agent in its guest that answers; NULL: none does; borrowed
                        * in the same way */
    const char *agent_address; /* of the guest on its bridge, as that reports it; NULL; the same */
    bool is_agent_asked;       /* one may be there: not known yet */
    const char *last_output; /* its last line on stderr, NULL none; borrowed until the next call */
};

enum machine_command {
    MACHINE_RESUME,    /* QMP cont; with SAVED_BEGUN it cancels the save first */
    MACHINE_PAUSE,     /* QMP stop */
    MACHINE_POWERDOWN, /* ACPI power button; a booting guest ignores it, so it is sent again */
    MACHINE_QUIT,      /* QMP quit */
    MACHINE_TERMINATE, /* SIGTERM */
    MACHINE_KILL,      /* SIGKILL */
    MACHINE_COMMAND_COUNT_
};

/* Written by boot(). The result's owner frees the strings. */
struct boot_result {
    char *vnc;        /* as vm_status.vnc */
    char *machine;    /* as vm_status.machine; NULL not known */
    char *changes;    /* text: what boot() had to change to match the spec; NULL nothing */
    bool is_rejoined; /* the switch of a running machine's network had to be started again */
    char *taken_port; /* with ERR_PORT_TAKEN: lease key of the port in use */
};

/* What the copy of a disk in use has. */
struct snapshot_made {
    bool is_partial;     /* only what was written since the order's bitmap began */
    char *whole_because; /* why it is not partial although that was requested; NULL: not requested.
                            free() it */
    bool is_frozen;      /* the guest's file systems were frozen when the copy started */
    bool is_thawed;      /* they were frozen, or may have been, and are thawed */
};

struct clock_result;
struct machine; /* the backend's handle of one VM: sockets, watches; no process of its own */

struct machine_ops {
    /* The loop calls `changed` whenever the result of observe() would differ. */
    struct machine *(*open)(struct reconciler_host *host, const char *vm_name,
        void (*changed)(void *context), void *context);
    void (*close)(struct machine *machine); /* the VM keeps running; NULL is fine */

    /* Also adopts a running machine: finds the process of status->instance, connects to QMP. */
    void (*observe)(struct machine *machine, const struct vm_env *env, struct machine_facts *ret);

    /*
     * Creates the process of instance->instance_id, which then waits for release(): takes
     * alive.lock, binds the sockets, forks. Sets pid, start_ticks, boot_id, accel, and the
     * memory_host of one that may be frozen, of *instance (which must live until `done`). If the
     * controller is killed before release(), the child sees EOF and exits.
     */
    struct op *(*launch)(struct machine *machine, const struct vm_env *env,
        struct vm_instance *instance, op_done_fn *done, void *context);
    /* Lets the launched process become QEMU. Call only after its pid was committed. */
    void (*release)(struct machine *machine);

    /*
     * From RUN_STATE_PRELAUNCH: verifies that QEMU's UUID is the instance id, adds the host
     * forwards (the SSH port of the status and the spec's), resizes the disk to the spec's size,
     * grows its volumes to theirs, queries the VNC address; then lets the guest run. Idempotent.
     *
     * On a running machine it applies the same parts of the spec, attaches and detaches volumes,
     * and adds CPUs and memory as far as the machine was started with room for them.
     */
    struct op *(*boot)(struct machine *machine, const struct vm_env *env,
        struct boot_result *result, op_done_fn *done, void *context);

    /* Returns a text with the properties of this host that frozen memory depends on: it is loaded
     * only where the text is equal. NULL: the backend cannot freeze, or not here. free() it. */
    char *(*memory_host)(const struct reconciler_host *host);
    /* Stops the guest of a template's builder for good and writes its machine to VM_MEMORY_FILE and
     * VM_MACHINE_STATE. Ends in RUN_STATE_POSTMIGRATE. Errors: ERR_TEMPLATE and those of QMP. */
    struct op *(*freeze)(
        struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context);
    /* Stops the guest and writes its memory and machine to VM_SAVED_MEMORY, on stable storage. Ends
     * in RUN_STATE_POSTMIGRATE. ERR_SAVED_MEMORY, ERR_NO_SPACE: the guest is stopped and the file
     * removed. If the guest was saved already: only syncs the file. NULL: the backend cannot save.
     */
    struct op *(*save)(
        struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context);
    /* From RUN_STATE_INMIGRATE to RUN_STATE_PAUSED: loads the machine of the template or, with
     * SAVED_WHOLE, the saved one. No guest may have run on its disk since. ERR_TEMPLATE,
     * ERR_SAVED_MEMORY: the memory is damaged or does not fit. */
    struct op *(*load)(
        struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context);

    /* Makes the snapshot named by `order` from the present disk, while the guest runs or is paused;
     * may be repeated. Writes `result` on success. NULL: the backend cannot
     * (backend_traits.copies_used_disk). */
    struct op *(*snapshot)(struct machine *machine, const struct vm_env *env,
        const struct snapshot_order *order, struct snapshot_made *result, op_done_fn *done,
        void *context);

    /* Thaws the guest's file systems after a snapshot froze them: with vm_status_is_frozen(),
     * recorded before, snapshot() freezes and thaws them. ERR_AGENT, ERR_TIMEOUT. NULL: the backend
     * cannot freeze. */
    struct op *(*thaw)(
        struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context);
    /* As guest_ops.set_clock, through the guest agent: ends without an error, whatever the agent
     * does. NULL: the backend has no channel to an agent. */
    struct op *(*set_clock)(struct machine *machine, const struct vm_env *env,
        struct clock_result *result, op_done_fn *done, void *context);

    /* Returns at once; observe() shows the effect. */
    void (*command)(
        struct machine *machine, const struct vm_env *env, enum machine_command command);
};

/* ---- media ---- */

enum disk_state {
    DISK_NONE,      /* not made yet, or incomplete: prepare() completes it */
    DISK_UNCHECKED, /* it was used since it was last checked, or is gone: check_disk() */
    DISK_TO_GROW,   /* ready, but smaller than the spec says */
    DISK_READY,
};

struct media_facts {
    bool has_dir;                 /* vms/NAME exists */
    bool has_image;               /* the base image exists: local file, or in the cache */
    enum disk_state disk;         /* DISK_UNCHECKED: one that was used is gone */
    char disk_stamp[DIGEST_SIZE]; /* of its file (file_stamp.h); "": none */
    int64_t disk_file_bytes;      /* of its file, -1: none */
    /* The files were made from another image or cloud-init data than the spec has now: only a
     * recreation applies those. */
    bool is_outdated;
    bool has_leftovers;    /* something exists, or may exist, that only destroy() removes */
    bool is_image_changed; /* the overlay's base is not the one it was made on … */
    bool is_image_unsure;  /* … or may not be: identify() finds out */
    bool has_local_base;   /* a file of the user's, which may change at any time */
    bool is_identity_due;  /* identify() has something to find out of the base */
    bool is_volume_due;    /* one that the machine does not have yet is missing, or wrong */
    bool has_replacement;  /* status->replacement is there, and is what the spec asks for */
    int64_t free_bytes;    /* of the file system that the disk grows on; INT64_MAX unknown */
};

struct image_result {
    char *path; /* owned by the result's holder */
    char id[DIGEST_SIZE];
    json_t *record;  /* owned: the URL's row for the image table; NULL for local files */
    char *published; /* owned: "sha512:…", what was asked for with image_order.only_looks */
};

struct media_ops {
    /* By stat() only. */
    void (*observe)(const struct vm_env *env, struct media_facts *ret);

    /* Downloads the spec's base image if necessary and finds its identity. */
    struct op *(*fetch_image)(
        const struct vm_env *env, struct image_result *result, op_done_fn *done, void *context);

    /* Creates or completes keys, overlay and seed; grows the overlay to the spec's size. Writes
     * what to record to `result`; the caller sets its image_path and image_id (fetch_image), and
     * template_digest: the disk is then a clone of that. */
    struct op *(*prepare)(
        const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context);

    /* Like prepare(), makes the replacements of overlay and seed for a recreation; the present ones
     * stay, and a guest may be using them. `ret_stamp`: of the new disk's file (file_stamp.h);
     * borrowed like `result`. NULL: the backend cannot have two disks; then only the image exists
     * before the old disk is discarded. */
    struct op *(*prepare_next)(const struct vm_env *env, struct vm_prepared *result,
        char ret_stamp[DIGEST_SIZE], op_done_fn *done, void *context);

    /* Creates the spec's missing volumes; existing ones are not changed. NULL: the backend has no
     * volumes. -ERR_DISK_SHRINK, -ERR_OVERLAY: an existing file is larger, or not a volume. */
    struct op *(*make_volumes)(const struct vm_env *env, op_done_fn *done, void *context);

    /* Checks that the disk that was used exists, is complete, and is the recorded one. Changes
     * nothing. -ERR_OVERLAY. NULL: not needed. */
    struct op *(*check_disk)(const struct vm_env *env, op_done_fn *done, void *context);

    /* Hashes the base image in use, or a file that may be the same image at another place. Sets
     * image_sha256 and image_size of `result` if the base in use was hashed. NULL: never needed. */
    struct op *(*identify)(
        const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context);

    /* Removes what the VM has outside its directory: its disk, and with `whole_dir` everything
     * else. NULL: nothing. Only while no process lives, and before discard(). */
    struct op *(*destroy)(
        const struct vm_env *env, bool whole_dir, op_done_fn *done, void *context);

    /* Makes, restores or removes the snapshot named by `order`, while no process lives; may be
     * repeated. NULL: the backend has no snapshots. */
    struct op *(*snapshot)(const struct vm_env *env, const struct snapshot_order *order,
        op_done_fn *done, void *context);

    /* Creates the disk of a VM that has none yet, as a copy of env->origin; may be repeated. Writes
     * the digests that prepare() would to `result`. NULL: the backend cannot clone. */
    struct op *(*clone)(
        const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context);

    /* Keeps the disk that discard() is about to remove as the snapshot `file`, unless it is the
     * replacement already. May be repeated. NULL: the backend keeps no disks. */
    int (*keep)(const struct vm_env *env, const char *file, struct error *err);

    /* Makes a template from the disk, while no process lives (template/template_files.h); takes
     * ownership of the record. NULL: the backend has no templates. */
    struct op *(*seal)(const struct vm_env *env, struct template_record *record_take,
        op_done_fn *done, void *context);

    /* Makes the guest of a template's builder stop its services and sync its files, through the
     * helper on its second serial port. May be repeated. ERR_IDENTITY, ERR_TIMEOUT. */
    struct op *(*settle_guest)(const struct vm_env *env, op_done_fn *done, void *context);
    /* Gives a woken guest the clock, random numbers, name and keys of this VM, in the same way. Not
     * repeatable: a second try cannot know how far the first one came. The same errors, and those
     * of seed_make(). */
    struct op *(*identify_guest)(const struct vm_env *env, op_done_fn *done, void *context);

    /* Renames overlay and seed (and with `whole_dir` the VM's directory, keys and logs too) into
     * DATA/trash and deletes them there in the background; what prepare_next() made takes their
     * place. Only while no process lives. */
    int (*discard)(const struct vm_env *env, bool whole_dir, struct error *err);
};

/* ---- guest ---- */

struct guest; /* the backend's handle of one VM's SSH session, kept between steps */

struct step_result {
    int exit_status; /* of the step's command; -1: the command did not run to its end */
};

/* The state of the guest's cloud-init. */
struct cloud_init_report {
    enum cloud_init_state state; /* CLOUD_INIT_UNKNOWN: not asked */
    char *message;               /* the report's owner frees it; as in vm_cloud_init */
};

/* The result of setting the guest's clock. */
enum { CLOCK_RIGHT_MS = 1000 }; /* a clock that is less than this off is not set */
struct clock_result {
    int64_t off_ms; /* the guest's time less the host's, as found; 0: it could not be read */
    bool was_set;
    char *refusal; /* why it cannot be read or set; NULL: it is right now. free() it */
};

/* The result of making the guest use added resources; both NULL: it did so by itself. */
struct growth_result {
    char *done;    /* "3 CPUs are online, / has 1980 MiB" */
    char *refusal; /* the resources it does not use, and why. free() both */
};

/* The result of mounting shared folders. */
struct mount_result {
    char *user; /* "1000:1000", uid and gid of the user logged in; NULL: it was not asked */
    char *note; /* a remark about a mount; NULL: none. free() both */
};

struct guest_ops {
    struct guest *(*open)(struct reconciler_host *host, const char *vm_name);
    void (*close)(struct guest *guest); /* NULL is fine */

    /* Tries for a few seconds at most to log in and run a command. With `report` (NULL: not wanted)
     * that command may be a look at cloud-init; else report->state stays CLOUD_INIT_UNKNOWN.
     * ERR_SSH: not (yet) reachable; or ERR_SSH_AUTH, ERR_SSH_HOSTKEY, ERR_KEY_UNREADABLE. */
    struct op *(*probe)(struct guest *guest, const struct vm_env *env,
        struct cloud_init_report *report, op_done_fn *done, void *context);

    /* Reads the state of cloud-init in this boot; waits a second at most for its end. Errors: as
     * probe(). */
    struct op *(*cloud_init)(struct guest *guest, const struct vm_env *env,
        struct cloud_init_report *report, op_done_fn *done, void *context);

    /* Sets the guest's clock to the host's, unless it is right. Errors: as probe(). */
    struct op *(*set_clock)(struct guest *guest, const struct vm_env *env,
        struct clock_result *result, op_done_fn *done, void *context);

    /* Makes the guest use the CPUs, the memory and the disk that status->growth names, as far as
     * the applied spec has them. May be repeated. Errors: as probe(). */
    struct op *(*grow)(struct guest *guest, const struct vm_env *env, struct growth_result *result,
        op_done_fn *done, void *context);

    /* Unmounts the volumes of `orders`, then makes the file system of each blank one that is to be
     * mounted, mounts and grows it, and mounts shared folders, all of it unless it is done.
     * `orders`: words for a shell, " - NAME", " + NAME GIB 'DIRECTORY'" and " = TAG MODE
     * 'DIRECTORY'" for each. ERR_MOUNT, ERR_SHARE, or as probe(). */
    struct op *(*mount)(struct guest *guest, const struct vm_env *env, const char *orders,
        struct mount_result *result, op_done_fn *done, void *context);

    /* Runs every probe of the spec's check once, over SSH if the VM is expected to have it
     * (guest/probe_round.h). ERR_PROBE and ERR_TIMEOUT: a probe failed; ERR_SSH and those of
     * probe(): no probe could run; ERR_IP_TIMEOUT: the guest has no address yet. */
    struct op *(*check)(struct guest *guest, const struct vm_env *env, enum check_kind kind,
        op_done_fn *done, void *context);

    /* Runs step `index` of the spec, or resumes it when status->provision.run, committed before,
     * names a run. Its output is appended to provision.log as it arrives, under a header line.
     * Errors: ERR_PROVISION it failed; ERR_PROVISION_TIMEOUT; ERR_PROVISION_LOST the run was
     * started and has disappeared; ERR_SSH the connection was lost, calling again resumes the run.
     */
    struct op *(*run_step)(struct guest *guest, const struct vm_env *env, uint32_t index,
        struct step_result *result, op_done_fn *done, void *context);
};

/* ---- tunnel: what is forwarded over SSH (reconcilers/tunnel/tunnel.c; noop) ---- */

struct tunnel; /* the backend's handle of one VM's; the process that forwards outlives it */

/* Borrowed for the call. */
struct tunnel_wanted {
    const struct vm_forward *forwards; /* of those marked as leaving, nothing may remain */
    size_t n_forwards;
    bool watches_ports; /* of the guest */
    bool may_log_in;    /* the guest runs, so that a login may be tried */
    bool is_set_up;     /* its steps have run: forwards that were refused are tried again at once */
};

enum tunnel_state { TUNNEL_PENDING, TUNNEL_MADE, TUNNEL_REFUSED, TUNNEL_GONE };

/* The state of one forward. */
struct tunnel_forward {
    enum tunnel_state state;
    const char *refusal; /* TUNNEL_REFUSED; borrowed until the next call */
};

/* A TCP port that the guest listens on, and where within it. */
struct tunnel_port {
    uint16_t port;
    char address[INET6_ADDRSTRLEN]; /* of any address: "127.0.0.1" or "localhost" */
};

enum { TUNNEL_PORTS_MAX = 256 }; /* more are not noticed */

/* Borrowed until the next call. */
struct tunnel_facts {
    bool is_gone;        /* nothing of it runs */
    const char *failure; /* why it cannot be set up, after some tries; NULL: no failure */
    bool are_ports_known;
    const struct tunnel_port *ports; /* in ascending order, each once */
    size_t n_ports;
    int64_t retry_ms; /* until keep() has something to do: as verdict.requeue_ms */
};

struct tunnel_ops {
    /* The loop calls `changed` whenever the result of observe() would differ. */
    struct tunnel *(*open)(struct reconciler_host *host, const char *vm_name,
        void (*changed)(void *context), void *context);
    void (*close)(struct tunnel *tunnel); /* what is forwarded stays; NULL is fine */
    /* Makes and removes forwards as wanted, also those of an earlier controller. Returns at once;
     * observe() shows the effect. */
    void (*keep)(
        struct tunnel *tunnel, const struct vm_env *env, const struct tunnel_wanted *wanted);
    /* Ends the tunnel and removes what these forwards have on this host. Returns at once, too. */
    void (*end)(struct tunnel *tunnel, const struct vm_forward *forwards, size_t n);
    /* `ret_forwards`: of each of the `n`, which keep() was given. */
    void (*observe)(struct tunnel *tunnel, const struct vm_forward *forwards, size_t n,
        struct tunnel_forward *ret_forwards, struct tunnel_facts *ret);
};

/* Texts about the backend's machines for messages; each is a clause without a full stop. */
struct backend_words {
    const char *died;
    const char *internal_error;
    const char *not_up;                        /* the machine was started and never answered */
    const char *silence;                       /* why the wait for it ended */
    const char *stops[MACHINE_COMMAND_COUNT_]; /* how it stopped, by the last command sent */
    const char *log;                           /* its own log in the VM's directory; NULL none */
};

struct backend {
    const char *name;
    const struct backend_words *words;
    const struct backend_traits *traits;
    /* Called before an image is fetched, a disk made or a machine started.
     * -ERR_BACKEND_UNAVAILABLE: this host does not have the backend, or the backend does not
     * support something in the spec. NULL: no check. */
    int (*check)(const struct vm_spec *spec, struct error *err);
    const struct machine_ops *machine;
    const struct media_ops *media;
    const struct guest_ops *guest;
    const struct tunnel_ops *tunnel;
};

/* The tables; only `check` and media's `destroy` may be NULL. */
const struct backend *backend_qemu(void);
const struct backend *backend_noop(void);
const struct backend *backend_propolis(void);
const struct media_ops *media_files(void); /* reconcilers/media/media.c */
const struct guest_ops *guest_ssh(void);   /* reconcilers/guest/guest.c */
const struct tunnel_ops *tunnel_ssh(void); /* reconcilers/tunnel/tunnel.c */
