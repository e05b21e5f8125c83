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
#include "reconcilers/guest/probe_round.h"
#include "reconcilers/guest/provision.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum {
    CONNECT_MS = 2000,
    BANNER_MS = 1000,
    /* Every PATIENT_EVERYth try: a guest under TCG on a busy host may need longer than BANNER_MS
     * for every banner, and would never be reached. */
    PATIENT_EVERY = 10,
    PATIENT_BANNER_MS = 4000,
    LOGIN_MS = 10000, /* key exchange is slow under TCG */
    PROBE_MS = 5000,
    IDLE_MS = 10000,
    KEPT_PERIOD_MS = 60000, /* rounds further apart than this log in anew */
    /* Between two connections: each one that is given up costs the guest's sshd a process. */
    RECONNECT_MS = 250,
};

struct guest {
    struct reconciler_host *host; /* borrowed, outlives every guest */
    char *vm_name;
    struct ssh_session *session;  /* NULL: none */
    struct guest_address address; /* of `session` */
    struct loop_timer *idle;
    bool is_busy;
    int64_t next_connect_ms; /* not before */
    unsigned n_failed;       /* connections in a row that did not get in */
};

/* One probe, one step or one round of checks: gets a session, then uses it. */
struct visit {
    struct op op; /* first */
    struct guest *guest;
    struct guest_address address;
    struct loop_timer *start;
    struct op *inner;
    struct provision_request step;    /* strings owned below; .step NULL: none */
    const struct spec_check *check;   /* of `spec`; NULL: none */
    struct cloud_init_report *report; /* NULL: not asked for. None of the three: a probe */
    struct buf answer;                /* to cloud_init_question */
    struct vm_spec *spec;             /* owned copy: holds the step, the check */
    char *log_path;
    char run_id[PROVISION_RUN_ID_SIZE];
    struct ssh_exit exit;
    struct step_result *result;
};

/* ---- where, as whom, with which keys ---- */

static const char *const standard_keys[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
_Static_assert(2 + ARRAY_LEN(standard_keys) <= SSH_KEYS_MAX, "all keys have room");

static void add_key(struct guest_address *address, char *path_take, bool is_explicit)
{
    address->keys[address->n_keys++] =
        (struct ssh_key){.path = path_take, .is_explicit = is_explicit};
}

static void add_keys(struct guest_address *address, const struct vm_env *env)
{
    add_key(address, paths_vm(env->host->paths, env->name, VM_KEY), false);
    if (env->spec->ssh.private_key) {
        add_key(address, mem_strdup(env->spec->ssh.private_key), true);
    }
    for (size_t i = 0; i < ARRAY_LEN(standard_keys); i++) {
        add_key(address, mem_printf("%s/.ssh/%s", paths_home(), standard_keys[i]), false);
    }
}

/* With user-data of the user's own, or without a seed, the guest makes its host keys itself; a key
 * left over from an earlier spec says nothing about it. */
static char *pinned_host_key(const struct vm_env *env)
{
    if (!env->spec->cloud_init.is_set || env->spec->cloud_init.user_data.path) {
        return NULL;
    }
    cleanup_free char *path = paths_vm(env->host->paths, env->name, VM_HOST_KEY_PUBLIC);
    return fs_exists(path) ? TAKE_PTR(path) : NULL;
}

void guest_address_init(struct guest_address *address, const struct vm_env *env)
{
    const char *user = env->spec->ssh.user;
    *address = (struct guest_address){
        .host = mem_strdup(env->status->ssh_host),
        .port = env->status->ssh_port,
        .user = mem_strdup(user ? user : SPEC_DEFAULT_USER),
        .instance_id = mem_strdup(env->status->instance.instance_id),
        .host_key_path = pinned_host_key(env),
    };
    add_keys(address, env);
}

void guest_address_clear(struct guest_address *address)
{
    for (size_t i = 0; i < address->n_keys; i++) {
        free(address->keys[i].path);
    }
    free(address->host);
    free(address->user);
    free(address->instance_id);
    free(address->host_key_path);
    *address = (struct guest_address){.host = NULL};
}

bool guest_address_equal(const struct guest_address *a, const struct guest_address *b)
{
    bool is_same = text_eq(a->host, b->host) && a->port == b->port && text_eq(a->user, b->user) &&
                   text_eq(a->instance_id, b->instance_id) &&
                   text_eq(a->host_key_path, b->host_key_path) && a->n_keys == b->n_keys;
    for (size_t i = 0; is_same && i < a->n_keys; i++) {
        is_same = text_eq(a->keys[i].path, b->keys[i].path);
    }
    return is_same;
}

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

/* ---- the end of a visit ---- */

/* A session that the next round will use again, is not worth a login each time. */
static int64_t idle_ms_after(const struct visit *visit)
{
    int64_t period_ms = visit->check ? (int64_t)visit->check->period_s * 1000 : 0;
    return period_ms <= KEPT_PERIOD_MS ? period_ms + IDLE_MS : IDLE_MS;
}

static void on_cancel(struct op *op)
{
    struct visit *visit = (struct visit *)(void *)op;
    op_cancel(visit->inner);
    struct guest *guest = visit->guest;
    guest->is_busy = false;
    if (guest->session && ssh_session_is_usable(guest->session)) {
        loop_timer_start(guest->idle, idle_ms_after(visit));
    } else {
        drop_session(guest);
    }
    loop_timer_free(visit->start);
    guest_address_clear(&visit->address);
    vm_spec_free(visit->spec);
    free(visit->log_path);
    buf_clear(&visit->answer);
    free(visit);
}

/* ---- using the session ---- */

static void on_used(void *context, const struct error *err)
{
    struct visit *visit = context;
    visit->inner = NULL;
    op_finish(&visit->op, err);
}

/* On the session, or without SSH at the guest's address. */
static void start_round(struct visit *visit)
{
    struct guest *guest = visit->guest;
    struct probe_round_request request = {
        .loop = guest->host->loop,
        .session = guest->session,
        .host = visit->address.host,
        .spec = visit->spec,
        .check = visit->check,
    };
    visit->inner = probe_round_start(&request, on_used, visit);
}

static void on_true_done(void *context, const struct error *err)
{
    struct visit *visit = context;
    struct error told = {.code = ERR_NONE};
    visit->inner = NULL;
    if (err) {
        told = *err;
        told.code = ERR_SSH; /* a command that hangs is a guest that is not ready */
        error_wrap(&told, "vm '%s' let '%s' in but did not run `true`", visit->guest->vm_name,
            visit->guest->address.user);
    } else if (visit->exit.status != 0) {
        error_set(&told, ERR_SSH, "vm '%s' let '%s' in but `true` exited with status %d",
            visit->guest->vm_name, visit->address.user, visit->exit.status);
    }
    op_finish(&visit->op, told.code ? &told : NULL);
}

static void on_answered(void *context, const struct error *err)
{
    struct visit *visit = context;
    struct error told = {.code = ERR_NONE};
    visit->inner = NULL;
    if (err) {
        told = *err;
        told.code = ERR_SSH;
        error_wrap(&told, "vm '%s' was asked for its cloud-init", visit->guest->vm_name);
    } else {
        cloud_init_report_read(buf_str(&visit->answer), visit->answer.len, visit->report);
    }
    op_finish(&visit->op, told.code ? &told : NULL);
}

static void add_answer(void *context, const char *bytes, size_t n)
{
    struct visit *visit = context;
    buf_add(&visit->answer, bytes, n);
}

/* The login shell may be any; what follows `sh -c` is quoted for all of them. */
static void ask_cloud_init(struct visit *visit)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    buf_add_str(&command, "sh -c ");
    ssh_quote(&command, cloud_init_question);
    struct ssh_exec_request request = {
        .command = buf_str(&command),
        .output = add_answer,
        .output_context = visit,
        .timeout_ms = PROBE_MS,
    };
    visit->answer = BUF_INIT(CLOUD_INIT_ANSWER_MAX);
    visit->inner = ssh_exec(visit->guest->session, &request, &visit->exit, on_answered, visit);
}

static void use_session(struct visit *visit)
{
    struct guest *guest = visit->guest;
    if (visit->step.step) {
        visit->step.session = guest->session;
        visit->inner = provision_step_start(&visit->step, visit->result, on_used, visit);
        return;
    }
    if (visit->check) {
        start_round(visit);
        return;
    }
    if (visit->report) {
        ask_cloud_init(visit);
        return;
    }
    struct ssh_exec_request request = {.command = "true", .timeout_ms = PROBE_MS};
    visit->inner = ssh_exec(guest->session, &request, &visit->exit, on_true_done, visit);
}

/* ---- getting one ---- */

/* A login that is refused, or a port that is closed, explained by what the guest printed. */
static void explain_refusal(const struct visit *visit, struct error *err)
{
    const struct guest *guest = visit->guest;
    bool is_closed = err->code == ERR_SSH && err->sys_errno == ECONNREFUSED;
    if (err->code != ERR_SSH_AUTH && !is_closed) {
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
        console_words_explain(&words, visit->address.user, &why);
    }
    size_t used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof(err->message) - used, "%s", buf_str(&why));
}

static void on_opened(void *context, const struct error *err)
{
    struct visit *visit = context;
    struct guest *guest = visit->guest;
    visit->inner = NULL;
    guest->next_connect_ms = loop_now_ms(guest->host->loop) + RECONNECT_MS;
    if (err) {
        struct error told = *err;
        guest->n_failed++;
        explain_refusal(visit, &told);
        error_wrap(&told, "vm '%s'", guest->vm_name);
        op_finish(&visit->op, &told);
        return;
    }
    guest->n_failed = 0;
    guest->address = visit->address; /* handed on */
    visit->address = (struct guest_address){.host = NULL};
    use_session(visit);
}

static void open_session(struct visit *visit)
{
    struct guest *guest = visit->guest;
    const struct guest_address *address = &visit->address;
    bool is_patient = guest->n_failed % PATIENT_EVERY == PATIENT_EVERY - 1;
    struct ssh_target target = {
        .host = address->host,
        .port = address->port,
        .user = address->user,
        .n_keys = address->n_keys,
        .host_key_path = address->host_key_path,
        .connect_ms = CONNECT_MS,
        .banner_ms = is_patient ? PATIENT_BANNER_MS : BANNER_MS,
        .login_ms = LOGIN_MS,
    };
    for (size_t i = 0; i < address->n_keys; i++) {
        target.keys[i] = address->keys[i];
    }
    visit->inner = ssh_session_open(guest->host->loop, &target, &guest->session, on_opened, visit);
}

static void on_start(void *context)
{
    struct visit *visit = context;
    struct guest *guest = visit->guest;
    if (!visit->address.host) {
        struct error err = {.code = ERR_NONE};
        error_set(&err, ERR_IP_TIMEOUT, "vm '%s' has no address yet", guest->vm_name);
        op_finish(&visit->op, &err);
        return;
    }
    if (visit->check && !vm_spec_expects_ssh(visit->spec)) {
        drop_session(guest);
        start_round(visit);
        return;
    }
    if (guest->session && guest_address_equal(&guest->address, &visit->address) &&
        ssh_session_is_usable(guest->session)) {
        use_session(visit);
        return;
    }
    drop_session(guest);
    int64_t wait_ms = guest->next_connect_ms - loop_now_ms(guest->host->loop);
    if (wait_ms > 0) {
        loop_timer_start(visit->start, wait_ms);
        return;
    }
    open_session(visit);
}

static struct visit *visit_start(
    struct guest *guest, const struct vm_env *env, op_done_fn *done, void *context)
{
    assert(!guest->is_busy);
    struct visit *visit = mem_new(struct visit);
    guest->is_busy = true;
    loop_timer_stop(guest->idle);
    visit->op = (struct op){on_cancel, done, context};
    visit->guest = guest;
    guest_address_init(&visit->address, env);
    visit->start = loop_timer_new(guest->host->loop, on_start, visit);
    loop_timer_start(visit->start, 0);
    return visit;
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

static struct op *guest_probe(
    struct guest *guest, const struct vm_env *env, op_done_fn *done, void *context)
{
    return &visit_start(guest, env, done, context)->op;
}

static struct op *guest_cloud_init(struct guest *guest, const struct vm_env *env,
    struct cloud_init_report *report, op_done_fn *done, void *context)
{
    struct visit *visit = visit_start(guest, env, done, context);
    visit->report = report;
    return &visit->op;
}

static struct op *guest_check(struct guest *guest, const struct vm_env *env, enum check_kind kind,
    op_done_fn *done, void *context)
{
    struct visit *visit = visit_start(guest, env, done, context);
    visit->spec = vm_spec_copy(env->spec);
    visit->check = &visit->spec->checks[kind];
    return &visit->op;
}

/* The same for whoever goes on with this try, different for every other request, step and try. */
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
    struct visit *visit = visit_start(guest, env, done, context);
    visit->spec = vm_spec_copy(env->spec);
    visit->log_path = paths_vm(env->host->paths, env->name, VM_PROVISION_LOG);
    visit->result = result;
    result->exit_status = -1;
    const struct vm_step_run *run = &env->status->provision.run;
    name_run(env, index, visit->run_id);
    visit->step = (struct provision_request){
        .loop = guest->host->loop,
        .clock = guest->host->clock,
        .vm_name = guest->vm_name,
        .log_path = visit->log_path,
        .step = &visit->spec->steps[index],
        .index = index,
        .total = env->status->provision.total,
        .run_id = visit->run_id,
        .guest_dir = PROVISION_GUEST_DIR,
        .must_exist = !text_eq(run->instance_id, env->status->instance.instance_id),
        .log_begin = run->log_begin,
        .started_at_ms = run->started_at_ms,
    };
    return &visit->op;
}

const struct guest_ops *guest_ssh(void)
{
    static const struct guest_ops ops = {
        .open = guest_open,
        .close = guest_close,
        .probe = guest_probe,
        .cloud_init = guest_cloud_init,
        .check = guest_check,
        .run_step = guest_run_step,
    };
    ssh_library_init();
    return &ops;
}
