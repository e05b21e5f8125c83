/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_spec_names.h"

#include "specs/vm/vm_spec.h"

DEFINE_WORDS(backend_kind, enum backend_kind, BACKEND_COUNT_, "qemu", "propolis", "noop")
DEFINE_WORDS(image_kind, enum image_kind, IMAGE_KIND_COUNT_, "file", "url")
DEFINE_WORDS(network_mode, enum network_mode, NETWORK_MODE_COUNT_, "user", "tap", "vnic", "none")
DEFINE_WORDS(forward_protocol, enum forward_protocol, FORWARD_PROTOCOL_COUNT_, "tcp", "udp")
DEFINE_WORDS(accel_mode, enum accel_mode, ACCEL_COUNT_, "auto", "kvm", "tcg")
DEFINE_WORDS(firmware, enum firmware, FIRMWARE_COUNT_, "bios", "uefi")
DEFINE_WORDS(seed_bus, enum seed_bus, SEED_BUS_COUNT_, "scsi", "virtio", "ide")
DEFINE_WORDS(restart_policy, enum restart_policy, RESTART_COUNT_, "on-failure", "always", "never")
DEFINE_WORDS(step_kind, enum step_kind, STEP_KIND_COUNT_, "inline", "script", "file")
DEFINE_WORDS(step_run, enum step_run, RUN_COUNT_, "always", "once", "on-change")
DEFINE_WORDS(probe_kind, enum probe_kind, PROBE_KIND_COUNT_, "tcp", "http", "exec")
DEFINE_WORDS(check_kind, enum check_kind, CHECK_KIND_COUNT_, "ready", "live")
