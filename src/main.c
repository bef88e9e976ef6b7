/* DAARION City: the array of roles, and the door to the commands. */
#include "cli/cli.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    static const struct dc_role *const roles[] = {&dc_role_city, &dc_role_presence_aggregator,
                                                  &dc_role_auth, &dc_role_matrix_gateway, NULL};
    const struct dc_cli cli = {.roles = roles, .program_path = argv[0], .argv = argv};
    return dc_cli_run(&cli, argc, argv, environ);
}
