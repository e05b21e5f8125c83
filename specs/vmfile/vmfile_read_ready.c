/* SPDX-License-Identifier: MPL-2.0 */
/* `ready { tcp 80; http "/healthz" port=80; exec "command" }`, `live failures=3 { … }` with the
 * same probes, and `depends-on "db" "cache"`. */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_limits.h"

enum {
    HTTP_PORT = 80,
};

/* The block being read, and the positions of its probes. `check` is first: is_indirect. */
struct block {
    struct spec_check *check;
    struct kdl_pos **positions;
};

static void add_probe(struct block *block, struct spec_probe probe, struct kdl_pos pos)
{
    struct spec_check *check = block->check;
    size_t n = check->n_probes;
    mem_grow(*block->positions, n);
    (*block->positions)[n] = pos;
    mem_grow(check->probes, n);
    check->probes[n] = probe;
    check->n_probes++;
}

static void read_tcp(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    uint16_t port;
    if (vmfile_port(reader, field, &port)) {
        add_probe(target, (struct spec_probe){.kind = PROBE_TCP, .port = port}, field->value->pos);
    }
}

static void read_exec(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    const char *command = vmfile_text(reader, field);
    if (command) {
        struct spec_probe probe = {.kind = PROBE_EXEC, .text = mem_strdup(command)};
        add_probe(target, probe, field->value->pos);
    }
}

static const struct vmfile_rule http_rules[] = {
    {"port", .usage = "port=80", .kind = VMFILE_PORT},
};

static const struct vmfile_shape http_shape = {
    "http \"/healthz\" port=80", 1, 1, http_rules, ARRAY_LEN(http_rules), false};

static void read_http(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    uint16_t port = HTTP_PORT;
    struct kdl_pos seen[ARRAY_LEN(http_rules)] = {{0}};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &http_shape, &port, seen);
    const char *path = vmfile_argument(node, 0, &field) ? vmfile_line(reader, &field) : NULL;
    /* It becomes part of a request line (RFC 9112, section 3.2.1). */
    if (path && (path[0] != '/' || !text_is_visible(path))) {
        vmfile_report(reader, field.value->pos, "write: http \"/healthz\" port=80",
            "`http` takes a path that starts with '/', percent-encoded, not \"%s\"", path);
    } else if (path) {
        struct spec_probe probe = {.kind = PROBE_HTTP, .port = port, .text = mem_strdup(path)};
        add_probe(target, probe, node->pos);
    }
}

/* ---- the blocks ---- */

enum { N_PROBE_RULES = 3 }; /* the first of the table */

#define CHECK(member) .offset = offsetof(struct spec_check, member)

static const struct vmfile_rule rules[] = {
    {"tcp", .usage = "tcp 80", .is_list = true, .read_value = read_tcp},
    {"http", .usage = "http \"/healthz\" port=80", .is_list = true, .read_node = read_http},
    {"exec", .usage = "exec \"command\"", .is_list = true, .read_value = read_exec},
    {"period", .usage = "period=10", .kind = VMFILE_SECONDS, CHECK(period_s), .min = 1,
        .max = SPEC_PERIOD_MAX_S},
    {"timeout", .usage = "timeout=5", .kind = VMFILE_SECONDS, CHECK(timeout_s), .min = 1,
        .max = SPEC_PERIOD_MAX_S},
    {"failures", .usage = "failures=3", .kind = VMFILE_INTEGER, CHECK(failures), .min = 1,
        .max = SPEC_FAILURES_MAX},
    {"start-period", .usage = "start-period=120", .kind = VMFILE_SECONDS, CHECK(start_period_s),
        .max = SPEC_PERIOD_MAX_S}, /* `live` */
};

enum { N_READY_RULES = ARRAY_LEN(rules) - 1 };

static const struct vmfile_shape ready_shape = {
    "ready { tcp 80 }", 0, 0, rules, N_READY_RULES, .is_indirect = true};
static const struct vmfile_shape live_shape = {
    "live { tcp 80 }", 0, 0, rules, ARRAY_LEN(rules), .is_indirect = true};

static void read_block(struct vmfile_reader *reader, const struct kdl_node *node,
    const struct vmfile_shape *shape, enum check_kind kind, struct vmfile_vm *vm)
{
    struct kdl_pos seen[ARRAY_LEN(rules)] = {{0}};
    struct block block = {&vm->spec->checks[kind], &vm->probes[kind]};
    vmfile_read_node(reader, node, shape, &block, seen);
    bool is_empty = true;
    for (size_t i = 0; i < N_PROBE_RULES; i++) {
        is_empty = is_empty && seen[i].line == 0;
    }
    if (is_empty) {
        cleanup_free char *hint = mem_printf("write: %s", shape->usage);
        vmfile_report(reader, node->pos, hint,
            "`%s` needs at least one of `tcp`, `http` and `exec`", check_kind_name(kind));
    }
}

void vmfile_read_ready(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    read_block(reader, node, &ready_shape, CHECK_READY, target);
}

void vmfile_read_live(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    read_block(reader, node, &live_shape, CHECK_LIVE, target);
}

/* ---- depends-on ---- */

static void add_dependency(
    struct vmfile_reader *reader, struct vmfile_vm *vm, const struct vmfile_field *field)
{
    const char *name = vmfile_line(reader, field);
    size_t n = vm->spec->n_depends_on;
    if (!name) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (text_eq(vm->spec->depends_on[i], name)) {
            vmfile_report(reader, field->value->pos, NULL, "`depends-on` names \"%s\" twice", name);
            return;
        }
    }
    mem_grow(vm->depends_on, n);
    vm->depends_on[n] = field->value->pos;
    mem_grow(vm->spec->depends_on, n);
    vm->spec->depends_on[n] = mem_strdup(name);
    vm->spec->n_depends_on++;
}

void vmfile_read_depends_on(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    static const struct vmfile_shape shape = {
        "depends-on \"db\"", 1, VMFILE_MAX_DEPENDS_ON, NULL, 0, false};
    struct vmfile_vm *vm = target;
    struct vmfile_field field;
    vmfile_read_node(reader, node, &shape, NULL, NULL);
    for (size_t i = 0; vmfile_argument(node, i, &field); i++) {
        if (vm->spec->n_depends_on == VMFILE_MAX_DEPENDS_ON) {
            vmfile_report(reader, field.value->pos, NULL, "a VM can depend on at most %d others",
                VMFILE_MAX_DEPENDS_ON);
            return;
        }
        add_dependency(reader, vm, &field);
    }
}
