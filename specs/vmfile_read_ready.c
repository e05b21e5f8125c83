/* SPDX-License-Identifier: MPL-2.0 */
/* `ready { tcp 80; http "/healthz" port=80; exec "command" }` and `depends-on "db" "cache"`. */
#include "specs/vmfile_reader.h"

#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { HTTP_PORT = 80 };

static void add_probe(
    struct vmfile_vm *vm, enum ready_kind kind, uint16_t port, const char *text, struct kdl_pos pos)
{
    size_t n = vm->spec->n_ready;
    mem_grow(vm->ready, n);
    vm->ready[n] = pos;
    mem_grow(vm->spec->ready, n);
    vm->spec->ready[n] = (struct spec_ready){.kind = kind, .port = port, .text = mem_strdup(text)};
    vm->spec->n_ready++;
}

static void read_tcp(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    uint16_t port;
    if (vmfile_port(reader, field, &port)) {
        add_probe(target, READY_TCP, port, NULL, field->value->pos);
    }
}

static void read_exec(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    const char *command = vmfile_text(reader, field);
    if (command) {
        add_probe(target, READY_EXEC, 0, command, field->value->pos);
    }
}

static void read_http_port(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_port(reader, field, target);
}

static const struct vmfile_rule http_rules[] = {
    {"port", .usage = "port=80", .read_value = read_http_port},
};

static const struct vmfile_shape http_shape = {
    "http \"/healthz\" port=80", 1, 1, http_rules, ARRAY_LEN(http_rules)};

/* It stands in a request line (RFC 9112, section 3.2.1). */
static bool is_http_path(const char *text)
{
    for (const char *s = text; *s; s++) {
        if (*s <= ' ' || *s >= 0x7f) {
            return false;
        }
    }
    return text[0] == '/';
}

static void read_http(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    uint16_t port = HTTP_PORT;
    struct kdl_pos seen[ARRAY_LEN(http_rules)] = {{0}};
    struct vmfile_field field;
    vmfile_read_node(reader, node, &http_shape, &port, seen);
    const char *path = vmfile_argument(node, 0, &field) ? vmfile_line(reader, &field) : NULL;
    if (path && !is_http_path(path)) {
        vmfile_report(reader, field.value->pos, "write: http \"/healthz\" port=80",
            "`http` takes a path that starts with '/', percent-encoded, not \"%s\"", path);
    } else if (path) {
        add_probe(target, READY_HTTP, port, path, node->pos);
    }
}

static const struct vmfile_rule ready_rules[] = {
    {"tcp", .usage = "tcp 80", .is_list = true, .read_value = read_tcp},
    {"http", .usage = "http \"/healthz\" port=80", .is_list = true, .read_node = read_http},
    {"exec", .usage = "exec \"command\"", .is_list = true, .read_value = read_exec},
};

static const char ready_usage[] = "ready { tcp 80 }";
static const struct vmfile_shape ready_shape = {
    ready_usage, 0, 0, ready_rules, ARRAY_LEN(ready_rules)};

void vmfile_read_ready(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct kdl_pos seen[ARRAY_LEN(ready_rules)] = {{0}};
    vmfile_read_node(reader, node, &ready_shape, target, seen);
    bool is_empty = true;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        is_empty = is_empty && seen[i].line == 0;
    }
    if (is_empty) {
        vmfile_report(reader, node->pos, "write: ready { tcp 80 }",
            "`ready` needs at least one of `tcp`, `http` and `exec`");
    }
}

static bool is_known(const struct vm_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->n_depends_on; i++) {
        if (text_eq(spec->depends_on[i], name)) {
            return true;
        }
    }
    return false;
}

static void add_dependency(
    struct vmfile_reader *reader, struct vmfile_vm *vm, const struct vmfile_field *field)
{
    const char *name = vmfile_line(reader, field);
    size_t n = vm->spec->n_depends_on;
    if (!name) {
        return;
    }
    if (is_known(vm->spec, name)) {
        vmfile_report(reader, field->value->pos, NULL, "`depends-on` names \"%s\" twice", name);
        return;
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
        "depends-on \"db\"", 1, VMFILE_MAX_DEPENDS_ON, NULL, 0};
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
