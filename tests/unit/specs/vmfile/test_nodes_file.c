/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/nodes_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/vmfile/vmfile.h"

static void nodes_are_read_with_all_they_can_have(void **state)
{
    static const char text[] =
        "// of mine\n"
        "node \"b\" \"me@b.lan\"\n"
        "node \"c\" \"ssh://me@c.lan:22\" data-dir=\"~/x y\" { vmctl \"/o/vmctl\" }\n";
    cleanup_with(nodes_clear) struct nodes nodes;
    (void)state;
    nodes_parse(text, strlen(text), &nodes);
    assert_int_equal(nodes.problems->n_diagnostics, 0);
    assert_int_equal(nodes.count, 2);
    assert_string_equal(nodes.items[0].address, "me@b.lan");
    assert_null(nodes.items[0].data_dir);
    assert_int_equal(nodes.items[0].line, 2);
    const struct node *c = nodes_find(&nodes, "c");
    assert_ptr_equal(c, &nodes.items[1]);
    assert_string_equal(c->data_dir, "~/x y");
    assert_string_equal(c->program, "/o/vmctl");
    assert_null(nodes_find(&nodes, "d"));
}

static void an_empty_file_has_no_nodes(void **state)
{
    cleanup_with(nodes_clear) struct nodes nodes;
    (void)state;
    nodes_parse("", 0, &nodes);
    assert_int_equal(nodes.problems->n_diagnostics, 0);
    assert_int_equal(nodes.count, 0);
}

static void what_is_wrong_is_shown_with_its_place(void **state)
{
    static const struct {
        const char *text, *problem;
    } rows[] = {
        {"node \"b\"", "`node` needs a value"},
        {"node \"b\" 3", "`node` must be a string, not a number"},
        {"node \"local\" \"x\"", "\"local\" cannot be the name of a node"},
        {"node \"b/c\" \"x\"", "\"b/c\" cannot be the name of a node"},
        {"node \"b\" \"-oProxyCommand=x\"", "cannot be the address of a node"},
        {"node \"b\" \"a b\"", "cannot be the address of a node"},
        {"node \"b\" \"x\" data-dir=\"rel\"", "`data-dir` must be an absolute path"},
        {"node \"b\" \"x\" port=3", "unknown property `port` of `node`"},
        {"node \"b\" \"x\"\nnode \"b\" \"y\"",
            "node \"b\" is there twice: the first one is on line 1"},
        {"nodes \"b\" \"x\"", "unknown node `nodes`"},
        {"node \"b", "-->"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        cleanup_with(nodes_clear) struct nodes nodes;
        cleanup_buf struct buf out = BUF_INIT(0);
        nodes_parse(rows[i].text, strlen(rows[i].text), &nodes);
        nodes_render_problems(&out, &nodes, rows[i].text, strlen(rows[i].text), "n.kdl", false, 0);
        if (!strstr(buf_str(&out), rows[i].problem)) {
            fail_msg("no '%s' in: %s", rows[i].problem, buf_str(&out));
        }
        assert_non_null(strstr(buf_str(&out), "n.kdl:"));
        assert_non_null(strchr(buf_str(&out), '^'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_read_with_all_they_can_have),
        cmocka_unit_test(an_empty_file_has_no_nodes),
        cmocka_unit_test(what_is_wrong_is_shown_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
