/* Migrations: reading the files, and what may follow what. The engines are in
 * migrate_postgres.c and migrate_sqlite.c. */
#include "db/migrate.h"
#include "base/encoding.h"
#include "base/mem.h"
#include "db/migrate_priv.h"
#include "db/postgres_url.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- files --- */

/* "001_city_core.sql" to 1; 0: not one of ours. */
static int number_of(const char *file)
{
    size_t len = strlen(file);

    if (len < 9 || strcmp(file + len - 4, ".sql") != 0 || file[3] != '_') {
        return 0;
    }
    for (size_t i = 0; i < 3; i++) {
        if (!isdigit((unsigned char)file[i])) {
            return 0;
        }
    }
    return (file[0] - '0') * 100 + (file[1] - '0') * 10 + (file[2] - '0');
}

static enum dc_status checksum(const char *text, size_t len, char out[DC_SHA256_HEX + 1],
                               struct dc_error *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int hash_len = 0;
    struct dc_strbuf hex = {0};

    if (EVP_Digest(text, len, hash, &hash_len, EVP_sha256(), NULL) != 1) {
        return dc_fail(err, DC_INTERNAL, 0, "SHA-256 is not available");
    }
    dc_hex_encode(&hex, dc_slice_make(hash, hash_len));
    bool is_whole = dc_strbuf_ok(&hex) && hex.len == DC_SHA256_HEX &&
                    dc_slice_copy_z(dc_strbuf_slice(&hex), out, DC_SHA256_HEX + 1);
    dc_strbuf_free(&hex);
    return is_whole ? DC_OK : dc_fail(err, DC_NO_MEMORY, 0, "no memory for a checksum");
}

static enum dc_status read_all(int fd, const char *path, char **out, size_t *len,
                               struct dc_error *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return dc_fail(err, DC_CONFIG, errno, "%.120s is not a file", path);
    }
    if (st.st_size > DC_MIGRATE_MAX_BYTES) {
        return dc_fail(err, DC_CONFIG, 0, "%.120s is too large", path);
    }
    size_t size = (size_t)st.st_size, used = 0;
    char *text = dc_alloc(size + 1);
    while (used < size) {
        ssize_t n = read(fd, text + used, size - used);
        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            int cause = n == -1 ? errno : 0;
            dc_free(text);
            return dc_fail(err, DC_CONFIG, cause, "cannot read %.120s", path);
        }
        used += (size_t)n;
    }
    text[size] = '\0';
    if (memchr(text, '\0', size) != NULL) {
        dc_free(text);
        return dc_fail(err, DC_CONFIG, 0, "%.120s contains NUL", path);
    }
    *out = text;
    *len = size;
    return DC_OK;
}

static enum dc_status load(const char *path, const char *file, struct dc_migration *m,
                           struct dc_error *err)
{
    size_t name_len = strlen(file) - 4, len = 0;
    enum dc_status st;
    int fd;

    if (name_len >= sizeof(m->name)) {
        return dc_fail(err, DC_CONFIG, 0, "the name %.120s is too long", file);
    }
    memcpy(m->name, file, name_len);
    m->name[name_len] = '\0';
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return dc_fail(err, DC_CONFIG, errno, "cannot open %.120s: %s", path, dc_errno_text(errno));
    }
    st = read_all(fd, path, &m->sql, &len, err);
    if (close(fd) != 0 && st == DC_OK) {
        dc_free(m->sql);
        m->sql = NULL;
        return dc_fail(err, DC_CONFIG, errno, "cannot read %.120s", path);
    }
    return st == DC_OK ? checksum(m->sql, len, m->checksum, err) : st;
}

static void free_all(struct dc_migrations *all)
{
    for (size_t i = 0; i < all->n; i++) {
        dc_free(all->items[i].sql);
    }
    dc_free(all->items);
    *all = (struct dc_migrations){0};
}

/* Puts each file in its place: items[number - 1]. */
static enum dc_status scan(DIR *dir, const char *folder, struct dc_migrations *all,
                           struct dc_error *err)
{
    for (;;) {
        char path[PATH_MAX];
        errno = 0;
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): safe on a stream that nobody shares */
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return errno == 0 ? DC_OK
                              : dc_fail(err, DC_CONFIG, errno, "cannot read %.100s: %s", folder,
                                        dc_errno_text(errno));
        }
        int number = number_of(entry->d_name);
        size_t len = strlen(entry->d_name);
        if (number == 0) {
            if (len > 4 && strcmp(entry->d_name + len - 4, ".sql") == 0) {
                return dc_fail(err, DC_CONFIG, 0, "%.120s is not named NNN_name.sql",
                               entry->d_name);
            }
            continue;
        }
        int path_len = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (path_len < 0 || (size_t)path_len >= sizeof(path)) {
            return dc_fail(err, DC_CONFIG, 0, "the path of %.100s is too long", entry->d_name);
        }
        struct dc_migration *m = &all->items[number - 1];
        if (m->number != 0) {
            return dc_fail(err, DC_CONFIG, 0, "two migrations have the number %03d", number);
        }
        m->number = number;
        enum dc_status st = load(path, entry->d_name, m, err);
        if (st != DC_OK) {
            return st;
        }
    }
}

static enum dc_status check_numbers(struct dc_migrations *all, struct dc_error *err)
{
    size_t last = DC_MIGRATE_MAX;

    while (last > 0 && all->items[last - 1].number == 0) {
        last--;
    }
    for (size_t i = 0; i < last; i++) {
        if (all->items[i].number == 0) {
            return dc_fail(err, DC_CONFIG, 0, "migration %03d is missing", (int)i + 1);
        }
    }
    all->n = last;
    return DC_OK;
}

static enum dc_status load_all(const char *dir_path, const char *engine, struct dc_migrations *all,
                               struct dc_error *err)
{
    char folder[PATH_MAX];
    int len = snprintf(folder, sizeof(folder), "%s/%s", dir_path, engine);

    if (len < 0 || (size_t)len >= sizeof(folder)) {
        return dc_fail(err, DC_CONFIG, 0, "the path of the migrations is too long");
    }
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return dc_fail(err, DC_CONFIG, errno, "cannot read migrations in %.100s: %s", folder,
                       dc_errno_text(errno));
    }
    all->items = dc_calloc(DC_MIGRATE_MAX, sizeof(all->items[0]));
    all->n = DC_MIGRATE_MAX;
    enum dc_status st = scan(dir, folder, all, err);
    if (closedir(dir) != 0 && st == DC_OK) {
        st = dc_fail(err, DC_CONFIG, errno, "cannot read %.100s", folder);
    }
    if (st == DC_OK) {
        st = check_numbers(all, err);
    }
    if (st != DC_OK) {
        free_all(all);
    }
    return st;
}

/* --- what is applied --- */

struct check {
    const struct dc_migrations *all;
    size_t applied;
};

/* Rows come by number, so they must be 1, 2, 3, … as the files are. */
static enum dc_status check_row(void *data, int number, struct dc_slice sum, struct dc_error *err)
{
    struct check *c = data;

    if (number < 1 || (size_t)number > c->all->n) {
        return dc_fail(err, DC_CONFIG, 0,
                       "the database has migration %03d, which this program does not know: it was "
                       "used by a newer version",
                       number);
    }
    const struct dc_migration *m = &c->all->items[number - 1];
    if ((size_t)number != c->applied + 1) {
        return dc_fail(err, DC_CONFIG, 0, "migration %03d was applied without those before it",
                       number);
    }
    if (!dc_slice_eq(sum, dc_slice_z(m->checksum))) {
        return dc_fail(err, DC_CONFIG, 0, "migration %s was changed after it was applied", m->name);
    }
    c->applied++;
    return DC_OK;
}

static void report_line(struct dc_strbuf *report, const char *what, const struct dc_migration *m)
{
    if (report != NULL) {
        dc_strbuf_printf(report, "%s %s\n", what, m->name);
    }
}

static enum dc_status check_pending(const struct dc_migrate_engine *engine, void *conn,
                                    const struct dc_migrations *all, struct dc_strbuf *report,
                                    struct dc_error *err)
{
    struct check c = {.all = all};

    if (conn != NULL) {
        enum dc_status st = engine->applied(conn, check_row, &c, err);
        if (st != DC_OK) {
            return st;
        }
    }
    for (size_t i = c.applied; i < all->n; i++) {
        report_line(report, "pending", &all->items[i]);
    }
    if (c.applied < all->n) {
        return dc_fail(err, DC_CONFLICT, 0, "%d migrations are pending", (int)(all->n - c.applied));
    }
    return DC_OK;
}

/* At most one migration, in its own transaction. Looks anew each time, as other processes may have
 * been first. */
static enum dc_status apply_next(const struct dc_migrate_engine *engine, void *conn,
                                 const struct dc_migrations *all, struct dc_strbuf *report,
                                 bool *is_done, struct dc_error *err)
{
    struct check c = {.all = all};
    enum dc_status st = engine->begin(conn, err);

    if (st != DC_OK) {
        return st;
    }
    st = engine->applied(conn, check_row, &c, err);
    *is_done = st == DC_OK && c.applied == all->n;
    if (st == DC_OK && !*is_done) {
        st = engine->apply(conn, &all->items[c.applied], err);
    }
    if (st == DC_OK) {
        st = engine->commit(conn, err);
    }
    if (st != DC_OK) {
        engine->roll_back(conn);
        return st;
    }
    if (!*is_done) {
        report_line(report, "applied", &all->items[c.applied]);
    }
    return DC_OK;
}

enum dc_status dc_migrate(const struct dc_migrate_opts *opts, struct dc_strbuf *report,
                          struct dc_error *err)
{
    const struct dc_migrate_engine *engine =
        opts->url != NULL ? &dc_migrate_postgres : &dc_migrate_sqlite;
    struct dc_migrations all = {0};
    void *conn = NULL;
    bool is_done = false;
    enum dc_status st = load_all(opts->dir, engine->folder, &all, err);

    if (st != DC_OK) {
        return st;
    }
    st = engine->open(opts, &conn, err);
    if (st == DC_OK && opts->check_only) {
        st = check_pending(engine, conn, &all, report, err);
    }
    while (st == DC_OK && !opts->check_only && !is_done) {
        st = apply_next(engine, conn, &all, report, &is_done, err);
    }
    engine->close(conn);
    free_all(&all);
    return opts->url == NULL ? st : dc_pg_name_setting(st, err);
}
