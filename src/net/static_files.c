/* See static_files.h.  Everything is in memory, so a request is a map lookup and one shared buffer;
 * no path of a request ever reaches the file system. */
#include "net/static_files.h"
#include "base/encoding.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TOTAL_BYTES ((size_t)64 * 1024 * 1024)
#define MAX_DEPTH       16
#define ETAG_HASH_BYTES 12

enum coding { CODING_NONE, CODING_BR, CODING_GZ, CODING_COUNT };

struct version {
    struct dc_blob *blob;                   /* NULL: there is none */
    char etag[ETAG_HASH_BYTES * 2 + 2 + 1]; /* with quotes */
};

struct file {
    struct dc_slice path; /* "/assets/index-abc.js"; the map's key */
    struct version versions[CODING_COUNT];
    const char *type_z;
    bool is_hashed; /* its name changes with its content */
    char bytes[];
};

struct dc_static_files {
    struct dc_map files;
    size_t total_bytes;
    const struct file *index;
};

/* --- names --- */

static const struct {
    const char *suffix_z, *type_z;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".webmanifest", "application/manifest+json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".jpg", "image/jpeg"},
    {".jpeg", "image/jpeg"},
    {".webp", "image/webp"},
    {".avif", "image/avif"},
    {".gif", "image/gif"},
    {".ico", "image/x-icon"},
    {".woff2", "font/woff2"},
    {".woff", "font/woff"},
    {".ttf", "font/ttf"},
    {".wasm", "application/wasm"},
    {".txt", "text/plain; charset=utf-8"},
    {".xml", "application/xml"},
    {".pdf", "application/pdf"},
    {".mp3", "audio/mpeg"},
    {".mp4", "video/mp4"},
};

static const char *type_of(struct dc_slice path)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(types); i++) {
        if (dc_slice_ends(path, dc_slice_z(types[i].suffix_z))) {
            return types[i].type_z;
        }
    }
    return "application/octet-stream";
}

/* The part behind the last '/'. */
static struct dc_slice base_name(struct dc_slice path)
{
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '/') {
        at--;
    }
    return dc_slice_make(path.ptr + at, path.len - at);
}

/* What the bundler writes: "/assets/name-XXXXXXXX.ext" with eight characters of a hash. */
static bool is_hashed_name(struct dc_slice path)
{
    if (!dc_slice_starts(path, DC_S("/assets/"))) {
        return false;
    }
    struct dc_slice name = base_name(path);
    /* The hash itself may hold a dash: look for the one eight characters before a dot. */
    for (size_t i = 0; i + 9 < name.len; i++) {
        if (name.ptr[i] == '-' && name.ptr[i + 9] == '.') {
            return true;
        }
    }
    return false;
}

static bool is_under(struct dc_slice path, struct dc_slice prefix)
{
    return dc_slice_starts(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

static bool is_api_path(struct dc_slice path)
{
    return is_under(path, DC_S("/api")) || is_under(path, DC_S("/ws")) ||
           is_under(path, DC_S("/presence")) || is_under(path, DC_S("/internal")) ||
           is_under(path, DC_S("/living-map"));
}

/* --- loading --- */

static void file_free(struct file *f)
{
    for (size_t i = 0; i < CODING_COUNT; i++) {
        dc_blob_unref(f->versions[i].blob);
    }
    dc_free(f);
}

/* NULL: *st says why. */
static struct dc_blob *read_blob(int fd, const char *name_z, size_t size, enum dc_status *st,
                                 struct dc_error *err)
{
    struct dc_blob *blob = dc_blob_create(size);
    if (blob == NULL) {
        *st = dc_fail(err, DC_NO_MEMORY, 0, "no memory for %s", name_z);
        return NULL;
    }
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, blob->data + done, size - done);
        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            int cause = n == 0 ? 0 : errno;
            dc_blob_unref(blob);
            *st = dc_fail(err, DC_CONFIG, cause, "cannot read %s: %s", name_z,
                          n == 0 ? "it became shorter" : dc_errno_text(cause));
            return NULL;
        }
        done += (size_t)n;
    }
    return blob;
}

static enum dc_status make_etag(struct version *v, struct dc_error *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    if (EVP_Digest(v->blob->data, v->blob->len, hash, NULL, EVP_sha256(), NULL) != 1) {
        return dc_fail(err, DC_INTERNAL, 0, "cannot compute SHA-256");
    }
    struct dc_strbuf hex = {0};
    dc_hex_encode(&hex, dc_slice_make(hash, ETAG_HASH_BYTES));
    int n = dc_strbuf_ok(&hex)
                ? snprintf(v->etag, sizeof v->etag, "\"%.*s\"", DC_SLICE_ARG(dc_strbuf_slice(&hex)))
                : -1;
    dc_strbuf_free(&hex);
    return n == (int)sizeof v->etag - 1 ? DC_OK : dc_fail(err, DC_NO_MEMORY, 0, "no memory");
}

static struct file *file_for(struct dc_static_files *fs, struct dc_slice path)
{
    struct file *f = dc_map_get(&fs->files, path);
    if (f != NULL) {
        return f;
    }
    f = dc_calloc(1, sizeof *f + path.len);
    memcpy(f->bytes, path.ptr, path.len);
    f->path = dc_slice_make(f->bytes, path.len);
    f->type_z = type_of(f->path);
    f->is_hashed = is_hashed_name(f->path);
    dc_map_put(&fs->files, f->path, f);
    return f;
}

static enum dc_status load_file(struct dc_static_files *fs, int fd, const struct stat *info,
                                struct dc_slice path, struct dc_error *err)
{
    size_t size = (size_t)info->st_size;
    if (info->st_size < 0 || size > MAX_TOTAL_BYTES - fs->total_bytes) {
        return dc_fail(err, DC_CONFIG, 0, "the web application is larger than %zu MiB",
                       MAX_TOTAL_BYTES >> 20);
    }
    enum coding coding = CODING_NONE;
    if (dc_slice_ends(path, DC_S(".br"))) {
        coding = CODING_BR;
    } else if (dc_slice_ends(path, DC_S(".gz"))) {
        coding = CODING_GZ;
    }
    if (coding != CODING_NONE) {
        path.len -= 3;
    }
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", DC_SLICE_ARG(path)); /* cut: for messages only */
    enum dc_status st = DC_OK;
    struct dc_blob *blob = read_blob(fd, name, size, &st, err);
    if (blob == NULL) {
        return st;
    }
    fs->total_bytes += size;
    struct version *v = &file_for(fs, path)->versions[coding];
    v->blob = blob;
    return make_etag(v, err);
}

static enum dc_status load_dir(struct dc_static_files *fs, int dir_fd, struct dc_strbuf *path,
                               unsigned depth, struct dc_error *err);

/* One entry of a directory; *path ends in its name. */
static enum dc_status load_entry(struct dc_static_files *fs, int dir_fd, const char *name_z,
                                 struct dc_strbuf *path, unsigned depth, struct dc_error *err)
{
    struct stat info;
    int fd = openat(dir_fd, name_z, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1) {
        if (errno == ELOOP) {
            return DC_OK; /* a symbolic link: not served */
        }
        return dc_fail(err, DC_CONFIG, errno, "cannot open %s: %s", name_z, dc_errno_text(errno));
    }
    enum dc_status st = DC_OK;
    if (fstat(fd, &info) != 0) {
        st = dc_fail(err, DC_CONFIG, errno, "cannot read %s: %s", name_z, dc_errno_text(errno));
    } else if (S_ISDIR(info.st_mode)) {
        return load_dir(fs, fd, path, depth + 1, err); /* takes fd */
    } else if (S_ISREG(info.st_mode)) {
        st = load_file(fs, fd, &info, dc_strbuf_slice(path), err);
    }
    close(fd);
    return st;
}

/* Takes dir_fd. */
static enum dc_status load_dir(struct dc_static_files *fs, int dir_fd, struct dc_strbuf *path,
                               unsigned depth, struct dc_error *err)
{
    if (depth > MAX_DEPTH) {
        close(dir_fd);
        return dc_fail(err, DC_CONFIG, 0, "the web application has more than %d levels", MAX_DEPTH);
    }
    DIR *dir = fdopendir(dir_fd);
    if (dir == NULL) {
        int cause = errno;
        close(dir_fd);
        return dc_fail(err, DC_CONFIG, cause, "cannot list a directory: %s", dc_errno_text(cause));
    }
    enum dc_status st = DC_OK;
    while (st == DC_OK) {
        errno = 0;
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): safe on a stream that nobody shares */
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0) {
                st = dc_fail(err, DC_CONFIG, errno, "cannot list a directory: %s",
                             dc_errno_text(errno));
            }
            break;
        }
        if (entry->d_name[0] == '.') {
            continue; /* ".", ".." and hidden files */
        }
        size_t len = path->len;
        dc_strbuf_add_char(path, '/');
        dc_strbuf_add_z(path, entry->d_name);
        st = dc_strbuf_ok(path) ? load_entry(fs, dirfd(dir), entry->d_name, path, depth, err)
                                : dc_fail(err, DC_NO_MEMORY, 0, "no memory");
        path->len = len;
    }
    closedir(dir);
    return st;
}

enum dc_status dc_static_files_load(const char *dir_z, struct dc_static_files **out,
                                    struct dc_error *err)
{
    *out = NULL;
    int fd = open(dir_z, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1) {
        return dc_fail(err, errno == ENOENT ? DC_NOT_FOUND : DC_CONFIG, errno, "cannot open %s: %s",
                       dir_z, dc_errno_text(errno));
    }
    struct dc_static_files *fs = dc_calloc(1, sizeof *fs);
    uint64_t seed[2] = {dc_random_u64(NULL), dc_random_u64(NULL)};
    dc_map_init(&fs->files, seed);
    struct dc_strbuf path = {0};
    enum dc_status st = load_dir(fs, fd, &path, 0, err);
    dc_strbuf_free(&path);
    if (st == DC_OK) {
        fs->index = dc_map_get(&fs->files, DC_S("/index.html"));
        if (fs->index == NULL || fs->index->versions[CODING_NONE].blob == NULL) {
            st = dc_fail(err, DC_NOT_FOUND, 0, "%s has no index.html", dir_z);
        }
    }
    if (st != DC_OK) {
        dc_static_files_destroy(fs);
        return st;
    }
    *out = fs;
    return DC_OK;
}

void dc_static_files_destroy(struct dc_static_files *fs)
{
    if (fs == NULL) {
        return;
    }
    struct dc_map_iter it = {0};
    void *value;
    while (dc_map_next(&fs->files, &it, NULL, &value)) {
        file_free(value);
    }
    dc_map_free(&fs->files);
    dc_free(fs);
}

/* --- serving --- */

/* q=0 of "br;q=0"; any other weight counts as yes. */
static bool is_refused(struct dc_slice params)
{
    struct dc_slice param;
    while (dc_slice_take_token(&params, ';', &param)) {
        param = dc_slice_trim(param);
        if (param.len >= 3 && (param.ptr[0] | 0x20) == 'q' && param.ptr[1] == '=') {
            for (size_t i = 2; i < param.len; i++) {
                if (param.ptr[i] != '0' && param.ptr[i] != '.') {
                    return false;
                }
            }
            return true;
        }
    }
    return false;
}

static bool accepts_coding(struct dc_slice header, struct dc_slice name)
{
    struct dc_slice item;
    while (dc_slice_take_token(&header, ',', &item)) {
        struct dc_slice coding = DC_SLICE_NULL;
        if (dc_slice_take_token(&item, ';', &coding) && dc_slice_ieq(dc_slice_trim(coding), name)) {
            return !is_refused(item);
        }
    }
    return false;
}

static const struct version *choose(const struct file *f, const struct dc_http_request *r,
                                    enum coding *coding)
{
    struct dc_slice header = dc_http_header(r, DC_S("accept-encoding"));
    *coding = CODING_NONE;
    if (f->versions[CODING_BR].blob != NULL && accepts_coding(header, DC_S("br"))) {
        *coding = CODING_BR;
    } else if (f->versions[CODING_GZ].blob != NULL && accepts_coding(header, DC_S("gzip"))) {
        *coding = CODING_GZ;
    }
    return &f->versions[*coding];
}

/* Weak comparison, as If-None-Match asks for (RFC 9110 §13.1.2). */
static bool is_fresh(struct dc_slice if_none_match, const char *etag_z)
{
    struct dc_slice item;
    while (dc_slice_take_token(&if_none_match, ',', &item)) {
        item = dc_slice_trim(item);
        (void)dc_slice_take_prefix(&item, DC_S("W/"));
        if (dc_slice_eq(item, DC_S("*")) || dc_slice_eq(item, dc_slice_z(etag_z))) {
            return true;
        }
    }
    return false;
}

static void serve_file(const struct file *f, struct dc_http_request *r, bool is_by_accept)
{
    enum coding coding;
    const struct version *v = choose(f, r, &coding);
    dc_http_set_header(r, "ETag", dc_slice_z(v->etag));
    dc_http_set_header(r, "Cache-Control",
                       f->is_hashed ? DC_S("public, max-age=31536000, immutable")
                                    : DC_S("no-cache"));
    dc_http_set_header(r, "Vary",
                       is_by_accept ? DC_S("Accept, Accept-Encoding") : DC_S("Accept-Encoding"));
    dc_http_set_header(r, "X-Content-Type-Options", DC_S("nosniff"));
    dc_http_set_header(r, "Referrer-Policy", DC_S("same-origin"));
    dc_http_set_header(r, "Content-Security-Policy",
                       DC_S("default-src 'self'; connect-src 'self' ws: wss:; "
                            "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
                            "form-action 'self'"));
    if (is_fresh(dc_http_header(r, DC_S("if-none-match")), v->etag)) {
        dc_http_reply(r, 304, NULL, DC_SLICE_NULL);
        return;
    }
    if (coding != CODING_NONE) {
        dc_http_set_header(r, "Content-Encoding", coding == CODING_BR ? DC_S("br") : DC_S("gzip"));
    }
    dc_http_reply_blob(r, 200, f->type_z, v->blob);
}

static bool accepts_html(const struct dc_http_request *r)
{
    struct dc_slice accept = dc_http_header(r, DC_S("accept"));
    struct dc_slice item, media;
    while (dc_slice_take_token(&accept, ',', &item)) {
        if (dc_slice_take_token(&item, ';', &media) &&
            dc_slice_ieq(dc_slice_trim(media), DC_S("text/html")) && !is_refused(item)) {
            return true;
        }
    }
    return false;
}

void dc_static_files_serve(void *ctx, struct dc_http_request *r)
{
    const struct dc_static_files *fs = ctx;
    struct dc_slice path = dc_http_path(r);
    const struct file *f = NULL;
    bool is_by_accept = false; /* what this path is depends on what is asked for */
    if (!is_api_path(path)) {
        f = dc_slice_eq(path, DC_S("/")) ? fs->index : dc_map_get(&fs->files, path);
        if (f != NULL && f->versions[CODING_NONE].blob == NULL) {
            f = NULL; /* a compressed twin without its original */
        }
        bool has_extension = dc_slice_find(base_name(path), '.') != SIZE_MAX;
        is_by_accept = f == NULL && !has_extension;
        if (is_by_accept && (accepts_html(r) || dc_http_method(r) == DC_OPTIONS)) {
            f = fs->index; /* a page of the application: it finds its own way */
        }
    }
    struct dc_error err = {.status = DC_NOT_FOUND};
    if (f == NULL) {
        if (is_by_accept) {
            dc_http_set_header(r, "Vary", DC_S("Accept"));
        }
        dc_http_reply_error(r, &err);
        return;
    }
    if (dc_http_method(r) == DC_OPTIONS) {
        dc_http_set_header(r, "Allow", DC_S("GET, HEAD, OPTIONS"));
        dc_http_reply(r, 204, NULL, DC_SLICE_NULL);
        return;
    }
    if ((dc_http_method(r) & (DC_GET | DC_HEAD)) == 0) {
        err.status = DC_METHOD;
        dc_http_set_header(r, "Allow", DC_S("GET, HEAD, OPTIONS"));
        dc_http_reply_error(r, &err);
        return;
    }
    serve_file(f, r, is_by_accept);
}
