/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/daemon.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller/controller.h"
#include "controller/data_watch.h"
#include "controller/fleet_child.h"
#include "controller/loop/loop.h"
#include "controller/loop/orphan_reaper.h"
#include "controller/loop/pool.h"
#include "controller/loop/signals.h"
#include "controller/secrets.h"
#include "specs/base/cleanup.h"
#include "specs/base/data_trust.h"
#include "specs/base/error.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/paths.h"
#include "specs/base/reserve.h"
#include "store/session.h"
#include "store/store.h"
#include "store/writer.h"

enum { POOL_THREADS = 4, ORPHAN_GRACE_MS = 2000 };

/* What it is made of, in the order in which it is made. */
struct daemon {
    struct paths paths;
    int lock_fd;
    struct store *store;
    struct loop *loop;
    struct signals *end_signals, *child_signals;
    struct orphan_reaper *orphan_reaper; /* NULL: orphans go elsewhere */
    struct pool *pool;
    struct store_writer *writer;
    struct controller *controller;
    struct data_watch *data_watch;
    struct fleet_child *fleet; /* NULL: this host is in none */
    struct loop_timer *reserve_timer;
    struct error failure; /* what ended it; ERR_NONE: a signal */
};

/* ---- the process ---- */

static void prepare_process(void)
{
    umask(077);
    /* From here on it is in the environment: pool threads ask for it, and the password database
     * (getpwuid(3)) is not for threads. */
    (void)setenv("HOME", paths_home(), 1);
    (void)setenv("LC_ALL", "C", 1); /* children's output is parsed, and quoted in messages */
    (void)unsetenv("LANGUAGE");
    signal(SIGXFSZ, SIG_IGN); /* a file of `ulimit -f` bytes is an error of write(), too */
    signal(SIGPIPE, SIG_IGN); /* a peer that goes away is an error of write() */
    signal(SIGHUP, SIG_IGN);  /* it outlives the terminal it was started from */
    /* Each VM takes a handful of descriptors and the usual soft limit is 1024 (getrlimit(2)). */
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    store_guard();
}

static int refuse_second(const struct paths *paths, struct error *err)
{
    error_clear(err);
    (void)error_set(err, ERR_VM_CONFLICT, "another vmctld runs for '%s'", paths->data_dir);
    return error_help(err, "see: vmctl controller status");
}

/* sd_notify(3) without libsystemd: one datagram to the socket named by NOTIFY_SOCKET, if there is
 * one. `state` is "READY=1", "STOPPING=1" … */
static void notify_service_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(address.sun_path, path, n);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* the abstract namespace, unix(7) */
    }
    cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    }
}

static void on_child(void *context, int number)
{
    struct daemon *daemon = context;
    (void)number;
    orphan_reaper_look(daemon->orphan_reaper);
}

static void on_end_signal(void *context, int number)
{
    struct daemon *daemon = context;
    if (daemon->failure.code == ERR_NONE) {
        log_info("controller", "stopping on %s; VMs keep running", strsignal(number));
    }
    loop_stop(daemon->loop);
}

/*
 * It ends as if it had been asked to, and so counts as ending from here on. Only deleted disks end
 * their VMs too: no command could reach those any more. With a lock table that another program has
 * written to, even the way out could wait forever.
 */
static void on_data_lost(void *context, enum data_loss loss)
{
    static const char *const words[] = {
        [DATA_MOVED] = "was moved away; VMs keep running; use its new path: vmctl --data-dir DIR",
        [DATA_DELETED] = "was deleted with the VMs' disks; ending their processes",
        [DATA_STORE_REPLACED] = "has a different store now; VMs keep running",
        [DATA_STORE_TAMPERED] = "has a lock table (store/lock.mdb) that another program removed or "
                                "wrote to; VMs keep running",
        [DATA_LOCK_TAKEN] = "is served by another vmctld; VMs keep running",
    };
    struct daemon *daemon = context;
    (void)error_set(&daemon->failure, ERR_STORE, "the data directory '%s' %s",
        daemon->paths.data_dir, words[loss]);
    log_error("controller", "ending: %s", daemon->failure.message);
    if (loss == DATA_STORE_TAMPERED) {
        _exit(error_exit_status(ERR_STORE));
    }
    if (loss == DATA_DELETED) {
        controller_end_machines(daemon->controller);
    }
    (void)raise(SIGTERM);
}

/* ---- the making ---- */

static int open_data(struct daemon *daemon, const struct daemon_options *options, struct error *err)
{
    int rc = paths_init(&daemon->paths, options->data_dir, err);
    if (rc < 0 || (rc = data_trust_check(&daemon->paths, err)) < 0) {
        return rc;
    }
    struct error above = {.code = ERR_NONE};
    bool is_open;
    if (data_trust_above(&daemon->paths, &is_open, &above) < 0) {
        log_warn("controller", "%s", above.message);
    }
    if (!options->is_foreground && chdir("/") < 0) {
        log_debug("controller", "staying in the working directory"); /* only keeps a mount busy */
    }
    /* One vmctld a data directory. The kernel releases the lock with the process, however that
     * ends: there is no lease to wait for and no stale file to clear. */
    cleanup_free char *lock = paths_path(&daemon->paths, "controller.lock");
    rc = lockfile_take(lock, &daemon->lock_fd, err);
    if (rc == -ERR_VM_CONFLICT) {
        return refuse_second(&daemon->paths, err);
    }
    if (rc == 0) {
        rc = store_check(&daemon->paths, err);
    }
    if (rc == 0) {
        rc = store_open(&daemon->paths, &daemon->store, err);
    }
    /* The lock is free as well when its file was removed under a living vmctld: that one makes it
     * again in a moment. */
    struct session session = {0};
    struct error damage = {.code = ERR_NONE}; /* of a record that is written again in a moment */
    if (rc == 0 && session_read(daemon->store, &session, &damage) < 0) {
        log_warn("controller", "%s", damage.message);
    }
    bool is_taken = session.state == SESSION_SERVES || session.state == SESSION_ENDING;
    return rc == 0 && is_taken ? refuse_second(&daemon->paths, err) : rc;
}

/* The signals first: threads inherit the mask. */
static int start_machinery(struct daemon *daemon, struct error *err)
{
    static const int ends[] = {SIGTERM, SIGINT}, child[] = {SIGCHLD};
    bool has_orphans = orphan_reaper_is_needed();
    int rc = loop_new(&daemon->loop, err);
    if (rc < 0) {
        return rc;
    }
    const struct signals_request on_ends = {.numbers = ends,
        .count = ARRAY_LEN(ends),
        .stay_pending = true,
        .fn = on_end_signal,
        .context = daemon};
    const struct signals_request on_children = {
        .numbers = child, .count = ARRAY_LEN(child), .fn = on_child, .context = daemon};
    rc = signals_watch(daemon->loop, &on_ends, &daemon->end_signals, err);
    if (rc == 0 && has_orphans) {
        rc = signals_watch(daemon->loop, &on_children, &daemon->child_signals, err);
    }
    if (rc < 0) {
        return rc;
    }
    if (has_orphans) {
        daemon->orphan_reaper = orphan_reaper_new(daemon->loop, ORPHAN_GRACE_MS);
        orphan_reaper_look(daemon->orphan_reaper); /* those that came before */
    }
    rc = pool_new(daemon->loop, POOL_THREADS, &daemon->pool, err);
    if (rc < 0) {
        return rc;
    }
    return store_writer_start(daemon->store, STORE_WRITER_THREAD, &daemon->writer, err);
}

/* Again from time to time: it may have been given up, and there may be room again. */
static void keep_reserve(void *context)
{
    enum { AGAIN_MS = 10 * 60 * 1000 };
    struct daemon *daemon = context;
    reserve_keep(&daemon->paths);
    loop_timer_start(daemon->reserve_timer, AGAIN_MS);
}

static int start_controller(struct daemon *daemon, plug_in_fn *plug_in, struct error *err)
{
    struct controller_options options = {
        .loop = daemon->loop,
        .pool = daemon->pool,
        .paths = &daemon->paths,
        .store = daemon->store,
        .writer = daemon->writer,
    };
    (void)!getrandom(&options.seed, sizeof(options.seed), 0);
    daemon->controller = controller_new(&options);
    plug_in(daemon->controller);
    daemon->reserve_timer = loop_timer_new(daemon->loop, keep_reserve, daemon);
    keep_reserve(daemon);
    daemon->data_watch =
        data_watch_new(daemon->loop, &daemon->paths, &daemon->lock_fd, on_data_lost, daemon);
    struct error failure = {.code = ERR_NONE};
    if (secrets_listen(controller_host(daemon->controller), &failure) < 0) {
        log_error("controller", "cannot listen for secrets: %s", failure.message);
    }
    int rc = controller_start(daemon->controller, err); /* which says that it serves: last */
    if (rc == 0) {
        daemon->fleet = fleet_child_new(daemon->loop, &daemon->paths);
    }
    return rc;
}

static int daemon_start(struct daemon *daemon, const struct daemon_options *options,
    plug_in_fn *plug_in, struct error *err)
{
    int rc = open_data(daemon, options, err);
    if (rc < 0) {
        return rc;
    }
    rc = start_machinery(daemon, err);
    return rc < 0 ? rc : start_controller(daemon, plug_in, err);
}

/* Keys are no longer taken, then what was submitted is committed, then everything goes; the lock
 * last, so that the next vmctld finds a store nobody writes. */
static void end(struct daemon *daemon)
{
    fleet_child_free(daemon->fleet);
    if (daemon->controller) {
        controller_stop(daemon->controller);
    }
    store_writer_stop(daemon->writer);
    data_watch_free(daemon->data_watch);
    loop_timer_free(daemon->reserve_timer);
    controller_free(daemon->controller);
    if (!pool_free(daemon->pool)) {
        log_warn("controller", "a file is still being read; its file system does not answer");
        return; /* the end of the process releases the rest */
    }
    orphan_reaper_free(daemon->orphan_reaper);
    signals_free(daemon->child_signals);
    signals_free(daemon->end_signals);
    loop_free(daemon->loop);
    store_close(daemon->store);
    cleanup_close_(&daemon->lock_fd);
    paths_clear(&daemon->paths);
}

int daemon_run(const struct daemon_options *options, plug_in_fn *plug_in, struct error *err)
{
    struct daemon daemon = {.lock_fd = -1};
    prepare_process();
    int rc = daemon_start(&daemon, options, plug_in, err);
    if (rc == 0) {
        log_info("controller", "vmctld %s serves '%s'", VMCTL_VERSION, daemon.paths.data_dir);
        notify_service_manager("READY=1");
        loop_run(daemon.loop);
        notify_service_manager("STOPPING=1");
        *err = daemon.failure;
        rc = -(int)err->code;
    } else if (rc == -ERR_VM_CONFLICT) {
        log_info("controller", "%s; there is nothing to do", err->message);
        error_clear(err);
        rc = 0;
    }
    end(&daemon);
    return rc;
}
