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
#include "controller/loop/loop.h"
#include "controller/loop/orphan_reaper.h"
#include "controller/loop/pool.h"
#include "controller/loop/signals.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/paths.h"
#include "store/store.h"
#include "store/writer.h"

enum { POOL_THREADS = 4, ORPHAN_GRACE_MS = 2000 };

/* What it is made of, in the order in which it is made. */
struct daemon {
    struct paths paths;
    int lock_fd;
    struct store *store;
    struct loop *loop;
    struct signals *signals;
    struct orphan_reaper *orphan_reaper; /* NULL: orphans go elsewhere */
    struct pool *pool;
    struct store_writer *writer;
    struct controller *controller;
};

/* ---- the process ---- */

/* Each VM takes a handful of descriptors and the usual soft limit is 1024 (getrlimit(2)). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void prepare_process(void)
{
    umask(077);
    /* From here on it is in the environment: pool threads ask for it, and the password database
     * (getpwuid(3)) is not for threads. */
    (void)setenv("HOME", paths_home(), 1);
    signal(SIGXFSZ, SIG_IGN); /* a file of `ulimit -f` bytes is an error of write(), too */
    signal(SIGPIPE, SIG_IGN); /* a peer that goes away is an error of write() */
    signal(SIGHUP, SIG_IGN);  /* it outlives the terminal it was started from */
    raise_descriptor_limit();
    store_guard();
}

/* One vmctld a data directory: the one that holds DATA/controller.lock. The kernel releases it with
 * the process, however that ends, so there is no lease to wait for and no stale file to clear.
 * -ERR_VM_CONFLICT when another one runs. */
static int take_lock(const struct paths *paths, int *ret_fd, struct error *err)
{
    cleanup_free char *path = paths_path(paths, "controller.lock");
    int rc = lockfile_take(path, ret_fd, err);
    if (rc == -ERR_VM_CONFLICT) {
        error_clear(err);
        return error_set(err, ERR_VM_CONFLICT, "another vmctld runs for '%s'", paths->data_dir);
    }
    return rc;
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

static void on_signal(void *context, int number)
{
    struct daemon *daemon = context;
    if (number == SIGCHLD) {
        orphan_reaper_look(daemon->orphan_reaper);
        return;
    }
    log_info("controller", "ending on %s; VMs keep running", strsignal(number));
    loop_stop(daemon->loop);
}

/* ---- the making ---- */

static int open_data(struct daemon *daemon, const struct daemon_options *options, struct error *err)
{
    int rc = paths_init(&daemon->paths, options->data_dir, err);
    if (rc < 0) {
        return rc;
    }
    if (!options->is_foreground && chdir("/") < 0) {
        log_debug("controller", "staying in the working directory"); /* only keeps a mount busy */
    }
    rc = take_lock(&daemon->paths, &daemon->lock_fd, err);
    if (rc == 0) {
        rc = store_check(&daemon->paths, err);
    }
    return rc < 0 ? rc : store_open(&daemon->paths, &daemon->store, err);
}

/* The signals first: threads inherit the mask. */
static int start_machinery(struct daemon *daemon, struct error *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGCHLD};
    bool has_orphans = orphan_reaper_is_needed();
    size_t count = has_orphans ? ARRAY_LEN(numbers) : ARRAY_LEN(numbers) - 1;
    int rc = loop_new(&daemon->loop, err);
    if (rc < 0) {
        return rc;
    }
    rc = signals_watch(daemon->loop, numbers, count, on_signal, daemon, &daemon->signals, err);
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
    return controller_start(daemon->controller, err);
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
    if (daemon->controller) {
        controller_stop(daemon->controller);
    }
    store_writer_stop(daemon->writer);
    controller_free(daemon->controller);
    pool_free(daemon->pool);
    orphan_reaper_free(daemon->orphan_reaper);
    signals_free(daemon->signals);
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
    } else if (rc == -ERR_VM_CONFLICT) {
        log_info("controller", "%s; nothing to do", err->message);
        error_clear(err);
        rc = 0;
    }
    end(&daemon);
    return rc;
}
