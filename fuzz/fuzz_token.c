/* Tokens from strangers: never crashes, and nothing that was not signed by us passes. */
#include "auth/token.h"
#include "fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dc_tokens *tokens = NULL;
    struct dc_arena arena;
    struct dc_claims claims;
    struct dc_error err = {0};
    const struct dc_utc now = {1800000000000};
    if (dc_tokens_create(DC_S("a secret that no corpus knows"), &tokens, NULL) != DC_OK) {
        abort();
    }
    dc_arena_init(&arena, 256, 0);
    if (dc_tokens_verify(tokens, dc_slice_make(data, size), now, &arena, &claims, &err) !=
        DC_UNAUTHORIZED) {
        abort();
    }
    dc_arena_free(&arena);
    dc_tokens_destroy(tokens);
    return 0;
}
