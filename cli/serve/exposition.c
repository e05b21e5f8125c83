/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/exposition.h"

#include <inttypes.h>

#include "specs/base/cleanup.h"
#include "specs/base/vm_name.h"

void exposition_family(
    struct exposition *to, const char *name, enum metric_type type, const char *help)
{
    static const char *const types[] = {
        [METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter", [METRIC_HISTOGRAM] = "histogram"};
    to->name = name;
    to->total = type == METRIC_COUNTER ? "_total" : "";
    const char *suffix = to->is_openmetrics ? "" : to->total;
    buf_printf(
        to->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, types[type]);
}

void exposition_sample(
    struct exposition *to, const char *label, const char *value_of_label, double value)
{
    if (label) {
        buf_printf(
            to->out, "%s%s{%s=\"%s\"} %.15g\n", to->name, to->total, label, value_of_label, value);
    } else {
        buf_printf(to->out, "%s%s %.15g\n", to->name, to->total, value);
    }
}

void exposition_vm_sample(struct exposition *to, const char *vm_name, double value)
{
    cleanup_free char *project = vm_name_project(vm_name);
    buf_printf(to->out, "%s%s{vm=\"%s\"", to->name, to->total, vm_name);
    if (project) {
        buf_printf(to->out, ",project=\"%s\"", project);
    }
    buf_printf(to->out, "} %.15g\n", value);
}

static const double bounds[HISTOGRAM_BOUNDS] = {
    0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900};

void histogram_observe(struct histogram *histogram, double value)
{
    size_t i = 0;
    while (i < HISTOGRAM_BOUNDS && value > bounds[i]) {
        i++;
    }
    histogram->buckets[i]++;
    histogram->sum += value;
}

/* OpenMetrics wants a bound written as a float: "1.0". */
void exposition_histogram(struct exposition *to, const struct histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        bool is_whole = bounds[i] >= 1 && bounds[i] != 2.5;
        count += histogram->buckets[i];
        buf_printf(to->out, "%s_bucket{le=\"%.15g%s\"} %" PRIu64 "\n", to->name, bounds[i],
            is_whole ? ".0" : "", count);
    }
    count += histogram->buckets[HISTOGRAM_BOUNDS];
    buf_printf(to->out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.15g\n%s_count %" PRIu64 "\n",
        to->name, count, to->name, histogram->sum, to->name, count);
}
