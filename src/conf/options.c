/* The one table of options.  A new setting is a field of struct dc_settings and a row here;
 * reading, checking, --help and `daarion config` follow from the row.  Limits that protect the
 * server (DESIGN §8) have a lower bound too, so that a typing error cannot shut everybody out
 * silently. */
#include "conf/options.h"
#include "conf/conf_check.h"

/* The offset of a field, and a compile error when its type does not fit the row. */
#define OFFSET(f)     offsetof(struct dc_settings, f)
#define OF(f)         (((const struct dc_settings *)NULL)->f)
#define AT_TEXT(f)    _Generic(OF(f), const char * : OFFSET(f))
#define AT_INT(f)     _Generic(OF(f), int64_t : OFFSET(f))
#define AT_BOOL(f)    _Generic(OF(f), bool : OFFSET(f))
#define TEXT(n, f)    .name = (n), .type = DC_OPT_TEXT, .offset = AT_TEXT(f)
#define ENUM(n, f, v) .name = (n), .type = DC_OPT_ENUM, .offset = AT_TEXT(f), .values = (v)
#define BOOL(n, f)    .name = (n), .type = DC_OPT_BOOL, .offset = AT_BOOL(f)
#define INT(n, f, low, high)                                                                       \
    .name = (n), .type = DC_OPT_INT, .offset = AT_INT(f), .min = (low), .max = (high)
#define MS(n, f, low, high)                                                                        \
    .name = (n), .type = DC_OPT_MS, .offset = AT_INT(f), .min = (low), .max = (high)
#define BYTES(n, f, low, high)                                                                     \
    .name = (n), .type = DC_OPT_BYTES, .offset = AT_INT(f), .min = (low), .max = (high)

#define SECOND   INT64_C(1000)
#define MINUTE   (60 * SECOND)
#define HOUR     (60 * MINUTE)
#define DAY      (24 * HOUR)
#define KIB      INT64_C(1024)
#define MIB      (1024 * KIB)
#define GIB      (1024 * MIB)
#define RATE_MAX 1000000

#define CITY     "up city-service"
#define PRESENCE "up city-service matrix-presence-aggregator"
#define AUTH     "up auth-service"
#define GATEWAY  "up matrix-gateway"
#define SYNC     "up matrix-presence-aggregator"
#define MATRIX   "up matrix-gateway matrix-presence-aggregator"

static const struct dc_opt options[] = {
    /* Where it listens and what it keeps. */
    {TEXT("HOST", host), .def = "127.0.0.1", .check = dc_check_address,
     .help = "Address of the public listener; 0.0.0.0 or :: for everybody."},
    {INT("PORT", port, 0, 65535), .def = "8080",
     .help = "Port of the public listener; 0: a free one."},
    {TEXT("INTERNAL_HOST", internal_host), .def = "127.0.0.1", .check = dc_check_address,
     .help = "Address of the internal listener (metrics, health, /internal)."},
    {INT("INTERNAL_PORT", internal_port, 0, 65535), .def = "8081",
     .help = "Port of the internal listener; 0: a free one."},
    {INT("WORKERS", workers, 1, 64), .def = "1",
     .help = "Processes that share the public port; internal ports count up from INTERNAL_PORT."},
    {INT("WORKER", worker, 0, 64), .def = "0", .flags = DC_OPT_INTERNAL,
     .help = "Number of this process among the workers; given by their parent."},
    {INT("WORKER_PORT", worker_port, 0, 65535), .def = "0", .flags = DC_OPT_INTERNAL,
     .help = "The port that all workers share; given by their parent."},
    {TEXT("TRUSTED_PROXIES", trusted_proxies), .check = dc_check_address_list,
     .help = "Proxies whose X-Forwarded-For is believed: addresses and prefixes, comma-separated."},
    {TEXT("DATA_DIR", data_dir), .def = "var",
     .help = "Directory of the embedded database and of secrets made at start."},
    {TEXT("WEB_DIR", web_dir), .roles = "up",
     .help = "Directory of the web application; else found beside the program."},
    {TEXT("MIGRATIONS_DIR", migrations_dir),
     .help = "Directory of the migrations; else found beside the program."},

    /* Backends. */
    {TEXT("DATABASE_URL", database_url), .flags = DC_OPT_URL, .check = dc_check_postgres_url,
     .help = "PostgreSQL (postgresql://...); unset: SQLite in DATA_DIR."},
    {TEXT("REDIS_URL", redis_url), .flags = DC_OPT_URL, .check = dc_check_redis_url,
     .help = "Redis (redis(s)://a or redis(s)+sentinel://a,b/m); unset: in memory."},
    {TEXT("REDIS_PASSWORD", redis_password), .flags = DC_OPT_SECRET,
     .help = "Password of Redis, when REDIS_URL has none."},
    {TEXT("REDIS_TLS_CA_FILE", redis_tls_ca_file),
     .help = "Authorities to trust for rediss:// instead of the system's."},
    {TEXT("REDIS_TLS_CERT_FILE", redis_tls_cert_file),
     .help = "Our certificate for Redis, with REDIS_TLS_KEY_FILE."},
    {TEXT("REDIS_TLS_KEY_FILE", redis_tls_key_file), .help = "Its key."},
    {TEXT("NATS_URL", nats_url), .flags = DC_OPT_URL, .check = dc_check_nats_url,
     .help = "NATS servers (nats://a,b,c); unset: kept in this process."},
    {INT("NATS_REPLICAS", nats_replicas, 1, 5), .def = "1",
     .help = "Servers of a NATS cluster that keep each stream."},
    {TEXT("NATS_CREDENTIALS_FILE", nats_credentials_file),
     .help = "User JWT and seed for NATS, as nsc writes them."},
    {TEXT("NATS_TLS_CA_FILE", nats_tls_ca_file),
     .help = "Authorities to trust for tls:// instead of the system's."},
    {TEXT("NATS_TLS_CERT_FILE", nats_tls_cert_file),
     .help = "Our certificate for NATS, with NATS_TLS_KEY_FILE."},
    {TEXT("NATS_TLS_KEY_FILE", nats_tls_key_file), .help = "Its key."},
    /* No more than db/db.h takes. */
    {INT("DB_POOL_SIZE", db_pool_size, 1, 64), .def = "8", .help = "Connections to PostgreSQL."},
    {MS("DB_DEADLINE_MS", db_deadline_ms, 50, 10 * MINUTE), .def = "5s",
     .help = "Time after which a database call fails."},
    {BOOL("MIGRATE_AT_START", migrate_at_start), .def = "yes",
     .help = "Apply missing migrations before serving."},

    /* Who may do what. */
    {TEXT("JWT_SECRET", jwt_secret), .alias = "AUTH_JWT_SECRET", .flags = DC_OPT_SECRET,
     .check = dc_check_jwt_secret, .help = "Key of HS256 access tokens, 16 bytes or more."},
    {TEXT("INTERNAL_API_KEY", internal_api_key), .alias = "INTERNAL_SECRET", .flags = DC_OPT_SECRET,
     .check = dc_check_header_value, .help = "Key that callers of /internal must send."},
    {ENUM("AUTH_MODE", auth_mode, "required|open"), .def = "required",
     .help = "open: writing and sockets need no token (development only)."},
    {BOOL("AUTH_OPEN_ON_PUBLIC", auth_open_on_public), .def = "no",
     .help = "Allow AUTH_MODE=open on an address that others reach."},
    {MS("GUEST_TOKEN_TTL", guest_token_ttl_ms, MINUTE, 3650 * DAY), .def = "30d", .roles = AUTH,
     .help = "Life of a guest's token."},
    {TEXT("CORS_ORIGINS", cors_origins), .check = dc_check_origins,
     .help = "Web origins besides our own, comma-separated, or *."},

    /* Logs. */
    {ENUM("LOG_FORMAT", log_format, "auto|json|text"), .def = "auto",
     .help = "auto: text on a terminal, JSON elsewhere."},
    {ENUM("LOG_LEVEL", log_level, "debug|info|warn|error"), .def = "info",
     .help = "The least important events to log."},

    /* The city. */
    {TEXT("CITY_DEFAULT_ROOMS", city_default_rooms), .def = "general,welcome,builders",
     .check = dc_check_slugs, .roles = CITY,
     .help = "Slugs of the rooms that always exist, comma-separated."},
    /* At six bytes of JSON a character it must fit a message of the bus (256 KiB, bus/bus.h). */
    {INT("MAX_MESSAGE_CHARS", max_message_chars, 1, 40000), .def = "10000", .roles = CITY,
     .help = "Characters in a message."},
    {BYTES("STREAM_QUEUE_BYTES", stream_queue_bytes, 4 * KIB, GIB), .def = "1M", .roles = CITY,
     .help = "Room messages kept for slow readers; behind it they are closed."},
    {INT("LIMIT_MESSAGES_PER_S", limit_messages_per_s, 0, RATE_MAX), .def = "10", .roles = CITY,
     .help = "Messages a second of one user; 0: no limit."},
    {INT("LIMIT_MESSAGES_BURST", limit_messages_burst, 1, RATE_MAX), .def = "20", .roles = CITY,
     .help = "Messages of one user at once."},
    {INT("LIMIT_ROOMS_PER_S", limit_rooms_per_s, 0, RATE_MAX), .def = "1", .roles = CITY,
     .help = "New rooms a second of one user; 0: no limit."},
    {INT("LIMIT_ROOMS_BURST", limit_rooms_burst, 1, RATE_MAX), .def = "10", .roles = CITY,
     .help = "New rooms of one user at once."},
    {INT("LIMIT_PRESENCE_PER_S", limit_presence_per_s, 0, RATE_MAX), .def = "10", .roles = CITY,
     .help = "Joins, leaves and typing marks a second of one user; 0: no limit."},
    {INT("LIMIT_PRESENCE_BURST", limit_presence_burst, 1, RATE_MAX), .def = "60", .roles = CITY,
     .help = "Joins, leaves and typing marks of one user at once."},
    {INT("LIMIT_SOCKETS_PER_USER", limit_sockets_per_user, 0, RATE_MAX), .def = "50", .roles = CITY,
     .help = "WebSockets of one user in one process; 0: no limit."},
    {INT("LIMIT_GUESTS_PER_S", limit_guests_per_s, 0, RATE_MAX), .def = "1", .roles = AUTH,
     .help = "New guests a second from one address; 0: no limit."},
    {INT("LIMIT_GUESTS_BURST", limit_guests_burst, 1, RATE_MAX), .def = "20", .roles = AUTH,
     .help = "New guests from one address at once."},

    /* Presence. */
    {MS("ROOM_PRESENCE_THROTTLE_MS", room_presence_throttle_ms, 0, MINUTE), .def = "3000",
     .roles = PRESENCE, .help = "A room's presence is published at most once in this time."},
    {MS("PRESENCE_LEASE_MS", presence_lease_ms, 50, DAY), .def = "40s", .roles = PRESENCE,
     .help = "A user is offline this long after the last heartbeat."},
    {MS("PRESENCE_CLOSE_GRACE_MS", presence_close_grace_ms, 0, HOUR), .def = "5s",
     .roles = PRESENCE, .help = "A closed socket leaves its user online for this time."},
    {MS("TYPING_LEASE_MS", typing_lease_ms, 50, HOUR), .def = "6s", .roles = PRESENCE,
     .help = "A typing mark ends after this time."},
    {MS("PRESENCE_SUMMARY_INTERVAL_MS", presence_summary_interval_ms, 10, HOUR), .def = "1s",
     .roles = PRESENCE, .help = "The city's summary is sent at most once in this time."},
    {MS("PRESENCE_LEADER_LEASE_MS", presence_leader_lease_ms, 100, MINUTE), .def = "5s",
     .roles = PRESENCE, .help = "Another presence aggregator leads this long after the last word."},
    {MS("PRESENCE_FORGET_MS", presence_forget_ms, 50, DAY), .def = "1m", .roles = PRESENCE,
     .help = "The bus keeps that a user is offline for this time, an empty room for ten times it."},

    /* The homeserver.  Aliases are the names of the first implementation. */
    {TEXT("SYNAPSE_URL", synapse_url),
     .alias = "MATRIX_GATEWAY_SYNAPSE_URL MATRIX_HS_URL MATRIX_BASE_URL SYNAPSE_ADMIN_URL",
     .flags = DC_OPT_URL, .check = dc_check_http_url, .roles = MATRIX,
     .help = "Matrix homeserver (http://...); unset: rooms of the city alone."},
    {TEXT("MATRIX_SERVER_NAME", matrix_server_name),
     .alias = "MATRIX_GATEWAY_MATRIX_SERVER_NAME MATRIX_HOMESERVER_DOMAIN",
     .check = dc_check_server_name, .roles = MATRIX,
     .help = "The homeserver's server_name: what stands behind the colon of its ids."},
    {TEXT("MATRIX_AS_TOKEN", matrix_as_token), .flags = DC_OPT_SECRET,
     .check = dc_check_header_value, .roles = GATEWAY,
     .help = "as_token of the application service (daarion matrix-config)."},
    {TEXT("MATRIX_HS_TOKEN", matrix_hs_token), .flags = DC_OPT_SECRET,
     .check = dc_check_header_value, .roles = GATEWAY,
     .help = "hs_token: what the homeserver calls us with."},
    {TEXT("SYNAPSE_ADMIN_TOKEN", synapse_admin_token),
     .alias = "MATRIX_GATEWAY_SYNAPSE_ADMIN_TOKEN", .flags = DC_OPT_SECRET,
     .check = dc_check_header_value, .roles = GATEWAY,
     .help = "Access token of an administrator of the homeserver."},
    {TEXT("SYNAPSE_REGISTRATION_SECRET", synapse_registration_secret),
     .alias = "MATRIX_GATEWAY_SYNAPSE_REGISTRATION_SECRET", .flags = DC_OPT_SECRET,
     .roles = GATEWAY, .help = "registration_shared_secret: makes administrators."},
    {TEXT("MATRIX_ROOM_CREATORS", matrix_room_creators), .check = dc_check_matrix_users,
     .roles = GATEWAY, .help = "Further Matrix users whose rooms are the city's, comma-separated."},
    {TEXT("MATRIX_GATEWAY_URL", matrix_gateway_url), .flags = DC_OPT_URL,
     .check = dc_check_http_url, .roles = PRESENCE,
     .help = "matrix-gateway (http://...); unset: none, in `up` itself."},
    {INT("MATRIX_PRESENCE_PER_S", matrix_presence_per_s, 0, 200), .def = "50",
     .roles = "up matrix-presence-aggregator",
     .help = "Presence told to the homeserver, in requests a second; 0: none is."},
    {TEXT("MATRIX_PUBLIC_URL", matrix_public_url), .flags = DC_OPT_URL, .check = dc_check_http_url,
     .roles = CITY, .help = "The homeserver as browsers reach it; unset: SYNAPSE_URL."},
    {MS("MATRIX_TIMEOUT_MS", matrix_timeout_ms, 100, 10 * MINUTE), .def = "10s",
     .roles = "up matrix-gateway city-service matrix-presence-aggregator",
     .help = "Time for what the homeserver is asked, its own pauses included."},
    {MS("MATRIX_CHECK_INTERVAL_MS", matrix_check_interval_ms, 50, HOUR), .def = "15s",
     .roles = GATEWAY, .help = "Pause between two looks at the homeserver."},
    {INT("MATRIX_GATEWAY_PORT", matrix_gateway_port, 0, 65535), .def = "7025",
     .roles = "matrix-gateway", .help = "Port of matrix-gateway run alone, unless PORT is given."},
    {TEXT("MATRIX_ACCESS_TOKEN", matrix_access_token), .flags = DC_OPT_SECRET,
     .check = dc_check_header_value, .roles = SYNC,
     .help = "Token of the presence daemon; unset: Matrix is not heard."},
    {TEXT("MATRIX_USER_ID", matrix_user_id), .check = dc_check_matrix_user, .roles = SYNC,
     .help = "The presence daemon: @presence_daemon:example.org, an ordinary user."},
    {TEXT("CITY_SERVICE_INTERNAL_URL", city_service_url), .alias = "CITY_SERVICE_URL",
     .flags = DC_OPT_URL, .check = dc_check_http_url,
     .roles = "up matrix-gateway matrix-presence-aggregator",
     .help = "city-service (http://...); unset: this process."},
    {MS("SYNC_TIMEOUT_MS", sync_timeout_ms, 100, 10 * MINUTE), .def = "30000", .roles = SYNC,
     .help = "Time for which the homeserver may hold a /sync that has nothing to say."},
    {INT("ROOM_MAPPING_REFRESH_INTERVAL_S", room_mapping_refresh_interval_s, 1, 86400),
     .def = "300", .roles = SYNC,
     .help = "Seconds between two looks at which rooms have a Matrix room."},
    {MS("MATRIX_RESYNC_INTERVAL_MS", matrix_resync_interval_ms, SECOND, DAY), .def = "15m",
     .roles = SYNC, .help = "All that /sync has told is compared with the homeserver so often."},

    /* Limits of the network. */
    {INT("MAX_CONNECTIONS", max_connections, 1, 10000000), .def = "20000",
     .help = "Open connections; more are refused."},
    {INT("LIMIT_CONNECTIONS_PER_ADDRESS", limit_connections_per_address, 0, 10000000),
     .def = "1000",
     .help = "Open connections of one address (IPv6: /64), trusted proxies aside; 0: no limit."},
    {BYTES("MAX_BODY_BYTES", max_body_bytes, KIB, 64 * MIB), .def = "64k",
     .help = "Bytes of a request's body."},
    {BYTES("MAX_FRAME_BYTES", max_frame_bytes, KIB, 64 * MIB), .def = "64k",
     .help = "Bytes of a WebSocket message."},
    {BYTES("MAX_HEAD_BYTES", max_head_bytes, KIB, MIB), .def = "16k",
     .help = "Bytes of a request's head."},
    {MS("HEAD_TIMEOUT_MS", head_timeout_ms, 50, HOUR), .def = "10s",
     .help = "Time to send a request's head."},
    {MS("BODY_TIMEOUT_MS", body_timeout_ms, 50, HOUR), .def = "30s",
     .help = "Time to send a request's body."},
    {MS("KEEPALIVE_TIMEOUT_MS", keepalive_timeout_ms, 50, DAY), .def = "75s",
     .help = "An idle HTTP connection is closed after this time."},
    {MS("WS_IDLE_TIMEOUT_MS", ws_idle_timeout_ms, 50, DAY), .def = "60s",
     .help = "A WebSocket that says nothing is closed after this time."},
    {MS("WS_PING_INTERVAL_MS", ws_ping_interval_ms, 50, DAY), .def = "20s",
     .help = "A quiet WebSocket is pinged after this time."},
    {MS("SHUTDOWN_TIMEOUT_MS", shutdown_timeout_ms, 0, HOUR), .def = "10s",
     .help = "Time to finish work when the program is asked to stop."},
};

const struct dc_opt *dc_options(size_t *count)
{
    *count = DC_ARRAY_LEN(options);
    return options;
}

static bool is_alias(const char *aliases, struct dc_slice name)
{
    struct dc_slice rest = dc_slice_z(aliases);
    struct dc_slice alias;

    while (dc_slice_take_token(&rest, ' ', &alias)) {
        if (dc_slice_eq(alias, name)) {
            return true;
        }
    }
    return false;
}

const struct dc_opt *dc_option_find(struct dc_slice name)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(options); i++) {
        if (dc_slice_eq(dc_slice_z(options[i].name), name) || is_alias(options[i].alias, name)) {
            return &options[i];
        }
    }
    return NULL;
}

/* A star stands for any text, at one end only; what is an option is not reserved. */
static const char *const reserved[] = {
    "SECONDME_*", "LLM_*", "VITE_*", "NEXT_PUBLIC_*", "*_SERVICE_URL",
    /* agents, map, aggregator */
    "USAGE_ENGINE_URL", "DAGI_ROUTER_URL", "POLL_INTERVAL_SECONDS", "ROOMS_SOURCE", "ROOMS_CONFIG",
    "DB_DSN", "PRESENCE_HTTP_HOST", "PRESENCE_HTTP_PORT", "PRESENCE_DAEMON_USER",
    "PRESENCE_AGGREGATOR_URL",
    /* auth */
    "AUTH_DATABASE_URL", "AUTH_JWT_ALGORITHM", "AUTH_PORT", "AUTH_API_URL", "JWT_ALGO",
    "ACCESS_TOKEN_TTL", "REFRESH_TOKEN_TTL", "BCRYPT_ROUNDS",
    /* the web application of the original */
    "INTERNAL_API_URL", "CITY_API_BASE_URL"};

bool dc_option_is_reserved(struct dc_slice name)
{
    if (dc_option_find(name) != NULL) {
        return false;
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(reserved); i++) {
        struct dc_slice pattern = dc_slice_z(reserved[i]);
        struct dc_slice head = pattern;
        struct dc_slice tail = pattern;
        if (dc_slice_take_prefix(&tail, DC_S("*"))) {
            if (dc_slice_ends(name, tail)) {
                return true;
            }
        } else if (dc_slice_ends(pattern, DC_S("*"))) {
            head.len--;
            if (dc_slice_starts(name, head)) {
                return true;
            }
        } else if (dc_slice_eq(name, pattern)) {
            return true;
        }
    }
    return false;
}
