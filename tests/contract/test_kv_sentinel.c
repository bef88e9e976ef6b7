/* The key-value port through Redis Sentinel: real sentinels, a master and its replica, fail-over.
 *
 *   test_kv_sentinel
 *   test_kv_sentinel tls      the same over TLS, everywhere
 *
 * Starts its own servers, so it needs redis-server in PATH and nothing else; without it the cases
 * are skipped (77), except where CI is true.  Every process dies with this one. */
#include "../unit/kv/certificates.h"
#include "base/mem.h"
#include "base/random.h"
#include "kv_fixture.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PASSWORD          "of-the-servers"
#define SENTINEL_PASSWORD "of-the-sentinels"
#define SENTINELS         3
/* Sentinels take their time: about ten seconds to convert a master that has stepped down. */
#define ALARM_S 180

struct server {
    pid_t pid;
    int out;           /* what it writes */
    uint16_t port;     /* without TLS: for us, where the city uses the other */
    uint16_t tls_port; /* 0: none */
    size_t len;
    char text[65536];
};

static bool has_tls;

struct city {
    char dir[64];
    char tls_conf[512]; /* of all servers */
    char ca_file[96];
    struct server nodes[2]; /* master and replica at first */
    struct server sentinels[SENTINELS];
    struct rig *rig;
    char url[512];
};

/* Nobody can reserve a port for a server that opens it itself: one that was free just now, below
 * the range from which the system gives clients theirs. */
static uint16_t free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    bool is_free = false;

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (!is_free) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_true(fd >= 0);
        addr.sin_port = htons((uint16_t)(15000 + dc_random_below(NULL, 15000)));
        is_free = bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0;
        close(fd);
    }
    return ntohs(addr.sin_port);
}

static void server_start(struct server *s, const char *conf, const char *mode)
{
    int fds[2];
    s->len = 0;
    assert_int_equal(pipe(fds), 0);
    s->pid = fork();
    assert_int_not_equal(s->pid, -1);
    if (s->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        execlp("redis-server", "redis-server", conf, mode, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    s->out = fds[0];
}

static void server_kill(struct server *s)
{
    if (s->pid > 0) {
        assert_int_equal(kill(s->pid, SIGKILL), 0);
        assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
        close(s->out);
        s->pid = 0;
    }
}

/* Waits until the server has written this so many times; false: it has ended. */
static bool server_has_said(struct server *s, const char *what, unsigned times)
{
    for (;;) {
        unsigned n = 0;
        s->text[s->len] = '\0';
        for (const char *p = strstr(s->text, what); p != NULL; p = strstr(p + 1, what)) {
            n++;
        }
        if (n >= times) {
            return true;
        }
        ssize_t got = read(s->out, s->text + s->len, sizeof(s->text) - 1 - s->len);
        if (got <= 0) {
            return false;
        }
        s->len += (size_t)got;
    }
}

static void server_says(struct server *s, const char *what, unsigned times)
{
    if (!server_has_said(s, what, times)) {
        fail_msg("a server ended instead of saying \"%s\":\n%s", what, s->text);
    }
}

/* false: somebody else was faster with one of its ports. */
static bool server_is_up(struct server *s, const char *what)
{
    if (server_has_said(s, what, 1)) {
        return true;
    }
    if (strstr(s->text, "in use") == NULL) {
        fail_msg("a server did not start:\n%s", s->text);
    }
    server_kill(s);
    return false;
}

static void write_file(const struct city *c, const char *name, char *path, size_t size,
                       const char *text)
{
    assert_true(snprintf(path, size, "%s/%s", c->dir, name) < (int)size);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The port that the city uses. */
static uint16_t port_of(const struct server *s)
{
    return has_tls ? s->tls_port : s->port;
}

/* "", or the lines that switch TLS on. */
static void tls_lines(const struct city *c, const struct server *s, char *out, size_t size)
{
    out[0] = '\0';
    assert_true(!has_tls ||
                snprintf(out, size, "tls-port %u\n%s", s->tls_port, c->tls_conf) < (int)size);
}

static void make_certificates(struct city *c)
{
    const struct certificate_opts of_authority = {.names = NULL};
    struct certificate authority = certificate_make(&of_authority);
    const struct certificate_opts of_server = {.names = "IP:127.0.0.1", .issuer = &authority};
    struct certificate server = certificate_make(&of_server);

    certificate_write(&authority, c->dir, "ca");
    certificate_write(&server, c->dir, "server");
    certificate_free(&authority);
    certificate_free(&server);
    snprintf(c->ca_file, sizeof(c->ca_file), "%s/ca.pem", c->dir);
    snprintf(c->tls_conf, sizeof(c->tls_conf),
             "tls-cert-file %s/server.pem\ntls-key-file %s/server.key\ntls-ca-cert-file %s\n"
             "tls-auth-clients no\ntls-replication yes\n",
             c->dir, c->dir, c->ca_file);
}

static bool try_node(struct city *c, size_t i, uint16_t master_port)
{
    struct server *s = &c->nodes[i];
    char conf[1536], of[64] = "", tls[600], name[16], path[128];

    s->port = free_port();
    s->tls_port = free_port();
    tls_lines(c, s, tls, sizeof(tls));
    if (master_port != 0) {
        snprintf(of, sizeof(of), "replicaof 127.0.0.1 %u\n", master_port);
    }
    snprintf(conf, sizeof(conf),
             "bind 127.0.0.1\nport %u\ndir %s\nsave \"\"\nappendonly no\nrequirepass " PASSWORD
             "\nmasterauth " PASSWORD "\nrepl-diskless-sync-delay 0\n%s%s",
             s->port, c->dir, of, tls);
    snprintf(name, sizeof(name), "node%zu", i);
    write_file(c, name, path, sizeof(path), conf);
    server_start(s, path, NULL);
    return server_is_up(s, "Ready to accept connections");
}

static void start_node(struct city *c, size_t i, uint16_t master_port)
{
    while (!try_node(c, i, master_port)) {
    }
    if (master_port != 0) {
        server_says(&c->nodes[i], "sync: Finished with success", 1);
    }
}

static bool try_sentinel(struct city *c, size_t i)
{
    struct server *s = &c->sentinels[i];
    char conf[1536], tls[600], name[16], path[128];

    s->port = free_port();
    s->tls_port = free_port();
    tls_lines(c, s, tls, sizeof(tls));
    snprintf(conf, sizeof(conf),
             "bind 127.0.0.1\nport %u\ndir %s\n%srequirepass " SENTINEL_PASSWORD
             "\nsentinel sentinel-pass " SENTINEL_PASSWORD
             "\nsentinel monitor main 127.0.0.1 %u 2\nsentinel auth-pass main " PASSWORD
             "\nsentinel down-after-milliseconds main 300\nsentinel failover-timeout main 3000\n",
             s->port, c->dir, tls, port_of(&c->nodes[0]));
    snprintf(name, sizeof(name), "sentinel%zu", i);
    write_file(c, name, path, sizeof(path), conf);
    server_start(s, path, "--sentinel");
    return server_is_up(s, "+monitor master");
}

static int make_city(void **state)
{
    struct city *c = dc_calloc(1, sizeof(*c));

    snprintf(c->dir, sizeof(c->dir), "/tmp/dc-test-kv.XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    *state = c;
    c->rig = rig_create();
    alarm(ALARM_S);
    if (has_tls) {
        make_certificates(c);
        c->rig->opts.tls_ca_file = c->ca_file;
    }
    start_node(c, 0, 0);
    start_node(c, 1, port_of(&c->nodes[0]));
    for (size_t i = 0; i < SENTINELS; i++) {
        while (!try_sentinel(c, i)) {
        }
    }
    /* They know the replica, and each other. */
    for (size_t i = 0; i < SENTINELS; i++) {
        server_says(&c->sentinels[i], "+slave ", 1);
        server_says(&c->sentinels[i], "+sentinel ", SENTINELS - 1);
    }
    /* One that nobody knows stands first in the list. */
    snprintf(c->url, sizeof(c->url),
             "%s+sentinel://:" PASSWORD "@127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u"
             "/main?db=1&sentinel_password=" SENTINEL_PASSWORD,
             has_tls ? "rediss" : "redis", free_port(), port_of(&c->sentinels[0]),
             port_of(&c->sentinels[1]), port_of(&c->sentinels[2]));
    c->rig->opts.url = c->url;
    return 0;
}

/* Our files, and what a killed server left of a transfer. */
static void remove_dir(const char *name)
{
    DIR *dir = opendir(name);
    char path[512];

    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        snprintf(path, sizeof(path), "%s/%s", name, e->d_name);
        if (e->d_name[0] != '.') {
            assert_int_equal(unlink(path), 0);
        }
    }
    assert_int_equal(closedir(dir), 0);
    assert_int_equal(rmdir(name), 0);
}

static int drop_city(void **state)
{
    struct city *c = *state;

    rig_destroy(c->rig);
    for (size_t i = 0; i < SENTINELS; i++) {
        server_kill(&c->sentinels[i]);
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(c->nodes); i++) {
        server_kill(&c->nodes[i]);
    }
    remove_dir(c->dir);
    dc_free(c);
    return 0;
}

static redisContext *node_connect(const struct city *c, size_t i)
{
    char url[128];
    snprintf(url, sizeof(url), "redis://:" PASSWORD "@127.0.0.1:%u", c->nodes[i].port);
    return admin_connect(url);
}

/* What was written has reached the replica. */
static void wait_for_replica(const struct city *c, size_t i)
{
    redisContext *admin_of = node_connect(c, i);
    /* WAIT speaks of writes of its own connection. */
    freeReplyObject(admin_ask(admin_of, "SET reached 1"));
    redisReply *r = admin_ask(admin_of, "WAIT 1 0");
    assert_true(r->integer >= 1);
    freeReplyObject(r);
    redisFree(admin_of);
}

static void the_master_is_found_and_followed_when_it_dies(void **state)
{
    struct city *c = *state;
    struct rig *g = c->rig;

    rig_open(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    assert_int_equal(acquire(g, "leader", "a", 3600000), DC_OK);
    int64_t token = g->number;
    wait_for_replica(c, 0);
    server_kill(&c->nodes[0]);
    while (dc_health_overall(g->health) == DC_HEALTH_OK) {
        uv_run(dc_loop_uv(g->loop), UV_RUN_ONCE);
    }
    assert_int_equal(try_set(g, "k", "lost"), DC_UNAVAILABLE);
    until_it_works(g);
    /* It is the other node, with what had reached it. */
    assert_string_equal(get(g, "k"), "v");
    redisContext *admin_of = node_connect(c, 1);
    freeReplyObject(admin_ask(admin_of, "SELECT 1"));
    redisReply *r = admin_ask(admin_of, "GET works");
    assert_string_equal(r->str, "yes");
    freeReplyObject(r);
    redisFree(admin_of);
    assert_int_equal(acquire(g, "leader", "b", 3600000), DC_CONFLICT);
    assert_int_equal(release(g, "leader", "a"), DC_OK);
    assert_int_equal(acquire(g, "leader", "b", 3600000), DC_OK);
    assert_true(g->number > token);
}

static void a_master_that_steps_down_is_left_for_the_new_one(void **state)
{
    struct city *c = *state;
    struct rig *g = c->rig;
    char url[128];

    rig_open(g);
    assert_int_equal(set(g, "k", "v", 0), DC_OK);
    wait_for_replica(c, 0);
    snprintf(url, sizeof(url), "redis://:" SENTINEL_PASSWORD "@127.0.0.1:%u", c->sentinels[0].port);
    redisContext *sentinel = admin_connect(url);
    freeReplyObject(admin_ask(sentinel, "SENTINEL failover main"));
    redisFree(sentinel);
    /* It is told that its connection is of no use, by whatever comes first. */
    while (rig_metric(g, "daarion_kv_losses_total") == 0) {
        enum dc_status st = try_set(g, "k2", "v2");
        assert_true(st == DC_OK || st == DC_UNAVAILABLE);
    }
    until_it_works(g);
    assert_string_equal(get(g, "k"), "v");
    /* Nobody writes to the old one any more. */
    redisContext *old = node_connect(c, 0);
    redisReply *r = admin_ask(old, "ROLE");
    assert_string_equal(r->element[0]->str, "slave");
    freeReplyObject(r);
    redisFree(old);
}

static void wrong_names_and_passwords_are_configuration_errors(void **state)
{
    struct city *c = *state;
    struct rig *g = c->rig;
    static const struct {
        const char *login, *rest, *reason;
    } rows[] = {
        {":" PASSWORD, "nobody?sentinel_password=" SENTINEL_PASSWORD, "no master of the name"},
        {":" PASSWORD, "main", "sentinel_password"},
        {":" PASSWORD, "main?sentinel_password=wrong", "sentinel_password"},
        {":wrong", "main?sentinel_password=" SENTINEL_PASSWORD, "the user or the password"},
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        snprintf(c->url, sizeof(c->url), "%s+sentinel://%s@127.0.0.1:%u,127.0.0.1:%u/%s",
                 has_tls ? "rediss" : "redis", rows[i].login, port_of(&c->sentinels[0]),
                 port_of(&c->sentinels[1]), rows[i].rest);
        rig_open_any(g);
        rig_until(g, &g->is_ready);
        assert_int_equal(g->ready.status, DC_CONFIG);
        assert_non_null(strstr(dc_error_text(&g->ready), rows[i].reason));
        rig_close(g);
    }
}

static void sentinels_of_another_authority_are_a_configuration_error(void **state)
{
    struct city *c = *state;
    struct rig *g = c->rig;
    const struct certificate_opts opts = {.names = NULL};
    struct certificate other = certificate_make(&opts);
    char path[96];

    certificate_write(&other, c->dir, "other");
    certificate_free(&other);
    snprintf(path, sizeof(path), "%s/other.pem", c->dir);
    snprintf(c->url, sizeof(c->url), "rediss+sentinel://127.0.0.1:%u,127.0.0.1:%u/main",
             port_of(&c->sentinels[0]), port_of(&c->sentinels[1]));
    g->opts.tls_ca_file = path;
    rig_open_any(g);
    rig_until(g, &g->is_ready);
    assert_int_equal(g->ready.status, DC_CONFIG);
    assert_non_null(strstr(dc_error_text(&g->ready), "REDIS_TLS_CA_FILE does not vouch"));
}

static bool has_server(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        execlp("redis-server", "redis-server", "--version", (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_city, drop_city)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_master_is_found_and_followed_when_it_dies),
        TEST(a_master_that_steps_down_is_left_for_the_new_one),
        TEST(wrong_names_and_passwords_are_configuration_errors),
    };
    const struct CMUnitTest tls_tests[] = {
        TEST(sentinels_of_another_authority_are_a_configuration_error),
    };
    const char *ci = getenv("CI");

    has_tls = argc == 2 && strcmp(argv[1], "tls") == 0;
    if (!has_server()) {
        fprintf(stderr, "no redis-server in PATH: no sentinels to test with\n");
        return ci != NULL && strcmp(ci, "true") == 0 ? 1 : 77;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + (has_tls ? cmocka_run_group_tests(tls_tests, NULL, NULL) : 0);
}
