/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/ssh/detached_script.h"

#include <inttypes.h>

#include "reconcilers/ssh/ask.sh.h"
#include "reconcilers/ssh/follow.sh.h"
#include "reconcilers/ssh/guard.sh.h"
#include "reconcilers/ssh/keep.sh.h"
#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"

static void add_word(struct buf *out, const char *word)
{
    buf_add_char(out, ' ');
    text_add_shell_word(out, word);
}

static void detached_script_begin(
    struct buf *out, const char *script, const struct detached_run *run)
{
    buf_add_str(out, "exec sh -c");
    add_word(out, script);
    buf_add_str(out, " vmctl");
    add_word(out, run->base);
    add_word(out, run->id);
}

/* keep.sh with what it needs. */
static void add_keeper(struct buf *out, const struct detached_run *run)
{
    cleanup_buf struct buf keeper = BUF_INIT(0);
    buf_printf(&keeper, "know() { %s:; }; with() { %s\"$@\"; }; ",
        run->take_secrets ? run->take_secrets : "", run->environment ? run->environment : "");
    buf_printf(&keeper, "log_mib=%d; guard=", SSH_DETACHED_LOG_MIB);
    text_add_shell_word(&keeper, guard_sh);
    buf_add_str(&keeper, "; ");
    buf_add_str(&keeper, keep_sh);
    add_word(out, buf_str(&keeper));
}

void detached_script_follow(struct buf *out, const struct detached_run *run, uint64_t offset)
{
    detached_script_begin(out, follow_sh, run);
    buf_printf(out, " %" PRIu64 " %" PRIu64 " %" PRIu32, offset, run->size, run->timeout_s);
    add_word(out, run->script_path ? run->script_path : "");
    add_word(out, run->must_exist ? "1" : "");
    add_keeper(out, run);
    buf_printf(out, " %zu", run->n_secret_lines);
}

void detached_script_ask(struct buf *out, const struct detached_run *run)
{
    detached_script_begin(out, ask_sh, run);
}
