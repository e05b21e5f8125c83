/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Metrics in the Prometheus text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/) and in OpenMetrics 1.0
 * (https://github.com/OpenObservability/OpenMetrics), which name counters differently. All
 * values are read at the request; for the switches of project networks it waits as
 * specs/vm/network_usage.h says.
 *
 * Each VM adds a fixed number of series, labelled with its name. No other label has values that
 * users choose, such as images, URLs or messages.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct cli;
struct error;

/* Remembers which boots were counted. A boot's durations are counted once, by the first request
 * that comes while the VM runs. */
struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics); /* NULL is fine */

/* Appends all metrics. */
int metrics_add(struct metrics *metrics, struct cli *cli, bool is_openmetrics, struct buf *out,
    struct error *err);
