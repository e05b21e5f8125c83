/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/targets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/options.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

struct scene {
    struct strings known, chosen;
    struct which_values which;
    struct arg_strings words;
    struct error err;
};

static void scene_clear(struct scene *scene)
{
    strings_clear(&scene->known);
    strings_clear(&scene->chosen);
    arg_strings_clear(&scene->which.names);
    arg_strings_clear(&scene->words);
}
#define cleanup_scene __attribute__((cleanup(scene_clear)))

static struct scene scene_new(void)
{
    struct scene scene = {.known.count = 0};
    strings_add(&scene.known, "db");
    strings_add(&scene.known, "web");
    return scene;
}

static int choose(struct scene *scene, const char *where)
{
    return targets_choose(
        &scene->known, &scene->which, &scene->words, where, &scene->chosen, &scene->err);
}

static void no_name_means_all_that_are_known(void **state)
{
    (void)state;
    cleanup_scene struct scene scene = scene_new();
    assert_int_equal(choose(&scene, NULL), 0);
    assert_int_equal(scene.chosen.count, 2);
    assert_string_equal(scene.chosen.items[0], "db");
}

static void words_and_name_options_mean_the_same_and_count_once(void **state)
{
    (void)state;
    cleanup_scene struct scene scene = scene_new();
    arg_strings_add(&scene.words, "web");
    arg_strings_add(&scene.which.names, "web");
    arg_strings_add(&scene.which.names, "db");
    assert_int_equal(choose(&scene, NULL), 0);
    assert_int_equal(scene.chosen.count, 2);
    assert_string_equal(scene.chosen.items[0], "web");
    assert_string_equal(scene.chosen.items[1], "db");
}

static void an_unknown_name_is_an_error_with_the_nearest(void **state)
{
    (void)state;
    cleanup_scene struct scene scene = scene_new();
    arg_strings_add(&scene.words, "wep");
    assert_int_equal(choose(&scene, "'/p/VMFile.kdl'"), -ERR_VM_NOT_FOUND);
    assert_string_equal(scene.err.message, "there is no vm 'wep' in '/p/VMFile.kdl'");
    assert_string_equal(scene.err.help, "did you mean 'web'?");
    assert_int_equal(scene.chosen.count, 0);
}

static void the_name_of_a_projects_vm_alone_is_an_error_with_the_whole(void **state)
{
    (void)state;
    cleanup_scene struct scene scene = scene_new();
    strings_add(&scene.known, "shop/mailserver");
    arg_strings_add(&scene.words, "mailserver");
    assert_int_equal(choose(&scene, NULL), -ERR_VM_NOT_FOUND);
    assert_string_equal(scene.err.help, "did you mean 'shop/mailserver'?");
    error_clear(&scene.err);
    strings_add(&scene.known, "blog/mailserver"); /* which of the two? */
    assert_int_equal(choose(&scene, NULL), -ERR_VM_NOT_FOUND);
    assert_string_equal(scene.err.help, "");
}

static void an_unknown_name_unlike_any_other_keeps_the_usual_help(void **state)
{
    (void)state;
    cleanup_scene struct scene scene = scene_new();
    arg_strings_add(&scene.which.names, "mailserver");
    assert_int_equal(choose(&scene, NULL), -ERR_VM_NOT_FOUND);
    assert_string_equal(scene.err.message, "there is no vm 'mailserver'");
    assert_string_equal(scene.err.help, "");
    error_clear(&scene.err);
    assert_int_equal(choose(&scene, "'/p/VMFile.kdl'"), -ERR_VM_NOT_FOUND);
    assert_string_equal(scene.err.help, "it has: db, web");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_name_means_all_that_are_known),
        cmocka_unit_test(words_and_name_options_mean_the_same_and_count_once),
        cmocka_unit_test(an_unknown_name_is_an_error_with_the_nearest),
        cmocka_unit_test(the_name_of_a_projects_vm_alone_is_an_error_with_the_whole),
        cmocka_unit_test(an_unknown_name_unlike_any_other_keeps_the_usual_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
