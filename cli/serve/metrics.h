/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Metrics in the Prometheus text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/) and in OpenMetrics 1.0
 * (https://github.com/OpenObservability/OpenMetrics), which name counters differently. Everything
 * is read when it is asked for; the switches of project networks are waited for as in
 * specs/vm/network_usage.h.
 *
 * A VM has a fixed number of series, by its name; no other label has values of users: no image, no
 * URL, no message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct cli;
struct error;

/* The boots that were counted, each once: their durations are observed here, by a request that
 * comes while the machine runs. */
struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics); /* NULL is fine */

/* Appends all. */
int metrics_add(struct metrics *metrics, struct cli *cli, bool is_openmetrics, struct buf *out,
    struct error *err);
