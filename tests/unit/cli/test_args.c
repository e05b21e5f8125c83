/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

struct values {
    bool flag;
    const char *text;
    uint32_t number;
    uint32_t memory_mib, disk_gib;
    int64_t duration_ms;
    struct arg_strings names;
    const char *optional;
};

static const struct arg_option options[] = {
    {"flag", 'f', ARG_FLAG, offsetof(struct values, flag), NULL, "a flag"},
    {"text", 't', ARG_TEXT, offsetof(struct values, text), "TEXT", "a text"},
    {"number", 'n', ARG_NUMBER, offsetof(struct values, number), "N", "a number"},
    {"timeout", 0, ARG_DURATION, offsetof(struct values, duration_ms), "TIME", "a duration"},
    {"memory", 0, ARG_MIB, offsetof(struct values, memory_mib), "MB", "memory"},
    {"disk", 0, ARG_GIB, offsetof(struct values, disk_gib), "GB", "disk"},
    {"name", 0, ARG_REPEATED, offsetof(struct values, names), "NAME", "names"},
    {"prune", 0, ARG_OPTIONAL, offsetof(struct values, optional), "HOW", "how, or as usual"},
    {"hidden", 0, ARG_FLAG, offsetof(struct values, flag), NULL, NULL},
    {NULL, 0, ARG_FLAG, 0, NULL, NULL},
};

struct parsed {
    struct values values;
    struct arg_strings words;
    struct error err;
    int rc;
};

static void parsed_clear(struct parsed *parsed)
{
    args_clear(options, &parsed->values);
    arg_strings_clear(&parsed->words);
}
#define cleanup_parsed __attribute__((cleanup(parsed_clear)))

/* `line` is split at its spaces. */
static struct parsed parse(char *line, bool stops)
{
    struct parsed parsed = {.rc = 0};
    char *argv[16] = {NULL};
    int argc = 0;
    for (char *rest = line, *word; (word = strsep(&rest, " "));) {
        argv[argc++] = word;
    }
    const struct arg_set set = {options, &parsed.values};
    parsed.rc = args_parse(argc, argv, &set, 1, stops, &parsed.words, &parsed.err);
    return parsed;
}

static void an_optional_value_is_given_with_an_equals_sign_only(void **state)
{
    (void)state;
    char none[] = "x web", bare[] = "x --prune web", given[] = "x --prune=stop web";
    __attribute__((cleanup(parsed_clear))) struct parsed a = parse(none, false);
    __attribute__((cleanup(parsed_clear))) struct parsed b = parse(bare, false);
    __attribute__((cleanup(parsed_clear))) struct parsed c = parse(given, false);
    assert_null(a.values.optional);
    assert_string_equal(b.values.optional, "");
    assert_int_equal(b.words.count, 1);
    assert_string_equal(c.values.optional, "stop");
    cleanup_buf struct buf out = BUF_INIT(0);
    args_describe(&out, options);
    assert_non_null(strstr(buf_str(&out), "--prune[=HOW]"));
}

static void options_are_read_in_every_usual_form(void **state)
{
    (void)state;
    char line[] = "cmd -f web --text=a -n5 --timeout 90s db --name x --name=y";
    cleanup_parsed struct parsed p = parse(line, false);
    assert_int_equal(p.rc, 0);
    assert_true(p.values.flag);
    assert_string_equal(p.values.text, "a");
    assert_int_equal(p.values.number, 5);
    assert_int_equal(p.values.duration_ms, 90000);
    assert_int_equal(p.values.names.count, 2);
    assert_string_equal(p.values.names.items[1], "y");
    assert_int_equal(p.words.count, 2);
    assert_string_equal(p.words.items[1], "db");
    assert_int_equal(p.words.n_before_dashes, 2);
}

/* docker's habit: where -i takes a key, -it is a terminal and nothing else. */
static void a_terminal_asked_for_together_with_i_takes_no_key(void **state)
{
    (void)state;
    struct login {
        const char *key;
        bool tty;
    };
    static const struct arg_option login_options[] = {
        {"key", 'i', ARG_TEXT, offsetof(struct login, key), "PATH", "a key"},
        {"tty", 't', ARG_FLAG, offsetof(struct login, tty), NULL, "a terminal"},
        {NULL, 0, ARG_FLAG, 0, NULL, NULL},
    };
    static const struct {
        const char *option;
        const char *key;
        bool tty;
        size_t n_words;
    } rows[] = {
        {"-it", NULL, true, 2},
        {"-ti", NULL, true, 2},
        {"-t", NULL, true, 2},
        {"-i", "web", false, 1},
        {"-i./t", "./t", false, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct login login = {.key = NULL};
        struct error err = {.code = ERR_NONE};
        cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
        const struct arg_set set = {login_options, &login};
        char line[32], *words_of[5] = {NULL};
        (void)snprintf(line, sizeof(line), "exec %s web sh", rows[i].option);
        for (char *rest = line, *word, **end = words_of; (word = strsep(&rest, " "));) {
            *end++ = word;
        }
        assert_int_equal(args_parse(4, words_of, &set, 1, true, &words, &err), 0);
        assert_true(rows[i].key ? login.key && strcmp(login.key, rows[i].key) == 0 : !login.key);
        assert_int_equal(login.tty, rows[i].tty);
        assert_int_equal(words.count, rows[i].n_words);
    }
}

static void words_behind_dashes_are_not_options(void **state)
{
    (void)state;
    char line[] = "cmd web -- -f --text";
    cleanup_parsed struct parsed p = parse(line, false);
    assert_int_equal(p.rc, 0);
    assert_false(p.values.flag);
    assert_int_equal(p.words.count, 3);
    assert_int_equal(p.words.n_before_dashes, 1);
    assert_string_equal(p.words.items[1], "-f");
}

static void dashes_at_the_start_leave_no_word_before_them(void **state)
{
    (void)state;
    char line[] = "cmd -- uname";
    cleanup_parsed struct parsed p = parse(line, false);
    assert_int_equal(p.words.count, 1);
    assert_int_equal(p.words.n_before_dashes, 0);
}

static void options_of_another_program_are_left_alone(void **state)
{
    (void)state;
    char line[] = "cmd -f web ls -l --color";
    cleanup_parsed struct parsed p = parse(line, true);
    assert_int_equal(p.rc, 0);
    assert_true(p.values.flag);
    assert_int_equal(p.words.count, 4);
    assert_string_equal(p.words.items[3], "--color");
}

static void a_misspelt_option_names_the_nearest(void **state)
{
    (void)state;
    char line[] = "cmd --tiemout 3";
    cleanup_parsed struct parsed p = parse(line, false);
    assert_int_equal(p.rc, -ERR_USAGE);
    assert_string_equal(p.err.message, "unknown option '--tiemout'");
    assert_string_equal(p.err.help, "did you mean --timeout?");
}

static void a_missing_value_is_an_error(void **state)
{
    (void)state;
    char line[] = "cmd web --text";
    cleanup_parsed struct parsed p = parse(line, false);
    assert_int_equal(p.rc, -ERR_USAGE);
    assert_string_equal(p.err.message, "option '--text' needs a value");
}

static void a_number_that_is_none_is_an_error(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "cmd -n x", "cmd -n -1", "cmd -n 4294967296", "cmd --timeout 5y"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char line[32];
        strcpy(line, lines[i]);
        cleanup_parsed struct parsed p = parse(line, false);
        assert_int_equal(p.rc, -ERR_USAGE);
    }
}

static void assert_sizes(const char *text, uint32_t memory_mib, uint32_t disk_gib)
{
    char line[64];
    (void)snprintf(line, sizeof(line), "cmd %s", text);
    cleanup_parsed struct parsed parsed = parse(line, false);
    assert_int_equal(parsed.rc, 0);
    assert_int_equal(parsed.values.memory_mib, memory_mib);
    assert_int_equal(parsed.values.disk_gib, disk_gib);
}

static void sizes_are_units_or_have_a_suffix(void **state)
{
    (void)state;
    assert_sizes("--memory 2048 --disk 20", 2048, 20);
    assert_sizes("--memory 2G --disk 20g", 2048, 20);
    assert_sizes("--memory 512MiB --disk 1TB", 512, 1024);
    assert_sizes("--memory 1t --disk 2048M", 1048576, 2);
}

static void a_size_that_is_none_is_an_error(void **state)
{
    (void)state;
    static const char *const lines[] = {"cmd --memory 2X", "cmd --memory G", "cmd --memory -2G",
        "cmd --memory 2.5G", "cmd --memory 4294967296", "cmd --memory 999999999T",
        "cmd --disk 512M", "cmd --disk 1k"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "%s", lines[i]);
        cleanup_parsed struct parsed parsed = parse(line, false);
        assert_int_equal(parsed.rc, -ERR_USAGE);
        assert_non_null(strstr(parsed.err.message, "is not a size such as"));
    }
}

static void help_lists_what_is_not_hidden(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    args_describe(&out, options);
    assert_non_null(strstr(buf_str(&out), "  -f, --flag                  a flag\n"));
    assert_non_null(strstr(buf_str(&out), "      --timeout TIME          a duration\n"));
    assert_null(strstr(buf_str(&out), "hidden"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_optional_value_is_given_with_an_equals_sign_only),
        cmocka_unit_test(options_are_read_in_every_usual_form),
        cmocka_unit_test(a_terminal_asked_for_together_with_i_takes_no_key),
        cmocka_unit_test(words_behind_dashes_are_not_options),
        cmocka_unit_test(dashes_at_the_start_leave_no_word_before_them),
        cmocka_unit_test(options_of_another_program_are_left_alone),
        cmocka_unit_test(a_misspelt_option_names_the_nearest),
        cmocka_unit_test(a_missing_value_is_an_error),
        cmocka_unit_test(a_number_that_is_none_is_an_error),
        cmocka_unit_test(sizes_are_units_or_have_a_suffix),
        cmocka_unit_test(a_size_that_is_none_is_an_error),
        cmocka_unit_test(help_lists_what_is_not_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
