/* SPDX-License-Identifier: MPL-2.0 */
/* One file to the guest over SFTP (draft-ietf-secsh-filexfer-02, version 3). */
#pragma once

#include "reconcilers/ssh/ssh.h"

/* As ssh_upload(), but when the server has no SFTP nothing is copied, which is success too:
 * see *ret_has_sftp (borrowed until `done`). */
struct op *sftp_put(struct ssh_session *session, const struct ssh_upload_request *request,
    bool *ret_has_sftp, op_done_fn *done, void *context);
