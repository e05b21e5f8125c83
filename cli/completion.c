/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/completion.h"

#include <ctype.h>
#include <string.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"

static const char formats[] = "text table wide name json yaml";
static const char colors[] = "auto always never";

/* ---- what a command takes ---- */

/* Of the words that are no options. */
struct operands {
    bool has_vms;
    bool has_files;
    struct buf listed; /* "run stop status" */
};

static bool is_file_word(const char *word)
{
    static const char *const words[] = {"PATH", "FILE", "SOURCE", "TARGET", "DIR"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (text_starts_with(word, words[i])) {
            return true;
        }
    }
    return false;
}

/* One word of a usage text, such as "[VM...]" or "run|stop|status". */
static void add_operand(struct operands *operands, const char *word, size_t n)
{
    bool is_of_values = isupper((unsigned char)word[0]); /* "PATH|NAME" */
    if (memchr(word, '|', n) && !is_of_values) {
        for (size_t i = 0; i < n; i++) {
            buf_add_char(&operands->listed, word[i] == '|' ? ' ' : word[i]);
        }
        return;
    }
    word += *word == '[';
    operands->has_vms =
        operands->has_vms || text_starts_with(word, "VM") || text_starts_with(word, "SOURCE");
    operands->has_files = operands->has_files || is_file_word(word);
}

/* From the usage: the words themselves, not the values of options; of "pull URL | list" the first
 * of each. */
static struct operands operands_of(const struct command *command)
{
    struct operands operands = {.has_vms = false};
    bool is_value = false, is_verb = strstr(command->usage, " | ") != NULL;
    for (const char *p = command->usage; *p;) {
        size_t n = strcspn(p, " ");
        bool is_option = text_starts_with(p, "--") && n > 2;
        if (n == 1 && *p == '|') {
            is_verb = true;
        } else if (is_verb && n > 0) {
            buf_printf(&operands.listed, "%s%.*s", operands.listed.len > 0 ? " " : "", (int)n, p);
            is_verb = false;
        } else if (n > 0 && !is_value && !is_option) {
            add_operand(&operands, p, n);
        }
        is_value = is_option;
        p += n + (p[n] == ' ');
    }
    return operands;
}

/* What completes an option's value, which is the next word. */
enum value_kind { VALUE_NONE, VALUE_FILE, VALUE_VM, VALUE_OTHER, VALUE_ANY };

static enum value_kind value_of(const struct arg_option *option)
{
    if (!option->value_name || option->kind == ARG_OPTIONAL) {
        return VALUE_NONE;
    }
    return is_file_word(option->value_name)    ? VALUE_FILE
           : text_eq(option->value_name, "VM") ? VALUE_VM
                                               : VALUE_OTHER;
}

/* Appends " --name -x" for each option of the table with such a value; VALUE_ANY: each in the help.
 */
static void add_options(struct buf *out, const struct arg_option *options, enum value_kind kind)
{
    for (const struct arg_option *o = options; o && o->name; o++) {
        if (kind == VALUE_ANY ? !o->help : value_of(o) != kind) {
            continue;
        }
        buf_printf(out, " --%s", o->name);
        if (o->letter) {
            buf_printf(out, " -%c", o->letter);
        }
    }
}

/* ---- bash, and zsh, which differ in how an answer is given ---- */

/* One arm of the case over commands: it sets what the rest of the function works with. */
static void add_arm(struct buf *out, const struct command *command)
{
    static const struct {
        const char *variable;
        enum value_kind kind;
    } lists[] = {
        {"options", VALUE_ANY}, {"files", VALUE_FILE}, {"vms", VALUE_VM}, {"others", VALUE_OTHER}};
    struct operands operands = operands_of(command);
    buf_printf(out, "    %s", command->name);
    for (const char *p = command->aliases; p && *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        buf_printf(out, "|%.*s", (int)n, p);
        p += n;
    }
    buf_add_str(out, ")\n");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        buf_printf(out, "        %s='", lists[i].variable);
        add_options(out, command->options, lists[i].kind);
        add_options(out, global_options, lists[i].kind);
        buf_add_str(out, " '\n");
    }
    buf_printf(out, "        operands='%s%s'\n        listed='%s'\n        ;;\n",
        operands.has_vms ? "vms " : "", operands.has_files ? "files" : "",
        buf_str(&operands.listed));
    buf_clear(&operands.listed);
}

static void add_arms(struct buf *out)
{
    buf_add_str(out, "    case $command in\n    '')\n        listed='");
    for (size_t i = 0; cli_commands[i]; i++) {
        buf_printf(out, "%s%s", i ? " " : "", cli_commands[i]->name);
    }
    buf_add_str(out, "'\n        options='");
    add_options(out, global_options, VALUE_ANY);
    buf_add_str(out, " --version '\n        files=' --data-dir '\n        ;;\n");
    for (size_t i = 0; cli_commands[i]; i++) {
        add_arm(out, cli_commands[i]);
    }
    buf_add_str(out, "    esac\n");
}

/* Which of the answers is wanted where the cursor is. */
static void add_choice(struct buf *out)
{
    buf_add_str(out, "    case $previous in\n"
                     "    -o|--output)\n");
    buf_printf(out, "        _vmctl_offer '%s' ;;\n", formats);
    buf_add_str(out, "    --color)\n");
    buf_printf(out, "        _vmctl_offer '%s' ;;\n", colors);
    buf_add_str(out, "    *)\n"
                     "        if [[ $files == *\" $previous \"* ]]; then _vmctl_offer_files\n"
                     "        elif [[ $vms == *\" $previous \"* ]]; then _vmctl_offer_vms\n"
                     "        elif [[ $others == *\" $previous \"* ]]; then :\n"
                     "        elif [[ $current == -* ]]; then _vmctl_offer \"$options\"\n"
                     "        else\n"
                     "            [[ -z $listed ]] || _vmctl_offer \"$listed\"\n"
                     "            [[ $operands != *vms* ]] || _vmctl_offer_vms\n"
                     "            [[ $operands != *files* ]] || _vmctl_offer_files\n"
                     "        fi ;;\n"
                     "    esac\n");
}

static void add_bash(struct buf *out)
{
    buf_add_str(out,
        "# bash completion of vmctl: source <(vmctl completion bash)\n"
        "_vmctl_offer() { COMPREPLY+=($(compgen -W \"$1\" -- \"$current\")); }\n"
        "_vmctl_offer_vms() {\n"
        "    _vmctl_offer \"$(\"${COMP_WORDS[0]}\" list -o name 2>/dev/null)\"\n"
        "}\n"
        "_vmctl_offer_files() {\n"
        "    local IFS=$'\\n'\n"
        "    compopt -o filenames 2>/dev/null\n"
        "    COMPREPLY+=($(compgen -f -- \"$current\"))\n"
        "}\n"
        "_vmctl() {\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
        "    local command= options= files= vms= others= operands= listed= i\n"
        "    COMPREPLY=()\n"
        "    if [[ $current == '=' ]]; then current=\n"
        "    elif [[ $previous == '=' ]]; then previous=${COMP_WORDS[COMP_CWORD - 2]}\n"
        "    fi\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        case ${COMP_WORDS[i]} in\n"
        "        -o|--output|--color|--data-dir) ((i++)) ;;\n"
        "        -*|=) ;;\n"
        "        *) command=${COMP_WORDS[i]}; break ;;\n"
        "        esac\n"
        "    done\n");
    add_arms(out);
    add_choice(out);
    buf_add_str(out, "}\ncomplete -F _vmctl vmctl\n");
}

static void add_zsh(struct buf *out)
{
    buf_add_str(out,
        "#compdef vmctl\n"
        "# zsh completion of vmctl: source <(vmctl completion zsh), or as _vmctl in $fpath\n"
        "_vmctl_offer() { compadd -- ${=1}; }\n"
        "_vmctl_offer_vms() { compadd -- ${(f)\"$(${words[1]} list -o name 2>/dev/null)\"}; }\n"
        "_vmctl_offer_files() { _files; }\n"
        "_vmctl() {\n"
        "    local current=${words[CURRENT]} previous=${words[CURRENT-1]}\n"
        "    local command= options= files= vms= others= operands= listed= i\n"
        "    for ((i = 2; i < CURRENT; i++)); do\n"
        "        case ${words[i]} in\n"
        "        -o|--output|--color|--data-dir) ((i++)) ;;\n"
        "        -*) ;;\n"
        "        *) command=${words[i]}; break ;;\n"
        "        esac\n"
        "    done\n");
    add_arms(out);
    add_choice(out);
    buf_add_str(out, "}\n"
                     "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _vmctl \"$@\"\n"
                     "else compdef _vmctl vmctl\n"
                     "fi\n");
}

/* ---- fish ---- */

/* `seen`: which command the option is of, NULL: of all. */
static void add_fish_options(struct buf *out, const char *seen, const struct arg_option *options)
{
    for (const struct arg_option *o = options; o && o->name; o++) {
        if (!o->help) {
            continue;
        }
        buf_add_str(out, "complete -c vmctl");
        if (seen) {
            buf_printf(out, " -n '__fish_seen_subcommand_from %s'", seen);
        }
        buf_printf(out, " -l %s", o->name);
        if (o->letter) {
            buf_printf(out, " -s %c", o->letter);
        }
        if (o->value_name) {
            buf_add_str(out, value_of(o) == VALUE_FILE ? " -r -F" : " -x");
        }
        if (value_of(o) == VALUE_VM) {
            buf_add_str(out, " -a '(__vmctl_vms)'");
        } else if (text_eq(o->name, "output") || text_eq(o->name, "color")) {
            buf_printf(out, " -a '%s'", o->name[0] == 'o' ? formats : colors);
        }
        buf_add_str(out, " -d ");
        text_add_shell_word(out, o->help);
        buf_add_char(out, '\n');
    }
}

static void add_fish_command(struct buf *out, const struct command *command)
{
    struct operands operands = operands_of(command);
    buf_printf(out, "complete -c vmctl -n __fish_use_subcommand -a %s -d ", command->name);
    text_add_shell_word(out, command->summary);
    buf_add_char(out, '\n');
    cleanup_buf struct buf seen = BUF_INIT(0);
    buf_printf(&seen, "%s%s%s", command->name, command->aliases ? " " : "",
        command->aliases ? command->aliases : "");
    add_fish_options(out, buf_str(&seen), command->options);
    if (operands.has_vms) {
        buf_printf(out,
            "complete -c vmctl -n '__fish_seen_subcommand_from %s' -a '(__vmctl_vms)'\n",
            buf_str(&seen));
    }
    if (operands.has_files) {
        buf_printf(
            out, "complete -c vmctl -n '__fish_seen_subcommand_from %s' -F\n", buf_str(&seen));
    }
    if (operands.listed.len > 0) {
        buf_printf(out, "complete -c vmctl -n '__fish_seen_subcommand_from %s' -a '%s'\n",
            buf_str(&seen), buf_str(&operands.listed));
    }
    buf_clear(&operands.listed);
}

static void add_fish(struct buf *out)
{
    buf_add_str(out, "# fish completion of vmctl: vmctl completion fish | source\n"
                     "function __vmctl_vms\n"
                     "    vmctl list -o name 2>/dev/null\n"
                     "end\n"
                     "complete -c vmctl -f\n");
    add_fish_options(out, NULL, global_options);
    for (size_t i = 0; cli_commands[i]; i++) {
        add_fish_command(out, cli_commands[i]);
    }
}

/* ---- all ---- */

bool completion_add(struct buf *out, const char *shell)
{
    static const struct {
        const char *shell;
        void (*add)(struct buf *out);
    } scripts[] = {{"bash", add_bash}, {"zsh", add_zsh}, {"fish", add_fish}};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        if (text_eq(scripts[i].shell, shell)) {
            scripts[i].add(out);
            return true;
        }
    }
    return false;
}
