/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/guest_text.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* cloud-init looks for the MIME header so far into the text. */
enum { MIME_WITHIN = 4096, FIRST_LINE_MAX = 60 };

static bool begins_with(const char *bytes, size_t n, const char *prefix)
{
    size_t length = strlen(prefix);
    return n >= length && strncasecmp(bytes, prefix, length) == 0;
}

/* ---- what no reader of the guest expects ---- */

static int check_encoding(const char *bytes, size_t n, struct error *err)
{
    static const struct {
        const char *bytes;
        const char *name, *help;
    } marks[] = {
        {"\xef\xbb\xbf", "it begins with a byte order mark",
            "save it as UTF-8 without BOM, or: sed -i '1s/^\\xEF\\xBB\\xBF//' FILE"},
        {"\xff\xfe", "it is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8 FILE"},
        {"\xfe\xff", "it is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8 FILE"},
    };
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        size_t length = strlen(marks[i].bytes);
        if (n >= length && memcmp(bytes, marks[i].bytes, length) == 0) {
            (void)error_set(err, ERR_VMFILE_INVALID, "line 1: %s", marks[i].name);
            return error_help(err, "%s", marks[i].help);
        }
    }
    return 0;
}

int guest_text_check_script(const char *bytes, size_t n, struct error *err)
{
    int rc = check_encoding(bytes, n, err);
    const char *end = memchr(bytes, '\n', n);
    bool is_text = end && !memchr(bytes, '\0', (size_t)(end - bytes));
    if (rc < 0 || !is_text || end == bytes || end[-1] != '\r') {
        return rc;
    }
    (void)error_set(err, ERR_VMFILE_INVALID,
        "line 1 ends with a carriage return (CRLF), which the guest takes for a part of %s",
        begins_with(bytes, n, "#!") ? "the interpreter's name" : "the command");
    return error_help(err, "give it the line ends of Unix: sed -i 's/\\r$//' FILE");
}

/* ---- cloud-config ---- */

static int refuse_yaml(const yaml_parser_t *parser, struct error *err)
{
    const char *problem = parser->problem ? parser->problem : "out of memory";
    if (parser->error == YAML_READER_ERROR) { /* it has an offset only */
        return error_set(err, ERR_VMFILE_INVALID, "byte %zu: not valid YAML: %s",
            parser->problem_offset + 1, problem);
    }
    return error_set(err, ERR_VMFILE_INVALID, "line %zu, column %zu: not valid YAML: %s%s%s",
        parser->problem_mark.line + 1, parser->problem_mark.column + 1, problem,
        parser->context ? " " : "", parser->context ? parser->context : "");
}

/* One document, empty or with `root` at its top: what yaml.safe_load() and cloud-init take. */
static int check_documents(yaml_parser_t *parser, yaml_node_type_t root, struct error *err)
{
    for (int i = 0;; i++) {
        yaml_document_t document;
        if (!yaml_parser_load(parser, &document)) {
            return refuse_yaml(parser, err);
        }
        const yaml_node_t *top = yaml_document_get_root_node(&document);
        bool is_end = !top;
        bool is_null = top && top->type == YAML_SCALAR_NODE && top->data.scalar.length == 0;
        bool is_wrong = top && !is_null && top->type != root;
        size_t line = document.start_mark.line + 1;
        yaml_document_delete(&document);
        if (is_end) {
            return 0;
        }
        if (i > 0) {
            return error_set(err, ERR_VMFILE_INVALID,
                "line %zu: a second YAML document (`---`), and cloud-init reads only one", line);
        }
        if (is_wrong) {
            return error_set(err, ERR_VMFILE_INVALID,
                "its YAML must be %s at the top: cloud-init ignores anything else",
                root == YAML_MAPPING_NODE ? "`key: value` pairs" : "a list");
        }
    }
}

/* libyaml takes time by the square of the depth, of the number of anchors and of that of
 * directives: hours for a file of GUEST_TEXT_MAX. */
enum { DEPTH_MAX = 100, ANCHORS_MAX = 1000, DIRECTIVES_MAX = 100 };

static int check_directives(const char *bytes, size_t n, struct error *err)
{
    const char *end = bytes + n, *at = bytes;
    size_t line = 2;
    for (int count = 0; (at = memchr(at, '\n', (size_t)(end - at))) && ++at < end; line++) {
        count += *at == '%';
        if (count > DIRECTIVES_MAX) {
            return error_set(err, ERR_VMFILE_INVALID, "line %zu: more than %d lines begin with %%",
                line, DIRECTIVES_MAX);
        }
    }
    return 0;
}

/* By events, which come one at a time and can be stopped. What is no YAML is left to
 * check_documents(). */
static int check_bounds(yaml_parser_t *parser, struct error *err)
{
    int depth = 0, anchors = 0;
    yaml_event_t event;
    for (bool is_end = false; !is_end && yaml_parser_parse(parser, &event);) {
        const yaml_mark_t at = event.start_mark;
        bool is_map = event.type == YAML_MAPPING_START_EVENT;
        bool is_list = event.type == YAML_SEQUENCE_START_EVENT;
        depth += is_map || is_list;
        depth -= event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
        anchors += (is_map && event.data.mapping_start.anchor) ||
                   (is_list && event.data.sequence_start.anchor) ||
                   (event.type == YAML_SCALAR_EVENT && event.data.scalar.anchor);
        is_end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (depth > DEPTH_MAX || anchors > ANCHORS_MAX) {
            return error_set(err, ERR_VMFILE_INVALID, "line %zu, column %zu: %s %d%s", at.line + 1,
                at.column + 1, depth > DEPTH_MAX ? "nested more than" : "more than",
                depth > DEPTH_MAX ? DEPTH_MAX : ANCHORS_MAX,
                depth > DEPTH_MAX ? " deep" : " anchors");
        }
    }
    return 0;
}

static int check_yaml(const char *bytes, size_t n, yaml_node_type_t root, struct error *err)
{
    int rc = check_directives(bytes, n, err);
    for (int i = 0; rc == 0 && i < 2; i++) {
        yaml_parser_t parser;
        if (!yaml_parser_initialize(&parser)) {
            return error_set(err, ERR_VMFILE_INVALID, "not enough memory to read it as YAML");
        }
        yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, n);
        rc = i == 0 ? check_bounds(&parser, err) : check_documents(&parser, root, err);
        yaml_parser_delete(&parser);
    }
    return rc < 0 ? error_help(err, "check it: cloud-init schema --config-file FILE") : 0;
}

/* ---- user-data ---- */

bool guest_text_is_mime(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n && i < MIME_WITHIN; i++) {
        if (begins_with(bytes + i, n - i, "mime-version:")) {
            return true;
        }
    }
    return false;
}

/* A word of the header `n` bytes long, anywhere, whatever its case; what follows it. */
static const char *find_word(const char *header, size_t n, const char *word)
{
    for (size_t i = 0; i + strlen(word) <= n; i++) {
        if (begins_with(header + i, n - i, word)) {
            return header + i + strlen(word);
        }
    }
    return NULL;
}

/* How long the header is, with the empty line that ends it; `n`: it has no end. */
static size_t header_length(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n' && i + 1 < n && bytes[i + 1] == '\n') {
            return i + 2;
        }
        if (bytes[i] == '\n' && i + 2 < n && bytes[i + 1] == '\r' && bytes[i + 2] == '\n') {
            return i + 3;
        }
    }
    return n;
}

/* A cloud-config that is not encoded is checked as one that stands alone; the rest is cloud-init's.
 */
static int check_part(const char *bytes, size_t n, struct error *err)
{
    size_t length = header_length(bytes, n);
    bool is_config = find_word(bytes, length, "text/cloud-config") &&
                     !find_word(bytes, length, "text/cloud-config-") &&
                     !find_word(bytes, length, "base64") &&
                     !find_word(bytes, length, "quoted-printable") &&
                     !begins_with(bytes + length, n - length, "## template: jinja");
    return is_config ? check_yaml(bytes + length, n - length, YAML_MAPPING_NODE, err) : 0;
}

/* RFC 2046, 5.1.1: the parts are between lines that begin with "--" and the header's boundary. */
static int check_mime(const char *bytes, size_t n, struct error *err)
{
    size_t length = header_length(bytes, n);
    const char *boundary = find_word(bytes, length, "boundary=");
    if (!boundary) {
        int rc = check_part(bytes, n, err);
        return rc < 0 ? error_wrap(err, "its part text/cloud-config") : 0;
    }
    const char *quoted = boundary < bytes + length && *boundary == '"' ? boundary + 1 : boundary;
    size_t n_name = 0;
    while (quoted + n_name < bytes + length && !strchr("\"; \t\r\n", quoted[n_name])) {
        n_name++;
    }
    cleanup_free char *name = mem_strndup(quoted, n_name);
    cleanup_free char *line = mem_printf("\n--%s", name);
    const char *end = bytes + n, *at = memmem(bytes, n, line, strlen(line));
    while (at) {
        const char *part = at + strlen(line);
        at = memmem(part, (size_t)(end - part), line, strlen(line));
        int rc = check_part(part, (size_t)((at ? at : end) - part), err);
        if (rc < 0) {
            return error_wrap(err, "its part text/cloud-config");
        }
    }
    return 0;
}

/* RFC 1952, 2.3: the method is deflate, and three flags are reserved. It is not unpacked here. */
static int check_gzip(const char *bytes, size_t n, struct error *err)
{
    enum { LEAST = 18, METHOD = 2, FLAGS = 3, DEFLATE = 8, RESERVED = 0xe0 };
    if (n >= LEAST && bytes[METHOD] == DEFLATE && !((unsigned char)bytes[FLAGS] & RESERVED)) {
        return 0;
    }
    error_set(err, ERR_VMFILE_INVALID, "it begins as gzip does, and is not");
    return error_help(err, "pack it again: gzip -c FILE");
}

static int refuse_first_line(const char *bytes, size_t n, struct error *err)
{
    const char *end = memchr(bytes, '\n', n);
    size_t length = end ? (size_t)(end - bytes) : n;
    length = length < FIRST_LINE_MAX ? length : FIRST_LINE_MAX;
    cleanup_free char *line = text_last_line(bytes, length);
    if (begins_with(bytes, n, "Content-Type:")) {
        (void)error_set(err, ERR_VMFILE_INVALID,
            "it begins with `Content-Type:`, but without `MIME-Version:` in the first %d bytes",
            MIME_WITHIN);
        return error_help(err, "add a line `MIME-Version: 1.0` to the header");
    }
    (void)error_set(err, ERR_VMFILE_INVALID,
        "line 1 must say what it is, and cloud-init ignores a file that begins with \"%s\"", line);
    return error_help(err,
        "first line: #cloud-config, #cloud-config-archive, #!/bin/sh, #include, #cloud-boothook, "
        "#part-handler, ## template: jinja, or MIME");
}

int guest_text_check_mapping(const char *bytes, size_t n, struct error *err)
{
    int rc = check_encoding(bytes, n, err);
    return rc < 0 ? rc : check_yaml(bytes, n, YAML_MAPPING_NODE, err);
}

int guest_text_check_user_data(const char *bytes, size_t n, struct error *err)
{
    static const char *const formats[] = {
        "#include", "#cloud-boothook", "#part-handler", "## template: jinja", "#upstart-job"};
    int rc = check_encoding(bytes, n, err);
    if (rc < 0) {
        return rc;
    }
    if (n >= 2 && memcmp(bytes, "\x1f\x8b", 2) == 0) {
        return check_gzip(bytes, n, err);
    }
    if (guest_text_is_mime(bytes, n)) {
        return check_mime(bytes, n, err);
    }
    if (n > GUEST_TEXT_MAX) {
        return error_set(err, ERR_VMFILE_INVALID, "it is larger than %d MiB", GUEST_TEXT_MAX >> 20);
    }
    if (begins_with(bytes, n, "#!")) {
        return guest_text_check_script(bytes, n, err);
    }
    if (begins_with(bytes, n, "#cloud-config-archive")) {
        return check_yaml(bytes, n, YAML_SEQUENCE_NODE, err);
    }
    if (begins_with(bytes, n, "#cloud-config-jsonp")) {
        return 0;
    }
    if (begins_with(bytes, n, "#cloud-config")) {
        return check_yaml(bytes, n, YAML_MAPPING_NODE, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (begins_with(bytes, n, formats[i])) {
            return 0;
        }
    }
    return refuse_first_line(bytes, n, err);
}
