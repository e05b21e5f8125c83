/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/completion_takes.h"

#include <ctype.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"

/* What usages call by a word of their own: NAME, DIGEST, CODE. */
static const struct {
    const char *command, *verbs;
    unsigned place;
    const char *kinds;
} named[] = {
    {"template", "build", 1, "new"},
    {"image", "pull", 1, "catalogue"},
    {"image", "cancel inspect rm", 1, "images"},
    {"snapshot", "restore rm", 2, "snapshots"},
    {"volume", "attach detach", 2, "volumes"},
    {"volume", "rm", 1, "volumes"},
    {"node", "show rm", 1, "nodes"},
    {"template", "show verify rm", 1, "templates"},
    {"quarantine", "rm", 1, "quarantined"},
    {"explain", "", 0, "codes"},
    {"init", "", 0, "starters"},
};

static bool is_file_word(const char *word)
{
    static const char *const words[] = {"PATH", "FILE", "DIR"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (text_starts_with(word, words[i])) {
            return true;
        }
    }
    return false;
}

static const char *kind_of_vms(const struct command *command)
{
    return command->names_file_vms ? "new" : "vms";
}

static void add_kind(struct buf *kinds, const char *kind)
{
    if (kind[0]) {
        buf_printf(kinds, "%s%s", kinds->len > 0 ? "," : "", kind);
    }
}

static void add_named(
    struct buf *kinds, const struct command *command, const struct completion_word *word)
{
    cleanup_buf struct buf verb = BUF_INIT(0);
    buf_add(&verb, word->verb, word->n_verb);
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        bool is_verb = verb.len == 0 ? named[i].verbs[0] == '\0'
                                     : text_has_word(named[i].verbs, buf_str(&verb));
        if (text_eq(named[i].command, command->name) && is_verb && named[i].place == word->place) {
            add_kind(kinds, named[i].kinds);
        }
    }
}

/* `text`: "[VM...]", or "PATH|NAME". */
static void report_word(const struct command *command, const char *text, size_t n,
    struct completion_word *word, completion_word_fn *each, void *context)
{
    cleanup_buf struct buf kinds = BUF_INIT(0);
    text += *text == '[';
    if (text_starts_with(text, "VM")) {
        add_named(&kinds, command, word);
        add_kind(&kinds, kinds.len > 0 ? "" : kind_of_vms(command));
    } else if (text_starts_with(text, "SOURCE") || text_starts_with(text, "TARGET")) {
        add_kind(&kinds, "guest");
    } else {
        add_kind(&kinds, is_file_word(text) ? "files" : "");
        add_named(&kinds, command, word);
    }
    word->repeats = memmem(text, n, "...", 3) != NULL;
    word->kinds = buf_str(&kinds);
    if (kinds.len > 0) {
        each(context, word);
    }
    word->place++;
}

/* "run|stop|status" */
static void add_listed(struct buf *listed, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_add_char(listed, text[i] == '|' ? ' ' : text[i]);
    }
}

/* Of "pull URL | list" the verbs are the first words; the values of options are none of its. */
void completion_words(
    const struct command *command, struct buf *listed, completion_word_fn *each, void *context)
{
    struct completion_word word = {.verb = ""};
    bool is_value = false, is_verb = strstr(command->usage, " | ") != NULL;
    for (const char *p = command->usage; *p;) {
        size_t n = strcspn(p, " ");
        bool is_option = text_starts_with(p, "--") && n > 2;
        bool is_of_dashes = p[*p == '['] == '-' || text_starts_with(p, "[OPTIONS]");
        if (n == 1 && *p == '|') {
            is_verb = true;
        } else if (is_verb) {
            buf_printf(listed, "%s%.*s", listed->len > 0 ? " " : "", (int)n, p);
            word = (struct completion_word){.verb = p, .n_verb = n, .place = 1};
            is_verb = false;
        } else if (memchr(p, '|', n) && !isupper((unsigned char)p[*p == '['])) {
            add_listed(listed, p, n);
        } else if (n > 0 && !is_value && !is_of_dashes) {
            report_word(command, p, n, &word, each, context);
        }
        is_value = is_option;
        p += n + (p[n] == ' ');
    }
}

const char *completion_value(const struct command *command, const struct arg_option *option)
{
    if (!option->value_name || option->kind == ARG_OPTIONAL) {
        return NULL;
    }
    return text_eq(option->name, "image")       ? "files,catalogue"
           : text_eq(option->name, "node")      ? "nodes"
           : is_file_word(option->value_name)   ? "files"
           : !text_eq(option->value_name, "VM") ? ""
           : command                            ? kind_of_vms(command)
                                                : "vms";
}
