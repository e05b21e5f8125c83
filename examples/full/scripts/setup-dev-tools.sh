#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Runs in the guest, after build-essential, curl and git are there.
set -eu
mkdir -p "$HOME/src"
git config --global init.defaultBranch main
for tool in gcc make curl git; do
    printf '%-6s %s\n' "$tool" "$(command -v "$tool")"
done
