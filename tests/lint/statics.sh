#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# A static function carries its module's noun: no bare name stands in four or more files, so that a
# stack trace and a grep can be read. Slots of a vtable and callbacks of the loop keep their slot's name.
set -u
cd "${1:-.}" || exit 2
slots='run|describe|observe|cancel|on_[a-z]+'
repeated=$(grep -rhoE --include='*.c' '^static [a-z_0-9 *]*[ *][a-z_0-9]+\(' specs store controller reconcilers cli |
    sed -E 's/.*[ *]([a-z_0-9]+)\($/\1/' | grep -vxE "$slots" | sort | uniq -c | awk '$1 >= 4 { print $2 ": in " $1 " files" }')
[ -z "$repeated" ] || { echo "$repeated"; exit 1; }
