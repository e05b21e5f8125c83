/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/process/fleet_process.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/etcd/etcd.h"
#include "controller/fleet/messenger.h"
#include "controller/loop/loop.h"
#include "controller/loop/signals.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/fleet/fleet_config.h"
#include "store/bell.h"
#include "store/store.h"

enum { BELLS = 2 };

struct process {
    struct paths paths;
    struct fleet_config *config;
    struct store *store;
    struct loop *loop;
    struct signals *signals;
    struct engine *engine;
    struct messenger *messenger;
    struct bell_watch bells[BELLS];
    struct loop_io *ios[BELLS];
    int lock_fd;             /* one messenger a data directory */
    struct loop_timer *poll; /* without bells, and now and then with them */
};

static void on_signal(void *context, int number)
{
    struct process *process = context;
    log_info("fleet", "ending on %s", strsignal(number));
    loop_stop(process->loop);
}

static void on_bell(void *context, int fd, unsigned ready)
{
    struct process *process = context;
    (void)ready;
    for (int i = 0; i < BELLS; i++) {
        if (process->bells[i].fd == fd && bell_watch_drain(&process->bells[i])) {
            messenger_ring(process->messenger);
        }
    }
}

/* A bell is a file that may be removed: nothing may wait for it alone. */
static void on_poll(void *context)
{
    enum { POLL_MS = 10 * 1000 };
    struct process *process = context;
    for (int i = 0; i < BELLS; i++) {
        if (process->bells[i].fd >= 0) {
            (void)bell_watch_drain(&process->bells[i]);
        }
    }
    messenger_ring(process->messenger);
    loop_timer_start(process->poll, POLL_MS);
}

static void watch_bells(struct process *process)
{
    static const enum bell bells[BELLS] = {BELL_STATUS, BELL_FLEET};
    for (int i = 0; i < BELLS; i++) {
        struct error err = {.code = ERR_NONE};
        if (bell_watch_open(&process->bells[i], &process->paths, bells[i], &err) < 0) {
            log_warn("fleet", "%s", err.message);
        } else {
            process->ios[i] =
                loop_io_new(process->loop, process->bells[i].fd, LOOP_READ, on_bell, process);
        }
    }
    process->poll = loop_timer_new(process->loop, on_poll, process);
    on_poll(process);
}

static int open_engine(
    struct loop *loop, const struct fleet_config *config, struct engine **ret, struct error *err)
{
    const struct etcd_config etcd = {.endpoints = (const char *const *)config->endpoints,
        .n_endpoints = config->n_endpoints,
        .ca = config->ca,
        .certificate = config->cert,
        .key = config->key};
    return etcd_new(loop, &etcd, ret, err);
}

/* As this one was started: in a build tree as in an installation. */
static char *program_beside(const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(self, '/');
    return slash ? mem_printf("%.*s/%s", (int)(slash - self), self, name) : mem_strdup(name);
}

static int process_start(struct process *process, const char *data_dir, struct error *err)
{
    static const int ends[] = {SIGTERM, SIGINT};
    const struct signals_request request = {
        .numbers = ends, .count = ARRAY_LEN(ends), .fn = on_signal, .context = process};
    int rc = paths_init(&process->paths, data_dir, err);
    rc = rc == 0 ? fleet_config_load(&process->paths, &process->config, err) : rc;
    if (rc < 0 || !process->config) {
        return rc;
    }
    cleanup_free char *lock = paths_path(&process->paths, "fleet/messenger.lock");
    rc = lockfile_take(lock, &process->lock_fd, err);
    if (rc == -ERR_VM_CONFLICT) { /* of a vmctld that was killed: it is about to end, too */
        error_clear(err);
        rc = error_set(err, ERR_VM_CONFLICT, "another messenger is running");
    }
    rc = rc == 0 ? store_open(&process->paths, &process->store, err) : rc;
    rc = rc == 0 ? loop_new(&process->loop, err) : rc;
    rc = rc == 0 ? signals_watch(process->loop, &request, &process->signals, err) : rc;
    rc = rc == 0 ? open_engine(process->loop, process->config, &process->engine, err) : rc;
    if (rc < 0) {
        return rc;
    }
    struct messenger_options options = {.loop = process->loop,
        .store = process->store,
        .paths = &process->paths,
        .engine = process->engine,
        .config = process->config};
    cleanup_free char *fetch = program_beside("vmctl");
    options.fetch = fetch;
    (void)!getrandom(&options.seed, sizeof(options.seed), 0);
    process->messenger = messenger_new(&options);
    watch_bells(process);
    return 0;
}

static void process_end(struct process *process)
{
    messenger_free(process->messenger);
    for (int i = 0; i < BELLS; i++) {
        loop_io_free(process->ios[i]);
        bell_watch_close(&process->bells[i]);
    }
    loop_timer_free(process->poll);
    engine_close(process->engine);
    signals_free(process->signals);
    loop_free(process->loop);
    store_close(process->store);
    fleet_config_free(process->config);
    cleanup_close_(&process->lock_fd);
    paths_clear(&process->paths);
}

int fleet_process_run(const char *data_dir, struct error *err)
{
    struct process process = {
        .lock_fd = -1, .bells = {{.fd = -1, .armed = -1}, {.fd = -1, .armed = -1}}};
    pid_t parent = getppid();
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    store_guard();
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        return 0; /* it has ended before that */
    }
    int rc = process_start(&process, data_dir, err);
    if (rc == 0 && process.messenger) {
        log_info("fleet", "node '%s' of fleet '%s'", process.config->node, process.config->fleet);
        loop_run(process.loop);
    }
    process_end(&process);
    return rc;
}
