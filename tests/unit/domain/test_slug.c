#include "base/input.h"
#include "domain/slug.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void names_become_slugs(void **state)
{
    (void)state;
    static const struct {
        const char *name, *slug;
    } rows[] = {
        {"General", "general"},
        {"  Welcome,   friends!  ", "welcome-friends"},
        {"room_1", "room-1"},
        {"C++ / C17", "c-c17"},
        /* The examples of the official table. */
        {"Алушта", "alushta"},
        {"Борщагівка", "borshchahivka"},
        {"Вінниця", "vinnytsia"},
        {"Гадяч", "hadiach"},
        {"Згорани", "zghorany"},
        {"Розгон", "rozghon"},
        {"Ґалаґан", "galagan"},
        {"Ґорґани", "gorgany"},
        {"Донецьк", "donetsk"},
        {"Рівне", "rivne"},
        {"Єнакієве", "yenakiieve"},
        {"Гаєвич", "haievych"},
        {"Короп'є", "koropie"},
        {"Житомир", "zhytomyr"},
        {"Закарпаття", "zakarpattia"},
        {"Медвин", "medvyn"},
        {"Іванків", "ivankiv"},
        {"Їжакевич", "yizhakevych"},
        {"Кадиївка", "kadyivka"},
        {"Мар’їне", "marine"},
        {"Йосипівка", "yosypivka"},
        {"Стрий", "stryi"},
        {"Олексій", "oleksii"},
        {"Київ", "kyiv"},
        {"Ужгород", "uzhhorod"},
        {"Фастів", "fastiv"},
        {"Харків", "kharkiv"},
        {"Біла Церква", "bila-tserkva"},
        {"Чернівці", "chernivtsi"},
        {"Шостка", "shostka"},
        {"Щербухи", "shcherbukhy"},
        {"Юрій", "yurii"},
        {"Корюківка", "koriukivka"},
        {"Яготин", "yahotyn"},
        {"Костянтин", "kostiantyn"},
        {"Знам'янка", "znamianka"},
        {"Феодосія", "feodosiia"},
        /* Word-initial forms after every kind of separator, not after an apostrophe. */
        {"Наша Європа", "nasha-yevropa"},
        {"Пів-Яблука (Юність)", "piv-yabluka-yunist"},
        {"5я", "5ia"},
        /* Typed with combining marks, as macOS stores names. */
        {"Стрии\xcc\x86", "stryi"},
        {"Киі\xcc\x88в", "kyiv"},
        {"Cafe\xcc\x81", "cafe"},
        /* Neighbours. */
        {"Ёлка и объём", "yolka-y-obiom"},
        {"Эхо, мыши", "ekho-myshy"},
        {"Ўсход", "uskhod"},
        {"Ђорђе Љубић", "djordje-ljubyc"},
        {"Crème Brûlée", "creme-brulee"},
        {"ÅNGSTRÖM Straße", "angstrom-strasse"},
        {"Łódź Æsir Þór Øre", "lodz-aesir-thor-ore"},
        {"Đặng Thị Huệ", "dang-thi-hue"},
        {"Dvořák İstanbul ılık", "dvorak-istanbul-ilik"},
        {"ǅungla Ĳssel", "dzungla-ijssel"},
        /* Invisible and foreign characters. */
        {"zero\xe2\x80\x8bwidth", "zerowidth"},
        {"日本 7 語", "7"},
        {"🎉 party 🎉 time 🎉", "party-time"},
        {"a\tb\nc", "a-b-c"},
        {"it's Rock 'n' Roll", "its-rock-n-roll"},
        /* Nothing is left. */
        {"", ""},
        {"---", ""},
        {"日本語", ""},
        {"ьъ'", ""},
        {"🎉", ""},
        /* Not UTF-8: ASCII counts. */
        {"ab\xff"
         "cd\xd0",
         "ab-cd"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char out[DC_SLUG_MAX];
        struct dc_slice slug = dc_slug_from_name(dc_slice_z(rows[i].name), out);
        if (!dc_slice_eq(slug, dc_slice_z(rows[i].slug)) ||
            (slug.len > 0 && !dc_slug_is_valid(slug))) {
            fail_msg("row %zu, %s: %.*s instead of %s", i, rows[i].name, DC_SLICE_ARG(slug),
                     rows[i].slug);
        }
    }
}

static void long_names_are_cut_between_letters(void **state)
{
    (void)state;
    char name[400] = {0}, out[DC_SLUG_MAX];
    for (size_t i = 0; i < 100; i++) {
        memcpy(name + 2 * i, "щ", 2);
    }
    struct dc_slice slug = dc_slug_from_name(dc_slice_z(name), out);
    assert_int_equal(slug.len, 60); /* 15 times shch; another one would be 64 */
    memset(name, 'a', 62);
    strcpy(name + 62, " bcd");
    slug = dc_slug_from_name(dc_slice_z(name), out);
    assert_int_equal(slug.len, 62); /* a dash at the end is none */
    assert_true(dc_slug_is_valid(slug));
    memset(name, 'a', 399);
    slug = dc_slug_from_name(dc_slice_z(name), out);
    assert_int_equal(slug.len, 63);
    assert_true(dc_slug_is_valid(slug));
}

static void every_single_code_point_gives_a_valid_slug_or_none(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 0x20000; a++) {
        char bytes[6] = {'x'};
        size_t n = 1;
        if (a < 0x80) {
            bytes[n++] = (char)a;
        } else if (a < 0x800) {
            bytes[n++] = (char)(0xc0 | a >> 6);
            bytes[n++] = (char)(0x80 | (a & 0x3f));
        } else if (a < 0x10000) {
            bytes[n++] = (char)(0xe0 | a >> 12); /* surrogates too: not UTF-8 */
            bytes[n++] = (char)(0x80 | (a >> 6 & 0x3f));
            bytes[n++] = (char)(0x80 | (a & 0x3f));
        } else {
            bytes[n++] = (char)(0xf0 | a >> 18);
            bytes[n++] = (char)(0x80 | (a >> 12 & 0x3f));
            bytes[n++] = (char)(0x80 | (a >> 6 & 0x3f));
            bytes[n++] = (char)(0x80 | (a & 0x3f));
        }
        char out[DC_SLUG_MAX];
        struct dc_slice slug = dc_slug_from_name(dc_slice_make(bytes, n), out);
        if (slug.len == 0 || slug.ptr[0] != 'x' || !dc_slug_is_valid(slug)) {
            fail_msg("U+%04X: %.*s", a, DC_SLICE_ARG(slug));
        }
        slug = dc_slug_from_name(dc_slice_make(bytes + 1, n - 1), out);
        if (slug.len > 0 && !dc_slug_is_valid(slug)) {
            fail_msg("U+%04X alone: %.*s", a, DC_SLICE_ARG(slug));
        }
    }
}

static void numbers_are_appended_within_the_length(void **state)
{
    (void)state;
    static const struct {
        const char *slug;
        uint32_t n;
        const char *expected;
    } rows[] = {
        {"plaza", 2, "plaza-2"},
        {"a", 4294967295u, "a-4294967295"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 10,
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-10"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-b", 3,
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-3"},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        char out[DC_SLUG_MAX];
        struct dc_slice slug = dc_slug_numbered(dc_slice_z(rows[i].slug), rows[i].n, out);
        if (!dc_slice_eq(slug, dc_slice_z(rows[i].expected)) || !dc_slug_is_valid(slug)) {
            fail_msg("row %zu: %.*s", i, DC_SLICE_ARG(slug));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_slugs),
        cmocka_unit_test(long_names_are_cut_between_letters),
        cmocka_unit_test(every_single_code_point_gives_a_valid_slug_or_none),
        cmocka_unit_test(numbers_are_appended_within_the_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
