/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a failed action means: which condition turns false with which reason, whether only the user
 * can fix it, and when to try again. One table (failure.c), so that an error code is classified
 * once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/queue/backoff.h"
#include "reconcilers/vm/decide.h"
#include "specs/base/error.h"
#include "specs/vm/condition.h"

struct failure_class {
    enum condition_type condition;
    enum reason reason;
    /* Failures in a row until the VM is Stalled; 1 if retrying cannot help without the user. The
     * controller keeps trying in any case. */
    uint32_t stalled_after;
    const struct backoff *backoff;
};

struct failure_class failure_classify(enum action action, enum error_code code);
