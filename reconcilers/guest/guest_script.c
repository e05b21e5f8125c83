/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/guest_script.h"

#include <string.h>

#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

/* Whatever the user's login shell is; $1, $2 … are `words`. */
static void add(struct buf *out, const char *script, const char *const *words)
{
    buf_add_str(out, "exec sh -c ");
    ssh_quote(out, script);
    buf_add_str(out, " sh");
    for (; *words; words++) {
        buf_add_char(out, ' ');
        ssh_quote(out, *words);
    }
}

/* Neither newlines nor exclamation marks: the login shell that reads this first may be csh. */
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

void guest_script_find_place(struct buf *out, const char *destination)
{
    add(out, find_place, (const char *const[]){destination, NULL});
}

static const char place_beside[] = "mv -f -- \"$1\" \"$2\"";

/* Copied first and renamed then: /tmp may be another file system, across which mv is not atomic. */
static const char place_as_root[] =
    "sudo -n sh -c 'cp -p -- \"$1\" \"$3\" && chown 0:0 \"$3\" && mv -f -- \"$3\" \"$2\"' sh"
    " \"$1\" \"$2\" \"$3\" && rm -f -- \"$1\"";

void guest_script_place(
    struct buf *out, const char *uploaded, const char *destination, bool is_sudo)
{
    if (!is_sudo) {
        add(out, place_beside, (const char *const[]){uploaded, destination, NULL});
        return;
    }
    cleanup_free char *beside = mem_printf("%s.%s", destination, strrchr(uploaded, '/') + 1);
    add(out, place_as_root, (const char *const[]){uploaded, destination, beside, NULL});
}

void guest_script_remove(struct buf *out, const char *path)
{
    add(out, "rm -f -- \"$1\"", (const char *const[]){path, NULL});
}

/* Renamed and not written in place: an earlier run that was given up may still be reading its copy.
 */
static const char run_script[] =
    "mv -f -- \"$1\" \"$2\" && \"$2\"; status=$?; rm -f -- \"$2\"; exit $status";

void guest_script_run(struct buf *out, const char *uploaded, const char *path)
{
    add(out, run_script, (const char *const[]){uploaded, path, NULL});
}
