/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/guest_script.h"

#include <string.h>

#include "reconcilers/guest/find_place.sh.h"
#include "reconcilers/guest/place_as_root.sh.h"
#include "reconcilers/guest/run_script.sh.h"
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

void guest_script_find_place(struct buf *out, const char *destination)
{
    add(out, find_place_sh, (const char *const[]){destination, NULL});
}

void guest_script_place(
    struct buf *out, const char *uploaded, const char *destination, bool is_sudo)
{
    if (!is_sudo) {
        add(out, "mv -f -- \"$1\" \"$2\"", (const char *const[]){uploaded, destination, NULL});
        return;
    }
    cleanup_free char *beside = mem_printf("%s.%s", destination, strrchr(uploaded, '/') + 1);
    add(out, place_as_root_sh, (const char *const[]){uploaded, destination, beside, NULL});
}

void guest_script_remove(struct buf *out, const char *path)
{
    add(out, "rm -f -- \"$1\"", (const char *const[]){path, NULL});
}

void guest_script_run(struct buf *out, const char *uploaded, const char *path)
{
    add(out, run_script_sh, (const char *const[]){uploaded, path, NULL});
}
