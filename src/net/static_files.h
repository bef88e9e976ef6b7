/* Static files of the web application: read into memory at start (a few MB), served with ETag
 * (content hash), If-None-Match, Cache-Control (hashed assets: one year, immutable; the rest:
 * no-cache), .br and .gz twins by Accept-Encoding, SPA fallback: GET of an unknown path without a
 * file extension, that accepts text/html, gets index.html.  Unknown paths under the API prefixes
 * (/api, /ws, /presence, /internal, /living-map) stay 404 in JSON.  Security headers: CSP, nosniff,
 * referrer policy. */
#ifndef DC_NET_STATIC_FILES_H
#define DC_NET_STATIC_FILES_H

#include "net/http.h"

struct dc_static_files;
/* Reads dir (recursively, no symbolic links, at most 64 MiB).  DC_NOT_FOUND when dir has no
 * index.html. */
DC_MUST_USE enum dc_status dc_static_files_load(const char *dir_z, struct dc_static_files **out,
                                                struct dc_error *err);
void dc_static_files_destroy(struct dc_static_files *f);
/* A dc_http_handler; ctx is the struct dc_static_files. */
void dc_static_files_serve(void *ctx, struct dc_http_request *r);

#endif
