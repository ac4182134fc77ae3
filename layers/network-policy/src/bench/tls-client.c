/* A client of TLS that costs next to nothing, so that a benchmark of what it speaks to measures that.
 *   tls-client get ADDRESS PORT NAME CA COUNT CONNECTIONS [TUNNEL]      so many requests after a fifth as many to warm up, one after the
 *                                                                      other on each connection
 *   tls-client shakes ADDRESS PORT NAME CA COUNT CONNECTIONS [TUNNEL]   new connections, so many at a time
 * TUNNEL: what a proxy at ADDRESS is asked for by CONNECT; it may vouch for that instead of NAME, and requests name it as their host. Every answer has to be 200 with 1 KiB of `x`.
 * Prints how many there were in all, the seconds that they took, and the µs of each request behind those that warm up. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BODY = 1024, SILENCE_MS = 20000 };
struct connection {
  SSL *ssl;
  int fd, shaking, headed;
  double sent;
  size_t body;
};
static SSL_CTX *context;
static struct sockaddr_in to = {.sin_family = AF_INET};
static const char *name, *tunnel;
static int polled, only_shakes;
static long asked, left, warm, taken, ready;
static float *times;

static double now_us(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

static void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  ERR_print_errors_fp(stderr);
  exit(1);
}

static void ask_tunnel(int fd) {
  char text[512];
  size_t got = 0;
  int length = snprintf(text, sizeof text, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", tunnel, tunnel);
  if (write(fd, text, (size_t)length) != length) die("CONNECT");
  for (text[0] = 0; strstr(text, "\r\n\r\n") == NULL; text[got] = 0) {
    ssize_t more = read(fd, text + got, sizeof text - 1 - got);
    if (more <= 0) die("CONNECT");
    got += (size_t)more;
  }
  if (strncmp(text + 9, "200", 3) != 0) die(text);
}

static void begin(struct connection *it) {
  int on = 1;
  it->fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(it->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(it->fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
  if (tunnel != NULL) ask_tunnel(it->fd);
  fcntl(it->fd, F_SETFL, O_NONBLOCK);
  it->ssl = SSL_new(context);
  it->shaking = 1;
  SSL_set_fd(it->ssl, it->fd);
  SSL_set_tlsext_host_name(it->ssl, name);
  if (tunnel == NULL) SSL_set1_host(it->ssl, name);
  SSL_set_connect_state(it->ssl);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = it};
  if (epoll_ctl(polled, EPOLL_CTL_ADD, it->fd, &event) != 0) die("epoll_ctl");
  SSL_do_handshake(it->ssl);
}

static void ask(struct connection *it) {
  char text[512];
  int length = snprintf(text, sizeof text, "GET /v1/items/%ld HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", asked++ % 1000, tunnel != NULL ? tunnel : name);
  it->headed = 0;
  it->body = 0;
  it->sent = now_us();
  if (SSL_write(it->ssl, text, length) != length) die("request");
}

/* Whether it is over with this connection. */
static int shake(struct connection *it) {
  int done = SSL_do_handshake(it->ssl);
  if (done != 1) {
    if (SSL_get_error(it->ssl, done) != SSL_ERROR_WANT_READ) die("handshake");
    return 0;
  }
  it->shaking = 0;
  if (!only_shakes) {
    ready += 1;
    return 0;
  }
  SSL_free(it->ssl);
  close(it->fd);
  if (left-- <= 0) return 1;
  begin(it);
  return 0;
}

/* Whether it is over with this connection. */
static int hear(struct connection *it) {
  static char bytes[16384], wanted[BODY];
  memset(wanted, 'x', BODY);
  for (;;) {
    int length = SSL_read(it->ssl, bytes, sizeof bytes);
    if (length <= 0) {
      if (SSL_get_error(it->ssl, length) != SSL_ERROR_WANT_READ) die("answer");
      return 0;
    }
    char *body = bytes;
    if (!it->headed) {
      char *end = memmem(bytes, (size_t)length, "\r\n\r\n", 4);
      if (end == NULL || memcmp(bytes + 9, "200", 3) != 0) die("not the answer");
      it->headed = 1;
      body = end + 4;
    }
    size_t more = (size_t)(bytes + length - body);
    if (it->body + more > BODY || memcmp(body, wanted, more) != 0) die("not the body");
    it->body += more;
    if (it->body < BODY) continue;
    if (warm > 0) warm -= 1;
    else times[taken++] = (float)(now_us() - it->sent);
    if (left-- <= 0) return 1;
    ask(it);
  }
}

int main(int argc, char **argv) {
  if (argc < 8) return 2;
  only_shakes = strcmp(argv[1], "shakes") == 0;
  inet_pton(AF_INET, argv[2], &to.sin_addr);
  to.sin_port = htons((uint16_t)atoi(argv[3]));
  name = argv[4];
  tunnel = argc > 8 ? argv[8] : NULL;
  long count = atol(argv[6]), connections = atol(argv[7]), busy = connections;
  warm = only_shakes ? 0 : count / 5;
  long all = count + warm;
  left = all - connections;
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_load_verify_locations(context, argv[5], NULL) != 1) die(argv[5]);
  polled = epoll_create1(0);
  times = calloc((size_t)(all + connections), sizeof *times);
  struct connection *them = calloc((size_t)connections, sizeof *them);
  double started = now_us();
  for (long i = 0; i < connections; i++) begin(&them[i]);
  while (busy > 0) {
    struct epoll_event events[64];
    int some = epoll_wait(polled, events, 64, SILENCE_MS);
    if (some <= 0) die("nothing comes any more");
    for (int i = 0; i < some; i++) {
      struct connection *it = events[i].data.ptr;
      if (it->shaking ? shake(it) : hear(it)) busy -= 1;
    }
    if (ready < connections) continue;
    /* Not before all are there: each then has the same company. */
    ready = 0;
    started = now_us();
    for (long i = 0; i < connections; i++) ask(&them[i]);
  }
  printf("%ld\n%f\n", all, (now_us() - started) / 1e6);
  for (long i = 0; i < taken; i++) printf("%.1f\n", (double)times[i]);
  return 0;
}
