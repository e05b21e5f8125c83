/* SPDX-License-Identifier: MPL-2.0 */
/* An upload: SFTP, else `cat`. Which of the two is known once the first has been tried. */
#include <stdlib.h>

#include "reconcilers/ssh/sftp.h"
#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { COMPLAINT_MAX = 512 };

struct upload {
    struct op op;                /* first */
    struct ssh_session *session; /* borrowed from the caller until `done` */
    struct op *inner;
    char *local_path, *remote_path;
    unsigned mode;
    int64_t timeout_ms;
    bool has_sftp;
    struct ssh_exit exit;
    struct buf complaint; /* the output of `cat` */
};

static void on_cancel(struct op *op)
{
    struct upload *upload = (struct upload *)(void *)op;
    op_cancel(upload->inner);
    buf_clear(&upload->complaint);
    free(upload->local_path);
    free(upload->remote_path);
    free(upload);
}

static void on_complaint(void *context, const char *bytes, size_t n)
{
    struct upload *upload = context;
    size_t room = COMPLAINT_MAX - upload->complaint.len;
    buf_add(&upload->complaint, bytes, n < room ? n : room);
}

static void on_cat_done(void *context, const struct error *err)
{
    struct upload *upload = context;
    struct error refusal = {.code = ERR_NONE};
    upload->inner = NULL;
    if (!err && upload->exit.status != 0) {
        struct buf text = BUF_INIT(0);
        text_add_printable(&text, buf_str(&upload->complaint), upload->complaint.len);
        error_set(&refusal, ERR_PROVISION, "cannot write '%s': %s", upload->remote_path,
            text.len > 0 ? buf_str(&text) : "the guest's `cat` failed");
        buf_clear(&text);
        err = &refusal;
    }
    op_finish(&upload->op, err);
}

static void start_cat(struct upload *upload)
{
    struct buf command = BUF_INIT(0);
    buf_printf(&command,
        "exec sh -c 'cat >\"$1\" && chmod %o \"$1\" || { rm -f \"$1\"; exit 1; }' sh ",
        upload->mode);
    text_add_shell_word(&command, upload->remote_path);
    struct ssh_exec_request request = {
        .command = buf_str(&command),
        .input_path = upload->local_path,
        .output = on_complaint,
        .output_context = upload,
        .timeout_ms = upload->timeout_ms,
    };
    upload->inner = ssh_exec(upload->session, &request, &upload->exit, on_cat_done, upload);
    buf_clear(&command);
}

static void on_sftp_done(void *context, const struct error *err)
{
    struct upload *upload = context;
    upload->inner = NULL;
    if (err || upload->has_sftp) {
        op_finish(&upload->op, err);
    } else {
        start_cat(upload);
    }
}

struct op *ssh_upload(struct ssh_session *session, const struct ssh_upload_request *request,
    op_done_fn *done, void *context)
{
    struct upload *upload = mem_new(struct upload);
    upload->op = (struct op){on_cancel, done, context};
    upload->session = session;
    upload->local_path = mem_strdup(request->local_path);
    upload->remote_path = mem_strdup(request->remote_path);
    upload->mode = request->mode;
    upload->timeout_ms = request->timeout_ms;
    upload->complaint = BUF_INIT(COMPLAINT_MAX);
    upload->inner = sftp_put(session, request, &upload->has_sftp, on_sftp_done, upload);
    return &upload->op;
}
