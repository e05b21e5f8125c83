/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/doctor/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { MESSAGE_MAX = 1024 }; /* of a finding; more is cut */

void doctor_add(struct doctor *doctor, const char *check, enum doctor_verdict verdict,
    const char *help, const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    cleanup_buf struct buf line =
        BUF_INIT(0); /* a cell of a table: nothing of it steers a terminal */
    text_add_printable(&line, message, strcspn(message, "\n"));
    mem_grow(doctor->findings, doctor->count);
    doctor->findings[doctor->count++] = (struct doctor_finding){
        .check = check,
        .verdict = verdict,
        .message = mem_strdup(buf_str(&line)),
        .help = mem_strdup(help),
    };
}

const char *doctor_word(enum doctor_verdict verdict)
{
    static const char *const words[] = {
        [DOCTOR_OK] = "OK", [DOCTOR_WARN] = "WARN", [DOCTOR_FAIL] = "FAIL"};
    _Static_assert(ARRAY_LEN(words) == DOCTOR_VERDICT_COUNT_, "every verdict has a word");
    return words[verdict];
}

void doctor_clear(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->count; i++) {
        free(doctor->findings[i].message);
        free(doctor->findings[i].help);
    }
    free(TAKE_PTR(doctor->findings));
    doctor->count = 0;
}
