# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=sh
# runcmd: becomes one script, in which a sequence is quoted word by word.

quoted() {
    printf '%s' "$1" | sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/"
}

# command_line PATH: PATH is where yaml.awk has put the entry.
command_line() {
    count "$1"
    words=$count
    word=0
    while [ $word -lt "$words" ]; do
        get "$1__$word"
        quoted "$value"
        printf ' '
        word=$((word + 1))
    done
    get "$1"
    printf '%s\n' "$value"
}

count ud__runcmd
commands=$count
i=0
if [ "$commands" -gt 0 ]; then
    {
        echo '#!/bin/sh'
        while [ $i -lt "$commands" ]; do
            command_line "ud__runcmd__$i"
            i=$((i + 1))
        done
    } >"$instance/runcmd"
    chmod 700 "$instance/runcmd"
fi
