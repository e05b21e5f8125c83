/* SPDX-License-Identifier: MPL-2.0 */
/* Writes metrics as text in either format of metrics.h: families, samples, histograms. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/buf.h"

struct exposition {
    struct buf *out;
    bool is_openmetrics;
    const char *name;  /* of the family that is being written, without "_total" */
    const char *total; /* "_total" of a counter, else "" */
};

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };

/* Texts are static. A counter's name has no "_total"; its samples get it. */
void exposition_family(
    struct exposition *to, const char *name, enum metric_type type, const char *help);

/* A sample of that family. `label` and `value_of_label` may be NULL; the latter has no '"', '\' or
 * line end in it. */
void exposition_sample(
    struct exposition *to, const char *label, const char *value_of_label, double value);
/* A sample of a VM; a VM of a project has the project as a second label. */
void exposition_vm_sample(struct exposition *to, const char *vm_name, double value);

enum { HISTOGRAM_BOUNDS = 12 };

struct histogram {
    uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* not cumulative; the last: above all bounds */
    double sum;
};

/* Seconds. */
void histogram_observe(struct histogram *histogram, double value);
void exposition_histogram(struct exposition *to, const struct histogram *histogram);
