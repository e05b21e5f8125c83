/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/ssh/detached_script.h"

#include <inttypes.h>

#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"

/*
 * target_of LINK      what a symbolic link says; readlink(1) is not in POSIX
 * seek RUN            p: its keeper, when the command removed the claim with all of /var/tmp
 * load RUN            p, g, c: pid, process group and boot of its claim, which may come back while the
 *                     keeper is sought; fails when it was not begun
 * lives RUN           whether that pid is its keeper; illumos shows 80 bytes of a command line
 * hit SIGNAL GROUP    also what sudo(8) runs, which a user may not signal
 */
#define LIBRARY                                                                                    \
    "target_of() { l=$(ls -l \"$1\" 2>/dev/null) && echo \"${l##* }\"; }; "                        \
    "seek() { if [ -r /proc/self/cmdline ]; then "                                                 \
    "p=$(grep -ls \"$1[/]keep\" /proc/[0-9]*/cmdline | sed 's/[^0-9]//g; q'); "                    \
    "else p=$(ps -A -o pid= -o args= | grep \"$1[/]keep\" | sed 's/^ *//; s/ .*//; q'); fi; "      \
    "g=$p; [ -n \"$p\" ]; }; "                                                                     \
    "load() { p=; c=$(target_of \"$1/claim\") || { seek \"$1\" 2>/dev/null && return; }; "          \
    "[ -n \"$c\" ] || c=$(target_of \"$1/claim\") || return; "                                     \
    "p=${c%%.*}; c=${c#*.}; g=${c%%.*}; c=${c#*.}; }; "                                            \
    "lives() { kill -0 \"$p\" 2>/dev/null || return 1; "                                           \
    "if [ -r \"/proc/$p/cmdline\" ]; then "                                                       \
    "a=$({ tr '\\0' ' ' <\"/proc/$p/cmdline\"; } 2>/dev/null); "                                   \
    "else a=$(ps -o args= -p \"$p\" 2>/dev/null); fi; "                                            \
    "case $a in *\"$1/keep\"*) return 0;; esac; return 1; }; "                                     \
    "hit() { kill -s \"$1\" -- \"-$2\" 2>/dev/null; "                                              \
    "sudo -n sh -c 'kill -s \"$1\" -- \"-$2\"' sh \"$1\" \"$2\" >/dev/null 2>&1; }; "              \
    "nap() { sleep \"$1\" 2>/dev/null || sleep 1; }; "                                             \
    "boot_of() { b=; { read -r b </proc/sys/kernel/random/boot_id; } 2>/dev/null; }; "

#define TEXT_OF(macro) TEXT_OF_VALUE(macro)
#define TEXT_OF_VALUE(value) #value

/*
 * guard LOG KEEPER: cuts a log that has grown too long, so that a command that prints without end
 * does not fill the guest's disk. Everybody appends, so the beginning stays and no hole comes to be.
 * A program of its own: its command line must not look like the keeper's. dd(1), because truncate(1)
 * is not in POSIX.
 */
#define GUARD                                                                                      \
    "trap \"\" TERM; "                                                                             \
    "while { sleep 0.5 2>/dev/null || sleep 1; }; kill -0 \"$2\" 2>/dev/null; do "                 \
    "set -- \"$1\" \"$2\" $(ls -ln \"$1\" 2>/dev/null); "                                          \
    "[ \"${7:-0}\" -gt $((" TEXT_OF(SSH_DETACHED_LOG_MIB) " * 1048576)) ] && "                     \
    "dd if=/dev/null of=\"$1\" bs=1048576 seek=" TEXT_OF(SSH_DETACHED_LOG_MIB) " 2>/dev/null; done"

/*
 * keep RUN INPUT TIMEOUT UMASK SETSID SCRIPT
 *
 * Its standard output ends with the claim: that is how `follow` knows. The command runs in the
 * foreground, because a shell without job control lets background commands ignore SIGINT. The
 * keeper survives SIGTERM by a handler, which the command does not inherit: at its timeout it tells
 * of that. Otherwise the guest is going down, or the run is not wanted any more: how the command
 * ended says nothing then, so there is no result and the run is lost. A command that removes
 * everything in /var/tmp is done all the same, hence the second claim. The watch is told to go until
 * it has gone: a signal that comes before it has its own handler is lost.
 */
static const char keep[] = LIBRARY
    "r=$1; k=; trap 'k=1' TERM; boot_of; "
    "g=$$; [ -n \"$5\" ] || g=$(ps -o pgid= -p \"$$\" | tr -d ' '); "
    "claim() { ln -s \"$$.$g.$b\" \"$r/claim\" 2>/dev/null; }; "
    "claim || { rm -f \"$2\"; exit; }; "
    "exec </dev/null >>\"$r/log\" 2>&1; "
    "sh -c '" GUARD "' guard \"$r/log\" \"$$\" & "
    "umask \"$4\"; unset SHLVL; "
    "watch() { trap 'kill \"$!\" 2>/dev/null; exit' TERM; "
    "sleep \"$1\" & wait \"$!\" || exit; trap '' TERM; "
    "ln -s late \"$r/late\"; hit TERM \"$g\"; n=0; "
    "while [ \"$n\" -lt 50 ]; do [ -h \"$r/rc\" ] && exit; nap 0.1; n=$((n + 1)); done; "
    "ln -s timeout \"$r/rc\" 2>/dev/null; hit KILL \"$g\"; }; "
    "w=; [ \"$3\" -gt 0 ] && { watch \"$3\" & w=$!; }; "
    "if [ -n \"$6\" ]; then t=$6.$$; "
    "cp \"$2\" \"$t\" && chmod 755 \"$t\" && mv -f \"$t\" \"$6\" && \"$6\"; s=$?; "
    "rm -f \"$t\" \"$6\"; "
    "else \"${SHELL:-/bin/sh}\" -c \"$(cat \"$2\")\"; s=$?; fi; "
    "[ -n \"$w\" ] && kill \"$w\" 2>/dev/null; "
    "if [ -h \"$r/late\" ]; then s=timeout; elif [ -n \"$k\" ]; then exit; fi; "
    "exec 2>/dev/null; umask 077; mkdir -p \"$r\"; claim; ln -s \"$s\" \"$r/rc\"; "
    "while [ -n \"$w\" ] && kill \"$w\"; do nap 0.05; done";

/*
 * follow BASE ID OFFSET SIZE TIMEOUT SCRIPT MUST-EXIST KEEPER
 *
 * The end is looked for before the log is read, so that nothing written before it is missed. The
 * left side of the pipe is the keeper itself (exec) and not a shell that waits for it: else the pipe
 * would not end with the claim. Ended runs are removed, but not signalled: what they started and left
 * running is meant to run.
 */
static const char follow[] = LIBRARY
    "exec 2>/dev/null; u=$(umask); umask 077; d=$1/vmctl-$(id -u); r=$d/$2; o=$(($3 + 1)); "
    "mkdir \"$d\" 2>/dev/null; "
    "is_ours() { [ -h \"$d\" ] && return 1; [ -d \"$d\" ] && [ -O \"$d\" ] && [ -w \"$d\" ]; }; "
    "is_ours || { cat >/dev/null; exit 93; }; "
    "follow() { cat >/dev/null; "
    "[ -n \"$h\" ] || { mkdir -p \"$r\"; : >>\"$r/log\"; exec 3<\"$r/log\"; }; "
    "{ echo \"$$\" >\"$r/tail\"; } 2>/dev/null; "
    "load \"$r\"; tail -c \"+$o\" <&3 || exit 95; n=0; "
    "while :; do e=; "
    "if [ -h \"$r/rc\" ]; then e=1; "
    "elif [ $((n % 16)) -eq 0 ]; then lives \"$r\" || e=1; "
    "else kill -0 \"$p\" 2>/dev/null || e=1; fi; "
    "cat <&3 || exit 95; [ -n \"$e\" ] && break; "
    "t=$$; { read -r t <\"$r/tail\"; } 2>/dev/null; [ \"$t\" = \"$$\" ] || exit 95; "
    "n=$((n + 1)); if [ \"$n\" -lt 8 ]; then nap 0.03; else nap 0.15; fi; done; "
    "[ \"$(target_of \"$r/rc\")\" = 0 ] && exit 90; exit 94; }; "
    "h=; if load \"$r\"; then follow; exit; fi; "
    "if [ -n \"$7\" ]; then cat >/dev/null; exit 94; fi; "
    "mkdir \"$r\" 2>/dev/null; i=$r/in.$$; "
    "cat >\"$i\" && [ $(($(wc -c <\"$i\"))) -eq \"$4\" ] || { cat >/dev/null; exit 93; }; "
    "end() { load \"$1\" && lives \"$1\" || return; [ -h \"$1/rc\" ] && return; hit TERM \"$g\"; "
    "n=0; while [ \"$n\" -lt 50 ] && lives \"$1\"; do nap 0.1; n=$((n + 1)); done; "
    "lives \"$1\" && hit KILL \"$g\"; }; "
    "for x in \"$d/${2%%-*}\"-*; do [ \"$x\" = \"$r\" ] && continue; end \"$x\"; rm -rf \"$x\"; done; "
    "printf '%s\\n' \"$8\" >\"$r/keep.$$\" && mv -f \"$r/keep.$$\" \"$r/keep\" && "
    ": >>\"$r/log\" && exec 3<\"$r/log\" || exit 93; "
    "h=1; s=; command -v setsid >/dev/null 2>&1 && s=setsid; "
    "{ exec $s sh \"$r/keep\" \"$r\" \"$i\" \"$5\" \"$u\" \"$s\" \"$6\" 3<&-; } | follow; exit";

/* ask BASE ID. The links stay: asked again, it says the same. */
static const char ask[] = LIBRARY
    "r=$1/vmctl-$(id -u)/$2; "
    "load \"$r\" || { echo free; exit; }; "
    "e=; lives \"$r\" || e=1; s=$(target_of \"$r/rc\"); boot_of; "
    "if [ -n \"$s\" ]; then echo \"$s\"; "
    "elif [ -z \"$e\" ]; then echo running; exit; "
    "elif [ \"$b\" = \"$c\" ]; then echo killed; else echo rebooted; fi; "
    "rm -f \"$r\"/log \"$r\"/in.* \"$r\"/keep* \"$r\"/tail";

static void add_word(struct buf *out, const char *word)
{
    buf_add_char(out, ' ');
    ssh_quote(out, word);
}

static void begin(struct buf *out, const char *script, const struct detached_run *run)
{
    buf_add_str(out, "exec sh -c");
    add_word(out, script);
    buf_add_str(out, " vmctl");
    add_word(out, run->base);
    add_word(out, run->id);
}

void detached_script_follow(struct buf *out, const struct detached_run *run, uint64_t offset)
{
    begin(out, follow, run);
    buf_printf(out, " %" PRIu64 " %" PRIu64 " %" PRIu32, offset, run->size, run->timeout_s);
    add_word(out, run->script_path ? run->script_path : "");
    add_word(out, run->must_exist ? "1" : "");
    add_word(out, keep);
}

void detached_script_ask(struct buf *out, const struct detached_run *run)
{
    begin(out, ask, run);
}
