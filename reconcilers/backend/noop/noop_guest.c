/* SPDX-License-Identifier: MPL-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "reconcilers/backend/noop/noop.h"
#include "reconcilers/guest/step_secrets.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"

struct guest {
    uint32_t probe_tries, cloud_init_tries, cloud_init_asked, step_tries,
        check_tries[CHECK_KIND_COUNT_];
    struct step_result *result; /* borrowed from the step in progress */
    uint32_t clock_tries, mount_tries;
    struct clock_result *clock, clock_answer; /* `clock` is borrowed from set_clock()'s caller */
    uint32_t growth_tries;
    struct growth_result *growth;             /* borrowed from grow()'s caller … */
    char *growth_refusal;                     /* … and why it is not done; owned */
    struct cloud_init_report *report, answer; /* `report` is borrowed from cloud_init()'s caller */
};

static struct guest *noop_open(struct reconciler_host *host, const char *vm_name)
{
    (void)host;
    (void)vm_name;
    return mem_new(struct guest);
}

static void noop_close(struct guest *guest)
{
    free(guest ? guest->growth_refusal : NULL);
    free(guest);
}

static void cloud_init_answered(void *context)
{
    struct guest *guest = context;
    *guest->report = guest->answer;
    guest->report->message = mem_strdup(guest->answer.message);
}

static void ask_cloud_init(
    struct guest *guest, const struct vm_env *env, struct cloud_init_report *report)
{
    int64_t n_running = noop_script_int(env->host, env->name, "cloudInitRuns", 0);
    bool is_running = (int64_t)guest->cloud_init_asked++ < n_running;
    bool is_bad = noop_script_flag(env->host, env->name, "cloudInitFails");
    guest->answer = is_running ? (struct cloud_init_report){CLOUD_INIT_RUNNING, "modules-final"}
                    : is_bad   ? (struct cloud_init_report){CLOUD_INIT_FAILED, "noop: it failed"}
                    : n_running > 0 ? (struct cloud_init_report){CLOUD_INIT_DONE, NULL}
                                    : (struct cloud_init_report){CLOUD_INIT_ABSENT, NULL};
    guest->report = report;
}

static struct op *noop_probe(struct guest *guest, const struct vm_env *env,
    struct cloud_init_report *report, op_done_fn *done, void *context)
{
    struct noop_call call = {
        .host = env->host,
        .vm_name = env->name,
        .ms_key = "probeMs",
        .fail_key = "failProbe",
        .code = noop_script_flag(env->host, env->name, "refuseLogin") ? ERR_SSH_AUTH : ERR_SSH,
        .tries = &guest->probe_tries,
    };
    if (report && noop_script_flag(env->host, env->name, "answersAtLogin")) {
        ask_cloud_init(guest, env, report);
        call.effect = cloud_init_answered;
        call.effect_context = guest;
    }
    return noop_start(&call, done, context);
}

static struct op *noop_cloud_init(struct guest *guest, const struct vm_env *env,
    struct cloud_init_report *report, op_done_fn *done, void *context)
{
    const struct noop_call call = {
        .host = env->host,
        .vm_name = env->name,
        .ms_key = "cloudInitMs",
        .fail_key = "failCloudInit",
        .code = ERR_SSH,
        .tries = &guest->cloud_init_tries,
        .effect = cloud_init_answered,
        .effect_context = guest,
    };
    ask_cloud_init(guest, env, report);
    return noop_start(&call, done, context);
}

static void clock_answered(void *context)
{
    struct guest *guest = context;
    *guest->clock = guest->clock_answer;
    guest->clock->refusal = mem_strdup(guest->clock_answer.refusal);
}

static struct op *noop_set_clock(struct guest *guest, const struct vm_env *env,
    struct clock_result *result, op_done_fn *done, void *context)
{
    static char no[] = "noop: it may not be set";
    int64_t off_ms = noop_script_int(env->host, env->name, "clockOffMs", 0);
    bool is_refused = noop_script_flag(env->host, env->name, "refuseClock");
    guest->clock_answer = (struct clock_result){
        .off_ms = off_ms, .was_set = off_ms != 0 && !is_refused, .refusal = is_refused ? no : NULL};
    guest->clock = result;
    const struct noop_call call = {
        .host = env->host,
        .vm_name = env->name,
        .ms_key = "clockMs",
        .fail_key = "failClock",
        .code = ERR_SSH,
        .tries = &guest->clock_tries,
        .effect = clock_answered,
        .effect_context = guest,
    };
    return noop_start(&call, done, context);
}

static void grown(void *context)
{
    struct guest *guest = context;
    guest->growth->refusal = mem_strdup(guest->growth_refusal);
    guest->growth->done = guest->growth_refusal ? NULL : mem_strdup("noop");
}

static struct op *noop_grow(struct guest *guest, const struct vm_env *env,
    struct growth_result *result, op_done_fn *done, void *context)
{
    bool is_refused = noop_script_flag(env->host, env->name, "refuseGrowth");
    free(guest->growth_refusal);
    guest->growth_refusal = is_refused ? mem_strdup("noop: it stays as it is") : NULL;
    guest->growth = result;
    const struct noop_call call = {
        .host = env->host,
        .vm_name = env->name,
        .ms_key = "growMs",
        .fail_key = "failGrow",
        .code = ERR_SSH,
        .tries = &guest->growth_tries,
        .effect = grown,
        .effect_context = guest,
    };
    return noop_start(&call, done, context);
}

static struct op *noop_mount(struct guest *guest, const struct vm_env *env, const char *orders,
    struct mount_result *result, op_done_fn *done, void *context)
{
    (void)orders;
    (void)result;
    const struct noop_call call = {
        .host = env->host,
        .vm_name = env->name,
        .ms_key = "mountMs",
        .fail_key = "failMount",
        .code = noop_script_flag(env->host, env->name, "loseConnection") ? ERR_SSH
                : noop_script_flag(env->host, env->name, "failsShare")   ? ERR_SHARE
                                                                         : ERR_MOUNT,
        .tries = &guest->mount_tries,
    };
    return noop_start(&call, done, context);
}

static struct op *noop_check(struct guest *guest, const struct vm_env *env, enum check_kind kind,
    op_done_fn *done, void *context)
{
    const struct noop_call call = {
        .host = env->host,
        .vm_name = env->name,
        .ms_key = "checkMs",
        .fail_key = kind == CHECK_READY ? "failReady" : "failLive",
        .code = ERR_PROBE,
        .tries = &guest->check_tries[kind],
    };
    return noop_start(&call, done, context);
}

static void step_done(void *context)
{
    struct guest *guest = context;
    guest->result->exit_status = 0;
}

static struct op *noop_run_step(struct guest *guest, const struct vm_env *env, uint32_t index,
    struct step_result *result, op_done_fn *done, void *context)
{
    bool has_none = env->spec->steps[index].n_secrets == 0;
    assert(env->secrets ? env->secrets->index == index && !has_none : has_none);
    enum error_code code = noop_script_flag(env->host, env->name, "loseConnection") ? ERR_SSH
                           : noop_script_flag(env->host, env->name, "loseStep") ? ERR_PROVISION_LOST
                                                                                : ERR_PROVISION;
    const struct noop_call call = {
        .host = env->host,
        .vm_name = env->name,
        .ms_key = "stepMs",
        .fail_key = "failStep",
        .code = code,
        .tries = &guest->step_tries,
        .effect = step_done,
        .effect_context = guest,
    };
    guest->result = result;
    return noop_start(&call, done, context);
}

const struct guest_ops noop_guest_ops = {
    .open = noop_open,
    .close = noop_close,
    .probe = noop_probe,
    .cloud_init = noop_cloud_init,
    .set_clock = noop_set_clock,
    .grow = noop_grow,
    .mount = noop_mount,
    .check = noop_check,
    .run_step = noop_run_step,
};
