/* SPDX-License-Identifier: MPL-2.0 */
/* The words of vm_spec's enums, as a VMFile, the store and the command line write them. */
#pragma once

#include "specs/base/enum_names.h"

extern const struct enum_names backend_kind_words;
extern const struct enum_names image_kind_words;
extern const struct enum_names network_mode_words;
extern const struct enum_names forward_protocol_words;
extern const struct enum_names accel_mode_words;
extern const struct enum_names firmware_words;
extern const struct enum_names seed_bus_words;
extern const struct enum_names restart_policy_words;
extern const struct enum_names step_kind_words;
extern const struct enum_names step_run_words;
extern const struct enum_names probe_kind_words;
extern const struct enum_names check_kind_words;
