/* The commands of the binary: `daarion up`, `daarion ROLE…`, config, migrate, token, healthcheck.
 * Each returns the exit code of the process: 0, 1 (failed), 64 (wrong usage), 78 (wrong
 * configuration), as in sysexits.h. */
#ifndef DC_CLI_CLI_H
#define DC_CLI_CLI_H

#include "conf/conf.h"
#include "roles/role.h"

enum dc_exit { DC_EXIT_OK = 0, DC_EXIT_FAILED = 1, DC_EXIT_USAGE = 64, DC_EXIT_CONFIG = 78 };

/* The roles of this binary, NULL-terminated; owned by main.c. */
struct dc_cli {
    const struct dc_role *const *roles;
    const char *program_path; /* argv[0], to find migrations and the web application */
    char **argv;              /* NULL-terminated; workers get the same */
};

/* Everything between main and the commands: loads the configuration, finds the command. */
int dc_cli_run(const struct dc_cli *cli, int argc, char **argv, char **environ_z);

/* Runs roles until a signal stops them. is_combined: `up`. */
int dc_cli_serve(const struct dc_cli *cli, struct dc_conf *conf, const struct dc_role *const *roles,
                 size_t n_roles, bool is_combined);
int dc_cli_migrate(const struct dc_cli *cli, struct dc_conf *conf, bool check_only);
int dc_cli_token(struct dc_conf *conf, const char *sub_z, const char *name_z, const char *ttl_z);
/* dir_z NULL: DATA_DIR/matrix. size_z NULL: nothing about the size of the city. */
int dc_cli_matrix_config(struct dc_conf *conf, const char *dir_z, const char *size_z);
/* POST /internal/city/matrix/backfill of the internal listener, until it is done. */
int dc_cli_backfill(struct dc_conf *conf);
/* GET /readyz of the internal listener. */
int dc_cli_healthcheck(struct dc_conf *conf);

/* The Matrix rooms of the city at INTERNAL_HOST:INTERNAL_PORT; free *rooms in any case. */
struct dc_cli_rooms {
    struct dc_arena arena;
    struct dc_slice *ids;
    size_t n;
};
DC_MUST_USE enum dc_status dc_cli_fetch_rooms(struct dc_conf *conf, struct dc_cli_rooms *rooms,
                                              struct dc_error *err);
void dc_cli_rooms_free(struct dc_cli_rooms *rooms);
/* Appends http://INTERNAL_HOST:INTERNAL_PORT and the path, without a NUL. */
void dc_cli_internal_url(const struct dc_settings *settings, const char *path_z,
                         struct dc_strbuf *out);

void dc_cli_help(const struct dc_cli *cli, const char *command_z, struct dc_strbuf *out);

/* JWT_SECRET and INTERNAL_API_KEY of `up`: made once and kept in DATA_DIR with mode 0600, unless
 * the configuration gives them.  Processes that start at the same time agree on one. DC_CONFIG: a
 * file cannot be read or written, or is not what was once written. */
DC_MUST_USE enum dc_status dc_cli_ensure_secrets(struct dc_conf *conf, struct dc_error *err);
/* Takes those that are there already and makes nothing; what is damaged is DC_CONFIG. */
DC_MUST_USE enum dc_status dc_cli_read_secrets(struct dc_conf *conf, struct dc_error *err);
/* DATA_DIR exists (mode 0700 when made) and can be written. */
DC_MUST_USE enum dc_status dc_cli_ensure_data_dir(const struct dc_settings *settings,
                                                  struct dc_error *err);
/* DATA_DIR belongs to one process at a time: *fd holds it until it is closed, at the latest by the
 * kernel when the process ends in whatever way.  DC_CONFIG: another one has it. */
DC_MUST_USE enum dc_status dc_cli_lock_data_dir(const struct dc_settings *settings, int *fd,
                                                struct dc_error *err);
/* DATA_DIR/daarion.sqlite; appends a path with NUL behind it. */
void dc_cli_sqlite_path(const struct dc_settings *settings, struct dc_strbuf *out);
/* MIGRATIONS_DIR or WEB_DIR, or what lies beside the binary (build/daarion -> ../migrations,
 * ../web/dist; /usr/bin/daarion -> ../share/daarion/…). Appends a path with NUL behind it. */
void dc_cli_find_dir(const struct dc_cli *cli, const char *configured_z, const char *in_tree_z,
                     const char *installed_z, struct dc_strbuf *out);
#define DC_MIGRATIONS_DIRS "../migrations", "../share/daarion/migrations"
#define DC_WEB_DIRS        "../web/dist", "../share/daarion/web"
bool dc_cli_is_dir(const char *path);
/* One line on stderr for a failure at start: "daarion: …". */
void dc_cli_complain(const struct dc_error *err);

#endif
