/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Results as the XML of JUnit, in the form that the readers of Jenkins, GitLab and GitHub's actions
 * share: testsuites > testsuite > testcase > failure | error. What was tried and turned out wrong
 * is a failure; what could not be tried is an error.
 */
#pragma once

#include <stdint.h>

#include "specs/base/buf.h"

struct error;

enum junit_result { JUNIT_PASSED, JUNIT_FAILED, JUNIT_ERROR };

struct junit_suite {
    const char *name; /* borrowed */
    struct buf cases;
    unsigned n, n_failed, n_errors;
    int64_t total_ms;
};

struct junit_case {
    const char *name;
    int64_t took_ms;
    enum junit_result result;
    const char *message; /* why, unless it passed; NULL: not known */
};

void junit_add(struct junit_suite *suite, const struct junit_case *result);
/* Appends the suite, and clears it. */
void junit_end_suite(struct buf *out, struct junit_suite *suite);
/* Writes the file, with all that was appended. */
int junit_write(const char *path, const struct buf *suites, struct error *err);
