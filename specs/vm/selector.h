/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Selectors of VMs by their labels, with kubectl's grammar: requirements with commas between them,
 * all of which have to hold.
 *
 *   tier=web  tier==web  tier!=web  tier in (web, db)  tier notin (web, db)  tier  !tier
 *
 * `!=` and `notin` also hold where there is no such label. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/strings.h"

struct error;
struct vm_spec;

struct requirement {
    char *key;
    bool is_negated;       /* `!=`, `notin`, `!tier` */
    bool has_values;       /* false: any value will do */
    struct strings values; /* one of them */
};

/* Without requirements it is true of every VM. */
struct selector {
    struct requirement *items;
    size_t count;
};

/* `ret` is empty. -ERR_USAGE, which names the place: then it is empty, too. An empty text is an
 * error: what was meant as a choice must not come to mean all. selector_clear() it. */
int selector_parse(const char *text, struct selector *ret, struct error *err);
void selector_clear(struct selector *selector);

/* `spec` is NULL where a VM's record cannot be read: then only the selector without requirements is
 * true of it. */
bool selector_matches(const struct selector *selector, const struct vm_spec *spec);
