/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/spec_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/url.h"
#include "specs/kdl/kdl.h"
#include "specs/vm/vm_spec.h"

/* ---- nodes ---- */

/* The text in quotes behind `before`; nothing without text. */
static void add_quoted(struct buf *out, const char *before, const char *text)
{
    if (text) {
        buf_add_str(out, before);
        kdl_print_string(out, text, strlen(text));
    }
}

static void add_number(struct buf *out, const char *before, int64_t number)
{
    buf_printf(out, "%s%" PRId64, before, number);
}

/* Of 0 nothing. */
static void add_positive(struct buf *out, const char *before, int64_t number)
{
    if (number > 0) {
        add_number(out, before, number);
    }
}

/* A string of several lines, each as it is: a diff compares them. */
static void add_lines(struct buf *out, const char *name, const char *text)
{
    const char *raw = strchr(text, '\\') || strstr(text, "\"\"\"") ? "#" : "";
    buf_printf(out, "%s %s\"\"\"\n", name, raw);
    for (const char *line = text; line;) {
        size_t n = strcspn(line, "\n");
        buf_add_str(out, n > 0 ? "        " : "");
        buf_add(out, line, n);
        buf_add_char(out, '\n');
        line = line[n] ? line + n + 1 : NULL;
    }
    buf_printf(out, "        \"\"\"%s", raw);
}

static void add_variables(struct buf *out, const json_t *step)
{
    const json_t *env = json_object_get(step, "env"), *secrets = json_object_get(step, "secrets");
    for (size_t i = 0; i < json_array_size(env); i++) {
        const json_t *variable = json_array_get(env, i);
        buf_printf(out, "\n    env { %s", json_text(variable, "name"));
        add_quoted(out, " ", json_text(variable, "value"));
        buf_add_str(out, " }");
    }
    for (size_t i = 0; i < json_array_size(secrets); i++) {
        const json_t *secret = json_array_get(secrets, i);
        add_quoted(out, "\n    secret ", json_text(secret, "name"));
        buf_printf(out, " from-%s", json_text(secret, "source"));
        add_quoted(out, "=", json_text(secret, "from"));
    }
}

/* In one line where that is all, as people write it. */
static void add_step(struct buf *out, const json_t *step)
{
    const char *run = json_text(step, "run"), *command = json_text(step, "command");
    const char *path = json_text(json_object_get(step, "file"), "path");
    const char *destination = json_text(step, "destination");
    int64_t timeout_s = json_int(step, "timeoutSeconds", 0);
    bool has_lines = command && strchr(command, '\n');
    bool is_long = has_lines || json_array_size(json_object_get(step, "env")) > 0 ||
                   json_array_size(json_object_get(step, "secrets")) > 0;
    buf_add_str(out, destination ? "provision \"file\"" : "provision \"shell\"");
    add_quoted(out, " run=", text_eq(run, "always") ? NULL : run);
    if (timeout_s > 0) {
        add_number(out, " timeout=", timeout_s);
    }
    buf_add_str(out, json_flag(step, "perVm", false) ? " per-vm=#true" : "");
    buf_add_str(out, is_long ? " {\n    " : " { ");
    if (has_lines) {
        add_lines(out, "inline", command);
    } else if (command) {
        add_quoted(out, "inline ", command);
    } else {
        add_quoted(out, destination ? "source " : "script ", path);
        add_quoted(out, "; destination ", destination);
    }
    add_variables(out, step);
    buf_add_str(out, is_long ? "\n}" : " }");
}

/* `ready`, `live`. */
static void add_check(struct buf *out, const char *field, const json_t *check)
{
    static const struct {
        const char *name, *key;
        int64_t usual;
    } numbers[] = {
        {" period=", "periodSeconds", SPEC_DEFAULT_PERIOD_S},
        {" timeout=", "timeoutSeconds", SPEC_DEFAULT_PROBE_TIMEOUT_S},
        {" failures=", "failures", SPEC_DEFAULT_FAILURES},
        {" start-period=", "startPeriodSeconds", SPEC_DEFAULT_START_PERIOD_S},
    };
    const json_t *probes = json_object_get(check, "probes");
    if (json_array_size(probes) == 0) {
        return;
    }
    buf_add_str(out, field);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        int64_t number = json_int(check, numbers[i].key, numbers[i].usual);
        if (number != numbers[i].usual) {
            add_number(out, numbers[i].name, number);
        }
    }
    for (size_t i = 0; i < json_array_size(probes); i++) {
        const json_t *probe = json_array_get(probes, i);
        const char *text = json_text(probe, "text");
        int64_t port = json_int(probe, "port", 0);
        buf_printf(out, "%s%s", i ? "; " : " { ", json_text(probe, "kind"));
        add_quoted(out, " ", text);
        if (port > 0) {
            add_number(out, text ? " port=" : " ", port);
        }
    }
    buf_add_str(out, " }");
}

/* What there is several times in a network, as words in quotes or numbers. */
static void add_network_list(
    struct buf *out, const char *before, const char *each, const json_t *list, const char *after)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        buf_add_str(out, i == 0 ? before : json_is_string(item) ? ";" : "");
        add_quoted(out, each, json_string_value(item));
        if (json_is_object(item)) {
            add_number(out, each, json_int(item, "port", 0));
        }
    }
    buf_add_str(out, json_array_size(list) > 0 ? after : "");
}

static void add_network(struct buf *out, const json_t *value)
{
    const char *network = json_text(value, "network"), *dot = network ? strchr(network, '.') : NULL;
    add_quoted(out, "network ", json_text(value, "mode"));
    add_quoted(out, " name=", dot ? dot + 1 : json_text(value, "vnic"));
    add_quoted(out, " bridge=", json_text(value, "bridge"));
    add_quoted(out, " address=", json_text(value, "address"));
    add_quoted(out, " mac=", json_text(value, "mac"));
    cleanup_buf struct buf block = BUF_INIT(0);
    buf_add_str(&block, json_flag(value, "isolated", false) ? " isolate;" : "");
    add_network_list(&block, " host-services", " ", json_object_get(value, "hostServices"), ";");
    add_network_list(&block, " egress {", " allow ", json_object_get(value, "egress"), " }");
    buf_printf(out, block.len > 0 ? " {%s }" : "%s", buf_str(&block));
}

void spec_text_add_cpus(struct buf *out, uint32_t milli)
{
    enum { ONE = 1000 };
    char text[16];
    int n = snprintf(text, sizeof(text), "%u.%03u", milli / ONE, milli % ONE);
    while (text[n - 1] == '0') {
        n--;
    }
    n -= text[n - 1] == '.';
    buf_add(out, text, milli > 0 ? (size_t)n : 0);
}

/* "100M". */
static void add_rate(struct buf *out, const char *before, uint32_t kib)
{
    if (kib > 0) {
        bool is_mib = kib % 1024 == 0;
        buf_printf(out, "%s\"%u%c\"", before, is_mib ? kib / 1024 : kib, is_mib ? 'M' : 'K');
    }
}

void spec_text_add_io_limit(struct buf *out, const struct spec_io_limit *limit)
{
    add_rate(out, " read=", limit->read_kib);
    add_rate(out, " write=", limit->write_kib);
    add_positive(out, " iops=", limit->iops);
}

static void add_io_limit(struct buf *out, const json_t *value)
{
    cleanup_buf struct buf limits = BUF_INIT(0);
    const struct spec_io_limit limit = {.read_kib = (uint32_t)json_int(value, "readKib", 0),
        .write_kib = (uint32_t)json_int(value, "writeKib", 0),
        .iops = (uint32_t)json_int(value, "iops", 0)};
    spec_text_add_io_limit(&limits, &limit);
    buf_printf(out, limits.len > 0 ? "io-limit%s" : "%s", buf_str(&limits));
}

/* Blocks and entries, by the keys that only they have. */
static void add_object(struct buf *out, const char *field, const json_t *value)
{
    const char *location = json_text(value, "location"), *protocol = json_text(value, "protocol");
    cleanup_free char *shown = location ? url_for_people(location) : NULL;
    if (location) {
        bool is_url = text_eq(json_text(value, "kind"), "url");
        add_quoted(out, is_url ? "image-url " : "image ", shown);
        add_quoted(out, " sha256=", json_text(value, "sha256"));
    } else if (json_object_get(value, "probes")) {
        add_check(out, field, value);
    } else if (protocol) {
        add_number(out, "forward host=", json_int(value, "hostPort", 0));
        add_number(out, " guest=", json_int(value, "guestPort", 0));
        add_quoted(out, " proto=", text_eq(protocol, "tcp") ? NULL : protocol);
    } else if (text_eq(field, "further network")) {
        add_network(out, value);
    } else if (json_text(value, "guestSocket")) {
        add_quoted(out, "forward socket=", json_text(value, "socket"));
        add_quoted(out, " guest=", json_text(value, "guestSocket"));
        bool is_reverse = !text_eq(json_text(value, "direction"), "to-guest");
        add_quoted(out, " direction=", is_reverse ? json_text(value, "direction") : NULL);
    } else if (text_eq(field, "label")) {
        add_quoted(out, "label ", json_text(value, "key"));
        add_quoted(out, " ", json_text(value, "value"));
    } else if (text_eq(field, "further disk")) {
        add_quoted(out, "disk ", json_text(value, "name"));
        add_quoted(out, " readonly=#true file=", json_text(value, "file"));
        add_positive(out, " ephemeral=#true size=", json_int(value, "sizeGib", 0));
    } else if (text_eq(field, "volume")) {
        add_quoted(out, "volume ", json_text(value, "name"));
        add_positive(out, " size=", json_int(value, "sizeGib", 0));
        add_quoted(out, " mount=", json_text(value, "mount"));
    } else if (json_text(value, "guest")) {
        add_quoted(out, "share ", json_text(value, "host"));
        add_quoted(out, " ", json_text(value, "guest"));
        cleanup_free char *usual = share_default_tag(json_text(value, "guest"));
        const char *tag = json_text(value, "tag");
        buf_add_str(out, json_flag(value, "readonly", false) ? " readonly=#true" : "");
        add_quoted(out, " tag=", text_eq(tag, usual) ? NULL : tag);
    } else if (json_flag(value, "isSet", false)) {
        add_quoted(out, "ssh { user ", json_text(value, "user"));
        add_quoted(out, "; private-key ", json_text(value, "privateKey"));
        add_positive(out, "; timeout ", json_int(value, "timeoutSeconds", 0));
        buf_add_str(out, " }");
    } else if (json_text(value, "path")) {
        bool is_further = text_eq(field, "further user-data");
        buf_add_str(out, is_further ? "user-data" : field);
        add_quoted(out, " ", json_text(value, "path"));
        buf_add_str(out, is_further ? " raw=#false" : "");
    } else if (text_eq(field, "io-limit")) {
        add_io_limit(out, value);
    } else if (json_object_get(value, "port")) {
        buf_add_str(out, field);
        add_number(out, text_eq(field, "vnc") ? " port=" : " ", json_int(value, "port", 0));
        add_quoted(out, " password-file=", json_text(value, "passwordFile"));
    }
}

void spec_text_add_node(struct buf *out, const char *field, const json_t *value)
{
    const char *text = json_string_value(value);
    if (json_is_object(value) && text_eq(field, "provision")) {
        add_step(out, value);
    } else if (json_is_object(value)) {
        add_object(out, field, value);
    } else if (text) {
        buf_printf(out, text[0] == '#' ? "%s %s" : "%s", field, text); /* #true, #false */
        add_quoted(out, " ", text[0] == '#' ? NULL : text);
    } else if (text_eq(field, "cpu-limit")) {
        buf_add_str(out, json_integer_value(value) > 0 ? "cpu-limit " : "");
        spec_text_add_cpus(out, (uint32_t)json_integer_value(value));
    } else if (json_is_integer(value)) {
        buf_printf(out, "%s %" JSON_INTEGER_FORMAT, field, json_integer_value(value));
    } else if (json_is_true(value)) {
        buf_add_str(out, field);
    }
}

char *spec_text_digest(const json_t *value)
{
    enum { SHOWN = 8 };
    const json_t *file = json_object_get(value, "file");
    const char *digest = json_text(file ? file : value, "digest");
    return digest && digest[0] ? mem_strndup(digest, SHOWN) : NULL;
}

/* ---- a few words ---- */

/* A number whose 0 is that the VMFile has none. */
static bool is_unset_number(const char *field, const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) == 0 &&
           (text_eq(field, "disk") || text_eq(field, "max-vcpus") || text_eq(field, "max-memory") ||
               text_eq(field, "memory-limit"));
}

/* One of a list. */
static void add_entry(struct buf *out, const char *field, const json_t *entry)
{
    const char *protocol = json_text(entry, "protocol");
    buf_add_str(out, json_is_string(entry) ? json_string_value(entry) : "");
    if (text_eq(field, "further network")) {
        cleanup_buf struct buf node = BUF_INIT(0);
        add_network(&node, entry);
        buf_add_str(out, buf_str(&node) + strlen("network "));
    } else if (protocol) {
        add_number(out, "", json_int(entry, "hostPort", 0));
        add_number(out, ":", json_int(entry, "guestPort", 0));
        buf_add_str(out, text_eq(protocol, "tcp") ? "" : "/udp");
    } else if (json_text(entry, "guestSocket")) {
        bool is_reverse = !text_eq(json_text(entry, "direction"), "to-guest");
        buf_printf(out, "%s %s %s", json_text(entry, "socket"), is_reverse ? "<-" : "->",
            json_text(entry, "guestSocket"));
    } else if (json_text(entry, "guest")) {
        buf_printf(out, "%s:%s%s", json_text(entry, "host"), json_text(entry, "guest"),
            json_flag(entry, "readonly", false) ? ":ro" : "");
    } else if (json_text(entry, "key")) {
        buf_printf(out, "%s=%s", json_text(entry, "key"), json_text(entry, "value"));
    } else if (json_text(entry, "path")) {
        buf_add_str(out, json_text(entry, "path"));
    } else if (json_text(entry, "name")) {
        const char *file = json_text(entry, "file");
        const char *mount = file ? file : json_text(entry, "mount");
        buf_add_str(out, json_text(entry, "name"));
        if (json_int(entry, "sizeGib", 0) > 0) {
            add_number(out, " ", json_int(entry, "sizeGib", 0));
        }
        buf_printf(out, "%s%s", mount ? " " : "", mount ? mount : "");
    } else if (json_is_object(entry)) {
        add_number(out, "", json_int(entry, "port", 0));
    }
}

/* A value: scalars and locations as they are, blocks as in a VMFile without their name, lists of
 * short entries whole, steps counted. */
static char *describe(const char *field, const json_t *value)
{
    struct buf out = BUF_INIT(0);
    size_t n = json_array_size(value);
    if (json_is_string(value)) {
        return mem_strdup(json_string_value(value));
    }
    if (json_text(value, "location")) {
        return url_for_people(json_text(value, "location"));
    }
    if (json_text(value, "path")) {
        return mem_strdup(json_text(value, "path"));
    }
    if (is_unset_number(field, value)) {
        return mem_strdup("(not set)");
    }
    if (json_is_array(value) && n > 0 && text_eq(field, "provision")) {
        return mem_printf("%zu %s", n, n == 1 ? "step" : "steps");
    }
    for (size_t i = 0; i < n; i++) {
        buf_add_str(&out, i ? ", " : "");
        add_entry(&out, field, json_array_get(value, i));
    }
    if (n == 0) {
        spec_text_add_node(&out, field, value);
        size_t name = strcspn(buf_str(&out), " ");
        buf_consume(&out, name + (buf_str(&out)[name] == ' '));
    }
    if (out.len == 0) {
        buf_add_str(&out, json_is_true(value)    ? "set"
                          : json_is_array(value) ? "(none)"
                                                 : "(not set)");
    }
    return buf_steal(&out);
}

/* The only step that differs, from 0; that there is no such one: false. */
static bool find_edited_step(const json_t *before, const json_t *after, size_t *ret)
{
    size_t n = json_array_size(before), n_edited = 0;
    for (size_t i = 0; i < n && n == json_array_size(after); i++) {
        if (!json_equal(json_array_get(before, i), json_array_get(after, i))) {
            *ret = i;
            n_edited++;
        }
    }
    return n_edited == 1;
}

/* The entries that the other list lacks; the caller owns it. */
static json_t *entries_of_its_own(const json_t *list, const json_t *other)
{
    json_t *own = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        bool is_shared = false;
        for (size_t k = 0; k < json_array_size(other); k++) {
            is_shared |= json_equal(json_array_get(other, k), entry);
        }
        if (!is_shared) {
            (void)json_array_append(own, entry);
        }
    }
    return own;
}

/* In one line: `env` and `secret` only where nothing else differs from the other step, and then
 * nothing but those of them that do. */
static char *describe_step(const json_t *step, const json_t *other)
{
    static const char *const variables[] = {"env", "secrets"};
    cleanup_json json_t *rest = json_deep_copy(step), *other_rest = json_deep_copy(other);
    cleanup_json json_t *own = json_object();
    cleanup_buf struct buf lines = BUF_INIT(0);
    struct buf out = BUF_INIT(0);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const char *key = variables[i];
        json_put(
            own, key, entries_of_its_own(json_object_get(step, key), json_object_get(other, key)));
        (void)json_object_del(rest, key);
        (void)json_object_del(other_rest, key);
    }
    if (json_equal(rest, other_rest)) {
        add_variables(&lines, own);
    } else {
        add_step(&lines, rest);
        buf_consume(&lines, strlen("provision "));
    }
    for (const char *at = buf_str(&lines); *at;) {
        size_t n = strcspn(at, "\n");
        buf_add_str(&out, out.len > 0 && n > 0 ? " " : "");
        buf_add(&out, at, n);
        at += n + strspn(at + n, "\n ");
    }
    buf_add_str(&out, out.len > 0 ? "" : "(none)");
    return buf_steal(&out);
}

void spec_text_change(const char *field, const json_t *before, const json_t *after,
    char **ret_before, char **ret_after)
{
    size_t step;
    struct buf a = BUF_INIT(0), b = BUF_INIT(0);
    bool is_step = text_eq(field, "provision") && find_edited_step(before, after, &step);
    if (is_step) {
        before = json_array_get(before, step);
        after = json_array_get(after, step);
        buf_printf(&a, "step %zu ", step + 1);
    }
    cleanup_free char *old = is_step ? describe_step(before, after) : describe(field, before);
    cleanup_free char *new = is_step ? describe_step(after, before) : describe(field, after);
    buf_add_str(&a, old);
    buf_add_str(&b, new);
    if (text_eq(old, new)) { /* what a file contains, or a check sum */
        cleanup_free char *old_digest = spec_text_digest(before);
        cleanup_free char *new_digest = spec_text_digest(after);
        if (old_digest && new_digest && !text_eq(old_digest, new_digest)) {
            buf_printf(&a, " (%s)", old_digest);
            buf_printf(&b, " (%s)", new_digest);
        } else {
            buf_add_str(&b, " (changed)");
        }
    }
    *ret_before = buf_steal(&a);
    *ret_after = buf_steal(&b);
}
