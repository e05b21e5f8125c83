/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The checks of `vmctl doctor`. Each adds one finding or more and never fails: what cannot be found
 * out is a finding, too. They change nothing, unless asked to repair, and need neither a controller
 * nor an intact store.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct cli;
struct vm_spec;

enum doctor_verdict {
    DOCTOR_OK,
    DOCTOR_INFO, /* missing, and no VM here needs it */
    DOCTOR_WARN, /* works, but not all of it, or slowly */
    DOCTOR_FAIL, /* VMs cannot be run */
    DOCTOR_VERDICT_COUNT_
};

const char *doctor_word(enum doctor_verdict verdict); /* "OK" */

/* What only VMs need whose VMFile says so. */
enum doctor_need {
    DOCTOR_NEED_LIMITS = 1,
    DOCTOR_NEED_UEFI = 2,
    DOCTOR_NEED_SECURE_BOOT = 4,
    DOCTOR_NEED_TPM = 8,
};

struct doctor_finding {
    const char *check; /* static: "kvm" */
    unsigned need;     /* of enum doctor_need; 0: every VM needs it */
    enum doctor_verdict verdict;
    char *message;
    char *help; /* what to do next; NULL: nothing */
};

struct doctor {
    struct cli *cli; /* borrowed; its store is NULL where it cannot be opened */
    bool repairs;    /* damaged records are taken out of the store first (store/repair.h) */
    unsigned needs;  /* of enum doctor_need: what VMs of this host need */
    struct doctor_finding *findings;
    size_t count;
};

void doctor_clear(struct doctor *doctor);

/* `help` is copied; NULL: none. */
void doctor_add(struct doctor *doctor, const char *check, enum doctor_verdict verdict,
    const char *help, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* As doctor_add(), of what only some VMs need: DOCTOR_OK if `is_there`, else DOCTOR_WARN until
 * doctor_weigh_needs(). */
void doctor_add_optional(struct doctor *doctor, const char *check, enum doctor_need need,
    bool is_there, const char *help, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* doctor_host.c: accelerator, programs, kernel, bridges, ports */
void doctor_check_host(struct doctor *doctor);

/* doctor_data.c: data directory, disk space, store, controller, VMs, leftovers. Opens the
 * store. */
void doctor_check_data(struct doctor *doctor);

/* doctor_needs.c: notes what a VM of this host needs … */
void doctor_note_needs(struct doctor *doctor, const struct vm_spec *spec);
/* … adds what the VMs of the VMFile at hand need, and turns warnings of what none needs into
 * information. Call it after all checks. */
void doctor_weigh_needs(struct doctor *doctor);

/*
 * support.c: writes a support report to `path`, mode 0600: versions, the checks, the VMs with their
 * conditions and events, and the logs of vmctld and QEMU. It leaves out what may be secret: the
 * text of steps and probes, values of variables and environments, passwords in URLs, and guests'
 * output. ERR_USAGE: the file exists; else ERR_IO.
 */
struct error;
int support_write(
    const struct cli *cli, const struct doctor *doctor, const char *path, struct error *err);
