/* What an operator gives to Synapse and to the city so that they know each other: made once, with
 * random secrets, the same in every run otherwise.
 *
 *   daarion-homeserver.yaml   settings of Synapse, to be given beside its own homeserver.yaml
 *                             (synapse accepts --config-path several times)
 *   daarion-appservice.yaml   the registration of the city as an application service
 *   matrix-gateway.env        the same secrets for the environment of that role, and of no other
 *
 * All have mode 0600.  Nothing is ever overwritten. */
#ifndef DC_MATRIX_CONFIG_FILES_H
#define DC_MATRIX_CONFIG_FILES_H

#include "base/random.h"
#include "base/status.h"
#include "base/strbuf.h"

#define DC_MATRIX_SENDER_LOCALPART "daarion-city"
#define DC_MATRIX_SERVICE_ID       "daarion"

struct dc_matrix_config {
    const char *dir_z;           /* made with mode 0700 if missing */
    struct dc_slice server_name; /* MATRIX_SERVER_NAME */
    struct dc_slice synapse_url; /* for matrix-gateway.env; empty: http://127.0.0.1:8008 */
    /* Where Synapse reaches matrix-gateway; empty: http://127.0.0.1:8081, the internal listener of
     * `up`. */
    struct dc_slice gateway_url;
    const struct dc_random *random; /* NULL: the operating system */
};

/* Writes the three files, or none.  DC_CONFLICT when one of them is there already, DC_CONFIG when
 * the directory cannot be written to; err names the path.  Appends the paths to *report, a line
 * each. */
DC_MUST_USE enum dc_status dc_matrix_config_write(const struct dc_matrix_config *config,
                                                  struct dc_strbuf *report, struct dc_error *err);

#endif
