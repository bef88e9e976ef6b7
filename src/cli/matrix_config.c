/* `daarion matrix-config`: files for Synapse and for the city (matrix/config_files.h). */
#include "base/mem.h"
#include "cli/cli.h"
#include "matrix/config_files.h"

#include <errno.h>
#include <stdio.h>

int dc_cli_matrix_config(struct dc_conf *conf, const char *dir_z)
{
    const struct dc_settings *s = dc_conf_settings(conf);
    struct dc_strbuf dir = {0};
    struct dc_strbuf report = {0};
    struct dc_error err = {0};
    enum dc_status st = DC_OK;
    if (s->matrix_server_name == NULL) {
        (void)fputs("daarion: matrix-config needs --matrix-server-name=NAME, the server_name of "
                    "homeserver.yaml\n",
                    stderr);
        return DC_EXIT_USAGE;
    }
    if (dir_z == NULL) {
        st = dc_cli_ensure_data_dir(s, &err);
        dc_strbuf_add_z(&dir, s->data_dir);
        dc_strbuf_add(&dir, DC_S("/matrix"));
    } else {
        dc_strbuf_add_z(&dir, dir_z);
    }
    dc_strbuf_add_char(&dir, '\0');
    DC_ASSERT(dc_strbuf_ok(&dir)); /* small, at start */
    if (st == DC_OK) {
        const struct dc_matrix_config config = {.dir_z = dir.ptr,
                                                .server_name = dc_slice_z(s->matrix_server_name),
                                                .synapse_url = dc_slice_z(s->synapse_url)};
        st = dc_matrix_config_write(&config, &report, &err);
    }
    if (st == DC_OK &&
        (printf("%.*s", DC_SLICE_ARG(dc_strbuf_slice(&report))) < 0 || fflush(stdout) != 0)) {
        st = dc_fail(&err, DC_INTERNAL, errno, "cannot print: %s", dc_errno_text(errno));
    }
    if (st != DC_OK) {
        dc_cli_complain(&err);
    }
    dc_strbuf_free(&dir);
    dc_strbuf_free(&report);
    return st == DC_OK ? DC_EXIT_OK : st == DC_CONFIG ? DC_EXIT_CONFIG : DC_EXIT_FAILED;
}
