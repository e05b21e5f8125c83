/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One line a VM for `list`: written as the first line of the desired and of the status record, so
 * that listing a hundred VMs parses no JSON. (`list` must cost no more than 3 ms with 100 VMs.)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/condition.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"

struct buf;
struct vm_status;

/* From the desired record. */
struct desired_summary {
    enum backend_kind backend;
    uint32_t vcpus;
    uint32_t memory_mib;
    enum network_mode network;
    enum power power;
    bool is_deleting;
    uint64_t generation;
    int64_t created_ms;
};

enum { CAUSE_SIZE = 128 };

/* From the status record; all zero when there is none yet. */
struct status_summary {
    int32_t pid;                /* 0: no process */
    uint16_t ssh_port;          /* 0: no address, or one of IPv6 */
    uint32_t ssh_ipv4;          /* 10.0.0.1 is 0x0a000001; 0: 127.0.0.1 */
    uint32_t vcpus, memory_mib; /* of the machine that runs; 0: none does */
    bool is_ready;
    enum reason display; /* vm_display(); REASON_NONE only when there is no status */
    enum reason source; /* SourceInvalid, SourceMissing, RemovedFromSource; REASON_NONE: all well */
    uint64_t observed_generation;
    uint32_t restart_total;
    int64_t not_before_ms;  /* next try of a crash loop, wall; 0: none */
    char cause[CAUSE_SIZE]; /* vm_display_cause(), the beginning of its first line; "": none */
};

/* Appends one line without its line end; the parsers accept exactly that (false otherwise, then the
 * reader computes the summary from the record's JSON). Fields are separated by tabs, the first
 * names the layout. */
void desired_summary_write(struct buf *out, const struct vm_desired *desired);
bool desired_summary_parse(const char *line, size_t n, struct desired_summary *ret);
void status_summary_write(struct buf *out, const struct vm_status *status);
bool status_summary_parse(const char *line, size_t n, struct status_summary *ret);

/* The same of a summary that is there already. */
void desired_summary_write_line(struct buf *out, const struct desired_summary *summary);
void status_summary_write_line(struct buf *out, const struct status_summary *summary);

/* The same summaries as structs. */
void desired_summary_of(const struct vm_desired *desired, struct desired_summary *ret);
void status_summary_of(const struct vm_status *status, struct status_summary *ret);

/*
 * The one word `list` shows, derived from the conditions of the status alone; the first that holds:
 *
 *   Terminating, Stopping, Suspended, Paused, Migrated, GuestPanicked, IOError,
 *   NoSpace, CrashLoopBackOff, QmpUnresponsive (Running=Unknown);
 *   only while Running=True: RunningStep, Retrying (a step was interrupted), StepFailed (also
 *   for a time-out, a failed upload, a step that was lost), Ready, AuthFailed, HostKeyMismatch,
 *   SSHTimeout, WaitingForSSH (not reachable yet), RunningStep (reachable, Provisioned=False
 *   Pending), WaitingForSSH;
 *   InvalidSpec; Downloading, DownloadBackOff and the failures of ImageReady; Preparing and the
 *   failures of Prepared; on the way to a start without an instance: Pending (no image yet),
 *   Preparing (no disk yet); Starting and the failures of Running;
 *   Prepared (off and never started), Stopped (off; also GuestShutdown); else Pending.
 */
enum reason vm_display(const struct vm_status *status);

/*
 * vm_display() in the words of `list`: "Terminating", "Stopping", "Suspended", "Paused",
 * "Migrated", "Panicked", "IOError", "CrashLoopBackOff", "Provisioning", "Retrying",
 * "ProvisionFailed", "Ready", "Booting", "Starting", "ImagePulling", "ImagePullBackOff",
 * "Preparing", "Invalid", "Stopped", "Unknown", "Pending"; any other failure by its reason
 * ("ChecksumMismatch", "PortConflict", ...). A deletion shows at once; so do a stop ("Stopping")
 * and a start ("Pending") that the controller has not observed yet. Either summary may be all zero:
 * no such record. Static text.
 */
const char *vm_display_word(
    const struct desired_summary *desired, const struct status_summary *status);

/* The same in the book's words: preparing, prepared, running, stopped, failed, destroyed (being
 * deleted) and suspended (also paused). Static text. */
const char *vm_display_book_state(
    const struct desired_summary *desired, const struct status_summary *status);

/* The severity of the word: BUSY passes by itself, OFF was requested, WARN may need attention, BAD
 * is a failure. */
enum vm_tone { TONE_BUSY, TONE_GOOD, TONE_OFF, TONE_WARN, TONE_BAD };
enum vm_tone vm_display_tone(
    const struct desired_summary *desired, const struct status_summary *status);

/* Of WARN and BAD: the message of the condition that vm_display() derives its word from. Borrowed;
 * NULL: none. */
const char *vm_display_cause(const struct vm_status *status);
