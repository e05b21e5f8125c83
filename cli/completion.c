/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/completion.h"

#include <ctype.h>
#include <string.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"
#include "specs/vm/condition.h"

static const char formats[] = "text table wide name json yaml";
static const char colors[] = "auto always never";

/* ---- what a command takes ---- */

/* Of the words that are no options. */
struct operands {
    bool has_vms;
    bool has_files;
    bool has_guest_files; /* VM:PATH */
    struct buf listed;    /* "run stop status" */
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
    operands->has_vms = operands->has_vms || text_starts_with(word, "VM");
    operands->has_guest_files = operands->has_guest_files || text_starts_with(word, "SOURCE");
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

/* Whether it is an option of that verb of the command alone: its help begins with "VERB, VERB: ".
 * NULL: whether it is one of no verb. */
static bool is_of_verb(const struct arg_option *option, const char *verb)
{
    const char *end = option->help ? strchr(option->help, ':') : NULL;
    if (!end || option->help[0] == '-' || end[1] != ' ') {
        return verb == NULL;
    }
    bool is_found = false;
    for (const char *p = option->help; p < end; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ",: ");
        is_found = is_found || (verb && strlen(verb) == n && strncmp(p, verb, n) == 0);
        p += n;
        if (*p == ' ') { /* a sentence with a colon in it */
            return verb == NULL;
        }
    }
    return is_found;
}

/* Appends " --name -x" for each option of the table with such a value; VALUE_ANY: each in the help
 * that is of the verb, or of none. */
static void add_options(
    struct buf *out, const struct arg_option *options, enum value_kind kind, const char *verb)
{
    for (const struct arg_option *o = options; o && o->name; o++) {
        if (kind == VALUE_ANY ? !o->help || !is_of_verb(o, verb) : value_of(o) != kind) {
            continue;
        }
        buf_printf(out, " --%s", o->name);
        if (o->letter) {
            buf_printf(out, " -%c", o->letter);
        }
    }
}

/* Appends "stop,destroy" of an option's value "stop|destroy": all but what stands for a value.
 * Nothing of others. */
static void add_choices(struct buf *out, const struct arg_option *option)
{
    const char *p = option->value_name;
    if (!p || !strchr(p, '|')) {
        return;
    }
    while (*p) {
        size_t n = strcspn(p, "|"), shown = 0;
        while (shown < n && !isupper((unsigned char)p[shown])) {
            shown++;
        }
        buf_printf(out, "%.*s%s", (int)shown, p, p[n] ? "," : "");
        p += n + (p[n] == '|');
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
        add_options(out, command->options, lists[i].kind, NULL);
        add_options(out, global_options, lists[i].kind, NULL);
        buf_add_str(out, " '\n");
    }
    buf_add_str(out, "        choices='");
    for (const struct arg_option *o = command->options; o && o->name; o++) {
        if (o->value_name && strchr(o->value_name, '|')) {
            buf_printf(out, " --%s=", o->name);
            add_choices(out, o);
        }
    }
    buf_printf(out, " '\n        operands='%s%s%s%s'\n        listed='%s'\n",
        operands.has_vms ? "vms " : "", operands.has_files ? "files " : "",
        operands.has_guest_files ? "guest " : "", command->names_file_vms ? "new " : "",
        buf_str(&operands.listed));
    bool has_verbs = operands.listed.len > 0;
    cleanup_free char *verbs = buf_steal(&operands.listed);
    char *rest = has_verbs ? verbs : NULL;
    buf_add_str(out, rest ? "        case $verb in\n" : "");
    for (const char *verb; rest && (verb = strsep(&rest, " "));) {
        buf_printf(out, "        %s) options+='", verb);
        add_options(out, command->options, VALUE_ANY, verb);
        buf_add_str(out, rest ? " ' ;;\n" : " ' ;;\n        esac\n");
    }
    buf_add_str(out, "        ;;\n");
}

static void add_arms(struct buf *out)
{
    cleanup_buf struct buf names = BUF_INIT(0);
    for (size_t i = 0; cli_commands[i]; i++) {
        buf_printf(&names, "%s ", cli_commands[i]->name);
    }
    buf_printf(
        out, "    case $command in\n    help)\n        listed='%s'\n        ;;\n", buf_str(&names));
    buf_printf(out, "    '')\n        listed='%shelp'\n        options='", buf_str(&names));
    add_options(out, global_options, VALUE_ANY, NULL);
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
    buf_add_str(out, "    *)\n        choices+=' condition=");
    for (size_t i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        buf_printf(out, "%s%s", i ? "," : "", condition_type_name((enum condition_type)i));
    }
    buf_add_str(out, " '\n"
                     "        if [[ $choices == *\" $previous=\"* && $others$equals == *\" "
                     "$previous \"* ]]; then\n"
                     "            choices=${choices#*\" $previous=\"}; choices=${choices%% *}\n"
                     "            _vmctl_offer \"${choices//,/ }\"\n"
                     "        elif [[ $files == *\" $previous \"* ]]; then _vmctl_offer_files\n"
                     "        elif [[ $vms == *\" $previous \"* ]]; then _vmctl_offer_vms\n"
                     "        elif [[ $others == *\" $previous \"* ]]; then :\n"
                     "        elif [[ $current == -* ]]; then _vmctl_offer \"$options\"\n"
                     "        elif [[ $operands == *guest* ]]; then _vmctl_offer_guest_files\n"
                     "        else\n"
                     "            [[ -z $listed || -n $verb ]] || _vmctl_offer \"$listed\"\n"
                     "            [[ $operands != *vms* ]] || _vmctl_offer_vms\n"
                     "            [[ $operands != *files* ]] || _vmctl_offer_files\n"
                     "        fi ;;\n"
                     "    esac\n");
}

/* What zsh and bash share: `vmctl` is the program as it was typed. */
static const char shared_functions[] =
    "_vmctl_names() {\n"
    "    if [[ $operands == *new* ]]; then\n"
    "        \"$vmctl\" validate -o name ${file:+--file=\"$file\"}\n"
    "    else \"$vmctl\" list -o name\n"
    "    fi 2>/dev/null\n"
    "}\n"
    "_vmctl_guest_files() {\n"
    "    timeout 3 \"$vmctl\" -q exec --ssh-opt BatchMode=yes \"$1\" -- \\\n"
    "        sh -c 'ls -1dp -- \"$1\"*' sh \"$2\" 2>/dev/null </dev/null\n"
    "}\n";

static void add_bash(struct buf *out)
{
    buf_add_str(out, "# bash completion of vmctl: source <(vmctl completion bash)\n");
    buf_add_str(out, shared_functions);
    buf_add_str(out,
        "_vmctl_offer() {\n"
        "    COMPREPLY+=($(compgen -W \"$1\" -- \"$current\"))\n"
        "    [[ ${COMPREPLY[*]} != *[=:/] ]] || compopt -o nospace 2>/dev/null\n"
        "}\n"
        "_vmctl_offer_vms() { _vmctl_offer \"$(_vmctl_names)\"; }\n"
        "_vmctl_offer_files() {\n"
        "    local IFS=$'\\n'\n"
        "    compopt -o filenames 2>/dev/null\n"
        "    COMPREPLY+=($(compgen -f -- \"$current\"))\n"
        "}\n"
        "_vmctl_offer_guest_files() {\n"
        "    local vm= kept= path\n"
        "    if [[ $current == : ]]; then vm=$previous current=\n"
        "    elif [[ $previous == : ]]; then vm=${COMP_WORDS[COMP_CWORD - 2]}\n"
        "    elif [[ $current == ?*:* ]]; then\n"
        "        vm=${current%%:*} kept=$vm: current=${current#*:}\n"
        "    fi\n"
        "    if [[ -z $vm ]]; then\n"
        "        _vmctl_offer \"$(_vmctl_names | sed 's/$/:/')\"\n"
        "        _vmctl_offer_files\n"
        "        return\n"
        "    fi\n"
        "    while IFS= read -r path; do\n"
        "        COMPREPLY+=(\"$kept$(printf %q \"$path\")\")\n"
        "    done < <(_vmctl_guest_files \"$vm\" \"${current//\\\\/}\")\n"
        "    [[ ${COMPREPLY[*]} != */ ]] || compopt -o nospace 2>/dev/null\n"
        "}\n"
        "_vmctl() {\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
        "    local vmctl=${COMP_WORDS[0]} command= verb= file= equals= i\n"
        "    local options= files= vms= others= choices= operands= listed=\n"
        "    COMPREPLY=()\n"
        "    if [[ $current == '=' ]]; then current= equals=\" $previous \"\n"
        "    elif [[ $previous == '=' ]]; then\n"
        "        previous=${COMP_WORDS[COMP_CWORD - 2]} equals=\" $previous \"\n"
        "    fi\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        case ${COMP_WORDS[i]} in\n"
        "        -f|--file) ((i++)); [[ ${COMP_WORDS[i]} != = ]] || ((i++)); file=${COMP_WORDS[i]} "
        ";;\n"
        "        -o|--output|--color|--data-dir) ((i++)) ;;\n"
        "        -*|=) ;;\n"
        "        *) if [[ -z $command ]]; then command=${COMP_WORDS[i]}\n"
        "           elif [[ -z $verb ]]; then verb=${COMP_WORDS[i]}\n"
        "           fi ;;\n"
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
        "# zsh completion of vmctl: source <(vmctl completion zsh), or as _vmctl in $fpath\n");
    buf_add_str(out, shared_functions);
    buf_add_str(out,
        "_vmctl_offer() {\n"
        "    if [[ $1 == *= ]]; then compadd -S '' -- ${=1}; else compadd -- ${=1}; fi\n"
        "}\n"
        "_vmctl_offer_vms() { compadd -- ${(f)\"$(_vmctl_names)\"}; }\n"
        "_vmctl_offer_files() { _files; }\n"
        "_vmctl_offer_guest_files() {\n"
        "    if [[ $current == ?*:* ]]; then\n"
        "        local vm=${current%%:*}\n"
        "        compset -P '*:'\n"
        "        compadd -S '' -- ${(f)\"$(_vmctl_guest_files \"$vm\" \"${current#*:}\")\"}\n"
        "    else\n"
        "        compadd -S : -- ${(f)\"$(_vmctl_names)\"}\n"
        "        _files\n"
        "    fi\n"
        "}\n"
        "_vmctl() {\n"
        "    local current=${words[CURRENT]} previous=${words[CURRENT-1]}\n"
        "    local vmctl=${words[1]} command= verb= file= equals= i\n"
        "    local options= files= vms= others= choices= operands= listed=\n"
        "    if [[ $current == *=* ]]; then\n"
        "        previous=${current%=*}; previous=${previous##*=}\n"
        "        current=${current##*=} equals=\" $previous \"\n"
        "        compset -P '*='\n"
        "    fi\n"
        "    for ((i = 2; i < CURRENT; i++)); do\n"
        "        case ${words[i]} in\n"
        "        -f|--file) ((i++)); file=${words[i]} ;;\n"
        "        --file=*) file=${words[i]#*=} ;;\n"
        "        -o|--output|--color|--data-dir) ((i++)) ;;\n"
        "        -*) ;;\n"
        "        *) if [[ -z $command ]]; then command=${words[i]}\n"
        "           elif [[ -z $verb ]]; then verb=${words[i]}\n"
        "           fi ;;\n"
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
            size_t verbs = is_of_verb(o, NULL) ? 0 : strcspn(o->help, ":");
            buf_printf(out, " -n '__fish_seen_subcommand_from %s", seen);
            buf_add_str(out, verbs > 0 ? "; and __fish_seen_subcommand_from " : "");
            for (size_t i = 0; i < verbs; i++) {
                buf_add_str(out, o->help[i] == ',' ? "" : (const char[]){o->help[i], '\0'});
            }
            buf_add_char(out, '\'');
        }
        buf_printf(out, " -l %s", o->name);
        if (o->letter) {
            buf_printf(out, " -s %c", o->letter);
        }
        if (o->value_name && o->kind != ARG_OPTIONAL) {
            buf_add_str(out, value_of(o) == VALUE_FILE ? " -r -F" : " -x");
        }
        if (o->value_name && strchr(o->value_name, '|')) {
            cleanup_buf struct buf choices = BUF_INIT(0);
            add_choices(&choices, o);
            bool takes_condition = text_ends_with(buf_str(&choices), "condition=");
            for (size_t i = 0; takes_condition && i < CONDITION_TYPE_COUNT_; i++) {
                buf_printf(&choices, ",condition=%s", condition_type_name((enum condition_type)i));
            }
            buf_printf(out, " -a '(string split , %s)'", buf_str(&choices));
        } else if (value_of(o) == VALUE_VM) {
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
    if (operands.has_vms || operands.has_guest_files) {
        buf_printf(out, "complete -c vmctl -n '__fish_seen_subcommand_from %s' -a '(__vmctl_%s)'\n",
            buf_str(&seen),
            operands.has_guest_files  ? "guest_files"
            : command->names_file_vms ? "new_vms"
                                      : "vms");
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
                     "function __vmctl_new_vms\n"
                     "    vmctl validate -o name 2>/dev/null\n"
                     "end\n"
                     "function __vmctl_guest_files\n"
                     "    set -l parts (string split -m1 : -- (commandline -ct))\n"
                     "    if test (count $parts) -lt 2\n"
                     "        vmctl list -o name 2>/dev/null | string replace -r '$' :\n"
                     "        return\n"
                     "    end\n"
                     "    timeout 3 vmctl -q exec --ssh-opt BatchMode=yes $parts[1] -- \\\n"
                     "        sh -c 'ls -1dp -- \"$1\"*' sh $parts[2] 2>/dev/null </dev/null |\n"
                     "        string replace -r '^' $parts[1]:\n"
                     "end\n"
                     "complete -c vmctl -f\n");
    add_fish_options(out, NULL, global_options);
    for (size_t i = 0; cli_commands[i]; i++) {
        add_fish_command(out, cli_commands[i]);
        buf_printf(out, "complete -c vmctl -n '__fish_seen_subcommand_from help' -a %s\n",
            cli_commands[i]->name);
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
