/* Finding and running the command. */
#include "cli/cli.h"

#include "base/mem.h"

#include <stdio.h>

#define MAX_ROLES 16

static const struct dc_conf_flag flags[] = {
    {"check", "migrate", false},     {"sub", "token", true},   {"name", "token", true},
    {"ttl", "token", true},          {"version", NULL, false}, {"dir", "matrix-config", true},
    {"size", "matrix-config", true},
};

void dc_cli_internal_url(const struct dc_settings *settings, const char *path_z,
                         struct dc_strbuf *out)
{
    bool is_v6 = strchr(settings->internal_host, ':') != NULL;
    dc_strbuf_printf(out, "http://%s%s%s:%lld%s", is_v6 ? "[" : "", settings->internal_host,
                     is_v6 ? "]" : "", (long long)settings->internal_port, path_z);
}

void dc_cli_complain(const struct dc_error *err)
{
    (void)fprintf(stderr, "daarion: %s\n", dc_error_text(err));
}

static const struct dc_role *find_role(const struct dc_cli *cli, struct dc_slice name)
{
    for (size_t i = 0; cli->roles[i] != NULL; i++) {
        if (dc_slice_eq(dc_slice_z(cli->roles[i]->name), name)) {
            return cli->roles[i];
        }
    }
    return NULL;
}

/* --- help --- */

static void help_overview(const struct dc_cli *cli, struct dc_strbuf *out)
{
    dc_strbuf_add(out, DC_S("DAARION City: rooms, people and what happens, in real time.\n\n"
                            "Usage: daarion COMMAND [--option=value …]\n\n"
                            "Commands\n"
                            "  up            the whole city in one process: every role, the web "
                            "application,\n"
                            "                embedded backends unless URLs are given\n"
                            "  ROLE…         the named roles in one process, over shared backends\n"
                            "  config [ROLE] the effective settings and where each came from\n"
                            "  migrate       bring the database to this version (--check: only "
                            "look)\n"
                            "  token         a development token (--sub=u_1 [--name=Name] "
                            "[--ttl=1h])\n"
                            "  matrix-config settings and registration for a Synapse homeserver "
                            "(--dir=DIR)\n"
                            "  backfill      Matrix rooms for the rooms of a running city that "
                            "have none\n"
                            "  healthcheck   ask a running process whether it is ready\n"
                            "  help          this text; `daarion COMMAND --help` for more\n\n"
                            "Roles\n"));
    for (size_t i = 0; cli->roles[i] != NULL; i++) {
        dc_strbuf_printf(out, "  %-28s %5u  %s\n", cli->roles[i]->name,
                         (unsigned)cli->roles[i]->port, cli->roles[i]->summary);
    }
    dc_strbuf_add(out, DC_S("\nSettings come from --options, the environment, NAME_FILE files and "
                            "defaults, in this order.\n"
                            "`daarion up --help` lists them.\n"));
}

void dc_cli_help(const struct dc_cli *cli, const char *command_z, struct dc_strbuf *out)
{
    struct dc_slice command = dc_slice_z(command_z);
    const struct dc_role *role = find_role(cli, command);
    if (role != NULL) {
        dc_strbuf_printf(out, "daarion %s: %s\n\nUsage: daarion %s [--option=value …]\n",
                         role->name, role->summary, role->name);
        dc_strbuf_add(out, DC_S("\nSettings\n"));
        dc_conf_help(role->name, role->port, out);
    } else if (dc_slice_eq(command, DC_S("up"))) {
        dc_strbuf_add(out,
                      DC_S("daarion up: the whole city in one process.\n\n"
                           "Without DATABASE_URL it keeps its data in DATA_DIR (SQLite); the "
                           "secrets it needs are made once\nand kept there too.\n\nSettings\n"));
        dc_conf_help(NULL, 0, out);
    } else if (dc_slice_eq(command, DC_S("config"))) {
        dc_strbuf_add(out, DC_S("daarion config [ROLE]: what is in force for `up`, or for a role "
                                "run alone, and where each\nvalue came from. Secrets are hidden; "
                                "nothing is made or changed.\n"));
    } else if (dc_slice_eq(command, DC_S("token"))) {
        dc_strbuf_add(out,
                      DC_S("daarion token: prints an access token for development.\n\n"
                           "  --sub=ID     whose token it is (required)\n"
                           "  --name=TEXT  the name that others see\n"
                           "  --ttl=TIME   how long it is valid, e.g. 30m, 12h, 7d (1h)\n\n"
                           "Signed with JWT_SECRET, or with the secret that `daarion up` keeps in "
                           "DATA_DIR.\n"));
    } else if (dc_slice_eq(command, DC_S("migrate"))) {
        dc_strbuf_add(out, DC_S("daarion migrate: applies what is missing of migrations/.\n\n"
                                "  --check  apply nothing; exit 1 when something is pending\n\n"
                                "The database is DATABASE_URL, or the SQLite file in DATA_DIR.\n"));
    } else if (dc_slice_eq(command, DC_S("matrix-config"))) {
        dc_strbuf_add(out,
                      DC_S("daarion matrix-config: writes what Synapse and the city need to know "
                           "of each other.\n\n"
                           "  --dir=DIR                    where to; else matrix/ in DATA_DIR\n"
                           "  --matrix-server-name=NAME    server_name of homeserver.yaml "
                           "(required)\n"
                           "  --synapse-url=URL            for the city's own file\n"
                           "  --matrix-gateway-url=URL     where Synapse reaches matrix-gateway; "
                           "else\n"
                           "                               http://127.0.0.1:8081, `daarion up` "
                           "on its machine\n"
                           "  --size=PEOPLE                presence of a city of this size: "
                           "daarion-presence.yaml\n\n"
                           "daarion-homeserver.yaml goes beside Synapse's own configuration (-c "
                           "twice),\nmatrix-gateway.env into the environment of that role. "
                           "Secrets are random, files\nhave mode 0600, nothing is overwritten but "
                           "daarion-presence.yaml: begun again with\n--size, it asks the running "
                           "city for its rooms and makes that file anew.\n"));
    } else if (dc_slice_eq(command, DC_S("backfill"))) {
        dc_strbuf_add(out,
                      DC_S("daarion backfill: gives every room of a running city its Matrix "
                           "room.\n\n"
                           "Asks the city at INTERNAL_HOST:INTERNAL_PORT, with INTERNAL_API_KEY or "
                           "the key in DATA_DIR.\nRooms are found by their alias or made; begun "
                           "again after an interruption, it makes\nnothing twice.\n\n"
                           "Exit 0: every room has one. 1: some do not (a line each), or nobody "
                           "answers.\n"));
    } else if (dc_slice_eq(command, DC_S("healthcheck"))) {
        dc_strbuf_add(out, DC_S("daarion healthcheck: asks INTERNAL_HOST:INTERNAL_PORT for /readyz "
                                "and prints the answer.\n\nExit 0: ready or degraded. 1: not "
                                "ready, or nobody answers.\n"));
    } else {
        help_overview(cli, out);
    }
}

static int print(struct dc_strbuf *out)
{
    bool ok = dc_strbuf_ok(out) && fwrite(out->ptr, 1, out->len, stdout) == out->len &&
              fflush(stdout) == 0;
    dc_strbuf_free(out);
    return ok ? DC_EXIT_OK : DC_EXIT_FAILED;
}

/* --- commands --- */

static int usage(const char *text, const char *what)
{
    (void)fprintf(stderr, "daarion: %s%s; `daarion help` lists the commands\n", text, what);
    return DC_EXIT_USAGE;
}

/* A role alone listens on its own port. */
static enum dc_status set_role_port(struct dc_conf *conf, const struct dc_role *role,
                                    struct dc_error *err)
{
    char text[8];
    if (dc_conf_is_given(conf, "PORT")) {
        return DC_OK;
    }
    /* The one role whose specification gives its port a name of its own. */
    int64_t port =
        role == &dc_role_matrix_gateway ? dc_conf_settings(conf)->matrix_gateway_port : role->port;
    int n = snprintf(text, sizeof(text), "%d", (int)port);
    DC_ASSERT(n > 0 && (size_t)n < sizeof(text));
    return dc_conf_set(conf, "PORT", text, role->name, err);
}

static int serve_roles(const struct dc_cli *cli, struct dc_conf *conf)
{
    const struct dc_role *roles[MAX_ROLES];
    struct dc_error err = {0};
    size_t n = dc_conf_positional_count(conf);
    DC_ASSERT(n > 0); /* the command was one */
    if (n > MAX_ROLES) {
        return usage("too many roles", "");
    }
    for (size_t i = 0; i < n; i++) {
        roles[i] = find_role(cli, dc_slice_z(dc_conf_positional(conf, i)));
        if (roles[i] == NULL) {
            return usage("unknown command or role: ", dc_conf_positional(conf, i));
        }
        for (size_t k = 0; k < i; k++) {
            if (roles[k] == roles[i]) {
                return usage("a role is named twice: ", roles[i]->name);
            }
        }
    }
    if (set_role_port(conf, roles[0], &err) != DC_OK) {
        dc_cli_complain(&err);
        return DC_EXIT_CONFIG;
    }
    return dc_cli_serve(cli, conf, roles, n, false);
}

static int serve_up(const struct dc_cli *cli, struct dc_conf *conf)
{
    size_t n = 0;
    while (cli->roles[n] != NULL) {
        n++;
    }
    return dc_cli_serve(cli, conf, cli->roles, n, true);
}

/* Shows a directory that is not set as the process will find it. */
static enum dc_status show_dir(const struct dc_cli *cli, struct dc_conf *conf, const char *name,
                               const char *value, const char *in_tree_z, const char *installed_z,
                               struct dc_error *err)
{
    struct dc_strbuf dir = {0};
    enum dc_status st = DC_OK;
    if (value == NULL) {
        dc_cli_find_dir(cli, NULL, in_tree_z, installed_z, &dir);
        if (dc_cli_is_dir(dir.ptr)) {
            st = dc_conf_set(conf, name, dir.ptr, "found beside the program", err);
        }
        dc_strbuf_free(&dir);
    }
    return st;
}

/* role NULL: `up`. */
static enum dc_status resolve_config(const struct dc_cli *cli, struct dc_conf *conf,
                                     const struct dc_role *role, struct dc_error *err)
{
    const struct dc_settings *s = dc_conf_settings(conf);
    enum dc_status st =
        show_dir(cli, conf, "MIGRATIONS_DIR", s->migrations_dir, DC_MIGRATIONS_DIRS, err);
    if (st == DC_OK && role == NULL) {
        st = show_dir(cli, conf, "WEB_DIR", s->web_dir, DC_WEB_DIRS, err);
    }
    if (st == DC_OK) {
        st = role == NULL ? dc_cli_read_secrets(conf, err) : set_role_port(conf, role, err);
    }
    return st;
}

static int print_config(const struct dc_cli *cli, struct dc_conf *conf)
{
    const char *name = dc_conf_positional(conf, 1);
    const struct dc_role *role = NULL;
    struct dc_error err = {0};
    struct dc_strbuf out = {0};
    if (dc_conf_positional_count(conf) > 2) {
        return usage("unexpected argument: ", dc_conf_positional(conf, 2));
    }
    if (name != NULL && strcmp(name, "up") != 0) {
        role = find_role(cli, dc_slice_z(name));
        if (role == NULL) {
            return usage("unknown role: ", name);
        }
    }
    for (size_t i = 0; i < dc_conf_warning_count(conf); i++) {
        (void)fprintf(stderr, "daarion: warning: %s\n", dc_conf_warning(conf, i));
    }
    if (resolve_config(cli, conf, role, &err) != DC_OK) {
        dc_cli_complain(&err);
        return DC_EXIT_CONFIG;
    }
    dc_conf_print(conf, role == NULL ? "up" : role->name, &out);
    return print(&out);
}

static int run_command(const struct dc_cli *cli, struct dc_conf *conf)
{
    struct dc_slice command = dc_slice_z(dc_conf_positional(conf, 0));
    if (dc_slice_eq(command, DC_S("up"))) {
        return dc_conf_positional_count(conf) == 1 ? serve_up(cli, conf)
                                                   : usage("`up` runs every role already", "");
    }
    if (find_role(cli, command) != NULL) {
        return serve_roles(cli, conf);
    }
    if (dc_slice_eq(command, DC_S("config"))) {
        return print_config(cli, conf);
    }
    if (dc_conf_positional_count(conf) > 1) {
        return usage("unexpected argument: ", dc_conf_positional(conf, 1));
    }
    if (dc_slice_eq(command, DC_S("migrate"))) {
        return dc_cli_migrate(cli, conf, dc_conf_flag(conf, "check") != NULL);
    }
    if (dc_slice_eq(command, DC_S("token"))) {
        return dc_cli_token(conf, dc_conf_flag(conf, "sub"), dc_conf_flag(conf, "name"),
                            dc_conf_flag(conf, "ttl"));
    }
    if (dc_slice_eq(command, DC_S("matrix-config"))) {
        return dc_cli_matrix_config(conf, dc_conf_flag(conf, "dir"), dc_conf_flag(conf, "size"));
    }
    if (dc_slice_eq(command, DC_S("backfill"))) {
        return dc_cli_backfill(conf);
    }
    if (dc_slice_eq(command, DC_S("healthcheck"))) {
        return dc_cli_healthcheck(conf);
    }
    return usage("unknown command or role: ", dc_conf_positional(conf, 0));
}

int dc_cli_run(const struct dc_cli *cli, int argc, char **argv, char **environ_z)
{
    struct dc_conf *conf = NULL;
    struct dc_error err = {0};
    struct dc_strbuf out = {0};
    if (dc_conf_load(environ_z, argc, argv, flags, DC_ARRAY_LEN(flags), &conf, &err) != DC_OK) {
        dc_cli_complain(&err);
        return DC_EXIT_CONFIG;
    }
    int exit_code;
    const char *command_z = dc_conf_positional(conf, 0);
    if (dc_conf_flag(conf, "version") != NULL) {
        dc_strbuf_add(&out, DC_S("daarion " DC_VERSION "\n"));
        exit_code = print(&out);
    } else if (command_z != NULL && strcmp(command_z, "help") == 0) {
        dc_cli_help(cli, dc_conf_positional(conf, 1), &out);
        exit_code = print(&out);
    } else if (dc_conf_wants_help(conf)) {
        dc_cli_help(cli, command_z, &out);
        exit_code = print(&out);
    } else if (command_z == NULL) {
        exit_code = usage("a command is missing", "");
    } else {
        exit_code = run_command(cli, conf);
    }
    dc_conf_destroy(conf);
    return exit_code;
}
