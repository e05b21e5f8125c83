#!/usr/bin/env bats
# SPDX-License-Identifier: MPL-2.0
# What is redrawn in a real terminal (tmux). tests/e2e/slow/tour.bats types the README's tour.
load cli_common

setup() {
    command -v tmux >/dev/null || skip "tmux is not installed"
    cli_setup
    export TMUX_TMPDIR=$work
}

teardown() {
    tmux kill-server 2>/dev/null || :
    cli_teardown
}

screen() { tmux capture-pane -p | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'; }
has_prompt() { [ "$(screen | tail -n 1)" = '$' ]; }

# terminal COLUMNS ROWS : a shell in it
terminal() {
    tmux -f /dev/null new-session -d -x "$1" -y "$2" "PS1='$ ' exec bash --norc --noprofile" 3>&-
    await has_prompt
}

# shows LINES MORE : a block of so many lines, each VM once, and nothing else
shows() {
    local frame
    frame=$(screen)
    [ "$(grep -c '^vm-.. ' <<<"$frame")" -eq "$1" ] && grep -qx "… and $2 more" <<<"$frame" &&
        [ "$(grep -o '^vm-..' <<<"$frame" | sort | uniq -d | wc -l)" -eq 0 ] &&
        [ "$(grep -vc '^vm-.. *[A-Z][A-Za-z]* *[0-9m]*s\( .*\)\?$' <<<"$frame")" -eq 1 ]
}

is_drawn_below() { screen | grep -q '^vm-10 ' && tmux capture-pane -p -S - | grep -q '^vmctl wait'; } # what fg prints

@test "more lines than a terminal has are counted; resized it is drawn again; Ctrl-C leaves one line" {
    script '{"bootMs": 3600000}'
    vmfile vm-{10..49}
    vmctl -q up -d >/dev/null
    terminal 100 30
    tmux send-keys -l "clear; vmctl wait --ready --file VMFile.kdl"
    tmux send-keys Enter
    await shows 28 12
    tmux resize-window -x 40 -y 12
    await shows 10 30
    tmux resize-window -x 120 -y 35
    await shows 33 7
    tmux send-keys C-z
    await has_prompt
    tmux send-keys "clear; fg" Enter
    await is_drawn_below
    tmux send-keys C-c
    await has_prompt
    run screen
    has "interrupted; 'vm-10' continues in the background: vmctl status vm-10"
    [ "$(grep -c '^vm-' <<<"$output")" -eq 0 ]
}
