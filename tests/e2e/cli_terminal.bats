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
    has "interrupted; 'vm-10' and 39 more continue in the background: vmctl list"
    [ "$(grep -c '^vm-' <<<"$output")" -eq 0 ]
}

shows_line() { screen | grep -Fxq -- "$1"; }
ends_with() { screen | tail -n 2 | head -n 1 | grep -Fxq -- "$1"; } # and a prompt follows

@test "on a terminal a disk is erased only after a yes, which Ctrl-C and the end of the input are not" {
    local no='error[vmctl::cancelled]: nothing was changed'
    local kept='What is on it is kept as a snapshot for 24 hours. Replace it? [y/N]'
    local command answer question does
    printf 'vm "web" { backend "noop"; image "%s"; disk 20; }\n' "$work/image" >VMFile.kdl
    vmctl -q up >/dev/null
    mkdir -p "$data/vms/web"
    dd if=/dev/urandom of="$data/vms/web/overlay.qcow2" bs=1M count=3 status=none
    terminal 80 24
    for command in 'destroy web' 'rm --all' 'down --destroy' 'reload --no-keep' reload; do
        question='What is on it cannot be restored. Erase it? [y/N]' does=erases
        if [ "$command" = reload ]; then
            question=$kept does=replaces
        fi
        for answer in n '' C-c C-d yo; do
            [[ $command == destroy* || $answer == C-c ]] || continue
            tmux send-keys "clear; vmctl $command; echo =\$?" Enter
            await shows_line "$question"
            shows_line "This $does the disk of 1 VM:"
            shows_line '  web   20 GB, 3 MB written   Ready'
            case $answer in
            C-?) tmux send-keys "$answer" ;;
            *) tmux send-keys "$answer" Enter ;;
            esac
            await ends_with =1
            shows_line "$no"
        done
    done
    [ "$(vmctl list -o name)" = web ]
    [ -s "$data/vms/web/overlay.qcow2" ]
    tmux send-keys "clear; vmctl reload; echo =\$?" Enter
    await shows_line "$kept"
    tmux send-keys yes Enter
    await ends_with =0
    shows_line 'web: recreating'
    shows_line 'web: its old disk is kept for 24 hours; to restore it:'
    tmux send-keys "clear; vmctl down -d; vmctl down --destroy -y; echo =\$?" Enter
    await ends_with =0
    tmux send-keys "clear; vmctl destroy --all; vmctl down --destroy; echo =\$?" Enter
    await ends_with =0 # nothing to ask about
}

@test "on a terminal a VM that came only after the question is not erased by the answer" {
    vmfile web db
    vmctl -q up web >/dev/null
    terminal 80 24
    tmux send-keys "clear; vmctl destroy --all; echo =\$?" Enter
    await shows_line 'What is on it cannot be restored. Erase it? [y/N]'
    vmctl -q destroy web -y
    vmctl -q up web >/dev/null
    tmux send-keys y Enter
    await ends_with =6
    run screen
    has "error[vmctl::vm::conflict]: vm 'web' was created after you were asked"
    [ "$(vmctl list -o name)" = web ]
}

@test "on a terminal the events behind an error break between words" {
    printf 'vm "web" { image-url "http://127.0.0.1:9/a-long-name-of-an-image.qcow2"; }\n' >VMFile.kdl
    terminal 60 24
    tmux send-keys "clear; vmctl up; echo =\$?" Enter
    await ends_with =1
    run screen
    has "  last events of 'web':"
    grep -Eq '^        [a-zA-Z0-9]' <<<"$output"
    says " port 9 after " "Couldn't connect to server"
}

@test "on a terminal up asks once, about all that it would erase, and not in a dry run" {
    local i
    vmfile web db
    vmctl -q up >/dev/null
    : >"$work/other"
    printf 'vm "web" { backend "noop"; image "%s"; }\n' "$work/other" >VMFile.kdl
    terminal 80 24
    tmux send-keys "clear; vmctl up --recreate --prune --dry-run; echo =\$?" Enter
    await ends_with =0
    tmux send-keys "clear; vmctl up --prune=stop -d; echo =\$?" Enter
    await ends_with =0
    tmux send-keys "clear; vmctl up --recreate --prune; echo =\$?" Enter
    await shows_line 'What is on them cannot be restored. Erase them? [y/N]'
    shows_line 'This erases the disks of 2 VMs:'
    screen | grep -q '^  web '
    screen | grep -q '^  db '
    tmux send-keys n Enter
    await ends_with =1
    [ "$(vmctl list -o name)" = $'db\nweb' ]
    tmux send-keys "clear; vmctl up --recreate --prune -y; echo =\$?" Enter
    await ends_with =0
    await vmctl wait db --deleted
    for i in {10..39}; do printf 'vm "vm-%s" { backend "noop"; image "%s"; }\n' "$i" "$work/image"; done >VMFile.kdl
    vmctl -q apply -d >/dev/null
    tmux send-keys "clear; vmctl destroy --all; echo =\$?" Enter
    await shows_line '  … and 11 more'
    tmux send-keys C-c
    await ends_with =1
}

@test "status and describe break no word at the edge of a terminal; elsewhere they break no line" {
    local command names
    script '{"bootMs": 3600000}'
    vmfile vm-{10..29}
    names=$(printf ' "%s"' vm-{10..29})
    printf 'vm "web" { backend "noop"; image "%s"; depends-on%s; }\n' "$work/image" "$names" >>VMFile.kdl
    vmctl -q up -d >/dev/null
    waits() { vmctl status web | grep -q '^  Running .* vm-10, .* vm-29'; }
    await waits
    terminal 60 50
    for command in status describe; do
        tmux send-keys "clear; vmctl $command web; echo =\$?" Enter
        await ends_with =0
        [ "$(screen | grep -ow 'vm-[0-9][0-9]' | sort -u | wc -l)" -eq 20 ]
        screen | grep -q '^    vm-[0-9][0-9], '
    done
}

# on_screen COLUMNS ROWS COMMAND... : its output on a terminal of that size, for at most 3 seconds
on_screen() {
    python3 - "$@" <<'P'
import fcntl, os, pty, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", int(sys.argv[2]), int(sys.argv[1]), 0, 0))
    os.execvp(sys.argv[3], sys.argv[3:])
out, end = b"", time.monotonic() + 3
try:
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            out += os.read(fd, 65536)
except OSError:
    pass
os.close(fd)
os.waitpid(pid, 0)
sys.stdout.write(out.decode().replace("\r", ""))
P
}

@test "no line is wider than the terminal" {
    local size command line n=0 LC_ALL=C.UTF-8
    printf 'vm "web" { backend "noop"; image "%s"; }\n' "$work/image" >VMFile.kdl
    printf 'vm "a" { backend "noop"; image "/srv/images/a.qcow2"; label "one" "two"; vcpus "many"; forward host=1 guest=2; nonsense; }\n' >wrong.kdl
    script '{"failLaunch": 1000}'
    vmctl -q up || :
    mkdir -p "$data/images"
    vmctl image pull -q "file://$work/image" >/dev/null || :
    for size in '80 24' '60 20'; do
        for command in --help 'up --help' 'ssh --help' 'image --help' 'create --help' 'run --help' \
            events 'events -f' list 'get -w' 'image list' 'validate --file wrong.kdl'; do
            # shellcheck disable=SC2086
            run on_screen $size vmctl $command
            [ -n "$output" ]
            while IFS= read -r line; do
                [[ $line != *'--> '* ]] || continue # a path is not broken
                ((${#line} <= ${size% *})) || { echo "$command on $size: $line"; n=$((n + 1)); }
            done <<<"$output"
        done
    done
    [ $n -eq 0 ]
}

@test "what is typed while a block is drawn leaves nothing on the screen, and Ctrl-C ends the line" {
    local command
    script '{"bootMs": 3600000}'
    vmfile web
    vmctl -q up -d >/dev/null
    terminal 80 24
    tmux send-keys "clear; vmctl wait web --ready" Enter
    await grep_screen '^web  *[A-Z].* 1s'
    tmux send-keys Enter abc Enter
    await grep_screen '^web  *[A-Z].* 2s'
    [ "$(screen | wc -l)" -le 2 ]
    refute grep_screen abc
    tmux send-keys C-z
    await has_prompt
    echoes
    tmux send-keys "clear; fg" Enter
    await grep_screen '^web  *[A-Z]'
    tmux send-keys Enter abc C-c
    await has_prompt
    refute grep_screen '^abc'
    tmux send-keys C-c
    echoes
    for command in 'log -f web' 'events -f' 'get -w' top; do
        tmux send-keys "clear; vmctl $command" Enter
        await is_at_work
        tmux send-keys C-c
        await has_prompt
    done
}
is_at_work() { tmux display-message -p '#{pane_current_command}' | grep -qx vmctl; }
grep_screen() { screen | grep -q -- "$1"; }
echoes() {
    tmux send-keys "clear; stty -a | grep -ow -- '-*echo'" Enter
    await shows_line echo
}
