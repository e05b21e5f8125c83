/* SPDX-License-Identifier: MPL-2.0 */
/* Determines the state of a dependency for a VM that waits until it is ready. Pure. */
#pragma once

struct error;
struct vm_desired;
struct vm_status;

enum dependency_state {
    DEPENDENCY_READY,
    DEPENDENCY_COMING,
    DEPENDENCY_LATE,  /* its guest does not answer in time, but may yet */
    DEPENDENCY_STUCK, /* not before somebody does something */
};

/* As of the newest generation of its desired record; either record may be NULL: there is none. When
 * LATE or STUCK, *err is why waiting for it is in vain. */
enum dependency_state dependency_state(const char *name, const struct vm_desired *desired,
    const struct vm_status *status, struct error *err);
