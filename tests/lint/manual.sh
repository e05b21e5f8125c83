#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The manual pages have no mistakes (mandoc) and are complete: each command and option that --help
# prints, each error code, environment variable and file name of the sources, each VMFile node.
# VMCTL_BIN: where vmctl is [default: bin beside the directory ctest runs this in, build/bin].
set -u
started_in=$PWD
cd "${1:-.}" || exit 2
failed=0
complain() {
    echo "$1"
    failed=1
}

vmctl_1=cli/man/vmctl.1
vmctld_8=controller/man/vmctld.8
vmfile_5=specs/man/VMFile.kdl.5
serve_1=cli/man/vmctl-serve.1
pages="$vmctl_1 $serve_1 $vmctld_8 $vmfile_5"

for page in $pages; do
    [ -r "$page" ] || { echo "$page is missing"; exit 1; }
done
command -v mandoc >/dev/null || { echo "skipped: no mandoc (package mandoc)"; exit 0; }

# What is left out depends on the machine: whether other pages are installed.
mistakes=$(mandoc -T lint $pages 2>&1 | grep -vE 'referenced manual not found|mandoc\.db lacks')
[ -z "$mistakes" ] || complain "$mistakes"

version=$(sed -nE 's/^project\(vmctl VERSION ([0-9.]+) .*/\1/p' CMakeLists.txt)
grep -Eq "^## ${version//./\\.} " CHANGELOG.md || complain "CHANGELOG.md: nothing on version '$version' of CMakeLists.txt"

# Words are looked for in the text that a reader sees, one line a paragraph: nothing is broken.
text_of() { mandoc -T utf8 -O width=900 "$1" | LC_ALL=C.UTF-8 sed "s/.\x08//g"; }
main=$(text_of $vmctl_1)
both=$(text_of $vmctl_1; text_of $serve_1; text_of $vmctld_8)
vmfile=$(text_of $vmfile_5)

# words_of ARRAY TEXT: its words become the array's keys, also without the full stop or colon behind.
# Each text is split once: a grep for each of a thousand words took minutes.
words_of() {
    local -n into=$1
    local word
    while read -r word; do
        into[$word]=1
    done < <(grep -oE '[a-zA-Z0-9_:.-]+' <<<"$2" | sed -E 'p; s/[.:]+$//' | grep . | sort -u)
}
declare -A in_main in_both in_vmfile
words_of in_main "$main"
words_of in_both "$both"
words_of in_vmfile "$vmfile"

# ---- the sources ----

for code in $(sed -nE 's/^ *\[ERR_[A-Z_]+\] = \{"(vmctl::[a-z_:]+)".*/\1/p' specs/base/error.c); do
    case $code in vmctl::ok | vmctl::differs) continue ;; esac # never printed
    [ -n "${in_main[$code]:-}" ] || complain "$vmctl_1: no error $code"
done
for name in $(grep -rhoE 'getenv\("[A-Z_]+"\)' --include='*.c' specs store controller reconcilers cli |
    cut -d'"' -f2 | sort -u); do
    case $name in HOME | PATH | TERM) continue ;; esac
    [ -n "${in_both[$name]:-}" ] || complain "$vmctl_1, $vmctld_8: no variable $name"
done
for name in $(sed -nE 's|^ *\[VM_[A-Z_]+\] = "/([^"]+)",|\1|p' specs/base/paths.c); do
    case $name in ssh_host_ed25519_key.pub) continue ;; esac
    grep -Fq "$name" <<<"$both" || complain "$vmctl_1, $vmctld_8: no file $name"
done
for word in $(sed -nE 's/^\| (— )?`([a-z0-9-]+).*/\2/p' specs/VMFILE.md | sort -u); do
    [ -n "${in_vmfile[$word]:-}" ] || complain "$vmfile_5: no $word, which specs/VMFILE.md has"
done

# Each state word: those of vm_display.c's rules, by their word there or else the reason's own.
display=specs/vm/vm_display.c
for reason in $(tr -d '\n' <$display | grep -oE 'REASON_[A-Z_]+, *(ALWAYS|WHILE_RUNNING|BEFORE_START)' |
    cut -d, -f1 | sort -u) REASON_PENDING; do
    word=$(sed -nE "s/^ *\{$reason, \"([A-Za-z]+)\".*/\1/p" $display)
    [ -n "$word" ] || word=$(tr -d '\n' <specs/vm/condition.c | sed -nE "s/.*\[$reason\] = \"([A-Za-z]+)\".*/\1/p")
    [ -n "$word" ] || complain "$display: no word for $reason"
    grep -Fxq ".It Li $word" $vmctl_1 || complain "$vmctl_1, MACHINE STATES: no $word"
done
for word in $(sed -nE '/^const char \*vm_row_state/,/^}/s/.*"([A-Z][a-z]+)".*/\1/p' cli/show/vm_rows.c); do
    grep -Fxq ".It Li $word" $vmctl_1 || complain "$vmctl_1, MACHINE STATES: no $word"
done

# ---- at 80 columns, by the other formatter ----

if command -v groff >/dev/null; then
    for page in $pages; do
        warned=$(groff -Kutf8 -mdoc -Tutf8 -rLL=80n -ww "$page" 2>&1 >/dev/null)
        [ -z "$warned" ] || complain "$page: groff: $warned"
        wide=$(groff -Kutf8 -mdoc -Tascii -P-cbou -rLL=80n "$page" 2>/dev/null |
            awk 'length($0) > 80 || /^ {60,}[^ ]+$/')
        [ -z "$wide" ] || complain "$page: does not read at 80 columns: $wide"
    done
else
    echo "not formatted at 80 columns: no groff"
fi

# ---- the program ----

for directory in "${VMCTL_BIN:-}" "$started_in/../bin" build/bin; do
    [ ! -x "$directory/vmctl" ] || break
done
vmctl=$directory/vmctl
if [ ! -x "$vmctl" ]; then
    echo "not compared with --help: vmctl is not built, or set VMCTL_BIN"
    exit $failed
fi

# "  -f, --file PATH   text" -> "-f --file"
options_of() { sed -nE 's/^ +(-[a-z], )?(--[a-z0-9-]+).*/\1\2/p; s/^ +(-[a-z]) .*/\1/p' | tr -d ','; }

# A command's part of the page: from its heading to the next.
part_of() { awk -v name="$1" '/^   [^ ]/ || /^[A-Z]/ { is_on = ($1 == name && /^   /) } is_on' <<<"$main"; }

# Both have the sentences of cli/commands/explain.c, and that has one for each error.
explained=$("$vmctl" explain)
for code in $(sed -nE 's/^ *\[ERR_[A-Z_]+\] = \{"(vmctl::[a-z_:]+)".*/\1/p' specs/base/error.c); do
    case $code in vmctl::ok | vmctl::differs) continue ;; esac # never printed
    meaning=$(grep -Fx -A1 "$code" <<<"$explained" | sed -n '2s/^ *//p')
    [ -n "$meaning" ] || complain "cli/commands/explain.c: nothing on $code"
    grep -Fq -- "$meaning" <<<"$main" || complain "$vmctl_1: $code: not '$meaning'"
done

general=$("$vmctl" --help)
for option in $(options_of <<<"$general"); do
    [ -n "${in_main[$option]:-}" ] || complain "$vmctl_1: no option $option"
done

serve_text=$(text_of $serve_1)
for option in $(sed -n '/^Options:/,/^$/p' <<<"$("$vmctl" serve --help)" | options_of); do
    grep -Fq -- "$option" <<<"$serve_text" || complain "$serve_1: no option $option"
done

n_commands=0
n_options=0
known=$(sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' <<<"$general")
declare -A help_of
for command in $known; do
    part=$(part_of "$command")
    declare -A in_part=()
    words_of in_part "$part"
    n_commands=$((n_commands + 1))
    [ -n "$part" ] || { complain "$vmctl_1: no command $command"; continue; }
    help_of[$command]=$("$vmctl" "$command" --help)
    while read -r short long; do
        n_options=$((n_options + 1))
        [ -n "$long" ] || { long=$short; short=$long; }
        [ -n "${in_part[$long]:-}${in_part[$short]:-}" ] ||
            complain "$vmctl_1: $command: no option $long"
        [ -n "${in_main[$long]:-}" ] || complain "$vmctl_1: no option $long"
    done < <(options_of <<<"${help_of[$command]}")
    for alias in $(sed -n 's/^Alias: //p' <<<"${help_of[$command]}"); do
        [ -n "${in_part[$alias]:-}" ] || complain "$vmctl_1: $command: no alias $alias"
    done
done
[ "$n_commands" -gt 10 ] || complain "vmctl --help names only $n_commands commands"

# The other way round: headings and options that are no longer there.
for heading in $(sed -nE 's/^\.Ss ([a-z-]+)$/\1/p' $vmctl_1); do
    if ! grep -Fxq "$heading" <<<"$known"; then
        # an older vmctl than the sources does not know it yet
        [ -e "cli/commands/${heading//-/_}.c" ] || complain "$vmctl_1: $heading is not a command"
        continue
    fi
    for option in $(part_of "$heading" | grep -oE -- '(^|[^a-zA-Z-])--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' | sort -u); do
        grep -Eq -- "$option( |\[|\$)" <<<"${help_of[$heading]}"$'\n'"$general" ||
            complain "$vmctl_1: $heading has no option $option"
    done
done
echo "manual: $n_commands commands, $n_options options"
exit $failed
