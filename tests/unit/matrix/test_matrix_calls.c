/* Each named call is the request that the homeserver's interface asks for. */
#include "matrix/matrix_calls.h"
#include "matrix_fixture.h"

static struct dc_matrix_how how(struct rig *rig)
{
    rig->out = (struct outcome){0};
    dc_strbuf_clear(&rig->asked);
    return (struct dc_matrix_how){
        .auth = {.token = DC_S("t")}, .deadline_ms = 15000, .cb = on_outcome, .data = &rig->out};
}

static void expect(struct rig *rig, enum dc_status st, const char *asked)
{
    assert_int_equal(st, DC_OK);
    RUN_UNTIL(&rig->f, rig->out.n == 1);
    assert_int_equal(rig->out.st, DC_OK);
    assert_string_equal(rig_asked(rig), asked);
}
#define EXPECT(call, asked)                                                                        \
    do {                                                                                           \
        struct dc_matrix_how h = how(&rig);                                                        \
        expect(&rig, (call), (asked));                                                             \
    } while (0)

static void open_rig(struct rig *rig)
{
    rig_open(rig);
    SCRIPT(rig, {200, "application/json", "{}", NULL});
}

static void rooms(void **state)
{
    struct rig rig;
    const struct dc_matrix_room room = {.alias_localpart = DC_S("city_energy"),
                                        .name = DC_S("DAARION City \xE2\x80\x94 Energy"),
                                        .topic = DC_S("City room: Energy"),
                                        .is_public = true};
    (void)state;
    open_rig(&rig);
    EXPECT(dc_matrix_create_room(rig.m, &h, &room, NULL),
           "POST /_matrix/client/v3/createRoom?|Bearer t|"
           "{\"name\":\"DAARION City \xE2\x80\x94 Energy\",\"room_alias_name\":\"city_energy\","
           "\"topic\":\"City room: Energy\",\"preset\":\"public_chat\",\"visibility\":\"public\","
           "\"creation_content\":{\"m.federate\":false},\"initial_state\":["
           "{\"type\":\"m.room.history_visibility\",\"state_key\":\"\","
           "\"content\":{\"history_visibility\":\"shared\"}},"
           "{\"type\":\"m.room.guest_access\",\"state_key\":\"\","
           "\"content\":{\"guest_access\":\"can_join\"}}]}\n");
    EXPECT(dc_matrix_resolve_alias(rig.m, &h, DC_S("#city_energy:b.c"), NULL),
           "GET /_matrix/client/v3/directory/room/#city_energy:b.c?|Bearer t|\n");
    EXPECT(dc_matrix_room_state(rig.m, &h, DC_S("!a:b"), DC_S("m.room.create"), true, NULL),
           "GET /_matrix/client/v3/rooms/!a:b/state/m.room.create/?format=event|Bearer t|\n");
    EXPECT(dc_matrix_room_state(rig.m, &h, DC_S("!a:b"), DC_S("m.room.name"), false, NULL),
           "GET /_matrix/client/v3/rooms/!a:b/state/m.room.name/?|Bearer t|\n");
    EXPECT(dc_matrix_admin_room(rig.m, &h, DC_S("!a:b"), NULL),
           "GET /_synapse/admin/v1/rooms/!a:b?|Bearer t|\n");
    EXPECT(dc_matrix_join(rig.m, &h, DC_S("#city_energy:b"), NULL),
           "POST /_matrix/client/v3/join/#city_energy:b?|Bearer t|{}\n");
    EXPECT(dc_matrix_joined_rooms(rig.m, &h, NULL),
           "GET /_matrix/client/v3/joined_rooms?|Bearer t|\n");
    EXPECT(dc_matrix_joined_members(rig.m, &h, DC_S("!a:b"), NULL),
           "GET /_matrix/client/v3/rooms/!a:b/joined_members?|Bearer t|\n");
    rig_close(&rig);
}

static void the_members_of_a_large_room_are_no_answer_too_large(void **state)
{
    struct rig rig;
    struct dc_strbuf body = {0};
    struct said large = {200, "application/json", NULL, NULL};
    (void)state;
    rig_open(&rig);
    write_large(&body, 3 * 1024 * 1024); /* some 50,000 people */
    large.body = body.ptr;
    rig_script(&rig, &large, 1);
    const struct dc_matrix_how h = how(&rig);
    assert_int_equal(dc_matrix_joined_members(rig.m, &h, DC_S("!a:b"), NULL), DC_OK);
    RUN_UNTIL(&rig.f, rig.out.n == 1);
    assert_int_equal(rig.out.st, DC_OK);
    assert_int_equal(dc_matrix_joined_rooms(rig.m, &h, NULL), DC_OK);
    RUN_UNTIL(&rig.f, rig.out.n == 2);
    assert_int_equal(rig.out.st, DC_OK);
    dc_strbuf_free(&body);
    rig_close(&rig);
}

static void accounts(void **state)
{
    struct rig rig;
    (void)state;
    open_rig(&rig);
    EXPECT(dc_matrix_versions(rig.m, &h, NULL), "GET /_matrix/client/versions?|Bearer t|\n");
    EXPECT(dc_matrix_whoami(rig.m, &h, NULL), "GET /_matrix/client/v3/account/whoami?|Bearer t|\n");
    EXPECT(dc_matrix_admin_check(rig.m, &h, DC_S("@a:b"), NULL),
           "GET /_synapse/admin/v1/users/@a:b/admin?|Bearer t|\n");
    EXPECT(dc_matrix_as_register(rig.m, &h, DC_S("daarion.u__1"), NULL),
           "POST /_matrix/client/v3/register?|Bearer t|{\"type\":\"m.login.application_service\","
           "\"username\":\"daarion.u__1\",\"inhibit_login\":true}\n");
    EXPECT(dc_matrix_as_login(rig.m, &h, DC_S("@a:b"), DC_SLICE_NULL, NULL),
           "POST /_matrix/client/v3/login?|Bearer t|{\"type\":\"m.login.application_service\","
           "\"identifier\":{\"type\":\"m.id.user\",\"user\":\"@a:b\"},"
           "\"initial_device_display_name\":\"DAARION City\"}\n");
    EXPECT(dc_matrix_as_login(rig.m, &h, DC_S("@a:b"), DC_S("TAB"), NULL),
           "POST /_matrix/client/v3/login?|Bearer t|{\"type\":\"m.login.application_service\","
           "\"identifier\":{\"type\":\"m.id.user\",\"user\":\"@a:b\"},"
           "\"initial_device_display_name\":\"DAARION City\",\"device_id\":\"TAB\"}\n");
    EXPECT(dc_matrix_admin_put_user(rig.m, &h, DC_S("@a:b"), NULL),
           "PUT /_synapse/admin/v2/users/@a:b?|Bearer t|{}\n");
    EXPECT(dc_matrix_admin_login(rig.m, &h, DC_S("@a:b"), NULL),
           "POST /_synapse/admin/v1/users/@a:b/login?|Bearer t|{}\n");
    EXPECT(dc_matrix_secret_nonce(rig.m, &h, NULL), "GET /_synapse/admin/v1/register?|Bearer t|\n");
    EXPECT(dc_matrix_password_login(rig.m, &h, DC_S("bob"), DC_S("pw"), NULL),
           "POST /_matrix/client/v3/login?|Bearer t|{\"type\":\"m.login.password\",\"identifier\":"
           "{\"type\":\"m.id.user\",\"user\":\"bob\"},\"initial_device_display_name\":"
           "\"DAARION City\",\"password\":\"pw\"}\n");
    EXPECT(dc_matrix_logout(rig.m, &h, NULL), "POST /_matrix/client/v3/logout?|Bearer t|{}\n");
    EXPECT(dc_matrix_profile(rig.m, &h, DC_S("@a:b"), NULL),
           "GET /_matrix/client/v3/profile/@a:b?|Bearer t|\n");
    EXPECT(dc_matrix_set_display_name(rig.m, &h, DC_S("@a:b"), DC_S("\xD0\x87"), NULL),
           "PUT /_matrix/client/v3/profile/@a:b/displayname?|Bearer t|{\"displayname\":"
           "\"\xD0\x87\"}\n");
    rig_close(&rig);
}

/* HMAC-SHA1 of "n\0bob\0pw\0admin" and of "n\0bob\0pw\0notadmin" with the key "secret", by
 * Python's hmac. */
static void registration_by_the_shared_secret_is_signed(void **state)
{
    struct rig rig;
    struct dc_matrix_secret_user user = {.secret = DC_S("secret"),
                                         .nonce = DC_S("n"),
                                         .localpart = DC_S("bob"),
                                         .password = DC_S("pw"),
                                         .is_admin = true};
    (void)state;
    open_rig(&rig);
    EXPECT(dc_matrix_secret_register(rig.m, &h, &user, NULL),
           "POST /_synapse/admin/v1/register?|Bearer t|{\"nonce\":\"n\",\"username\":\"bob\","
           "\"password\":\"pw\",\"admin\":true,\"mac\":"
           "\"21d751332a0fd06f2ccc8efe6363477ecc1fdaae\"}\n");
    user.is_admin = false;
    EXPECT(dc_matrix_secret_register(rig.m, &h, &user, NULL),
           "POST /_synapse/admin/v1/register?|Bearer t|{\"nonce\":\"n\",\"username\":\"bob\","
           "\"password\":\"pw\",\"admin\":false,\"mac\":"
           "\"1751ae419e08e7dbd8cc36fe6d2c83c0bfa91c44\"}\n");
    rig_close(&rig);
}

static void talking_and_listening(void **state)
{
    struct rig rig;
    const struct dc_matrix_sync_opts from_start = {.timeout_ms = 0, .is_quiet = true};
    const struct dc_matrix_sync_opts on = {
        .since = DC_S("s1_2"), .filter = DC_S("{\"a\":1}"), .timeout_ms = 30000};
    const struct dc_matrix_text plain = {
        .room_id = DC_S("!a:b"), .txn_id = DC_S("m_city_1"), .body = DC_S("hi")};
    const struct dc_matrix_text named = {.room_id = DC_S("!a:b"),
                                         .txn_id = DC_S("t1"),
                                         .body = DC_S("hi"),
                                         .message_id = DC_S("m_city_1")};
    (void)state;
    open_rig(&rig);
    EXPECT(dc_matrix_send_text(rig.m, &h, &plain, NULL),
           "PUT /_matrix/client/v3/rooms/!a:b/send/m.room.message/m_city_1?|Bearer t|"
           "{\"msgtype\":\"m.text\",\"body\":\"hi\"}\n");
    EXPECT(dc_matrix_send_text(rig.m, &h, &named, NULL),
           "PUT /_matrix/client/v3/rooms/!a:b/send/m.room.message/t1?|Bearer t|"
           "{\"msgtype\":\"m.text\",\"body\":\"hi\",\"city.daarion.message_id\":\"m_city_1\"}\n");
    EXPECT(dc_matrix_said_by(rig.m, &h, DC_S("!a:b"), DC_S("@c:d"), NULL),
           "GET /_matrix/client/v3/rooms/!a:b/messages?dir=b&limit=20&filter=%7B%22types%22%3A%5B"
           "%22m.room.message%22%5D%2C%22senders%22%3A%5B%22%40c%3Ad%22%5D%7D|Bearer t|\n");
    EXPECT(dc_matrix_member(rig.m, &h, DC_S("!a:b"), DC_S("@c:d"), NULL),
           "GET /_matrix/client/v3/rooms/!a:b/state/m.room.member/@c:d?|Bearer t|\n");
    EXPECT(dc_matrix_as_ping(rig.m, &h, DC_S("daarion"), NULL),
           "POST /_matrix/client/v1/appservice/daarion/ping?|Bearer t|{}\n");
    EXPECT(dc_matrix_set_presence(rig.m, &h, DC_S("@a:b"), DC_S("online"), DC_S("here"), NULL),
           "PUT /_matrix/client/v3/presence/@a:b/status?|Bearer t|{\"presence\":\"online\","
           "\"status_msg\":\"here\"}\n");
    EXPECT(dc_matrix_set_presence(rig.m, &h, DC_S("@a:b"), DC_S("offline"), DC_SLICE_NULL, NULL),
           "PUT /_matrix/client/v3/presence/@a:b/status?|Bearer t|{\"presence\":\"offline\"}\n");
    EXPECT(dc_matrix_get_presence(rig.m, &h, DC_S("@a:b"), NULL),
           "GET /_matrix/client/v3/presence/@a:b/status?|Bearer t|\n");
    EXPECT(dc_matrix_set_typing(rig.m, &h, DC_S("!a:b"), DC_S("@c:d"), 6000, NULL),
           "PUT /_matrix/client/v3/rooms/!a:b/typing/@c:d?|Bearer t|{\"typing\":true,"
           "\"timeout\":6000}\n");
    EXPECT(dc_matrix_set_typing(rig.m, &h, DC_S("!a:b"), DC_S("@c:d"), 0, NULL),
           "PUT /_matrix/client/v3/rooms/!a:b/typing/@c:d?|Bearer t|{\"typing\":false}\n");
    EXPECT(dc_matrix_sync(rig.m, &h, &from_start, NULL),
           "GET /_matrix/client/v3/sync?timeout=0&set_presence=offline|Bearer t|\n");
    EXPECT(dc_matrix_sync(rig.m, &h, &on, NULL),
           "GET /_matrix/client/v3/sync?timeout=30000&since=s1_2&filter=%7B%22a%22%3A1%7D|Bearer "
           "t|\n");
    rig_close(&rig);
}

static void an_id_that_cannot_stand_in_a_path_is_not_sent(void **state)
{
    struct rig rig;
    struct dc_error err = {0};
    (void)state;
    open_rig(&rig);
    const struct dc_matrix_how h = how(&rig);
    assert_int_equal(dc_matrix_join(rig.m, &h, DC_S(".."), &err), DC_INVALID);
    assert_int_equal(dc_matrix_admin_room(rig.m, &h, DC_SLICE_NULL, &err), DC_INVALID);
    assert_int_equal(rig.n_asked, 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rooms),
        cmocka_unit_test(the_members_of_a_large_room_are_no_answer_too_large),
        cmocka_unit_test(accounts),
        cmocka_unit_test(registration_by_the_shared_secret_is_signed),
        cmocka_unit_test(talking_and_listening),
        cmocka_unit_test(an_id_that_cannot_stand_in_a_path_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
