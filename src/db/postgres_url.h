/* Connection settings of PostgreSQL from a URL, for the driver and for migrations. */
#ifndef DC_DB_POSTGRES_URL_H
#define DC_DB_POSTGRES_URL_H

#include "base/status.h"

#define DC_PG_MAX_SETTINGS 64

/* Arrays for PQconnectStartParams; owned. */
struct dc_pg_url {
    char *keywords[DC_PG_MAX_SETTINGS + 1];
    char *values[DC_PG_MAX_SETTINGS + 1];
    size_t n;
};

/* postgresql://… or postgres://…; anything else is DC_CONFIG, with a text that does not repeat the
 * URL, as that holds a password, nor names the setting: dc_pg_name_setting() does. */
DC_MUST_USE enum dc_status dc_pg_url_parse(const char *url, struct dc_pg_url *out,
                                           struct dc_error *err);
void dc_pg_url_set(struct dc_pg_url *u, const char *keyword, const char *value);
/* Only if the URL does not say. */
void dc_pg_url_default(struct dc_pg_url *u, const char *keyword, const char *value);
/* Sets a server setting for the session, after those that the URL asks for. */
void dc_pg_url_add_option(struct dc_pg_url *u, const char *name, const char *value);
/* Wipes the values. */
void dc_pg_url_free(struct dc_pg_url *u);

/* Puts the name of the setting in front of the text of a DC_CONFIG; returns st. */
enum dc_status dc_pg_name_setting(enum dc_status st, struct dc_error *err);

/* The five characters of SQLSTATE in a message written with PQERRORS_VERBOSE, "" if there are none.
 * libpq has no other way to tell why a connection was refused. */
void dc_pg_sqlstate_of_message(const char *message, char out[6]);
/* Trying again cannot help: wrong password, not allowed, no such database. */
bool dc_pg_is_config_problem(const char *sqlstate);
/* The first line of a message of libpq; cut at size. */
void dc_pg_first_line(const char *message, char *out, size_t size);

#endif
