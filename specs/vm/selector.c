/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/selector.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

/* ---- parsing ---- */

struct scan {
    const char *text, *at;
    struct error *err;
};

static void skip_blanks(struct scan *scan)
{
    scan->at += strspn(scan->at, " \t");
}

/* Whether that comes next: it is behind us then. */
static bool take_token(struct scan *scan, const char *token)
{
    skip_blanks(scan);
    bool is_next = text_starts_with(scan->at, token);
    scan->at += is_next ? strlen(token) : 0;
    return is_next;
}

static bool is_at_end(struct scan *scan)
{
    skip_blanks(scan);
    return !*scan->at;
}

static int selector_refuse(const struct scan *scan, const char *wanted)
{
    (void)error_set(scan->err, ERR_USAGE, "selector '%s', character %zu: %s expected", scan->text,
        (size_t)(scan->at - scan->text) + 1, wanted);
    return error_help(
        scan->err, "write for example: -l tier=web,env!=prod,'stage in (a, b)','!old'");
}

/* A key, a value or an operator in letters; "" where there is none. Caller owns. */
static char *take_word(struct scan *scan)
{
    skip_blanks(scan);
    size_t n = strspn(scan->at, SPEC_NAME_CHARS "/");
    char *word = mem_strndup(scan->at, n);
    scan->at += n;
    return word;
}

static int take_value(struct scan *scan, struct strings *values)
{
    const char *start = scan->at;
    cleanup_free char *word = take_word(scan);
    if (!label_value_is_valid(word)) {
        scan->at = start;
        skip_blanks(scan);
        return selector_refuse(scan, "the value of a label");
    }
    strings_add(values, word);
    return 0;
}

/* "(web, db)" */
static int take_values(struct scan *scan, struct strings *values)
{
    if (!take_token(scan, "(")) {
        return selector_refuse(scan, "'('");
    }
    int rc = take_value(scan, values);
    while (rc == 0 && take_token(scan, ",")) {
        rc = take_value(scan, values);
    }
    return rc < 0 || take_token(scan, ")") ? rc : selector_refuse(scan, "',' or ')'");
}

/* What comes behind the key. */
static int take_operator(struct scan *scan, struct requirement *requirement)
{
    bool is_not_equal = take_token(scan, "!=");
    requirement->is_negated |= is_not_equal;
    if (is_not_equal || take_token(scan, "==") || take_token(scan, "=")) {
        requirement->has_values = true;
        return take_value(scan, &requirement->values);
    }
    const char *start = scan->at;
    cleanup_free char *word = take_word(scan);
    if (text_eq(word, "in") || text_eq(word, "notin")) {
        requirement->has_values = true;
        requirement->is_negated = word[0] == 'n';
        return take_values(scan, &requirement->values);
    }
    scan->at = start;
    return 0; /* the caller sees what else is there */
}

static int take_requirement(struct scan *scan, struct selector *selector)
{
    mem_grow(selector->items, selector->count);
    struct requirement *requirement = &selector->items[selector->count++];
    *requirement = (struct requirement){.is_negated = take_token(scan, "!")};
    skip_blanks(scan);
    const char *start = scan->at;
    requirement->key = take_word(scan);
    if (!label_key_is_valid(requirement->key)) {
        scan->at = start;
        return selector_refuse(scan, "the key of a label");
    }
    return requirement->is_negated ? 0 : take_operator(scan, requirement);
}

int selector_parse(const char *text, struct selector *ret, struct error *err)
{
    struct scan scan = {.text = text, .at = text, .err = err};
    int rc = take_requirement(&scan, ret);
    while (rc == 0 && take_token(&scan, ",")) {
        rc = take_requirement(&scan, ret);
    }
    if (rc == 0 && !is_at_end(&scan)) {
        rc = selector_refuse(&scan, "',' or an operator");
    }
    if (rc < 0) {
        selector_clear(ret);
    }
    return rc;
}

void selector_clear(struct selector *selector)
{
    for (size_t i = 0; i < selector->count; i++) {
        free(selector->items[i].key);
        strings_clear(&selector->items[i].values);
    }
    free(selector->items);
    *selector = (struct selector){.count = 0};
}

/* ---- matching ---- */

bool selector_matches(const struct selector *selector, const struct vm_spec *spec)
{
    for (size_t i = 0; spec && i < selector->count; i++) {
        const struct requirement *requirement = &selector->items[i];
        const char *value = vm_spec_label(spec, requirement->key);
        bool is_met =
            value && (!requirement->has_values || strings_have(&requirement->values, value));
        if (is_met == requirement->is_negated) {
            return false;
        }
    }
    return spec || selector->count == 0;
}
