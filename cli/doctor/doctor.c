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

static void __attribute__((format(printf, 4, 0))) add_finding(struct doctor *doctor,
    const struct doctor_finding *finding, const char *help, const char *fmt, va_list ap)
{
    char message[MESSAGE_MAX];
    (void)vsnprintf(message, sizeof(message), fmt, ap);
    cleanup_buf struct buf line =
        BUF_INIT(0); /* a cell of a table: nothing of it steers a terminal */
    text_add_printable(&line, message, strcspn(message, "\n"));
    mem_grow(doctor->findings, doctor->count);
    struct doctor_finding *added = &doctor->findings[doctor->count++];
    *added = *finding;
    added->message = mem_strdup(buf_str(&line));
    added->help = mem_strdup(help);
}

void doctor_add(struct doctor *doctor, const char *check, enum doctor_verdict verdict,
    const char *help, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_finding(
        doctor, &(struct doctor_finding){.check = check, .verdict = verdict}, help, fmt, ap);
    va_end(ap);
}

void doctor_add_optional(struct doctor *doctor, const char *check, enum doctor_need need,
    bool is_there, const char *help, const char *fmt, ...)
{
    const struct doctor_finding finding = {
        .check = check, .need = need, .verdict = is_there ? DOCTOR_OK : DOCTOR_WARN};
    va_list ap;
    va_start(ap, fmt);
    add_finding(doctor, &finding, help, fmt, ap);
    va_end(ap);
}

const char *doctor_word(enum doctor_verdict verdict)
{
    static const char *const words[] = {
        [DOCTOR_OK] = "OK", [DOCTOR_INFO] = "INFO", [DOCTOR_WARN] = "WARN", [DOCTOR_FAIL] = "FAIL"};
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
