/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_sources.h"

static const char good[] = "{\"fleet\":\"home\",\"uid\":\"u\",\"node\":\"b\",\"ssh\":\"me@b.lan\","
                           "\"endpoints\":[\"https://a.lan:2379\"],\"ca\":\"/ca\",\"cert\":\"/c\","
                           "\"key\":\"/k\",\"ttl\":15}";

static void it_is_written_and_read(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    char dir[] = "/tmp/vmctl-test-fleet-XXXXXX";
    struct paths paths = {.data_dir = mkdtemp(dir)};
    struct fleet_config *config = NULL, *read = NULL;
    struct stat file;
    assert_int_equal(fleet_config_load(&paths, &read, &err), 0);
    assert_null(read); /* no fleet was joined */
    config = fleet_config_read(good, strlen(good), &err);
    assert_non_null(config);
    assert_int_equal(fleet_config_save(&paths, config, &err), 0);
    cleanup_free char *path = paths_path(&paths, FLEET_CONFIG_FILE);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(fleet_config_load(&paths, &read, &err), 0);
    assert_string_equal(read->node, "b");
    assert_string_equal(read->endpoints[0], "https://a.lan:2379");
    assert_int_equal(read->ttl_s, 15);
    fleet_config_free(config);
    fleet_config_free(read);
    (void)fs_remove_tree(dir, &err);
}

static void what_cannot_be_used_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"fleet\":\"home\",\"node\":\"b\"}",
        "{\"fleet\":\"Home/x\",\"node\":\"b\",\"endpoints\":[\"https://a\"]}",
        "{\"fleet\":\"home\",\"node\":\"local\",\"endpoints\":[\"https://a\"]}",
        "{\"fleet\":\"home\",\"node\":\"b\",\"endpoints\":[\"https://a\"],\"ca\":\"/ca\"}",
        "{\"fleet\":\"home\",\"node\":\"b\",\"endpoints\":[\"https://a\"],\"ttl\":1}",
        "{\"fleet\":\"home\",\"node\":\"b\",\"endpoints\":[\"https://a\"],\"ssh\":\"-oX\"}",
        "{\"fleet\":\"home\",\"node\":\"b\",\"endpoints\":[\"https://a\"],\"accept\":\"url,all\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct error err = {.code = ERR_NONE};
        assert_null(fleet_config_read(texts[i], strlen(texts[i]), &err));
        assert_int_equal(err.code, ERR_FLEET_CONFIG);
    }
}

static void what_a_node_takes_is_read(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", ",", "url,", ",path", "URL", "url cache", "url,,path"};
    cleanup_json json_t *none = json_object(), *some = json_object();
    assert_int_equal(fleet_sources_read(NULL), FLEET_SOURCE_URL | FLEET_SOURCE_CACHE);
    assert_int_equal(fleet_sources_read("path"), FLEET_SOURCE_PATH);
    assert_int_equal(fleet_sources_read("path,url"), FLEET_SOURCE_PATH | FLEET_SOURCE_URL);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(fleet_sources_read(wrong[i]), 0);
    }
    json_put(some, "accept", fleet_sources_to_json(FLEET_SOURCE_CACHE));
    assert_int_equal(fleet_sources_of_node(some), FLEET_SOURCE_CACHE);
    assert_int_equal(fleet_sources_of_node(none), 7); /* of an older version */
    json_put_text(some, "accept", "path");
    assert_int_equal(fleet_sources_of_node(some), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_node_takes_is_read),
        cmocka_unit_test(it_is_written_and_read),
        cmocka_unit_test(what_cannot_be_used_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
