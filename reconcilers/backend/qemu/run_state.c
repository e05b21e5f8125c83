/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/run_state.h"

#include "specs/base/cleanup.h"
#include "specs/base/text.h"

/*
 * States of another client's work (a debugger, a snapshot through the user's QMP socket) and of a
 * guest in ACPI S3 count as running: vmctl has nothing to repair.
 */
static const struct {
    const char *word;
    enum run_state state;
} words[] = {
    {"colo", RUN_STATE_RUNNING},
    {"debug", RUN_STATE_RUNNING},
    {"finish-migrate", RUN_STATE_RUNNING},
    {"guest-panicked", RUN_STATE_PANICKED},
    {"inmigrate", RUN_STATE_INMIGRATE},
    {"internal-error", RUN_STATE_INTERNAL_ERROR},
    {"io-error", RUN_STATE_IO_ERROR},
    {"paused", RUN_STATE_PAUSED},
    {"postmigrate", RUN_STATE_POSTMIGRATE},
    {"preconfig", RUN_STATE_UNKNOWN},
    {"prelaunch", RUN_STATE_PRELAUNCH},
    {"restore-vm", RUN_STATE_RUNNING},
    {"running", RUN_STATE_RUNNING},
    {"save-vm", RUN_STATE_RUNNING},
    {"shutdown", RUN_STATE_SHUTDOWN},
    {"suspended", RUN_STATE_RUNNING},
    {"watchdog", RUN_STATE_INTERNAL_ERROR},
};

enum run_state run_state_from_qemu(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (text_eq(word, words[i].word)) {
            return words[i].state;
        }
    }
    return RUN_STATE_UNKNOWN;
}
