/* Configuration: one table of options for the whole program (DESIGN §2, §8).  Sources, strongest
 * first: command line (--name=value), environment (NAME), file named by NAME_FILE (secrets and
 * URLs), default.  --help, validation, `daarion config` and the warnings about misspelt names come
 * from the table (options.c).  Built once by main, const afterwards. */
#ifndef DC_CONF_CONF_H
#define DC_CONF_CONF_H

#include "base/slice.h"
#include "base/status.h"
#include "base/strbuf.h"
#include <stdint.h>

enum dc_opt_type {
    DC_OPT_TEXT, /* const char *; NULL when unset and without default */
    DC_OPT_INT,  /* int64_t, min..max */
    DC_OPT_BOOL, /* yes/no, true/false, on/off, 1/0 */
    DC_OPT_ENUM, /* const char *, one of the words in .values "a|b|c" */
    DC_OPT_MS,   /* int64_t milliseconds; a bare number is ms, units ms s m h d */
    DC_OPT_BYTES /* int64_t bytes; a bare number is bytes, units k M G (1024) */
};
enum dc_opt_flag {
    DC_OPT_SECRET = 1,   /* never printed; NAME_FILE is read too */
    DC_OPT_INTERNAL = 2, /* not in --help: knobs for tests */
    DC_OPT_URL = 4,      /* printed with its password masked; NAME_FILE is read too */
};

struct dc_opt {
    const char *name;  /* environment name, e.g. "ROOM_PRESENCE_THROTTLE_MS" */
    const char *alias; /* further accepted names, blank-separated, or NULL */
    enum dc_opt_type type;
    unsigned flags;
    size_t offset;   /* in struct dc_settings */
    const char *def; /* text form or NULL */
    int64_t min, max;
    const char *values; /* DC_OPT_ENUM */
    /* Further demands on a DC_OPT_TEXT: NULL, or what is wrong ("is not ..."), static. */
    const char *(*check)(struct dc_slice text);
    const char *roles; /* blank-separated role names that show it in ROLE --help; NULL: all */
    const char *help;  /* one sentence */
};

/* All values of the program. Fields are added with their row in options.c. */
struct dc_settings {
    const char *host;
    int64_t port;
    const char *internal_host;
    int64_t internal_port;
    int64_t workers;
    int64_t worker;      /* 1..workers; 0: the parent, or alone */
    int64_t worker_port; /* the public port that all workers share */
    const char *trusted_proxies;
    const char *data_dir;
    const char *web_dir;
    const char *migrations_dir;
    const char *database_url;
    const char *redis_url;
    const char *redis_password;
    const char *redis_tls_ca_file;
    const char *redis_tls_cert_file;
    const char *redis_tls_key_file;
    const char *nats_url;
    int64_t nats_replicas;
    const char *nats_credentials_file;
    const char *nats_tls_ca_file;
    const char *nats_tls_cert_file;
    const char *nats_tls_key_file;
    int64_t db_pool_size;
    int64_t db_deadline_ms;
    bool migrate_at_start;
    const char *jwt_secret;
    const char *internal_api_key;
    const char *auth_mode; /* required|open */
    bool auth_open_on_public;
    int64_t guest_token_ttl_ms;
    const char *log_format;   /* auto|json|text */
    const char *log_level;    /* debug|info|warn|error */
    const char *cors_origins; /* comma-separated, or "*" */
    const char *city_default_rooms;
    int64_t room_presence_throttle_ms;
    int64_t presence_lease_ms;
    int64_t presence_close_grace_ms;
    int64_t typing_lease_ms;
    int64_t presence_summary_interval_ms;
    int64_t presence_leader_lease_ms;
    int64_t presence_forget_ms;
    const char *synapse_url;
    const char *matrix_server_name;
    const char *matrix_as_token;
    const char *matrix_hs_token;
    const char *synapse_admin_token;
    const char *synapse_registration_secret;
    const char *matrix_room_creators;
    int64_t matrix_timeout_ms;
    int64_t matrix_check_interval_ms;
    int64_t matrix_gateway_port;
    const char *matrix_gateway_url;
    int64_t matrix_presence_per_s;
    const char *matrix_public_url;
    const char *matrix_access_token;
    const char *matrix_user_id;
    const char *city_service_url;
    int64_t sync_timeout_ms;
    int64_t room_mapping_refresh_interval_s;
    int64_t matrix_resync_interval_ms;
    int64_t max_connections;
    int64_t max_body_bytes;
    int64_t max_frame_bytes;
    int64_t max_head_bytes;
    int64_t max_message_chars;
    int64_t head_timeout_ms;
    int64_t body_timeout_ms;
    int64_t keepalive_timeout_ms;
    int64_t ws_idle_timeout_ms;
    int64_t ws_ping_interval_ms;
    int64_t stream_queue_bytes; /* lossless lane: kept per room for slow readers */
    int64_t shutdown_timeout_ms;
    int64_t limit_messages_per_s, limit_messages_burst;
    int64_t limit_guests_per_s, limit_guests_burst;
    int64_t limit_rooms_per_s, limit_rooms_burst;
    int64_t limit_presence_per_s, limit_presence_burst;
    int64_t limit_sockets_per_user;        /* 0: no limit */
    int64_t limit_connections_per_address; /* 0: no limit */
};

struct dc_conf;

/* An option that belongs to a command and not to the settings: `daarion token --sub=u_1`. */
struct dc_conf_flag {
    const char *name;    /* without dashes: "sub" */
    const char *command; /* the first positional argument it goes with; NULL: any */
    bool has_value;      /* --sub=u_1 or --sub u_1; else just --check */
};

/* environ_z (NULL: none) and argv are borrowed for the call; texts are copied.  argv[0] is skipped.
 * - Settings: --option=value or --option value, where option is a name of the table in lower case
 *   with dashes (also its NAME_FILE).  A DC_OPT_BOOL may stand alone: yes.  The last one counts.
 *   `--option=` goes back to the default.  Empty environment variables count as unset.
 * - flags: flag_count further options, asked for with dc_conf_flag().
 * - Everything else without a leading dash, and all behind `--`, is positional.
 * - With --help or -h in front of `--` nothing is validated or read: the settings are the defaults,
 *   and only positional arguments and dc_conf_wants_help() are of use.
 * Wrong values, unknown options, an unreadable file: DC_CONFIG naming the setting; *out is then
 * NULL.  Secrets never stand in the error. */
DC_MUST_USE enum dc_status dc_conf_load(char *const *environ_z, int argc, char *const *argv,
                                        const struct dc_conf_flag *flags, size_t flag_count,
                                        struct dc_conf **out, struct dc_error *err);
/* Wipes all values. NULL is allowed. */
void dc_conf_destroy(struct dc_conf *c);
const struct dc_settings *dc_conf_settings(const struct dc_conf *c);
/* Sets a value made at start (the secrets of `up`, the port of a role), shown as coming from
 * source_z (copied).  DC_CONFIG as for dc_conf_load(); then nothing has changed.  Texts taken from
 * the settings before are gone when their option is set. */
DC_MUST_USE enum dc_status dc_conf_set(struct dc_conf *c, const char *name, const char *value,
                                       const char *source_z, struct dc_error *err);
/* Somebody gave this option a value: it does not come from the table's default. */
bool dc_conf_is_given(const struct dc_conf *c, const char *name);

bool dc_conf_wants_help(const struct dc_conf *c);
size_t dc_conf_positional_count(const struct dc_conf *c);
/* NULL when i is too large. */
const char *dc_conf_positional(const struct dc_conf *c, size_t i);
/* NULL: not given; "" for one without value. */
const char *dc_conf_flag(const struct dc_conf *c, const char *name);

/* `daarion config`: NAME=value and where each came from (default, environment, file PATH, command
 * line, or the source_z of dc_conf_set), in the order of the table; secrets and what has no value
 * as (set) or (unset), URLs without passwords.  role NULL: all that --help shows. */
void dc_conf_print(const struct dc_conf *c, const char *role, struct dc_strbuf *out);
/* Rows for --help; role NULL: all.  port: the default of PORT, where it is another than the
 * table's; else 0. */
void dc_conf_help(const char *role, uint16_t port, struct dc_strbuf *out);
/* Appends a URL (or a list of them) with `***` for passwords and tokens; when in doubt it hides too
 * much.  Also for logs. */
void dc_conf_mask_url(struct dc_slice url, struct dc_strbuf *out);
/* Warnings found while loading, one line each without a newline: unknown DAARION_ names, names that
 * look like a misspelt option (one edit from names of 6 or more characters, two from 8; a missing
 * unit), secrets that others can read. */
size_t dc_conf_warning_count(const struct dc_conf *c);
/* NULL when i is too large. */
const char *dc_conf_warning(const struct dc_conf *c, size_t i);

#endif
