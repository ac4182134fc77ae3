/* scale HOST PORT START_NS SECONDS PERIOD_MS OUT: from START_NS (clock since boot) on, once a period: opens a file that it may read, one that it may not write,
 * starts a program, and asks HOST by HTTPS on a kept connection. Writes OUT.open, OUT.denied, OUT.exec, OUT.request; prints `done PERIODS FAILURES LATE`. */
#include "http.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <sys/wait.h>

#define MOST 100000
enum { OPEN, DENIED, EXEC, REQUEST, KINDS };
static uint32_t *samples[KINDS];
static size_t counts[KINDS];
static SSL_CTX *context;
static SSL *tls;
static int tcp = -1;

static void keep(int kind, uint64_t took) {
  if (counts[kind] < MOST) samples[kind][counts[kind]++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

static int reach(const struct sockaddr_in *to, const char *host) {
  if (tls != NULL) return 0;
  struct timeval patience = {10, 0};
  tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(tcp, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(tcp, (const struct sockaddr *)to, sizeof *to) != 0) return -1;
  tls = SSL_new(context);
  if (tls == NULL || SSL_set_fd(tls, tcp) != 1 || SSL_set_tlsext_host_name(tls, host) != 1 || SSL_set1_host(tls, host) != 1) return -1;
  return SSL_connect(tls) == 1 ? 0 : -1;
}

static void hang_up(void) {
  if (tls != NULL) SSL_free(tls);
  if (tcp >= 0) close(tcp);
  tls = NULL;
  tcp = -1;
}

/* One answer of a known small size: its end is where its announced length ends. */
static int request_once(const struct sockaddr_in *to, const char *host, int port) {
  char text[4096];
  if (reach(to, host) != 0) return -1;
  int length = snprintf(text, sizeof text, "GET /first HTTP/1.1\r\nHost: %s:%d\r\n\r\n", host, port);
  if (SSL_write(tls, text, length) != length) return -1;
  int got = 0;
  for (;;) {
    int more = SSL_read(tls, text + got, (int)sizeof text - 1 - got);
    if (more <= 0) return -1;
    got += more;
    text[got] = '\0';
    const char *body = strstr(text, "\r\n\r\n"), *announced = strcasestr(text, "content-length: ");
    if (body != NULL && announced != NULL && text + got >= body + 4 + atoi(announced + 16)) return atoi(text + 9) == 200 ? 0 : -1;
  }
}

/* A small program beside this one, so that its size is not what is measured. */
static int start_program(void) {
  int status;
  char small[] = "/workspace/calls", *argv[] = {small, "nothing", NULL};
  pid_t child = vfork();
  if (child == 0) {
    execv(small, argv);
    _exit(126);
  }
  return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : -1;
}

static void wait_until(uint64_t ns) {
  struct timespec at = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {}
}

int main(int argc, char **argv) {
  if (argc != 7) return fputs("usage: scale HOST PORT START_NS SECONDS PERIOD_MS OUT\n", stderr), 2;
  const char *host = argv[1];
  int port = atoi(argv[2]);
  uint64_t start = strtoull(argv[3], NULL, 10), period = strtoull(argv[5], NULL, 10) * 1000000u;
  uint64_t periods = strtoull(argv[4], NULL, 10) * 1000000000u / period, failures = 0, late = 0;
  for (int kind = 0; kind < KINDS; kind++)
    if ((samples[kind] = malloc(periods * sizeof **samples)) == NULL || periods > MOST) die("memory");
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  if (SSL_CTX_set_default_verify_paths(context) != 1) die("trust");
  struct sockaddr_in to = look_up(host, port);
  /* Not all in the same instant: spread over the period by a number of our own. */
  uint64_t offset = (uint64_t)strtoul(strrchr(argv[6], '-') + 1, NULL, 10) * 7919u % 1000u * (period / 1000u);
  wait_until(start + offset);
  for (uint64_t i = 0; i < periods; i++) {
    uint64_t due = start + offset + i * period, begin = now_ns();
    if (begin > due + period) late++;
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    keep(OPEN, now_ns() - begin);
    if (fd < 0) failures++; else close(fd);
    begin = now_ns();
    fd = open("/usr/scale", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    keep(DENIED, now_ns() - begin);
    if (fd >= 0) die("the open that must be refused was not");
    begin = now_ns();
    if (start_program() != 0) failures++;
    keep(EXEC, now_ns() - begin);
    begin = now_ns();
    if (request_once(&to, host, port) != 0) failures++, hang_up();
    keep(REQUEST, now_ns() - begin);
    if (now_ns() < due + period) wait_until(due + period);
  }
  static const char *const names[KINDS] = {"open", "denied", "exec", "request"};
  for (int kind = 0; kind < KINDS; kind++) {
    char path[512];
    snprintf(path, sizeof path, "%s.%s", argv[6], names[kind]);
    save(path, samples[kind], counts[kind]);
  }
  printf("done %llu %llu %llu\n", (unsigned long long)periods, (unsigned long long)failures, (unsigned long long)late);
  return 0;
}
