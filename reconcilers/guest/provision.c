/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/provision.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/guest/find_place.sh.h"
#include "reconcilers/guest/place_as_root.sh.h"
#include "reconcilers/guest/provision_log.h"
#include "reconcilers/guest/run_inline.sh.h"
#include "reconcilers/guest/run_script.sh.h"
#include "reconcilers/guest/secret_mask.h"
#include "reconcilers/guest/step_secrets.h"
#include "reconcilers/ssh/secrets.sh.h"
#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"

/*
 *   kind    stages
 *   inline  DETACHED; where the guest cannot: RUN
 *   script  DETACHED; where the guest cannot: UPLOAD_SCRIPT, RUN (which also removes it)
 *   file    FIND_PLACE, UPLOAD_FILE, PLACE; and REMOVE when PLACE failed
 */
enum stage {
    STAGE_DETACHED,
    STAGE_UPLOAD_SCRIPT,
    STAGE_RUN,
    STAGE_FIND_PLACE,
    STAGE_UPLOAD_FILE,
    STAGE_PLACE,
    STAGE_REMOVE,
    STAGE_OVER,
};

enum {
    ANSWER_MAX = 4096,
    /* The guest ends a detached step itself, and needs up to 5 s for it. This is for a guest whose
     * clock does not advance or whose `sleep` was killed. */
    GUEST_LATE_MS = 30000,
};
_Static_assert(SSH_DETACHED_LOG_MIB << 20 > PROVISION_LOG_STEP_MAX,
    "the guest keeps more output than the log, so that the log reports what is dropped");

struct provision {
    struct op op;                /* first */
    struct ssh_session *session; /* borrowed until `done` */
    struct loop_timer *start, *deadline;
    struct op *inner;
    enum stage stage;
    struct provision_log *log;
    char *title; /* "step 2 of 3 (shell script '/x/setup.sh') of vm 'web'" */
    enum step_kind kind;
    char *command, *source, *destination, *environment;
    struct step_secrets *secrets; /* borrowed until `done`; NULL: there are none, or … */
    bool are_lost;                /* … another vmctld began the run, and had them */
    char run_id[PROVISION_RUN_ID_SIZE];
    char *guest_dir;
    char *log_path;
    struct provision_log_request log_request; /* its texts are those above */
    uint32_t timeout_s;
    bool must_exist;
    char *remote;      /* where the upload goes: a temporary name */
    char *script;      /* where a script runs */
    bool is_sudo;      /* FIND_PLACE: only root may write there */
    struct buf answer; /* of the stages that run vmctld's own programs */
    struct ssh_exit exit;
    struct ssh_detached_result detached;
    struct error failure; /* to be reported once REMOVE is done */
    struct step_result *result;
};

/* ---- the end ---- */

/* A log that is still open is resumed by the next controller: the step keeps running in the guest.
 */
static void on_cancel(struct op *op)
{
    struct provision *provision = (struct provision *)(void *)op;
    op_cancel(provision->inner);
    provision_log_close(provision->log);
    loop_timer_free(provision->start);
    loop_timer_free(provision->deadline);
    buf_clear(&provision->answer);
    free(provision->title);
    free(provision->command);
    free(provision->source);
    free(provision->destination);
    free(provision->environment);
    free(provision->log_path);
    free(provision->guest_dir);
    free(provision->remote);
    free(provision->script);
    free(provision);
}

static void put_output(void *context, const char *bytes, size_t n)
{
    struct provision *provision = context;
    provision_log_output(provision->log, bytes, n);
}

static void provision_finish(struct provision *provision, const struct error *err)
{
    if (!err || err->code != ERR_SSH) {
        if (provision->secrets && provision->log) {
            secret_mask_flush(provision->secrets->mask, put_output, provision);
        }
        provision_log_end(TAKE_PTR(provision->log), err ? err->message : NULL);
    }
    op_finish(&provision->op, err);
}

static void set_timed_out(struct provision *provision, struct error *err)
{
    error_set(err, ERR_PROVISION_TIMEOUT, "%s did not end within %u s", provision->title,
        provision->timeout_s);
}

static void on_deadline(void *context)
{
    struct provision *provision = context;
    struct error err = {.code = ERR_NONE};
    op_cancel(TAKE_PTR(provision->inner));
    set_timed_out(provision, &err);
    provision_finish(provision, &err);
}

/* ---- what runs ---- */

/* Short enough to append to a long file name; the same for the same run, so that the next upload
 * overwrites the rest of a killed one. */
static const char *unique_part(const struct provision *provision)
{
    return provision->run_id + strlen(provision->run_id) - 8;
}

static void on_output(void *context, const char *bytes, size_t n)
{
    struct provision *provision = context;
    if (provision->secrets) {
        secret_mask_add(provision->secrets->mask, bytes, n, put_output, provision);
    } else if (!provision->are_lost) {
        put_output(provision, bytes, n);
    }
}

static void on_answer(void *context, const char *bytes, size_t n)
{
    struct provision *provision = context;
    size_t room = ANSWER_MAX - provision->answer.len;
    buf_add(&provision->answer, bytes, n < room ? n : room);
}

static void on_stage_done(void *context, const struct error *err);

/* Runs a program for a POSIX shell, whatever the user's login shell is; $1, $2 … are `arguments`.
 * The program that runs an inline command gets it on its standard input. */
static void run_script(struct provision *provision, const char *script,
    const char *const *arguments, ssh_output_fn *output)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    bool is_step = provision->stage == STAGE_RUN;
    cleanup_free char *whole = NULL;
    char *input = NULL;
    if (is_step) {
        size_t n_lines;
        char *lines = step_secrets_input(provision->secrets, &n_lines);
        cleanup_free char *take = step_secrets_take(provision->secrets);
        whole = mem_printf("%s; read_secrets %zu; %swith() { %s\"$@\"; }; %s", secrets_sh, n_lines,
            take, provision->environment, script);
        input = mem_printf("%s%s", lines, provision->command ? provision->command : "");
        mem_wipe_text(lines);
    }
    buf_add_str(&command, "exec sh -c ");
    text_add_shell_word(&command, whole ? whole : script);
    buf_add_str(&command, " sh");
    for (; *arguments; arguments++) {
        buf_add_char(&command, ' ');
        text_add_shell_word(&command, *arguments);
    }
    struct ssh_exec_request request = {
        .command = buf_str(&command),
        .input_text = input,
        .output = output,
        .output_context = provision,
    };
    buf_reset(&provision->answer);
    provision->inner =
        ssh_exec(provision->session, &request, &provision->exit, on_stage_done, provision);
    mem_wipe_text(input);
}
#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void upload(struct provision *provision, unsigned mode)
{
    struct ssh_upload_request request = {
        .local_path = provision->source, .remote_path = provision->remote, .mode = mode};
    provision->inner = ssh_upload(provision->session, &request, on_stage_done, provision);
}

/* Renames the uploaded file to its destination; as root it is copied beside it before. */
static void place(struct provision *provision)
{
    const char *remote = provision->remote, *destination = provision->destination;
    if (provision->is_sudo) {
        cleanup_free char *beside = mem_printf("%s.%s", destination, strrchr(remote, '/') + 1);
        run_script(provision, place_as_root_sh, ARGUMENTS(remote, destination, beside), on_answer);
    } else {
        run_script(provision, "mv -f -- \"$1\" \"$2\"", ARGUMENTS(remote, destination), on_answer);
    }
}

static void run_attached(struct provision *provision)
{
    if (provision->kind == STEP_INLINE) {
        run_script(provision, run_inline_sh, ARGUMENTS(provision->remote), on_output);
    } else {
        run_script(
            provision, run_script_sh, ARGUMENTS(provision->remote, provision->script), on_output);
    }
}

static void run_detached(struct provision *provision)
{
    const struct step_secrets *secrets = provision->secrets;
    size_t n_kept = secrets ? secret_mask_kept(secrets->mask) : 0, n_lines;
    char *lines = step_secrets_input(secrets, &n_lines);
    cleanup_free char *take = step_secrets_take(secrets);
    struct ssh_detached_request request = {
        .base = provision->guest_dir,
        .id = provision->run_id,
        .command = provision->command,
        .local_path = provision->source,
        .environment = provision->environment,
        .script_path = provision->kind == STEP_SCRIPT ? provision->script : NULL,
        .secrets = lines,
        .n_secret_lines = n_lines,
        .take_secrets = take,
        .offset = provision_log_offset(provision->log) + n_kept,
        .timeout_s = provision->timeout_s,
        .must_exist = provision->must_exist,
        .is_last = provision->log_request.index + 1 == provision->log_request.total,
        .output = on_output,
        .output_context = provision,
    };
    provision->inner =
        ssh_detached(provision->session, &request, &provision->detached, on_stage_done, provision);
    mem_wipe_text(lines);
}

static void start_stage(struct provision *provision, enum stage stage)
{
    struct stat st;
    provision->stage = stage;
    switch (stage) {
    case STAGE_DETACHED:
        run_detached(provision);
        break;
    case STAGE_UPLOAD_SCRIPT:
        upload(provision, 0755);
        break;
    case STAGE_RUN:
        run_attached(provision);
        break;
    case STAGE_FIND_PLACE:
        run_script(provision, find_place_sh, ARGUMENTS(provision->destination), on_answer);
        break;
    case STAGE_UPLOAD_FILE:
        upload(provision,
            user_path_stat(provision->source, &st) == 0 ? (unsigned)st.st_mode & 0777 : 0644);
        break;
    case STAGE_PLACE:
        place(provision);
        break;
    case STAGE_REMOVE:
        run_script(provision, "rm -f -- \"$1\"", ARGUMENTS(provision->remote), on_answer);
        break;
    case STAGE_OVER:
        provision_finish(provision, provision->failure.code ? &provision->failure : NULL);
        break;
    }
}

/* ---- how a stage ended ---- */

/* `status` is -1 when the server reported the signal, else above 128 for one. */
static void fail_run(struct provision *provision, int status, const char *signal_name)
{
    struct error *err = &provision->failure;
    provision->result->exit_status = status;
    if (signal_name && status < 0) {
        error_set(err, ERR_PROVISION, "%s was ended by signal %s", provision->title, signal_name);
    } else if (signal_name) {
        error_set(err, ERR_PROVISION, "%s was ended by signal %s (status %d)", provision->title,
            signal_name, status);
    } else {
        error_set(err, ERR_PROVISION, "%s exited with status %d", provision->title, status);
    }
}

static void fail_lost(struct provision *provision, const char *why)
{
    error_set(
        &provision->failure, ERR_PROVISION_LOST, "%s was interrupted: %s", provision->title, why);
}

/* Attached: from now on a lost connection loses the command's result. */
static enum stage fall_back_to_attached(struct provision *provision)
{
    log_debug("provision", "%s: the guest cannot run it detached", provision->title);
    if (provision->secrets) {
        secret_mask_reset(provision->secrets->mask);
    }
    provision_log_begin_again(provision->log, "begun again");
    if (provision->timeout_s > 0) {
        loop_timer_start(provision->deadline, (int64_t)provision->timeout_s * 1000);
    }
    return provision->kind == STEP_SCRIPT ? STAGE_UPLOAD_SCRIPT : STAGE_RUN;
}

static enum stage after_detached(struct provision *provision)
{
    const struct ssh_detached_result *ended = &provision->detached;
    switch (ended->end) {
    case DETACHED_EXITED:
        if (ended->status != 0) {
            fail_run(provision, ended->status,
                ended->status > 128 ? sigabbrev_np(ended->status - 128) : NULL);
        } else {
            provision->result->exit_status = 0;
        }
        break;
    case DETACHED_TIMED_OUT:
        set_timed_out(provision, &provision->failure);
        break;
    case DETACHED_KILLED:
        fail_lost(provision, "its processes in the guest were killed");
        break;
    case DETACHED_REBOOTED:
        fail_lost(provision, "the guest was restarted while it ran");
        break;
    case DETACHED_NOT_BEGUN:
        if (!provision->must_exist) {
            return fall_back_to_attached(provision);
        }
        fail_lost(provision, provision->are_lost ? "vmctld was restarted before it started"
                                                 : "the VM was restarted while it ran");
        break;
    }
    return STAGE_OVER;
}

static void fail_file(struct provision *provision, const char *reason)
{
    error_set(&provision->failure, ERR_PROVISION, "%s: cannot write '%s': %s", provision->title,
        provision->destination, reason[0] ? reason : "no reason is given");
}

static enum stage after_find_place(struct provision *provision)
{
    cleanup_free char *line = text_last_line(buf_str(&provision->answer), provision->answer.len);
    provision->is_sudo = text_eq(line, "sudo");
    if (provision->exit.status != 0 || !(provision->is_sudo || text_eq(line, "beside"))) {
        fail_file(provision, line);
        return STAGE_OVER;
    }
    provision->remote = provision->is_sudo ? mem_printf("/tmp/vmctl-%s", unique_part(provision))
                                           : mem_printf("%s.vmctl-%s", provision->destination,
                                                 unique_part(provision));
    return STAGE_UPLOAD_FILE;
}

static enum stage after_place(struct provision *provision)
{
    if (provision->exit.status == 0) {
        provision->result->exit_status = 0;
        return STAGE_OVER;
    }
    cleanup_free char *line = text_last_line(buf_str(&provision->answer), provision->answer.len);
    fail_file(provision, line);
    return STAGE_REMOVE;
}

static enum stage next_stage(struct provision *provision)
{
    switch (provision->stage) {
    case STAGE_DETACHED:
        return after_detached(provision);
    case STAGE_UPLOAD_SCRIPT:
        return STAGE_RUN;
    case STAGE_RUN:
        if (provision->exit.status != 0) {
            const char *signal = provision->exit.signal;
            fail_run(provision, provision->exit.status, signal[0] ? signal : NULL);
        } else {
            provision->result->exit_status = 0;
        }
        return STAGE_OVER;
    case STAGE_FIND_PLACE:
        return after_find_place(provision);
    case STAGE_UPLOAD_FILE:
        return STAGE_PLACE;
    case STAGE_PLACE:
        return after_place(provision);
    case STAGE_REMOVE:
    case STAGE_OVER:
        break;
    }
    return STAGE_OVER;
}

static void on_stage_done(void *context, const struct error *err)
{
    struct provision *provision = context;
    provision->inner = NULL;
    if (!err) {
        start_stage(provision, next_stage(provision));
        return;
    }
    if (provision->stage == STAGE_REMOVE) { /* the failure is recorded already */
        start_stage(provision, STAGE_OVER);
        return;
    }
    struct error failure = *err;
    if (failure.code != ERR_SSH) {
        failure.code = ERR_PROVISION;
    } else if (provision->stage == STAGE_RUN) {
        failure.code = ERR_PROVISION_LOST;
    }
    error_wrap(&failure, "%s", provision->title);
    provision_finish(provision, &failure);
}

/* ---- the beginning ---- */

static int check_step(const struct provision *provision, struct error *err)
{
    const char *source = provision->source, *title = provision->title;
    struct stat st;
    if (source && (user_path_readable(source, &st) < 0 || user_path_answers(source) < 0)) {
        return error_set_errno(err, ERR_PROVISION, errno, "%s: cannot read '%s'", title, source);
    }
    if (source && !S_ISREG(st.st_mode)) {
        return error_set(err, ERR_PROVISION, "%s: '%s' is not a regular file", title, source);
    }
    return 0;
}

static void on_start(void *context)
{
    static const enum stage first[] = {
        [STEP_INLINE] = STAGE_DETACHED,
        [STEP_SCRIPT] = STAGE_DETACHED,
        [STEP_FILE] = STAGE_FIND_PLACE,
    };
    _Static_assert(ARRAY_LEN(first) == STEP_KIND_COUNT_, "every kind has a first stage");
    struct provision *provision = context;
    struct error err = {.code = ERR_NONE};
    if (provision_log_open(&provision->log_request, &provision->log, &err) < 0 ||
        check_step(provision, &err) < 0) {
        provision_finish(provision, &err);
        return;
    }
    if (provision->are_lost) {
        provision_log_note(provision->log,
            "vmctld was restarted and no longer knows its secrets: further output is not shown");
    }
    start_stage(provision, first[provision->kind]);
}

static char *title_of(const struct provision_request *request)
{
    const struct spec_step *step = request->step;
    cleanup_free char *what = NULL;
    if (step->kind == STEP_INLINE) {
        what = mem_strdup("shell inline");
    } else if (step->kind == STEP_SCRIPT) {
        what = mem_printf("shell script '%s'", step->file.path);
    } else {
        what = mem_printf("file '%s'", step->destination);
    }
    return mem_printf("step %u of %u (%s) of vm '%s'", request->index + 1, request->total, what,
        request->vm_name);
}

static void copy_step(struct provision *provision, const struct provision_request *request)
{
    const struct spec_step *step = request->step;
    provision->kind = step->kind;
    provision->timeout_s = step->timeout_s;
    provision->environment = step_environment(step);
    if (step->kind != STEP_FILE) {
        provision->script = mem_printf("/tmp/vmctl-provision-%u.sh", request->index + 1);
        provision->remote = mem_printf("%s.%s", provision->script, unique_part(provision));
    }
    if (step->kind == STEP_INLINE) {
        provision->command = mem_strdup(step->command);
        return;
    }
    provision->source = mem_strdup(step->file.path);
    provision->destination = mem_strdup(step->destination);
}

static void copy_log_request(struct provision *provision, const struct provision_request *request)
{
    provision->log_path = mem_strdup(request->log_path);
    provision->log_request = (struct provision_log_request){
        .path = provision->log_path,
        .begin = request->log_begin,
        .index = request->index,
        .total = request->total,
        .clock = request->clock,
        .started_at_ms = request->started_at_ms,
        .kind = provision->kind,
        .what = provision->command ? provision->command : provision->source,
        .destination = provision->destination,
    };
}

static void provision_arm(struct provision *provision, struct loop *loop)
{
    int64_t timeout_ms = (int64_t)provision->timeout_s * 1000;
    provision->start = loop_timer_new(loop, on_start, provision);
    provision->deadline = loop_timer_new(loop, on_deadline, provision);
    loop_timer_start(provision->start, 0);
    if (timeout_ms > 0) {
        bool is_detached = provision->kind != STEP_FILE;
        loop_timer_start(provision->deadline, timeout_ms + (is_detached ? GUEST_LATE_MS : 0));
    }
}

/* They are with the vmctld that began the run. */
static bool step_lost_secrets(const struct provision_request *request)
{
    return request->step->n_secrets > 0 && (!request->secrets || !request->secrets->values);
}

struct op *provision_step_start(const struct provision_request *request, struct step_result *result,
    op_done_fn *done, void *context)
{
    struct provision *provision = mem_new(struct provision);
    provision->op = (struct op){on_cancel, done, context};
    provision->session = request->session;
    provision->title = title_of(request);
    provision->guest_dir = mem_strdup(request->guest_dir);
    provision->are_lost = step_lost_secrets(request);
    provision->secrets = provision->are_lost ? NULL : request->secrets;
    provision->must_exist = request->must_exist || provision->are_lost;
    (void)snprintf(provision->run_id, sizeof(provision->run_id), "%s", request->run_id);
    copy_step(provision, request);
    copy_log_request(provision, request);
    provision->answer = BUF_INIT(ANSWER_MAX);
    provision->result = result;
    result->exit_status = -1;
    provision_arm(provision, request->loop);
    return &provision->op;
}
