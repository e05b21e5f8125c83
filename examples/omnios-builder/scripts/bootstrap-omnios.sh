#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# In the guest: the compilers. Doing it again is harmless.
set -euo pipefail
export PATH=/usr/gnu/bin:/opt/ooce/bin:$PATH # GNU tools in front of the BSD-style ones

# pkg(1) ends with 4 when there is nothing to do
sudo pkg install -q developer/gcc14 developer/build/gnu-make developer/pkg-config \
    library/security/openssl web/curl developer/versioning/git system/header archiver/gnu-tar ||
    [ $? -eq 4 ]

[ -x "$HOME/.cargo/bin/cargo" ] ||
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal

. "$HOME/.cargo/env"
for tool in gcc gmake pkg-config openssl curl git cargo; do
    printf '%-12s %s\n' "$tool" "$(command -v "$tool")"
done
