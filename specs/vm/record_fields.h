/* SPDX-License-Identifier: MPL-2.0 */
/* The tables of the stored records (specs/base/fields.h), so that a test can ask for every member.
 */
#pragma once

struct fields;

extern const struct fields vm_desired_fields, vm_status_fields, source_record_fields,
    vm_snapshot_fields, vm_origin_fields, vm_step_record_fields;
