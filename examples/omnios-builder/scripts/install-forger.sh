#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# In the guest: builds forger from the uploaded tarball and installs it.
set -euo pipefail
export PATH=/usr/gnu/bin:/opt/ooce/bin:$PATH
. "$HOME/.cargo/env"

mkdir -p "$HOME/forger"
tar -xzf /tmp/forger-src.tar.gz -C "$HOME/forger"
cd "$HOME/forger"
cargo build -p forger --release
sudo mkdir -p /usr/local/bin
sudo cp target/release/forger /usr/local/bin/forger
/usr/local/bin/forger --help
