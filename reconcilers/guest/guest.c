/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/guest.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/guest/cloud_init_report.h"
#include "reconcilers/guest/console_words.h"
#include "reconcilers/guest/grow_guest.sh.h"
#include "reconcilers/guest/guest_clock.h"
#include "reconcilers/guest/mount_report.h"
#include "reconcilers/guest/mount_volumes.sh.h"
#include "reconcilers/guest/probe_round.h"
#include "reconcilers/guest/provision.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum {
    CONNECT_MS = 2000,
    BANNER_MS = 1000,
    /* Every PATIENT_EVERYth try: a guest under TCG on a busy host may need longer than BANNER_MS
     * for every banner, and would never be reached. It costs a part of the time it took so far. */
    PATIENT_EVERY = 10,
    PATIENT_BANNER_MS = 4000,
    PATIENT_BANNER_MAX_MS = 30000,
    PATIENT_PART = 10,
    LOGIN_MS = 10000, /* key exchange is slow under TCG */
    PROBE_MS = 5000,
    GROW_MS = 120000,      /* a large file system takes a while */
    CLOUD_INIT_MS = 10000, /* it waits in the guest for a second, which may be a slow one */
    IDLE_MS = 10000,
    KEPT_PERIOD_MS = 60000, /* rounds further apart than this log in again */
    /* Between two connections: each one costs the guest's sshd a process, … */
    RECONNECT_MS = 250,
    /* … but for one that the guest's kernel refuses, because no sshd listens yet. */
    REFUSED_MS = 25,
    REFUSED_FOR_MS = 1000, /* then the operation has failed */
    /* A guest that has refused logins for so long is tried less often, each second in the end. */
    LONG_MS = 60000,
    LONG_PAUSE_SHARE = 256, /* of that time */
    LONG_PAUSE_MAX_MS = 1000,
};

struct guest {
    struct reconciler_host *host; /* borrowed, outlives every guest */
    char *vm_name;
    struct ssh_session *session;  /* NULL: none */
    struct guest_address address; /* of `session` */
    struct loop_timer *idle;
    bool is_busy;
    int64_t next_connect_ms;  /* not before */
    int64_t failing_since_ms; /* the first login failed of those in a row that did; 0: none … */
    char failing_id[TEXT_ID_SIZE]; /* … in this instance */
    unsigned n_silent;             /* connections in a row without a banner */
};

/* One probe, one step or one round of checks: gets a session, then uses it. */
struct guest_op {
    struct op op; /* first */
    struct guest *guest;
    struct guest_address address;
    const char *seed; /* its bus; NULL: the VM has none */
    struct loop_timer *start;
    int64_t give_up_ms; /* no further connection from then on; 0: there was none yet */
    struct op *inner;
    struct provision_request step;    /* strings owned below; .step NULL: none */
    const struct spec_check *check;   /* of `spec`; NULL: none */
    struct clock_result *clock;       /* NULL: not requested */
    struct growth_result *growth;     /* NULL: not requested */
    struct mount_result *mount;       /* NULL: not requested. None of the five: a probe, or … */
    struct cloud_init_report *report; /* … this is requested; NULL: not */
    bool is_login;                    /* a probe; `report` is welcome */
    char *arguments;                  /* of grow_guest_sh or mount_volumes_sh */
    struct buf answer;                /* of cloud_init_query or one of those */
    struct vm_spec *spec;             /* owned copy: holds the step, the check */
    char *log_path;
    char run_id[PROVISION_RUN_ID_SIZE];
    struct ssh_exit exit;
    struct step_result *result;
};

/* ---- sessions ---- */

static void drop_session(struct guest *guest)
{
    ssh_session_close(TAKE_PTR(guest->session));
    guest_address_clear(&guest->address);
}

static void on_idle(void *context)
{
    drop_session(context);
}

/* ---- the end of an operation ---- */

static void on_cancel(struct op *op)
{
    struct guest_op *self = (struct guest_op *)(void *)op;
    op_cancel(self->inner);
    struct guest *guest = self->guest;
    guest->is_busy = false;
    if (guest->session && ssh_session_is_usable(guest->session)) {
        /* A session that the next round uses again is kept: a login each time would cost more. */
        int64_t period_ms = self->check ? (int64_t)self->check->period_s * 1000 : 0;
        loop_timer_start(guest->idle, period_ms <= KEPT_PERIOD_MS ? period_ms + IDLE_MS : IDLE_MS);
    } else {
        drop_session(guest);
    }
    loop_timer_free(self->start);
    guest_address_clear(&self->address);
    vm_spec_free(self->spec);
    free(self->log_path);
    free(self->arguments);
    buf_clear(&self->answer);
    free(self);
}

/* ---- using the session ---- */

static void on_used(void *context, const struct error *err)
{
    struct guest_op *self = context;
    self->inner = NULL;
    op_finish(&self->op, err);
}

/* On the session, or without SSH at the guest's address. */
static void start_round(struct guest_op *self)
{
    struct guest *guest = self->guest;
    struct probe_round_request request = {
        .loop = guest->host->loop,
        .session = guest->session,
        .host = self->address.host,
        .spec = self->spec,
        .check = self->check,
    };
    self->inner = probe_round_start(&request, on_used, self);
}

static void on_true_done(void *context, const struct error *err)
{
    struct guest_op *self = context;
    struct error failure = {.code = ERR_NONE};
    self->inner = NULL;
    if (err) {
        failure = *err;
        failure.code = ERR_SSH; /* a command that hangs is a guest that is not ready */
        error_wrap(&failure, "vm '%s' accepted the login of '%s' but did not run `true`",
            self->guest->vm_name, self->guest->address.user);
    } else if (self->exit.status != 0) {
        error_set(&failure, ERR_SSH,
            "vm '%s' accepted the login of '%s' but `true` exited with status %d",
            self->guest->vm_name, self->address.user, self->exit.status);
    }
    op_finish(&self->op, failure.code ? &failure : NULL);
}

static void run_true(struct guest_op *self)
{
    struct ssh_exec_request request = {.command = "true", .timeout_ms = PROBE_MS};
    self->inner = ssh_exec(self->guest->session, &request, &self->exit, on_true_done, self);
}

/* A login is as good with this command as with `true`, if it ran. */
static void on_cloud_init_done(void *context, const struct error *err)
{
    struct guest_op *self = context;
    struct error failure = {.code = ERR_NONE};
    self->inner = NULL;
    if (self->is_login && !err && (self->exit.status != 0 || self->answer.len == 0)) {
        run_true(self);
        return;
    }
    if (err) {
        failure = *err;
        failure.code = ERR_SSH;
        error_wrap(&failure, "cannot query the cloud-init of vm '%s'", self->guest->vm_name);
    } else {
        cloud_init_report_read(buf_str(&self->answer), self->answer.len, self->report);
    }
    op_finish(&self->op, failure.code ? &failure : NULL);
}

static void add_answer(void *context, const char *bytes, size_t n)
{
    struct guest_op *self = context;
    buf_add(&self->answer, bytes, n);
}

/* Adds what follows `sign` in each line of the answer to *text: "+ a", "+ b" -> "a, b". */
static void add_growth(const char *answer, char sign, char **text)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    for (const char *line = answer; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (line[0] == sign && line[1] == ' ') {
            buf_printf(&out, "%s%.*s", out.len ? ", " : "", (int)strcspn(line + 2, "\n"), line + 2);
        }
    }
    *text = out.len ? buf_steal(&out) : NULL;
}

static void on_grown(void *context, const struct error *err)
{
    struct guest_op *self = context;
    struct growth_result *result = self->growth;
    self->inner = NULL;
    if (err && err->code != ERR_TIMEOUT) {
        op_finish(&self->op, err);
        return;
    }
    add_growth(buf_str(&self->answer), '+', &result->done);
    add_growth(buf_str(&self->answer), '-', &result->refusal);
    if (!result->refusal && (err || self->exit.status != 0)) {
        result->refusal = err ? mem_strdup("it does not answer")
                              : mem_printf("its shell ended with status %d", self->exit.status);
    }
    op_finish(&self->op, NULL);
}

/* The argument of `sh -c` is quoted for any login shell. */
static void run_script(struct guest_op *self, const char *script, const char *arguments,
    int64_t timeout_ms, op_done_fn *done)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    buf_add_str(&command, "sh -c ");
    text_add_shell_word(&command, script);
    buf_add_str(&command, arguments);
    struct ssh_exec_request request = {
        .command = buf_str(&command),
        .output = add_answer,
        .output_context = self,
        .timeout_ms = timeout_ms,
    };
    self->answer = BUF_INIT(CLOUD_INIT_ANSWER_MAX);
    self->inner = ssh_exec(self->guest->session, &request, &self->exit, done, self);
}

static void on_mounted(void *context, const struct error *err)
{
    struct guest_op *self = context;
    struct error failure = {.code = ERR_NONE};
    self->inner = NULL;
    if (err) {
        failure = *err;
        failure.code = ERR_SSH;
        error_wrap(&failure, "cannot mount the volumes of vm '%s'", self->guest->vm_name);
    } else if (self->exit.status == 0) {
        mount_report_read(buf_str(&self->answer), self->mount);
    } else {
        mount_report_fail(
            buf_str(&self->answer), self->exit.status, self->guest->vm_name, &failure);
    }
    op_finish(&self->op, failure.code ? &failure : NULL);
}

static void use_session(struct guest_op *self)
{
    struct guest *guest = self->guest;
    if (self->step.step) {
        self->step.session = guest->session;
        self->inner = provision_step_start(&self->step, self->result, on_used, self);
        return;
    }
    if (self->check) {
        start_round(self);
        return;
    }
    if (self->clock) {
        self->inner =
            guest_clock_start(guest->session, guest->host->clock, self->clock, on_used, self);
        return;
    }
    if (self->report) {
        run_script(self, cloud_init_query, self->is_login ? " sh 0" : " sh 10",
            self->is_login ? PROBE_MS : CLOUD_INIT_MS, on_cloud_init_done);
        return;
    }
    if (self->growth) {
        run_script(self, grow_guest_sh, self->arguments, GROW_MS, on_grown);
        return;
    }
    if (self->mount) {
        run_script(self, mount_volumes_sh, self->arguments, GROW_MS, on_mounted);
        return;
    }
    run_true(self);
}

/* ---- getting one ---- */

static bool is_refusal(const struct error *err)
{
    return err->code == ERR_SSH && err->sys_errno == ECONNREFUSED;
}

/* Explains a refused login or a closed port by the guest's console output; and a wrong host key: a
 * guest that never read its seed has one of its own. */
static void explain_refusal(const struct guest_op *self, struct error *err)
{
    const struct guest *guest = self->guest;
    bool is_closed = is_refusal(err);
    bool is_refused = err->code == ERR_SSH_AUTH || err->code == ERR_SSH_HOSTKEY;
    if (!is_refused && !is_closed) {
        return;
    }
    struct console_words words;
    cleanup_buf struct buf why = BUF_INIT(0);
    cleanup_free char *console = paths_vm(guest->host->paths, guest->vm_name, VM_CONSOLE_LOG);
    console_words_read(console, &words);
    if (is_closed && words.is_through) {
        err->code = ERR_SSH_PORT;
        buf_add_str(&why, "; the guest has booted, and nothing listens on its port 22");
    } else if (!is_closed) {
        console_words_explain(&words, self->address.user, self->seed, &why);
    }
    size_t used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof(err->message) - used, "%s", buf_str(&why));
}

int64_t guest_pause_ms(const struct error *err, int64_t failing_ms)
{
    bool is_silent = err->code == ERR_SSH && err->sys_errno == ETIMEDOUT;
    int64_t pause_ms = is_silent ? 0 : is_refusal(err) ? REFUSED_MS : RECONNECT_MS;
    int64_t share_ms = failing_ms < LONG_MS ? 0 : failing_ms / LONG_PAUSE_SHARE;
    int64_t long_ms = share_ms < LONG_PAUSE_MAX_MS ? share_ms : LONG_PAUSE_MAX_MS;
    return pause_ms > long_ms ? pause_ms : long_ms;
}

/* Returns how long the guest is left alone now. The time begins again when a guest that was silent
 * refuses: its network is up, and its sshd not far. */
static int64_t note_failed_login(struct guest_op *self, const struct error *err)
{
    struct guest *guest = self->guest;
    int64_t now_ms = loop_now_ms(guest->host->loop);
    const char *instance_id = self->address.instance_id;
    bool is_same = guest->failing_since_ms > 0 && text_eq(guest->failing_id, instance_id);
    if (!is_same || (is_refusal(err) && guest->n_silent > 0)) {
        guest->failing_since_ms = now_ms;
        guest->n_silent = 0;
        (void)snprintf(guest->failing_id, sizeof(guest->failing_id), "%s", instance_id);
    }
    guest->n_silent += err->sys_errno == ETIMEDOUT;
    return guest_pause_ms(err, now_ms - guest->failing_since_ms);
}

/* While the guest's kernel refuses, its sshd is about to listen: the next try follows at once, in
 * the same operation. */
static void on_opened(void *context, const struct error *err)
{
    struct guest_op *self = context;
    struct guest *guest = self->guest;
    int64_t pause_ms = err ? note_failed_login(self, err) : RECONNECT_MS;
    self->inner = NULL;
    guest->next_connect_ms = loop_now_ms(guest->host->loop) + pause_ms;
    if (err && is_refusal(err) && guest->next_connect_ms < self->give_up_ms) {
        loop_timer_start(self->start, pause_ms);
        return;
    }
    if (err) {
        struct error failure = *err;
        explain_refusal(self, &failure);
        error_wrap(&failure, "vm '%s'", guest->vm_name);
        op_finish(&self->op, &failure);
        return;
    }
    guest->failing_since_ms = 0;
    guest->n_silent = 0;
    guest->address = self->address; /* moved */
    self->address = (struct guest_address){.host = NULL};
    use_session(self);
}

int64_t guest_banner_ms(unsigned n_silent, int64_t silent_ms)
{
    int64_t part_ms = silent_ms / PATIENT_PART;
    if (n_silent % PATIENT_EVERY != PATIENT_EVERY - 1) {
        return BANNER_MS;
    }
    return part_ms < PATIENT_BANNER_MS       ? PATIENT_BANNER_MS
           : part_ms > PATIENT_BANNER_MAX_MS ? PATIENT_BANNER_MAX_MS
                                             : part_ms;
}

static void open_session(struct guest_op *self)
{
    struct guest *guest = self->guest;
    const struct guest_address *address = &self->address;
    int64_t silent_ms = loop_now_ms(guest->host->loop) - guest->failing_since_ms;
    if (self->give_up_ms == 0) {
        self->give_up_ms = loop_now_ms(guest->host->loop) + REFUSED_FOR_MS;
    }
    struct ssh_target target = {
        .host = address->host,
        .port = address->port,
        .user = address->user,
        .n_keys = address->n_keys,
        .host_key_path = address->host_key_path,
        .connect_ms = CONNECT_MS,
        .banner_ms = guest_banner_ms(guest->n_silent, silent_ms),
        .login_ms = LOGIN_MS,
    };
    for (size_t i = 0; i < address->n_keys; i++) {
        target.keys[i] = address->keys[i];
    }
    self->inner = ssh_session_open(guest->host->loop, &target, &guest->session, on_opened, self);
}

static void on_start(void *context)
{
    struct guest_op *self = context;
    struct guest *guest = self->guest;
    if (!self->address.host) {
        struct error err = {.code = ERR_NONE};
        error_set(&err, ERR_IP_TIMEOUT, "vm '%s' has no address yet", guest->vm_name);
        op_finish(&self->op, &err);
        return;
    }
    if (self->check && !vm_spec_expects_ssh(self->spec)) {
        drop_session(guest);
        start_round(self);
        return;
    }
    if (guest->session && guest_address_equal(&guest->address, &self->address) &&
        ssh_session_is_usable(guest->session)) {
        use_session(self);
        return;
    }
    drop_session(guest);
    int64_t wait_ms = guest->next_connect_ms - loop_now_ms(guest->host->loop);
    if (wait_ms > 0) {
        loop_timer_start(self->start, wait_ms);
        return;
    }
    open_session(self);
}

static struct guest_op *guest_op_start(
    struct guest *guest, const struct vm_env *env, op_done_fn *done, void *context)
{
    assert(!guest->is_busy);
    struct guest_op *self = mem_new(struct guest_op);
    guest->is_busy = true;
    loop_timer_stop(guest->idle);
    self->op = (struct op){on_cancel, done, context};
    self->guest = guest;
    guest_address_init(&self->address, env);
    const struct spec_cloud_init *cloud_init = &env->spec->cloud_init;
    self->seed = cloud_init->is_set ? enum_names_at(&seed_bus_words, cloud_init->bus) : NULL;
    self->start = loop_timer_new(guest->host->loop, on_start, self);
    loop_timer_start(self->start, 0);
    return self;
}

/* ---- the table ---- */

static struct guest *guest_open(struct reconciler_host *host, const char *vm_name)
{
    struct guest *guest = mem_new(struct guest);
    guest->host = host;
    guest->vm_name = mem_strdup(vm_name);
    guest->idle = loop_timer_new(host->loop, on_idle, guest);
    return guest;
}

static void guest_close(struct guest *guest)
{
    if (!guest) {
        return;
    }
    assert(!guest->is_busy);
    drop_session(guest);
    loop_timer_free(guest->idle);
    free(guest->vm_name);
    free(guest);
}

static struct op *guest_probe(struct guest *guest, const struct vm_env *env,
    struct cloud_init_report *report, op_done_fn *done, void *context)
{
    struct guest_op *self = guest_op_start(guest, env, done, context);
    self->is_login = true;
    self->report = report;
    return &self->op;
}

static struct op *guest_cloud_init(struct guest *guest, const struct vm_env *env,
    struct cloud_init_report *report, op_done_fn *done, void *context)
{
    struct guest_op *self = guest_op_start(guest, env, done, context);
    self->report = report;
    return &self->op;
}

static struct op *guest_set_clock(struct guest *guest, const struct vm_env *env,
    struct clock_result *result, op_done_fn *done, void *context)
{
    struct guest_op *self = guest_op_start(guest, env, done, context);
    self->clock = result;
    return &self->op;
}

static struct op *guest_grow(struct guest *guest, const struct vm_env *env,
    struct growth_result *result, op_done_fn *done, void *context)
{
    struct guest_op *self = guest_op_start(guest, env, done, context);
    const struct vm_growth *growth = &env->status->growth;
    const struct vm_spec *has = env->status->applied_spec ? env->status->applied_spec : env->spec;
    self->growth = result;
    self->arguments = mem_printf(" grow_guest '' %u %u %llu", growth->vcpus ? has->vcpus : 0,
        growth->memory ? has->memory_mib : 0,
        growth->disk ? (unsigned long long)has->disk_gib << 10 : 0);
    return &self->op;
}

static struct op *guest_mount(struct guest *guest, const struct vm_env *env, const char *orders,
    struct mount_result *result, op_done_fn *done, void *context)
{
    struct guest_op *self = guest_op_start(guest, env, done, context);
    self->mount = result;
    self->arguments = mem_printf(" sh%s", orders);
    return &self->op;
}

static struct op *guest_check(struct guest *guest, const struct vm_env *env, enum check_kind kind,
    op_done_fn *done, void *context)
{
    struct guest_op *self = guest_op_start(guest, env, done, context);
    self->spec = vm_spec_copy(env->spec);
    self->check = &self->spec->checks[kind];
    return &self->op;
}

/* Stable across restarts of this attempt, unique otherwise. */
static void name_run(const struct vm_env *env, uint32_t index, char *ret_id)
{
    const struct vm_provision *provision = &env->status->provision;
    char hex[DIGEST_SIZE];
    cleanup_free char *text =
        mem_printf("%s %s %u %u", provision->token, provision->digest, index, provision->run.tries);
    digest_text(text, hex);
    (void)snprintf(ret_id, PROVISION_RUN_ID_SIZE, "%.8s-%.24s", env->uid, hex);
}

static struct op *guest_run_step(struct guest *guest, const struct vm_env *env, uint32_t index,
    struct step_result *result, op_done_fn *done, void *context)
{
    assert(index < env->spec->n_steps);
    struct guest_op *self = guest_op_start(guest, env, done, context);
    self->spec = vm_spec_copy(env->spec);
    self->log_path = paths_vm(env->host->paths, env->name, VM_PROVISION_LOG);
    self->result = result;
    result->exit_status = -1;
    const struct vm_step_run *run = &env->status->provision.run;
    name_run(env, index, self->run_id);
    self->step = (struct provision_request){
        .loop = guest->host->loop,
        .clock = guest->host->clock,
        .vm_name = guest->vm_name,
        .log_path = self->log_path,
        .step = &self->spec->steps[index],
        .secrets = env->secrets,
        .index = index,
        .total = env->status->provision.total,
        .run_id = self->run_id,
        .guest_dir = PROVISION_GUEST_DIR,
        .must_exist = !text_eq(run->instance_id, env->status->instance.instance_id),
        .log_begin = run->log_begin,
        .started_at_ms = run->started_at_ms,
    };
    return &self->op;
}

const struct guest_ops *guest_ssh(void)
{
    static const struct guest_ops ops = {
        .open = guest_open,
        .close = guest_close,
        .probe = guest_probe,
        .cloud_init = guest_cloud_init,
        .set_clock = guest_set_clock,
        .grow = guest_grow,
        .mount = guest_mount,
        .check = guest_check,
        .run_step = guest_run_step,
    };
    ssh_library_init();
    return &ops;
}
