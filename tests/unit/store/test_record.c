/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bytes of desired and status records: those of older versions, which have every member in the
 * order of the keys, are read as ever; those of this one leave out what has its default.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/record.h"

static json_t *golden(const char *name)
{
    cleanup_free char *path =
        mem_printf(VMCTL_SOURCE_DIR "/tests/unit/specs/vm/records/%s.json", name);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    return json;
}

/* As older versions wrote a record; the line of the summary is one of another layout. */
static void write_old(struct buf *out, const json_t *json, bool is_desired)
{
    cleanup_free char *text = json_canonical(json);
    buf_printf(out, "%s\t", json_text(json, "uid"));
    if (is_desired) {
        buf_printf(out, "%lld\t", (long long)json_int(json, "revision", 0));
    }
    buf_printf(out, "v0\n%s", text);
}

static struct bytes bytes_of(const struct buf *buf)
{
    return (struct bytes){buf_str(buf), buf->len};
}

static struct vm_status *decode_status(struct bytes value)
{
    struct error err = {.code = ERR_NONE};
    struct vm_status *status = NULL;
    if (record_decode_status(value, &status, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return status;
}

static struct vm_desired *decode_desired(struct bytes value)
{
    struct error err = {.code = ERR_NONE};
    struct vm_desired *desired = NULL;
    if (record_decode_desired(value, NULL, &desired, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return desired;
}

static void an_old_status_is_read_and_written_in_less(void **state)
{
    static const char *const names[] = {
        "status-full", "status-new", "status-every", "status-before-cloud-init"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cleanup_json json_t *json = golden(names[i]);
        cleanup_buf struct buf old = BUF_INIT(0), new = BUF_INIT(0);
        write_old(&old, json, false);
        struct vm_status *status = decode_status(bytes_of(&old));
        record_encode_status(&new, status);
        assert_true(new.len < old.len);
        struct vm_status *again = decode_status(bytes_of(&new));
        assert_true(vm_status_equal(status, again));
        cleanup_json json_t *written = vm_status_to_json(again);
        bool is_whole = json_object_get(json, "cloudInit");
        assert_true(
            is_whole ? json_equal(written, json) : again->cloud_init.state == CLOUD_INIT_DONE);
        vm_status_free(status);
        vm_status_free(again);
    }
}

static void an_old_desired_record_is_read_and_written_in_less(void **state)
{
    static const char *const names[] = {"desired-full", "desired-new", "desired-every"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cleanup_json json_t *json = golden(names[i]);
        cleanup_buf struct buf old = BUF_INIT(0), new = BUF_INIT(0);
        write_old(&old, json, true);
        struct vm_desired *desired = decode_desired(bytes_of(&old));
        record_encode_desired(&new, desired, desired->revision);
        struct vm_desired *again = decode_desired(bytes_of(&new));
        assert_true(vm_desired_equal(desired, again));
        cleanup_json json_t *written = vm_desired_to_json(again);
        assert_true(json_equal(written, json));
        vm_desired_free(desired);
        vm_desired_free(again);
    }
}

/* A noop VM that is Ready, as an older version recorded it. */
static const char settled[] =
    "571ea723dbf1e955196dd5e71d48607f\tv4\t9021\t10073\t1\tReady\t2\t0\t0\t\t0\t1\t1024\t\n"
    "{\"appliedGeneration\":2,\"appliedSpec\":{\"accel\":\"auto\",\"backend\":\"noop\","
    "\"cloudInit\":"
    "{\"isSet\":false,\"seedBus\":\"scsi\"},\"dependsOn\":[],\"diskGib\":0,\"firmware\":\"bios\","
    "\"image\":{\"kind\":\"file\",\"location\":\"/home/user/images/debian-12.qcow2\"},\"live\":"
    "{\"failures\":3,\"periodSeconds\":10,\"probes\":[],\"startPeriodSeconds\":120,"
    "\"timeoutSeconds\":5},\"memoryMib\":1024,\"name\":\"vm00008\",\"network\":{\"forwards\":[],"
    "\"mode\":\"user\"},\"provision\":[{\"command\":\"true\",\"kind\":\"inline\",\"run\":"
    "\"always\","
    "\"timeoutSeconds\":0}],\"ready\":{\"failures\":3,\"periodSeconds\":10,\"probes\":[],"
    "\"timeoutSeconds\":5},\"restart\":\"on-failure\",\"ssh\":{\"isSet\":false,\"user\":\"vm\"},"
    "\"stopTimeoutSeconds\":30,\"vcpus\":1},\"cloudInit\":{\"state\":\"Absent\"},\"conditions\":["
    "{\"lastTransition\":1795958575532,\"observedGeneration\":2,\"reason\":\"Ready\",\"status\":"
    "\"True\",\"type\":\"Ready\"},{\"lastTransition\":1795958529835,\"observedGeneration\":2,"
    "\"reason\":\"Synced\",\"status\":\"True\",\"type\":\"Synced\"},{\"lastTransition\":"
    "1795958542066,\"observedGeneration\":2,\"reason\":\"LocalFile\",\"status\":\"True\",\"type\":"
    "\"ImageReady\"},{\"lastTransition\":1795958551574,\"observedGeneration\":2,\"reason\":"
    "\"Prepared\",\"status\":\"True\",\"type\":\"Prepared\"},{\"lastTransition\":1795958568123,"
    "\"observedGeneration\":2,\"reason\":\"Running\",\"status\":\"True\",\"type\":\"Running\"},"
    "{\"lastTransition\":1795958572881,\"observedGeneration\":2,\"reason\":\"SSHReady\",\"status\":"
    "\"True\",\"type\":\"GuestReachable\"},{\"lastTransition\":1795958573796,"
    "\"observedGeneration\":1,"
    "\"reason\":\"NotInstalled\",\"status\":\"True\",\"type\":\"CloudInitDone\"},{"
    "\"lastTransition\":"
    "1795958575532,\"observedGeneration\":2,\"reason\":\"Provisioned\",\"status\":\"True\","
    "\"type\":"
    "\"Provisioned\"}],\"handledProvisionToken\":\"444a3d45247fa96442d24eb56fdd8453\",\"instance\":"
    "{\"bootId\":\"a80db2b3-654e-44d6-bb1c-5ba1e73b2389\",\"cause\":\"None\",\"iid\":"
    "\"f25d4cb2c84f047cd2b89fd27d94eb1d\",\"journal\":\"none\",\"pid\":9021,\"startDeadline\":"
    "57051851,\"startTicks\":1,\"startedAt\":1795958552763,\"stopDeadline\":0},\"mac\":"
    "\"52:54:00:38:16:e3\",\"observedGeneration\":2,\"observer\":"
    "\"1295588cd8703eae470395ae26b1a9cd\",\"prepared\":{\"digest\":"
    "\"2a34f036d86864b2d125ac93e33732af72b9109ae8e6c1b657a69037e0f9eb05\",\"diskGib\":0,"
    "\"imageId\":"
    "\"2a34f036d86864b2d125ac93e33732af72b9109ae8e6c1b657a69037e0f9eb05\",\"imagePath\":"
    "\"/home/user/images/debian-12.qcow2\"},\"probing\":{\"live\":{\"due\":0,\"failures\":0,"
    "\"passed\":false},\"passed\":false,\"unreadySince\":0},\"provision\":{\"digest\":"
    "\"ad6d9810769f916619505dbf8a26b9e8cab9c9208003db082aa2a4f8991ee72a\",\"failed\":false,"
    "\"lastExitStatus\":-1,\"nextStep\":1,\"ranDigest\":"
    "\"ad6d9810769f916619505dbf8a26b9e8cab9c9208003db082aa2a4f8991ee72a\",\"steps\":[{\"content\":"
    "\"6f0a50f95458e285\",\"durationMs\":1213,\"endedAt\":1795958575532,\"exitStatus\":0,"
    "\"outcome\":\"Done\"}],\"token\":\"444a3d45247fa96442d24eb56fdd8453\",\"total\":1},"
    "\"reached\":"
    "true,\"restart\":{\"count\":0,\"lastCause\":\"None\",\"lastExitStatus\":-1,\"notBefore\":0},"
    "\"sshHost\":\"127.0.0.1\",\"sshPort\":10073,\"uid\":\"571ea723dbf1e955196dd5e71d48607f\"}";

/* LMDB keeps a record of more than 2,038 bytes, with its key and head, on pages of its own. */
static void the_status_of_a_settled_vm_shares_a_page_with_another(void **state)
{
    enum { PLACE = 2038, NODE_HEAD = 8, NAME = 16, CHECKSUM = 16 };
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    struct vm_status *status = decode_status((struct bytes){settled, sizeof(settled) - 1});
    record_encode_status(&text, status);
    assert_true(text.len + NODE_HEAD + NAME + CHECKSUM <= PLACE);
    struct vm_status *again = decode_status(bytes_of(&text));
    assert_true(vm_status_equal(status, again));
    assert_int_equal(again->conditions[CONDITION_READY].observed_generation, 2);
    assert_int_equal(again->conditions[CONDITION_CLOUD_INIT_DONE].observed_generation, 1);
    vm_status_free(status);
    vm_status_free(again);
}

static void what_a_new_vm_is_meant_to_be_takes_few_bytes(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    struct vm_desired *desired = vm_desired_new(vm_spec_new("web"), 1795958529531);
    record_encode_desired(&text, desired, 1);
    struct vm_desired *again = decode_desired(bytes_of(&text));
    assert_true(text.len < 320);
    desired->revision = 1;
    assert_true(vm_desired_equal(desired, again));
    vm_desired_free(desired);
    vm_desired_free(again);
}

/* Which is an older record: its guest counts as set up. */
static void a_guest_whose_cloud_init_was_not_queried_is_not_taken_for_one_of_before(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    struct vm_status *status = vm_status_new("u");
    status->was_reached = true;
    record_encode_status(&text, status);
    struct vm_status *again = decode_status(bytes_of(&text));
    assert_int_equal(again->cloud_init.state, CLOUD_INIT_UNKNOWN);
    vm_status_free(status);
    vm_status_free(again);
}

static void what_is_not_json_is_an_error_that_names_the_byte(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    struct vm_status *status = NULL;
    static const char text[] = "u\tv0\n{\"uid\":\"u\",}";
    assert_int_equal(
        record_decode_status((struct bytes){text, sizeof(text) - 1}, &status, &err), -ERR_STORE);
    assert_string_equal(err.message, "not JSON at byte 11: string or '}' expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_status_is_read_and_written_in_less),
        cmocka_unit_test(an_old_desired_record_is_read_and_written_in_less),
        cmocka_unit_test(the_status_of_a_settled_vm_shares_a_page_with_another),
        cmocka_unit_test(what_a_new_vm_is_meant_to_be_takes_few_bytes),
        cmocka_unit_test(a_guest_whose_cloud_init_was_not_queried_is_not_taken_for_one_of_before),
        cmocka_unit_test(what_is_not_json_is_an_error_that_names_the_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
