/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The zone as a machine. illumos sends no notification when a zone changes, so it is polled while
 * an instance is recorded; an instance not polled yet counts as alive, so that nothing is started
 * twice. While propolis-server holds a request for the next change of its instance open
 * (/instance/state-monitor), polls are rare: its answer, and the end of its connection, which is
 * also that of a zone that goes down, are reasons to poll at once.
 */
#include "reconcilers/backend/propolis/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/http/multi.h"
#include "controller/loop/loop.h"
#include "reconcilers/backend/propolis/propolis.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/vm/propolis.h"

enum {
    POLL_INTERVAL_MS = 2000,
    MONITORED_INTERVAL_MS = 10000,
    MONITOR_PAUSE_MS = 100,      /* between a change and the poll: bounds what a server can cause */
    MONITOR_TIMEOUT_MS = 600000, /* of one request: then it is sent again */
};

/* ---- polling ---- */

void machine_note(struct machine *machine, struct zone_facts zone, enum run_state run_state)
{
    bool is_silent = zone.is_alive && run_state == RUN_STATE_UNKNOWN;
    bool is_news = !machine->is_seen || machine->zone.is_alive != zone.is_alive ||
                   machine->run_state != run_state;
    if (!is_silent) {
        machine->silent_since_ms = 0;
    } else if (machine->silent_since_ms == 0) {
        machine->silent_since_ms = loop_now_ms(machine->host->loop);
    }
    machine->is_seen = true;
    machine->zone = zone;
    machine->run_state = run_state;
    if (is_news) {
        machine->changed(machine->context);
    }
}

void machine_forget(struct machine *machine)
{
    op_cancel(TAKE_PTR(machine->poll));
    op_cancel(TAKE_PTR(machine->monitor));
    loop_timer_stop(machine->timer);
    machine->generation = 0;
    machine->is_unmonitored = false;
    machine->is_seen = false;
    machine->run_state = RUN_STATE_UNKNOWN;
    machine->zone = (struct zone_facts){.is_known = false};
    machine->silent_since_ms = 0;
}

/* Of an answer only the generation counts: the poll reads the state, and whose it is. A server that
 * answers with an earlier generation than requested would do so again at once. */
static void on_monitor(void *context, const struct error *err)
{
    struct machine *machine = context;
    int64_t generation = 0;
    machine->monitor = NULL;
    if (!err && rest_generation_parse(&machine->monitor_answer, &generation) &&
        generation >= machine->generation && generation < INT64_MAX) {
        machine->generation = generation + 1;
    } else if (!err) {
        machine->is_unmonitored = true;
    }
    if (!machine->poll && !machine->is_launching) {
        loop_timer_start(machine->timer, MONITOR_PAUSE_MS);
    }
}

static void start_monitor(struct machine *machine)
{
    if (!machine->monitor && !machine->is_unmonitored) {
        cleanup_free char *body = mem_printf("{\"gen\":%" PRId64 "}", machine->generation);
        const struct rest_request request = {.method = "GET",
            .path = "/instance/state-monitor",
            .body = body,
            .timeout_ms = MONITOR_TIMEOUT_MS};
        machine->monitor = rest_send(machine->multi, &machine->server, &request,
            &machine->monitor_answer, on_monitor, machine);
    }
}

static void on_instance(void *context, const struct error *err)
{
    struct machine *machine = context;
    enum run_state run_state =
        machine->is_starting ? RUN_STATE_PRELAUNCH : RUN_STATE_UNKNOWN; /* not there (yet) */
    machine->poll = NULL;
    if (!err) {
        struct rest_instance instance =
            rest_instance_parse(&machine->answer, machine->name, machine->instance_id);
        run_state = instance.is_other ? run_state : instance.run_state;
        if (instance.is_there && !instance.is_other) {
            start_monitor(machine);
        }
    }
    loop_timer_start(machine->timer, machine->monitor ? MONITORED_INTERVAL_MS : POLL_INTERVAL_MS);
    machine_note(machine, machine->polled, run_state);
}

static void on_zone(void *context, const struct error *err)
{
    static const struct rest_request request = {.method = "GET", .path = "/instance"};
    struct machine *machine = context;
    machine->poll = NULL;
    if (!err && machine->polled.is_alive) {
        machine->poll = rest_send(
            machine->multi, &machine->server, &request, &machine->answer, on_instance, machine);
        return;
    }
    loop_timer_start(machine->timer, POLL_INTERVAL_MS);
    if (err) {
        log_warn("vm", "%s: %s", machine->name, err->message);
    } else {
        op_cancel(TAKE_PTR(machine->monitor)); /* the next zone has another server */
        machine_note(machine, machine->polled, RUN_STATE_UNKNOWN);
    }
}

static void machine_poll(void *context)
{
    struct machine *machine = context;
    if (!machine->poll && !machine->is_launching) {
        const struct zone_request request = {.name = machine->name, .wanted = ZONE_AS_IT_IS};
        machine->poll =
            zone_start(machine->host->loop, &request, &machine->polled, on_zone, machine);
    }
}

static void use_server(struct machine *machine, const char *address)
{
    if (!text_eq(machine->server.address, address)) {
        op_cancel(TAKE_PTR(machine->monitor));
        op_cancel(TAKE_PTR(machine->command));
        rest_server_set(&machine->server, address);
        machine_forget(machine);
        if (machine->instance_id[0]) {
            loop_timer_start(machine->timer, 0);
        }
    }
}

static void machine_observe(
    struct machine *machine, const struct vm_env *env, struct machine_facts *ret)
{
    const struct vm_instance *instance = &env->status->instance;
    if (!text_eq(machine->instance_id, instance->instance_id)) {
        machine_forget(machine);
        memcpy(machine->instance_id, instance->instance_id, TEXT_ID_SIZE);
        if (machine->instance_id[0]) {
            loop_timer_start(machine->timer, 0);
        }
    }
    if (instance->server || !machine->server.address) { /* a launch is recorded after it is done */
        cleanup_free char *address = propolis_address(instance->server);
        use_server(machine, address);
    }
    machine->is_starting = instance->intent == INTENT_START;
    bool is_unknown = !machine->is_seen || machine->is_launching;
    *ret = (struct machine_facts){
        .is_alive = machine->instance_id[0] && (is_unknown || machine->zone.is_alive),
        .run_state = is_unknown ? RUN_STATE_UNKNOWN : machine->run_state,
        .exit_status = -1,
    };
    if (machine->silent_since_ms) {
        ret->silent_ms = loop_now_ms(machine->host->loop) - machine->silent_since_ms;
    }
}

/* ---- the handle ---- */

static struct machine *machine_open(struct reconciler_host *host, const char *vm_name,
    void (*changed)(void *context), void *context)
{
    struct machine *machine = mem_new(struct machine);
    machine->host = host;
    machine->name = mem_strdup(vm_name);
    machine->changed = changed;
    machine->context = context;
    machine->timer = loop_timer_new(host->loop, machine_poll, machine);
    struct error err = {.code = ERR_NONE};
    if (multi_new(host->loop, &machine->multi, &err) < 0) {
        abort(); /* out of memory: as mem.h does */
    }
    return machine;
}

static void machine_close(struct machine *machine)
{
    if (machine) {
        machine_forget(machine);
        op_cancel(machine->command);
        multi_free(machine->multi);
        loop_timer_free(machine->timer);
        rest_answer_clear(&machine->answer);
        rest_answer_clear(&machine->monitor_answer);
        rest_server_set(&machine->server, NULL);
        rest_answer_clear(&machine->command_answer);
        free(machine->name);
        free(machine);
    }
}

/* ---- launch ---- */

/* Boots the zone. After a kill before the result is recorded, the next poll finds the zone down and
 * the launch is repeated, or finds it running. */
struct launch {
    struct op op; /* first: the caller holds a pointer to it */
    struct machine *machine;
    struct op *boot;
    bool is_booted;
    char *server; /* of the spec; NULL: it names none */
    struct zone_facts zone;
    struct vm_instance *instance; /* borrowed until `done` */
};

/* Only the next poll shows what a cancelled or failed zoneadm has done. */
static void cancel_launch(struct op *op)
{
    struct launch *launch = (struct launch *)(void *)op;
    struct machine *machine = launch->machine;
    if (launch->boot) {
        op_cancel(launch->boot);
        machine_forget(machine);
    }
    loop_timer_start(machine->timer, launch->is_booted ? POLL_INTERVAL_MS : 0);
    machine->is_launching = false;
    free(launch->server);
    free(launch);
}

/* The VMFile's server, the environment's, the one at the zone's own address, or the default. */
static void record_addresses(struct launch *launch)
{
    struct vm_instance *instance = launch->instance;
    const char *named = getenv("VMCTL_PROPOLIS_ADDRESS");
    bool uses_zone = !launch->server && !(named && named[0]) && launch->zone.server[0];
    free(instance->server);
    instance->server = propolis_address(uses_zone ? launch->zone.server : launch->server);
    free(instance->guest);
    instance->guest = launch->zone.guest[0] ? mem_strdup(launch->zone.guest) : NULL;
    rest_server_set(&launch->machine->server, instance->server);
}

static void on_booted(void *context, const struct error *err)
{
    struct launch *launch = context;
    struct machine *machine = launch->machine;
    launch->boot = NULL;
    if (!err) {
        record_addresses(launch);
        launch->instance->pid = launch->zone.id;
        (void)snprintf(launch->instance->boot_id, CLOCK_BOOT_ID_SIZE, "%s",
            clock_boot_id(machine->host->clock));
        machine_note(machine, launch->zone, RUN_STATE_PRELAUNCH);
    }
    launch->is_booted = !err;
    op_finish(&launch->op, err);
}

static struct op *machine_launch(struct machine *machine, const struct vm_env *env,
    struct vm_instance *instance, op_done_fn *done, void *context)
{
    struct launch *launch = mem_new(struct launch);
    *launch = (struct launch){
        .op = {cancel_launch, done, context},
        .machine = machine,
        .server = mem_strdup(env->spec->propolis_server),
        .instance = instance,
    };
    machine_forget(machine);               /* a poll's result may date from before */
    op_cancel(TAKE_PTR(machine->command)); /* must not halt the zone that boots now */
    memcpy(machine->instance_id, env->status->instance.instance_id, TEXT_ID_SIZE);
    machine->is_launching = true;
    const struct zone_request request = {
        .name = machine->name, .wanted = ZONE_UP, .spec = env->spec};
    launch->boot = zone_start(machine->host->loop, &request, &launch->zone, on_booted, launch);
    return &launch->op;
}

static void machine_release(struct machine *machine)
{
    (void)machine; /* a launched zone never waits */
}

/* ---- commands ---- */

static void on_commanded(void *context, const struct error *err)
{
    struct machine *machine = context;
    machine->command = NULL;
    if (err) {
        log_warn("vm", "%s: %s", machine->name, err->message);
    } else if (machine->command_sent == MACHINE_POWERDOWN &&
               machine->command_answer.status >= 300) {
        cleanup_free char *words = rest_answer_text(&machine->command_answer);
        log_warn("vm", "%s: propolis-server on %s does not stop the guest (status %ld): %s",
            machine->name, machine->server.address, machine->command_answer.status, words);
    }
    if (!machine->is_launching) {
        op_cancel(TAKE_PTR(machine->poll)); /* its result predates the command */
        loop_timer_start(machine->timer, 0);
    }
}

/* "Stop" shuts the guest down; halting the zone ends it by force. Both may be sent repeatedly: a
 * second one changes nothing. */
static void machine_command(
    struct machine *machine, const struct vm_env *env, enum machine_command command)
{
    static const struct rest_request stop = {
        .method = "PUT", .path = "/instance/state", .body = "\"Stop\""};
    (void)env;
    const struct zone_request halt = {.name = machine->name, .wanted = ZONE_DOWN};
    bool is_stop = command == MACHINE_POWERDOWN;
    bool was_stop = machine->command_sent == MACHINE_POWERDOWN;
    if (command == MACHINE_PAUSE || command == MACHINE_RESUME ||
        (machine->command && (is_stop || !was_stop))) {
        return; /* already refused (backend_traits.h, is_fixed); or a command is in progress */
    }
    op_cancel(TAKE_PTR(machine->command));
    machine->command_sent = command;
    machine->command = is_stop ? rest_send(machine->multi, &machine->server, &stop,
                                     &machine->command_answer, on_commanded, machine)
                               : zone_start(machine->host->loop, &halt, &machine->command_zone,
                                     on_commanded, machine);
}

const struct machine_ops propolis_machine_ops = {
    .open = machine_open,
    .close = machine_close,
    .observe = machine_observe,
    .launch = machine_launch,
    .release = machine_release,
    .boot = propolis_boot,
    .command = machine_command,
};
