/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/provision.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/provision_log.h"
#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/*
 *   kind    stages
 *   inline  RUN
 *   script  UPLOAD_SCRIPT, RUN (which also removes it)
 *   file    FIND_PLACE, UPLOAD_FILE, PLACE; and REMOVE when PLACE failed
 */
enum stage {
    STAGE_UPLOAD_SCRIPT,
    STAGE_RUN,
    STAGE_FIND_PLACE,
    STAGE_UPLOAD_FILE,
    STAGE_PLACE,
    STAGE_REMOVE,
    STAGE_OVER,
};

enum { ANSWER_MAX = 4096 };

struct provision {
    struct op op; /* first */
    struct loop *loop;
    struct ssh_session *session; /* borrowed until `done` */
    struct loop_timer *start, *deadline;
    struct op *inner;
    enum stage stage;
    struct provision_log *log;
    char *title; /* "step 2 of 3 (shell script '/x/setup.sh') of vm 'web'" */
    enum step_kind kind;
    char *command, *source, *destination, *log_path;
    uint32_t index, total, timeout_s;
    char *remote;      /* where the upload goes: a temporary name */
    char *script;      /* where a script runs */
    bool is_sudo;      /* FIND_PLACE: only root may write there */
    struct buf answer; /* of the stages that are ours and not the user's */
    struct ssh_exit exit;
    struct error failure; /* to be told once REMOVE has cleared up */
    struct step_result *result;
    op_done_fn *done;
    void *context;
};

/* ---- the end ---- */

static void provision_free(struct provision *provision)
{
    loop_timer_free(provision->start);
    loop_timer_free(provision->deadline);
    buf_clear(&provision->answer);
    free(provision->title);
    free(provision->command);
    free(provision->source);
    free(provision->destination);
    free(provision->log_path);
    free(provision->remote);
    free(provision->script);
    free(provision);
}

static void finish(struct provision *provision, const struct error *err)
{
    op_done_fn *done = provision->done;
    void *context = provision->context;
    struct error told = {.code = ERR_NONE};
    if (err) {
        told = *err;
    }
    provision_log_close(provision->log, err ? told.message : NULL);
    provision_free(provision);
    done(context, told.code ? &told : NULL);
}

static void on_cancel(struct op *op)
{
    struct provision *provision = (struct provision *)(void *)op;
    op_cancel(provision->inner);
    provision_log_close(provision->log, "interrupted");
    provision_free(provision);
}

static void on_deadline(void *context)
{
    struct provision *provision = context;
    struct error err = {.code = ERR_NONE};
    op_cancel(TAKE_PTR(provision->inner));
    error_set(
        &err, ERR_PROVISION, "%s did not end within %u s", provision->title, provision->timeout_s);
    error_help(&err, "raise the step's `timeout`, or see what it does: vmctl log NAME --provision");
    finish(provision, &err);
}

/* ---- what runs ---- */

static void on_output(void *context, const char *bytes, size_t n)
{
    struct provision *provision = context;
    provision_log_output(provision->log, bytes, n);
}

static void on_answer(void *context, const char *bytes, size_t n)
{
    struct provision *provision = context;
    size_t room = ANSWER_MAX - provision->answer.len;
    buf_add(&provision->answer, bytes, n < room ? n : room);
}

static void on_stage_done(void *context, const struct error *err);

static void run(struct provision *provision, const char *command, ssh_output_fn *output)
{
    struct ssh_exec_request request = {
        .command = command, .output = output, .output_context = provision};
    buf_reset(&provision->answer);
    provision->inner =
        ssh_exec(provision->session, &request, &provision->exit, on_stage_done, provision);
}

/* `script` for the guest's POSIX shell, whatever the user's login shell is; $1, $2 … are `words`.
 */
static void run_own(struct provision *provision, const char *script, const char *const *words,
    ssh_output_fn *output)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    buf_add_str(&command, "exec sh -c ");
    ssh_quote(&command, script);
    buf_add_str(&command, " sh");
    for (; *words; words++) {
        buf_add_char(&command, ' ');
        ssh_quote(&command, *words);
    }
    run(provision, buf_str(&command), output);
}

static void upload(struct provision *provision, unsigned mode)
{
    struct ssh_upload_request request = {
        .local_path = provision->source, .remote_path = provision->remote, .mode = mode};
    provision->inner = ssh_upload(provision->session, &request, on_stage_done, provision);
}

static unsigned source_mode(const struct provision *provision)
{
    struct stat st;
    return stat(provision->source, &st) == 0 ? (unsigned)st.st_mode & 0777 : 0644;
}

/* Answers "beside" or "sudo" on its last line, or says why not and fails. Neither newlines nor
 * exclamation marks: the login shell that reads this first may be csh. */
static const char find_place[] =
    "p=${1%/*}; [ -n \"$p\" ] || p=/; "
    "no() { echo \"$1\"; exit 1; }; "
    "[ -d \"$1\" ] && no 'it is a directory in the guest'; "
    "if [ -d \"$p\" ] && [ -w \"$p\" ]; then echo beside; exit 0; fi; "
    "if sudo -n true 2>/dev/null; then "
    "sudo -n test -d \"$p\" || no \"directory '$p' does not exist in the guest\"; "
    "sudo -n test -d \"$1\" && no 'it is a directory in the guest'; "
    "echo sudo; exit 0; "
    "fi; "
    "[ -d \"$p\" ] || no \"directory '$p' does not exist in the guest, or may not be seen\"; "
    "no \"user '$(id -un)' may not write to '$p', and 'sudo -n' does not work in the guest\"";

static const char place_beside[] = "mv -f -- \"$1\" \"$2\"";

/* Copied first and renamed then: /tmp may be another file system, across which mv is not atomic. */
static const char place_as_root[] =
    "sudo -n sh -c 'cp -p -- \"$1\" \"$3\" && chown 0:0 \"$3\" && mv -f -- \"$3\" \"$2\"' sh"
    " \"$1\" \"$2\" \"$3\" && rm -f -- \"$1\"";

static void place(struct provision *provision)
{
    if (!provision->is_sudo) {
        const char *words[] = {provision->remote, provision->destination, NULL};
        run_own(provision, place_beside, words, on_answer);
        return;
    }
    cleanup_free char *beside =
        mem_printf("%s.%s", provision->destination, strrchr(provision->remote, '/') + 1);
    const char *words[] = {provision->remote, provision->destination, beside, NULL};
    run_own(provision, place_as_root, words, on_answer);
}

/* Renamed and not written in place: an earlier run that was given up may still be reading its copy.
 */
static const char run_script[] =
    "mv -f -- \"$1\" \"$2\" && \"$2\"; status=$?; rm -f -- \"$2\"; exit $status";

static void run_users(struct provision *provision)
{
    if (provision->kind == STEP_INLINE) {
        run(provision, provision->command, on_output);
    } else {
        const char *words[] = {provision->remote, provision->script, NULL};
        run_own(provision, run_script, words, on_output);
    }
}

static void start_stage(struct provision *provision, enum stage stage)
{
    provision->stage = stage;
    switch (stage) {
    case STAGE_UPLOAD_SCRIPT:
        upload(provision, 0755);
        break;
    case STAGE_RUN:
        run_users(provision);
        break;
    case STAGE_FIND_PLACE:
        run_own(
            provision, find_place, (const char *const[]){provision->destination, NULL}, on_answer);
        break;
    case STAGE_UPLOAD_FILE:
        upload(provision, source_mode(provision));
        break;
    case STAGE_PLACE:
        place(provision);
        break;
    case STAGE_REMOVE:
        run_own(provision, "rm -f -- \"$1\"", (const char *const[]){provision->remote, NULL},
            on_answer);
        break;
    case STAGE_OVER:
        finish(provision, provision->failure.code ? &provision->failure : NULL);
        break;
    }
}

/* ---- what it came to ---- */

static void fail_run(struct provision *provision)
{
    struct error *err = &provision->failure;
    provision->result->exit_status = provision->exit.status;
    if (provision->exit.signal[0]) {
        error_set(err, ERR_PROVISION, "%s was ended by signal %s", provision->title,
            provision->exit.signal);
    } else {
        error_set(err, ERR_PROVISION, "%s exited with status %d", provision->title,
            provision->exit.status);
    }
}

static enum stage after_run(struct provision *provision)
{
    if (provision->exit.status != 0) {
        fail_run(provision);
    } else {
        provision->result->exit_status = 0;
    }
    return STAGE_OVER;
}

/* What the guest said on the last line of its answer. */
static void last_line(const struct provision *provision, struct buf *out)
{
    const char *text = buf_str(&provision->answer);
    size_t end = provision->answer.len;
    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r')) {
        end--;
    }
    size_t start = end;
    while (start > 0 && text[start - 1] != '\n') {
        start--;
    }
    text_add_printable(out, text + start, end - start);
}

static void fail_file(struct provision *provision, const char *reason)
{
    error_set(&provision->failure, ERR_PROVISION, "%s: cannot write '%s': %s", provision->title,
        provision->destination, reason[0] ? reason : "the guest does not say why");
}

static enum stage after_find_place(struct provision *provision)
{
    cleanup_buf struct buf line = BUF_INIT(0);
    char id[TEXT_ID_SIZE];
    last_line(provision, &line);
    provision->is_sudo = text_eq(buf_str(&line), "sudo");
    if (provision->exit.status != 0 || !(provision->is_sudo || text_eq(buf_str(&line), "beside"))) {
        fail_file(provision, buf_str(&line));
        return STAGE_OVER;
    }
    digest_random_id(id);
    provision->remote = provision->is_sudo
                            ? mem_printf("/tmp/vmctl-%.8s", id)
                            : mem_printf("%s.vmctl-%.8s", provision->destination, id);
    return STAGE_UPLOAD_FILE;
}

static enum stage after_place(struct provision *provision)
{
    if (provision->exit.status == 0) {
        provision->result->exit_status = 0;
        return STAGE_OVER;
    }
    cleanup_buf struct buf line = BUF_INIT(0);
    last_line(provision, &line);
    fail_file(provision, buf_str(&line));
    return STAGE_REMOVE;
}

static enum stage next_stage(struct provision *provision)
{
    switch (provision->stage) {
    case STAGE_UPLOAD_SCRIPT:
        return STAGE_RUN;
    case STAGE_RUN:
        return after_run(provision);
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
    if (provision->stage == STAGE_REMOVE) { /* what matters has happened before */
        start_stage(provision, STAGE_OVER);
        return;
    }
    struct error told = *err;
    if (told.code != ERR_SSH) {
        told.code = ERR_PROVISION;
    }
    error_wrap(&told, "%s", provision->title);
    finish(provision, &told);
}

/* ---- the beginning ---- */

static int check_source(const struct provision *provision, struct error *err)
{
    struct stat st;
    if (!provision->source) {
        return 0;
    }
    if (stat(provision->source, &st) < 0 || access(provision->source, R_OK) < 0) {
        return error_set_errno(
            err, ERR_PROVISION, errno, "%s: cannot read '%s'", provision->title, provision->source);
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(err, ERR_PROVISION, "%s: '%s' is not a regular file", provision->title,
            provision->source);
    }
    return 0;
}

static int check_command(const struct provision *provision, struct error *err)
{
    if (!provision->command || strlen(provision->command) <= SSH_COMMAND_MAX) {
        return 0;
    }
    error_set(err, ERR_PROVISION, "%s is longer than %d bytes", provision->title, SSH_COMMAND_MAX);
    return error_help(err, "put it into a file and use: provision \"shell\" { script \"FILE\" }");
}

static void on_start(void *context)
{
    static const enum stage first[] = {
        [STEP_INLINE] = STAGE_RUN,
        [STEP_SCRIPT] = STAGE_UPLOAD_SCRIPT,
        [STEP_FILE] = STAGE_FIND_PLACE,
    };
    _Static_assert(ARRAY_LEN(first) == STEP_KIND_COUNT_, "every kind has a first stage");
    struct provision *provision = context;
    struct error err = {.code = ERR_NONE};
    if (provision_log_open(provision->loop, provision->log_path, provision->index, provision->total,
            &provision->log, &err) < 0) {
        finish(provision, &err);
        return;
    }
    provision_log_header(provision->log, provision->kind,
        provision->command ? provision->command : provision->source, provision->destination);
    if (check_source(provision, &err) < 0 || check_command(provision, &err) < 0) {
        finish(provision, &err);
        return;
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

static void copy_step(struct provision *provision, const struct spec_step *step)
{
    provision->kind = step->kind;
    provision->timeout_s = step->timeout_s;
    if (step->kind == STEP_INLINE) {
        provision->command = mem_strdup(step->command);
        return;
    }
    provision->source = mem_strdup(step->file.path);
    provision->destination = mem_strdup(step->destination);
    if (step->kind == STEP_SCRIPT) {
        char id[TEXT_ID_SIZE];
        digest_random_id(id);
        provision->script = mem_printf("/tmp/vmctl-provision-%u.sh", provision->index + 1);
        provision->remote = mem_printf("%s.%.8s", provision->script, id);
    }
}

struct op *provision_step_start(const struct provision_request *request, struct step_result *result,
    op_done_fn *done, void *context)
{
    struct provision *provision = mem_new(struct provision);
    provision->op.cancel = on_cancel;
    provision->loop = request->loop;
    provision->session = request->session;
    provision->index = request->index;
    provision->total = request->total;
    provision->title = title_of(request);
    provision->log_path = mem_strdup(request->log_path);
    copy_step(provision, request->step);
    provision->answer = BUF_INIT(ANSWER_MAX);
    provision->result = result;
    result->exit_status = -1;
    provision->done = done;
    provision->context = context;
    provision->start = loop_timer_new(request->loop, on_start, provision);
    provision->deadline = loop_timer_new(request->loop, on_deadline, provision);
    loop_timer_start(provision->start, 0);
    if (provision->timeout_s > 0) {
        loop_timer_start(provision->deadline, (int64_t)provision->timeout_s * 1000);
    }
    return &provision->op;
}
