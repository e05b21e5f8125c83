/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/ssh/key_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/error.h"
#include "specs/base/user_path.h"

enum { KEY_FILE_MAX = 65536 };

static int read_key(const char *path, struct buf *text, struct error *err)
{
    struct stat st;
    if (user_path_stat(path, &st) < 0) {
        return error_set_errno(err, ERR_KEY_UNREADABLE, errno, "cannot use key '%s'", path);
    }
    if (!S_ISREG(st.st_mode)) { /* opening a FIFO would block the loop */
        return error_set(err, ERR_KEY_UNREADABLE, "cannot use key '%s': not a regular file", path);
    }
    struct error cause = {.code = ERR_NONE};
    if (user_path_read(path, text, &cause) < 0) {
        error_set(err, ERR_KEY_UNREADABLE, "cannot use key '%s': %s", path, cause.message);
        err->sys_errno = cause.sys_errno;
        return -ERR_KEY_UNREADABLE;
    }
    return 0;
}

/* PROTOCOL.key of OpenSSH: the magic "openssh-key-v1", then the name of the cipher; this is the
 * base64 of both when the name is "none". */
static const char openssh_plain[] = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";

static int private_key_check(const char *path, const char *pem, struct error *err)
{
    if (!strstr(pem, "PRIVATE KEY-----")) {
        return error_set(err, ERR_KEY_UNREADABLE, "cannot use key '%s': not a private key", path);
    }
    bool is_encrypted =
        strstr(pem, "-----BEGIN OPENSSH PRIVATE KEY-----")
            ? !strstr(pem, openssh_plain)
            : strstr(pem, "4,ENCRYPTED") || strstr(pem, "BEGIN ENCRYPTED PRIVATE KEY");
    if (is_encrypted) {
        error_set(err, ERR_KEY_UNREADABLE, "cannot use key '%s': it is encrypted with a passphrase",
            path);
        return error_help(
            err, "use it with ssh-agent: vmctl ssh NAME; vmctld needs a key without a passphrase");
    }
    return 0;
}

int private_key_read(const char *path, struct buf *ret, struct error *err)
{
    *ret = BUF_INIT(KEY_FILE_MAX);
    int rc = read_key(path, ret, err);
    rc = rc < 0 ? rc : private_key_check(path, buf_str(ret), err);
    if (rc < 0) {
        buf_wipe(ret);
    }
    return rc;
}

int public_key_read(const char *path, struct public_key *ret, struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(KEY_FILE_MAX);
    int rc = read_key(path, &text, err);
    if (rc == 0 && !public_key_parse(buf_str(&text), ret)) {
        rc = error_set(err, ERR_KEY_UNREADABLE, "cannot use key '%s': not a public key", path);
    }
    return rc;
}
