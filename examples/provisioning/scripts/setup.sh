#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Runs in the guest as the user of the ssh block, who may use sudo without a password.
set -eu
export DEBIAN_FRONTEND=noninteractive
sudo -E apt-get update
sudo -E apt-get install -y --no-install-recommends gcc libc6-dev make
gcc --version | head -n 1
