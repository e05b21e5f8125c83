/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/mount_report.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* As "1000:1000": it becomes the map of a user namespace, which takes no number above 32 bits. */
static bool is_user(const char *text, size_t n)
{
    size_t uid = strspn(text, "0123456789");
    size_t gid = text[uid] == ':' ? strspn(text + uid + 1, "0123456789") : 0;
    enum { DIGITS_MAX = 9 };
    return uid > 0 && uid <= DIGITS_MAX && gid > 0 && gid <= DIGITS_MAX && uid + 1 + gid == n;
}

void mount_report_read(const char *answer, struct mount_result *result)
{
    cleanup_buf struct buf notes = BUF_INIT(0);
    for (const char *line = answer; *line;) {
        size_t n = strcspn(line, "\r\n");
        if (strncmp(line, "user ", 5) == 0 && is_user(line + 5, n - 5)) {
            free(result->user);
            result->user = mem_strndup(line + 5, n - 5);
        } else if (strncmp(line, "note ", 5) == 0) {
            buf_add_str(&notes, notes.len ? "; " : "");
            text_add_printable(&notes, line + 5, n - 5);
        }
        line += n;
        line += strspn(line, "\r\n");
    }
    result->note = notes.len ? buf_steal(&notes) : NULL;
}

void mount_report_fail(const char *answer, int status, const char *vm_name, struct error *err)
{
    enum { OF_A_SHARE = 3 };
    cleanup_buf struct buf line = BUF_INIT(0);
    for (const char *at = answer + strspn(answer, "\r\n"); *at; at += strspn(at, "\r\n")) {
        size_t n = strcspn(at, "\r\n");
        buf_add_str(&line, line.len ? "; " : "");
        text_add_printable(&line, at, n);
        at += n;
    }
    (void)error_set(err, status == OF_A_SHARE ? ERR_SHARE : ERR_MOUNT, "vm '%s': %s", vm_name,
        line.len ? buf_str(&line) : "its volumes cannot be mounted");
}
