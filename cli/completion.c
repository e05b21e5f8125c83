/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/completion.h"

#include <ctype.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/completion_takes.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/condition.h"

static const char formats[] = "text table wide name json yaml";
static const char colors[] = "auto always never";

/* ---- options ---- */

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

/* Appends " --name -x" for each option in the help that is of the verb; NULL: of no verb. */
static void add_options(struct buf *out, const struct arg_option *options, const char *verb)
{
    for (const struct arg_option *o = options; o && o->name; o++) {
        if (o->help && is_of_verb(o, verb)) {
            buf_printf(out, " --%s", o->name);
            if (o->letter) {
                buf_printf(out, " -%c", o->letter);
            }
        }
    }
}

/* "stop|destroy", and not "PATH|NAME" */
static bool has_choices(const struct arg_option *option)
{
    const char *words = option->value_name;
    return words && strchr(words, '|') && !isupper((unsigned char)words[0]);
}

/* Appends "stop,destroy" of an option's value "stop|destroy": all but what stands for a value. */
static void add_choices(struct buf *out, const struct arg_option *option)
{
    for (const char *p = option->value_name; *p;) {
        size_t n = strcspn(p, "|"), shown = 0;
        while (shown < n && !isupper((unsigned char)p[shown])) {
            shown++;
        }
        buf_printf(out, "%.*s%s", (int)shown, p, p[n] ? "," : "");
        p += n + (p[n] == '|');
    }
}

/* ---- bash, and zsh, which differ in how an answer is given ---- */

/* Appends " --file=files -f=files" for each option whose value is the next word. */
static void add_values(
    struct buf *out, const struct command *command, const struct arg_option *options)
{
    for (const struct arg_option *o = options; o && o->name; o++) {
        const char *kinds = completion_value(command, o);
        if (kinds) {
            buf_printf(out, " --%s=%s", o->name, kinds);
            if (o->letter) {
                buf_printf(out, " -%c=%s", o->letter, kinds);
            }
        }
    }
}

/* " restore:2=snapshots", and " :+=vms" for all words from there on. */
static void add_word(void *context, const struct completion_word *word)
{
    struct buf *out = context;
    buf_printf(out, " %.*s:%u=%s", (int)word->n_verb, word->verb, word->place, word->kinds);
    if (word->repeats) {
        buf_printf(out, " %.*s:+=%s", (int)word->n_verb, word->verb, word->kinds);
    }
}

static void add_all_choices(struct buf *out, const struct command *command)
{
    buf_add_str(out, "        choices='");
    for (const struct arg_option *o = command->options; o && o->name; o++) {
        if (has_choices(o)) {
            buf_printf(out, " --%s=", o->name);
            add_choices(out, o);
        }
    }
    buf_add_str(out, " '\n");
}

/* " pull=--name,--sha256 prune=--dry-run" */
static void add_verbs(struct buf *out, const struct command *command, const char *verbs)
{
    for (const char *p = verbs; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        cleanup_free char *verb = mem_strndup(p, n);
        cleanup_buf struct buf options = BUF_INIT(0);
        add_options(&options, command->options, verb);
        for (size_t i = 0; i < options.len; i++) {
            options.data[i] = (char)(options.data[i] == ' ' ? ',' : options.data[i]);
        }
        buf_printf(out, " %s=%s", verb, buf_str(&options));
        p += n;
    }
}

/* One arm of the case over commands: it sets what the rest of the function works with. */
static void add_arm(struct buf *out, const struct command *command)
{
    cleanup_buf struct buf listed = BUF_INIT(0);
    buf_printf(out, "    %s", command->name);
    for (const char *p = command->aliases; p && *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        buf_printf(out, "|%.*s", (int)n, p);
        p += n;
    }
    buf_add_str(out, ")\n        options='");
    add_options(out, command->options, NULL);
    add_options(out, global_options, NULL);
    buf_add_str(out, " '\n        takes='");
    completion_words(command, &listed, add_word, out);
    add_values(out, command, command->options);
    add_values(out, NULL, global_options);
    buf_add_str(out, " '\n");
    add_all_choices(out, command);
    buf_printf(out, "        listed='%s'\n        verbs='", buf_str(&listed));
    add_verbs(out, command, buf_str(&listed));
    buf_add_str(out, " '\n        ;;\n");
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
    add_options(out, global_options, NULL);
    buf_add_str(out, " --version '\n        takes='");
    add_values(out, NULL, global_options);
    buf_add_str(out, " '\n        ;;\n");
    for (size_t i = 0; cli_commands[i]; i++) {
        add_arm(out, cli_commands[i]);
    }
    buf_add_str(out, "    esac\n");
}

/* Where the cursor is: `place` counts the words behind the command, `last` is the one before. */
static const char counting[] =
    "        if [[ $word == = || $before == = || $takes == *\" $before=\"* ]]; then :\n"
    "        elif [[ $word == -* ]]; then :\n"
    "        else\n"
    "            ((place += 1)); last=$word\n"
    "            [[ $place != 1 ]] || verb=$word\n"
    "        fi\n"
    "        before=$word\n"
    "    done\n"
    "    [[ -n $listed ]] || verb=\n"
    "    if [[ $verbs == *\" $verb=\"* ]]; then\n"
    "        verbs=${verbs#*\" $verb=\"}; verbs=${verbs%% *}; options+=\" ${verbs//,/ } \"\n"
    "    fi\n";

/* Which of the answers is wanted where the cursor is. */
static void add_choice(struct buf *out)
{
    buf_printf(out,
        "    case $previous in\n"
        "    -o|--output)\n        _vmctl_offer '%s' ;;\n"
        "    --color)\n        _vmctl_offer '%s' ;;\n",
        formats, colors);
    buf_add_str(out, "    *)\n        choices+=' condition=");
    for (size_t i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        buf_printf(out, "%s%s", i ? "," : "", condition_type_name((enum condition_type)i));
    }
    buf_add_str(out,
        " '\n"
        "        if [[ $choices == *\" $previous=\"* && ( $takes == *\" $previous=\"* || "
        "$equals == \" $previous \" ) ]]; then\n"
        "            choices=${choices#*\" $previous=\"}; choices=${choices%% *}\n"
        "            _vmctl_offer \"${choices//,/ }\"\n"
        "        elif [[ $takes == *\" $previous=\"* ]]; then _vmctl_kinds \"$previous\"\n"
        "        elif [[ $current == -* ]]; then _vmctl_offer \"$options\"\n"
        "        elif [[ -n $listed && -z $verb ]]; then _vmctl_offer \"$listed\"\n"
        "        else _vmctl_kinds \"$verb:$place\" || _vmctl_kinds \"$verb:+\"\n"
        "        fi ;;\n"
        "    esac\n");
}

/* What zsh and bash share: `vmctl` is the program as it was typed. */
static const char shared_functions[] =
    "_vmctl_names() {\n"
    "    if [[ $1 == new ]]; then\n"
    "        \"$vmctl\" validate -o name ${file:+--file=\"$file\"}\n"
    "    else \"$vmctl\" list -o name\n"
    "    fi 2>/dev/null\n"
    "}\n"
    "_vmctl_guest_files() {\n"
    "    timeout 3 \"$vmctl\" -q exec --ssh-opt BatchMode=yes \"$1\" -- \\\n"
    "        sh -c 'ls -1dp -- \"$1\"*' sh \"$2\" 2>/dev/null </dev/null\n"
    "}\n"
    "_vmctl_list() { \"$vmctl\" \"$@\" -o name 2>/dev/null; }\n"
    "_vmctl_kinds() {\n"
    "    [[ $takes == *\" $1=\"* ]] || return 1\n"
    "    local kind kinds=${takes#*\" $1=\"}\n"
    "    kinds=${kinds%% *},\n"
    "    while [[ -n $kinds ]]; do\n"
    "        kind=${kinds%%,*} kinds=${kinds#*,}\n"
    "        case $kind in\n"
    "        files) _vmctl_offer_files ;;\n"
    "        guest) _vmctl_offer_guest_files ;;\n"
    "        vms|new) _vmctl_offer_lines \"$(_vmctl_names $kind)\" ;;\n"
    "        catalogue) _vmctl_offer_lines \"$(_vmctl_list image search)\" ;;\n"
    "        codes)\n"
    "            if [[ -z $current || $current == v* ]]; then\n"
    "                _vmctl_offer_lines \"$(_vmctl_list explain)\"\n"
    "            else _vmctl_offer_lines \"$(_vmctl_list explain | sed 's/.*:://')\"\n"
    "            fi ;;\n"
    "        images) _vmctl_offer_lines \"$(_vmctl_list image list)\" ;;\n"
    "        nodes) _vmctl_offer_lines \"$(_vmctl_list node list)\" ;;\n"
    "        quarantined) _vmctl_offer_lines \"$(_vmctl_list quarantine list)\" ;;\n"
    "        snapshots) _vmctl_offer_lines \"$(_vmctl_list snapshot list \"$last\")\" ;;\n"
    "        starters) _vmctl_offer_lines \"$(_vmctl_list init --list)\" ;;\n"
    "        templates) _vmctl_offer_lines \"$(_vmctl_list template list)\" ;;\n"
    "        volumes) _vmctl_offer_lines \"$(_vmctl_list volume list)\" ;;\n"
    "        esac\n"
    "    done\n"
    "    return 0\n"
    "}\n";

/* bash takes `=` and `:` for words of their own: a word with a colon is put together again, and
 * `kept` is what stands before the part that bash replaces. */
static const char bash_functions[] =
    "_vmctl_offer() {\n"
    "    local word\n"
    "    for word in $(compgen -W \"$1\" -- \"$current\"); do COMPREPLY+=(\"${word#\"$kept\"}\"); "
    "done\n"
    "    [[ ${COMPREPLY[*]} != *[=:/] ]] || compopt -o nospace 2>/dev/null\n"
    "}\n"
    "_vmctl_offer_lines() { _vmctl_offer \"$1\"; }\n"
    "_vmctl_offer_files() {\n"
    "    local IFS=$'\\n'\n"
    "    [[ -z $kept ]] || return\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    COMPREPLY+=($(compgen -f -- \"$current\"))\n"
    "}\n"
    "_vmctl_offer_guest_files() {\n"
    "    local vm path\n"
    "    if [[ $current != ?*:* ]]; then\n"
    "        _vmctl_offer \"$(_vmctl_names | sed 's/$/:/')\"\n"
    "        _vmctl_offer_files\n"
    "        return\n"
    "    fi\n"
    "    vm=${current%%:*} path=${current#*:}\n"
    "    [[ -n $kept ]] || vm=$vm: # of a shell that keeps it one word\n"
    "    while IFS= read -r path; do\n"
    "        COMPREPLY+=(\"${vm#\"${kept%:}\"}$(printf %q \"$path\")\")\n"
    "    done < <(_vmctl_guest_files \"${vm%:}\" \"${path//\\\\/}\")\n"
    "    [[ ${COMPREPLY[*]} != */ ]] || compopt -o nospace 2>/dev/null\n"
    "}\n";

static void add_bash(struct buf *out)
{
    buf_add_str(out, "# bash completion of vmctl: source <(vmctl completion bash)\n");
    buf_add_str(out, shared_functions);
    buf_add_str(out, bash_functions);
    buf_add_str(out,
        "_vmctl() {\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
        "    local vmctl=${COMP_WORDS[0]} command= verb= file= equals= kept= i\n"
        "    local options= takes= choices= listed= verbs= word before= last= place=-1 "
        "end=$COMP_CWORD\n"
        "    COMPREPLY=()\n"
        "    local typed=${COMP_LINE:0:COMP_POINT}\n"
        "    typed=${typed##*[[:space:]]}\n"
        "    if [[ $typed == *::* ]]; then\n"
        "        while ((end > 1)) && [[ $current != \"$typed\" ]]; do\n"
        "            end=$((end - 1)) current=${COMP_WORDS[end]}$current\n"
        "        done\n"
        "        kept=${typed%\"${typed##*:}\"}\n"
        "    elif [[ $current == '=' ]]; then current= equals=\" $previous \"\n"
        "    elif [[ $current == : ]]; then kept=$previous: current=$previous: end=$((end - 1))\n"
        "    elif [[ $previous == : ]]; then\n"
        "        kept=${COMP_WORDS[end - 2]}: current=${COMP_WORDS[end - 2]}:$current end=$((end - "
        "2))\n"
        "    fi\n"
        "    [[ -z $kept ]] || previous=${COMP_WORDS[end - 1]}\n"
        "    if [[ $previous == '=' ]]; then\n"
        "        previous=${COMP_WORDS[end - 2]} equals=\" $previous \"\n"
        "    fi\n"
        "    for ((i = 1; i < end; i++)); do\n"
        "        case ${COMP_WORDS[i]} in\n"
        "        -f|--file) ((i++)); [[ ${COMP_WORDS[i]} != = ]] || ((i++)); file=${COMP_WORDS[i]} "
        ";;\n"
        "        -o|--output|--color|--data-dir|--node) ((i++)) ;;\n"
        "        -*|=) ;;\n"
        "        *) [[ -n $command ]] || command=${COMP_WORDS[i]} ;;\n"
        "        esac\n"
        "    done\n");
    add_arms(out);
    buf_add_str(out, "    for word in \"${COMP_WORDS[@]:1:end - 1}\"; do\n");
    buf_add_str(out, counting);
    add_choice(out);
    buf_add_str(out, "}\ncomplete -F _vmctl vmctl\n");
}

static const char zsh_functions[] =
    "_vmctl_offer() {\n"
    "    if [[ $1 == *= ]]; then compadd -S '' -- ${=1}; else compadd -- ${=1}; fi\n"
    "}\n"
    "_vmctl_offer_lines() { compadd -- ${(f)1}; }\n"
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
    "}\n";

static void add_zsh(struct buf *out)
{
    buf_add_str(out,
        "#compdef vmctl\n"
        "# zsh completion of vmctl: source <(vmctl completion zsh), or as _vmctl in $fpath\n");
    buf_add_str(out, shared_functions);
    buf_add_str(out, zsh_functions);
    buf_add_str(out,
        "_vmctl() {\n"
        "    local current=${words[CURRENT]} previous=${words[CURRENT-1]}\n"
        "    local vmctl=${words[1]} command= verb= file= equals= i\n"
        "    local options= takes= choices= listed= verbs= word before= last= place=-1\n"
        "    if [[ $current == *=* ]]; then\n"
        "        previous=${current%=*}; previous=${previous##*=}\n"
        "        current=${current##*=} equals=\" $previous \"\n"
        "        compset -P '*='\n"
        "    fi\n"
        "    for ((i = 2; i < CURRENT; i++)); do\n"
        "        case ${words[i]} in\n"
        "        -f|--file) ((i++)); file=${words[i]} ;;\n"
        "        --file=*) file=${words[i]#*=} ;;\n"
        "        -o|--output|--color|--data-dir|--node) ((i++)) ;;\n"
        "        -*) ;;\n"
        "        *) if [[ -z $command ]]; then command=${words[i]}\n"
        "           elif [[ -z $verb ]]; then verb=${words[i]}\n"
        "           fi ;;\n"
        "        esac\n"
        "    done\n");
    add_arms(out);
    buf_add_str(out, "    for word in \"${(@)words[2,CURRENT-1]}\"; do\n");
    buf_add_str(out, counting);
    add_choice(out);
    buf_add_str(out, "}\n"
                     "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _vmctl \"$@\"\n"
                     "else compdef _vmctl vmctl\n"
                     "fi\n");
}

/* ---- fish ---- */

/* `seen`: which command the option is of, NULL: of all. */
static void add_fish_options(struct buf *out, const struct command *command, const char *seen,
    const struct arg_option *options)
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
        const char *kinds = completion_value(command, o);
        if (kinds) {
            buf_add_str(out, text_starts_with(kinds, "files") ? " -r -F" : " -x");
        }
        if (has_choices(o)) {
            cleanup_buf struct buf choices = BUF_INIT(0);
            add_choices(&choices, o);
            bool takes_condition = text_ends_with(buf_str(&choices), "condition=");
            for (size_t i = 0; takes_condition && i < CONDITION_TYPE_COUNT_; i++) {
                buf_printf(&choices, ",condition=%s", condition_type_name((enum condition_type)i));
            }
            buf_printf(out, " -a '(string split , %s)'", buf_str(&choices));
        } else if (kinds && kinds[0] && !text_eq(kinds, "files")) {
            buf_printf(out, " -a '(__vmctl_list %s)'", kinds);
        } else if (text_eq(o->name, "output") || text_eq(o->name, "color")) {
            buf_printf(out, " -a '%s'", o->name[0] == 'o' ? formats : colors);
        }
        buf_add_str(out, " -d ");
        text_add_shell_word(out, o->help);
        buf_add_char(out, '\n');
    }
}

struct fish_words {
    struct buf *out;
    const char *seen; /* the command and its aliases */
};

static void add_fish_word(void *context, const struct completion_word *word)
{
    const struct fish_words *words = context;
    const char *more = word->repeats ? " or more" : "";
    buf_printf(words->out, "complete -c vmctl -n '__vmctl_at \"%s\" \"%.*s\" %u%s'%s", words->seen,
        (int)word->n_verb, word->verb, word->place, more,
        text_starts_with(word->kinds, "files") ? " -F" : "");
    if (!text_eq(word->kinds, "files")) {
        buf_printf(words->out, " -a '(__vmctl_list %s)'", word->kinds);
    }
    buf_add_char(words->out, '\n');
}

static void add_fish_command(struct buf *out, const struct command *command)
{
    cleanup_buf struct buf seen = BUF_INIT(0), listed = BUF_INIT(0);
    buf_printf(out, "complete -c vmctl -n __fish_use_subcommand -a %s -d ", command->name);
    text_add_shell_word(out, command->summary);
    buf_add_char(out, '\n');
    buf_printf(&seen, "%s%s%s", command->name, command->aliases ? " " : "",
        command->aliases ? command->aliases : "");
    add_fish_options(out, command, buf_str(&seen), command->options);
    struct fish_words words = {out, buf_str(&seen)};
    completion_words(command, &listed, add_fish_word, &words);
    if (listed.len > 0) {
        buf_printf(out, "complete -c vmctl -n '__vmctl_at \"%s\" \"\" 0' -a '%s'\n", buf_str(&seen),
            buf_str(&listed));
    }
}

static const char fish_functions[] =
    "function __vmctl_words # behind vmctl, without options and their values\n"
    "    set -l before\n"
    "    for word in (commandline -opc)[2..]\n"
    "        if not string match -q -- '-*' $word\n"
    "            and not contains -- $before -f --file --name --node -o --output --color "
    "--data-dir\n"
    "            echo $word\n"
    "        end\n"
    "        set before $word\n"
    "    end\n"
    "end\n"
    "function __vmctl_at # COMMANDS VERB PLACE [or more]\n"
    "    set -l words (__vmctl_words)\n"
    "    contains -- \"$words[1]\" (string split ' ' $argv[1]); or return 1\n"
    "    test -z \"$argv[2]\" -o \"$words[2]\" = \"$argv[2]\"; or return 1\n"
    "    set -l place (math (count $words) - 1)\n"
    "    test $place -eq $argv[3]; or test $place -gt $argv[3] -a (count $argv) -gt 3\n"
    "end\n"
    "function __vmctl_list # KINDS\n"
    "    for kind in (string split , $argv[1])\n"
    "        switch $kind\n"
    "            case vms; vmctl list -o name\n"
    "            case new; vmctl validate -o name\n"
    "            case guest; __vmctl_guest_files\n"
    "            case catalogue; vmctl image search -o name\n"
    "            case codes\n"
    "                if string match -qr '^(v.*)?$' -- (commandline -ct)\n"
    "                    vmctl explain -o name\n"
    "                else; vmctl explain -o name | string replace -r '.*::' ''\n"
    "                end\n"
    "            case images; vmctl image list -o name\n"
    "            case nodes; vmctl node list -o name\n"
    "            case quarantined; vmctl quarantine list -o name\n"
    "            case snapshots; vmctl snapshot list (__vmctl_words)[-1] -o name\n"
    "            case starters; vmctl init --list -o name\n"
    "            case templates; vmctl template list -o name\n"
    "            case volumes; vmctl volume list -o name\n"
    "        end 2>/dev/null\n"
    "    end\n"
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
    "end\n";

static void add_fish(struct buf *out)
{
    buf_add_str(out, "# fish completion of vmctl: vmctl completion fish | source\n");
    buf_add_str(out, fish_functions);
    buf_add_str(out, "complete -c vmctl -f\n");
    add_fish_options(out, NULL, NULL, global_options);
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
