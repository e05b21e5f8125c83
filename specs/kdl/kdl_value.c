/* SPDX-License-Identifier: MPL-2.0 */
/* Values, names and type annotations. */
#include "specs/kdl/kdl_internal.h"

#include <string.h>

static struct kdl_value keyword_value(const char *word, size_t length)
{
    if (length == 4 && memcmp(word, "null", 4) == 0) {
        return (struct kdl_value){.kind = KDL_NULL};
    }
    return (struct kdl_value){.kind = KDL_BOOL, .boolean = length == 4};
}

/* "#true" and its like, in version 2 only. */
static bool read_keyword(struct kdl_parser *parser, struct kdl_value *ret)
{
    struct kdl_pos pos = kdl_here(parser);
    const char *start = parser->at;
    parser->at = kdl_identifier_end(start + 1, parser->end, KDL_V2);
    size_t length = (size_t)(parser->at - start) - 1;
    if (!kdl_is_keyword(start + 1, length, KDL_V2)) {
        kdl_end_token(parser, &pos, start);
        char excerpt[KDL_EXCERPT_SIZE];
        return kdl_fail(parser, pos,
            "'%s' is no keyword: there are #true #false #null #inf #-inf #nan",
            kdl_excerpt(excerpt, start, parser->at));
    }
    bool is_number = start[1] == 'i' || start[1] == '-' || memcmp(start + 1, "nan", 3) == 0;
    if (!is_number) {
        *ret = keyword_value(start + 1, length);
        return true;
    }
    *ret =
        (struct kdl_value){.kind = KDL_NUMBER, .number = kdl_arena_text(parser->arena, length + 2)};
    memcpy(ret->number, start, length + 1);
    ret->number[length + 1] = '\0';
    return true;
}

static bool read_bare(struct kdl_parser *parser, const char *wanted, struct kdl_value *ret)
{
    const char *start = parser->at;
    const char *end = kdl_identifier_end(start, parser->end, parser->version);
    size_t length = (size_t)(end - start);
    if (length == 0) {
        return kdl_fail_expected(parser, wanted);
    }
    if (!kdl_is_keyword(start, length, parser->version)) {
        *ret = (struct kdl_value){.kind = KDL_STRING, .length = length};
        ret->string = kdl_arena_text(parser->arena, length + 1);
        memcpy(ret->string, start, length);
        ret->string[length] = '\0';
    } else if (parser->version == KDL_V1) {
        *ret = keyword_value(start, length);
    } else {
        struct kdl_pos pos = kdl_here(parser);
        pos.length = (uint32_t)length;
        return kdl_fail(parser, pos, "'%.*s' is written '#%.*s' in KDL 2, or in quotes as text",
            (int)length, start, (int)length, start);
    }
    parser->at = end;
    return true;
}

bool kdl_read_scalar(
    struct kdl_parser *parser, const char *wanted, struct kdl_value *ret, bool *ret_is_bare)
{
    struct kdl_pos pos = kdl_here(parser);
    const char *start = parser->at;
    bool is_read;
    *ret_is_bare = false;
    if (kdl_peek(parser) == '"') {
        is_read = kdl_read_quoted(parser, ret);
    } else if (kdl_at_raw(parser)) {
        is_read = kdl_read_raw(parser, ret);
    } else if (kdl_looks_numeric(start, parser->end, parser->version)) {
        is_read = kdl_read_number(parser, ret);
    } else if (parser->version == KDL_V2 && kdl_peek(parser) == '#') {
        is_read = read_keyword(parser, ret);
    } else {
        is_read = read_bare(parser, wanted, ret);
        *ret_is_bare = is_read && ret->kind == KDL_STRING;
    }
    if (is_read) {
        kdl_end_token(parser, &pos, start);
        ret->pos = pos;
    }
    return is_read;
}

/* Names are C strings in struct kdl_node and struct kdl_entry: U+0000 would cut them short, and one
 * name could pass for another. */
bool kdl_check_name(struct kdl_parser *parser, const char *what, const struct kdl_value *value)
{
    static const char *const kinds[] = {
        [KDL_NULL] = "null", [KDL_BOOL] = "a boolean", [KDL_NUMBER] = "a number"};
    if (value->kind != KDL_STRING) {
        return kdl_fail(
            parser, value->pos, "%s cannot be %s: put it in quotes", what, kinds[value->kind]);
    }
    if (memchr(value->string, '\0', value->length)) {
        return kdl_fail(parser, value->pos, "%s cannot contain U+0000", what);
    }
    return true;
}

bool kdl_read_name(struct kdl_parser *parser, const char *what, char **ret, struct kdl_pos *ret_pos)
{
    struct kdl_value name;
    bool is_bare;
    if (!kdl_read_scalar(parser, what, &name, &is_bare) || !kdl_check_name(parser, what, &name)) {
        return false;
    }
    *ret = name.string;
    *ret_pos = name.pos;
    return true;
}

/* Version 2 allows space in and behind an annotation, version 1 none. */
static bool skip_inner_space(struct kdl_parser *parser)
{
    return parser->version == KDL_V1 || kdl_skip_node_space(parser) >= 0;
}

bool kdl_read_type(struct kdl_parser *parser, char **ret)
{
    *ret = NULL;
    if (kdl_peek(parser) != '(') {
        return true;
    }
    struct kdl_pos pos;
    char *type = NULL;
    parser->at++;
    if (!skip_inner_space(parser) || !kdl_read_name(parser, "a type name", &type, &pos) ||
        !skip_inner_space(parser)) {
        return false;
    }
    if (kdl_peek(parser) != ')') {
        return kdl_fail_expected(parser, "')' after the type name");
    }
    parser->at++;
    if (!skip_inner_space(parser)) {
        return false;
    }
    *ret = type;
    return true;
}
