/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/accel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/kvm_probe.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

struct choice {
    struct op op;
    struct loop *loop;
    enum accel_mode wanted;
    struct op *probe;         /* while it runs */
    struct loop_timer *timer; /* when there is nothing to wait for */
    accel_chosen_fn *done;
    void *context;
};

/*
 * What the probe said about this machine: a fact of the host, not of any VM, and the one thing the
 * backend remembers between VMs. Only the loop's thread is here.
 */
static struct {
    char boot_id[CLOCK_BOOT_ID_SIZE]; /* "": not probed */
    enum kvm_verdict verdict;
    char reason[256];
} remembered;

static void choice_free(struct op *op)
{
    struct choice *choice = (struct choice *)op;
    op_cancel(choice->probe);
    loop_timer_free(choice->timer);
    free(choice);
}

static const char *pick(enum accel_mode wanted, struct error *err)
{
    if (wanted == ACCEL_TCG) {
        return "tcg";
    }
    if (remembered.verdict == KVM_USABLE) {
        return "kvm";
    }
    if (wanted == ACCEL_KVM && remembered.verdict == KVM_UNKNOWN) {
        return "kvm"; /* QEMU says what is wrong with it */
    }
    if (wanted == ACCEL_KVM) {
        (void)error_set(err, ERR_KVM_UNAVAILABLE, "KVM is not usable here: %s", remembered.reason);
        return NULL;
    }
    return "tcg";
}

static void accel_finish(void *context)
{
    struct choice *choice = context;
    accel_chosen_fn *done = choice->done;
    void *done_context = choice->context;
    struct error err = {0};
    const char *accel = pick(choice->wanted, &err);
    choice_free(&choice->op);
    done(done_context, accel, accel ? NULL : &err);
}

static void probed(void *context, enum kvm_verdict verdict, const char *reason)
{
    struct choice *choice = context;
    choice->probe = NULL;
    remembered.verdict = verdict;
    (void)snprintf(remembered.reason, sizeof(remembered.reason), "%s", reason);
    /* Access to /dev/kvm may be granted any time, and asking costs nothing: not kept. */
    (void)snprintf(remembered.boot_id, sizeof(remembered.boot_id), "%s",
        verdict == KVM_ABSENT ? "" : clock_boot_id(loop_clock(choice->loop)));
    if (verdict != KVM_USABLE) {
        log_info("qemu", "KVM is not usable: %s", reason);
    }
    accel_finish(choice);
}

static enum accel_mode resolve(enum accel_mode wanted)
{
    const char *forced = getenv("VMCTL_ACCEL");
    if (wanted != ACCEL_AUTO || !forced) {
        return wanted;
    }
    if (text_eq(forced, "kvm")) {
        return ACCEL_KVM;
    }
    return text_eq(forced, "tcg") ? ACCEL_TCG : ACCEL_AUTO;
}

struct op *accel_choose(
    struct loop *loop, enum accel_mode wanted, accel_chosen_fn *done, void *context)
{
    struct choice *choice = mem_new(struct choice);
    *choice = (struct choice){.op = {.cancel = choice_free},
        .loop = loop,
        .wanted = resolve(wanted),
        .done = done,
        .context = context};
    const char *boot_id = clock_boot_id(loop_clock(loop));
    bool is_remembered = boot_id[0] && text_eq(boot_id, remembered.boot_id);
    if (choice->wanted == ACCEL_TCG || is_remembered) {
        choice->timer = loop_timer_new(loop, accel_finish, choice);
        loop_timer_start(choice->timer, 0);
    } else {
        choice->probe = kvm_probe_start(loop, probed, choice);
    }
    return &choice->op;
}
