#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# The README's tour, typed into a real terminal (tmux): what is seen is what the README shows, fits
# the terminal, and leaves nothing behind.
load ../qemu

setup_file() {
    command -v tmux >/dev/null || return 0
    [ -n "${VMCTL_TEST_GUEST:-}" ] ||
        VMCTL_TEST_GUEST=$("$BATS_TEST_DIRNAME/../../guest/build" | tail -n 1)
    use_data_dir
    unset NO_COLOR
    export TMUX_TMPDIR=$BATS_FILE_TMPDIR
    cp "$BATS_TEST_DIRNAME"/../../../examples/quickstart/{VMFile.kdl,motd} .
    mv guest.qcow2 demo-guest.qcow2
    echo 'vm "x" { imge "foo"; vcpus 2 }' >broken.kdl
}

setup() {
    command -v tmux >/dev/null || skip "tmux is not installed"
    cd "$PROJECT"
}

teardown() { tmux kill-server 2>/dev/null || :; }

teardown_file() {
    command -v tmux >/dev/null || return 0
    leave_data_dir
}

# terminal COLUMNS ROWS : a shell in it
terminal() {
    columns=$1
    tmux -f /dev/null new-session -d -x "$1" -y "$2" "cd '$PROJECT'; PS1='$ ' exec bash --norc --noprofile" 3>&-
    await has_prompt
}

screen() { tmux capture-pane -p "$@" | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'; }
has_prompt() { [ "$(screen | tail -n 1)" = '$' ]; }
frame_is_whole() { # no line of vmctl's goes on in the next row amid a word
    screen -J | awk -v n="$columns" '!/^\$ / && length($0) > n && substr($0, n, 2) ~ /^[^ ][^ ]$/ { print "cut: " $0; bad = 1 }
        END { exit bad }'
}

# type_in COMMAND : and looks at the screen until the prompt is back; leaves what it printed in $output
type_in() {
    local deadline=$((SECONDS + 400))
    tmux clear-history \; send-keys -R -l "clear; $1"
    tmux send-keys Enter
    await has_begun
    until has_prompt; do
        frame_is_whole
        ((SECONDS < deadline)) || { echo "never ends: $1"; screen; return 1; }
        read -rt 0.1 <> <(:) || :
    done
    frame_is_whole
    output=$(screen -S - -J | sed '$d')
}
has_begun() { [ "$(screen | head -n 1)" != '$' ] || has_prompt; }

# What differs from host to host and from run to run.
alike() {
    sed -E -e "s#($PROJECT|/home/you/vmctl/examples/quickstart)#DIR#g" -e 's/ +$//' -e 's/ {2,}/ /g' \
        -e 's/[0-9]+\.[0-9] s$/T s/' -e 's/\b10[0-9]{3}\b/PORT/g' -e 's/(user) [0-9]+/\1 PID/' -e 's/^Linux .*/Linux KERNEL/' -e 's/(Ready) [0-9]+[smh]$/\1 AGE/'
}

# The tour's commands, "$ " in front, and what each prints.
tour() { sed -n '/^```console$/,/^```$/{/^```/d;/^$/d;s/ +#.*//;p}' "$BATS_TEST_DIRNAME/../../../README.md" | sed -E 's/^(\$ .*[^ ]) +# .*/\1/'; }

@test "the README's tour is what a terminal of 80x24 shows" {
    terminal 80 24
    local line command='' expected=''
    while IFS= read -r line; do
        if [[ $line != '$ '* ]]; then
            expected+=$line$'\n'
            continue
        fi
        [ -z "$command" ] || try_command
        command=${line#'$ '} expected=
    done < <(tour; echo '$ true')
}

try_command() {
    if [[ $command =~ ^kill ]]; then
        command="kill -9 $(pid_of demo)"
    fi
    type_in "$command"
    diff <(printf '%s' "$expected" | alike) <(printf '%s\n' "$output" | alike | sed '/^$/d') ||
        { echo "of: $command"; return 1; }
}
