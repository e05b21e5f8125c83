/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a detached command is in the guest: a directory BASE/vmctl-UID/ID, made and read by three
 * programs in POSIX shell (follow.sh, keep.sh, ask.sh) that need nothing beyond what busybox,
 * Debian or illumos have.
 *
 *   in.PID   the command, or the script, as it was sent
 *   keep     the keeper: runs it, in a session of its own where there is setsid(1)
 *   claim    symbolic link to "PID.GROUP.BOOT" of the keeper: its maker runs the command
 *   log      what the command writes; the keeper's guard cuts it to SSH_DETACHED_LOG_MIB. Of a run
 *            with secrets a link to a file of /dev/shm/vmctl-UID, or of another tmpfs
 *   rc       symbolic link to the exit status, or to "timeout": its maker decides
 *   tail     the current reader of the log: an older reader sees another one, and ends
 *
 * A symbolic link is made at once, with its content, and by one only: so two keepers at the same
 * moment run the command once, and no reader sees half of a claim or of a result. A keeper is
 * distinguished from another process with its pid by its command line, which names the directory:
 * this needs neither flock(1) nor a cleanup at boot.
 *
 * Killed before the claim: nothing ran, the next keeper claims. Between claim and rc: the run is
 * lost, which is noticed because its keeper is gone. After rc: done. The claim of a keeper that is
 * gone is never taken over; another try takes another ID. An ID is "GROUP-NAME": starting one ends
 * the commands of all others of its group and removes them, so there is one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

struct detached_run {
    const char *base; /* a directory of the guest; "/var/tmp" */
    const char *id;   /* "GROUP-NAME", letters and digits, for this run only; up to 33 bytes */
    uint64_t size;    /* bytes that will be sent to the standard input of `follow` */
    uint32_t
        timeout_s;   /* then its process group gets SIGTERM, and 5 s later SIGKILL; 0: no limit */
    bool must_exist; /* it was begun before: not begun again when nothing is left of it */
    const char *environment;  /* assignments before the command; NULL: none */
    size_t n_secret_lines;    /* on the standard input of `follow`, before the `size` bytes … */
    const char *take_secrets; /* … and what sets the variables of `environment` to them, by take of
                                 secrets.sh; NULL: nothing */
    const char *script_path;  /* run the bytes as a program of this name; NULL: as the login shell's
                                 command */
};

/* Exit status of `follow` when the command exited with 0. Any other: run `ask`. */
enum { DETACHED_SUCCEEDED = 90 };

/* For the login shell: starts the run unless it was, writes its log from `offset` on until it is
 * over. One line without '!': the login shell may be csh. */
void detached_script_follow(struct buf *out, const struct detached_run *run, uint64_t offset);

/*
 * For the login shell: prints the state of the run on its last line, and removes the files that are
 * not needed any more when it is over: the exit status, "timeout"; "killed", "rebooted" when the
 * keeper is gone without a result, since the guest was started or not; "running"; "free" when it
 * was never begun.
 */
void detached_script_ask(struct buf *out, const struct detached_run *run);
