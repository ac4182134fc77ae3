/* Signing checkpoints, on a thread of its own so that a slow disk does not hold up the loop. */
#include "openshelld_checkpoints.h"
#include "openshelld_config.h"
#include "openshelld_loop.h"
#include "openshelld_text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned char secret[crypto_sign_SECRETKEYBYTES];
static int file = -1, to_thread[2];
static int64_t last_count = -1, last_sync;
static char last_head[130], last_signature[130];
static struct watch answers;
static void (*on_done)(const struct checkpoint *);

static int write_all(int fd, const char *data, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, data, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    data += n;
    length -= (size_t)n;
  }
  return 0;
}

/* The key is made once; the public half is beside it for the verifier. */
static int load_key(int dir) {
  unsigned char public[crypto_sign_PUBLICKEYBYTES];
  char hex[2 * sizeof public + 2];
  int fd = openat(dir, "secret.key", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) {
    crypto_sign_keypair(public, secret);
    fd = openat(dir, "secret.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write_all(fd, (char *)secret, sizeof secret) < 0 || fsync(fd) < 0 || renameat(dir, "secret.new", dir, "secret.key") < 0) return -1;
  } else if (fd < 0 || read(fd, secret, sizeof secret) != sizeof secret || crypto_sign_ed25519_sk_to_pk(public, secret) != 0) {
    return -1;
  }
  close(fd);
  sodium_bin2hex(hex, sizeof hex, public, sizeof public);
  strcat(hex, "\n");
  fd = openat(dir, "public.key", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0 || write_all(fd, hex, strlen(hex)) < 0 || fsync(fd) < 0) return -1;
  close(fd);
  return fsync(dir);
}

/* The last whole line counts; a torn one (power cut) is ended so that the next starts on its own line. */
static int read_last(void) {
  char text[4096];
  off_t size = lseek(file, 0, SEEK_END), from = size > (off_t)sizeof text - 1 ? size - (off_t)sizeof text + 1 : 0;
  ssize_t n = size < 0 ? -1 : pread(file, text, sizeof text - 1, from);
  if (n < 0) return -1;
  text[n] = 0;
  if (n > 0 && text[n - 1] != '\n' && write_all(file, "\n", 1) < 0) return -1;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    json_t *one = json_loads(line, 0, NULL);
    json_int_t count;
    const char *head, *signature;
    if (one && json_unpack(one, "{s:I,s:s,s:s}", "count", &count, "head", &head, "signature", &signature) == 0) {
      last_count = count;
      text_format(last_head, sizeof last_head, "%s", head);
      text_format(last_signature, sizeof last_signature, "%s", signature);
    }
    json_decref(one);
  }
  return 0;
}

static void sign_one(struct checkpoint *c) {
  char text[300], line[600];
  unsigned char signature[crypto_sign_BYTES];
  if (c->count < last_count) c->refused = 1;
  else if (c->count == last_count && strcmp(c->head, last_head) != 0) c->refused = 2;
  if (c->refused) return;
  bool again = c->count == last_count, sync = strcmp(c->why, "interval") != 0;
  if (!again) {
    text_format(text, sizeof text, "nemoclaw-checkpoint-v1\n%lld\n%s\n", (long long)c->count, c->head);
    crypto_sign_detached(signature, NULL, (unsigned char *)text, strlen(text), secret);
    sodium_bin2hex(c->signature, sizeof c->signature, signature, sizeof signature);
    text_format(line, sizeof line, "{\"time\":%lld,\"count\":%lld,\"head\":\"%s\",\"signature\":\"%s\"}\n", (long long)wall_ms(), (long long)c->count, c->head, c->signature);
    if (write_all(file, line, strlen(line)) < 0) c->refused = 3;
  }
  int64_t now = boottime_ms();
  if (!c->refused && (sync || now - last_sync >= 1000)) {
    if (fdatasync(file) < 0) c->refused = 3;
    last_sync = now;
  }
  if (c->refused) return;
  if (again) memcpy(c->signature, last_signature, sizeof c->signature);
  last_count = c->count;
  memcpy(last_head, c->head, sizeof last_head);
  memcpy(last_signature, c->signature, sizeof last_signature);
}

static void *signer(void *unused) {
  struct checkpoint request;
  (void)unused;
  while (recv(to_thread[1], &request, sizeof request, 0) == sizeof request) {
    sign_one(&request);
    if (send(to_thread[1], &request, sizeof request, MSG_NOSIGNAL) != sizeof request) break;
  }
  return NULL;
}

static void answer_ready(struct watch *watch, uint32_t events) {
  struct checkpoint done;
  (void)events;
  if (recv(watch->fd, &done, sizeof done, MSG_DONTWAIT) == sizeof done) on_done(&done);
}

void checkpoints_sign(const struct checkpoint *request) {
  /* Nothing that could end the line or the string it is written into. */
  bool plain = request->head[0] != 0;
  for (const char *p = request->head; *p; p++) plain = plain && (isalnum((unsigned char)*p) || strchr(":+/=._-", *p));
  if (plain && request->count >= 0 && send(to_thread[0], request, sizeof *request, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof *request) return;
  struct checkpoint refused = *request;
  refused.refused = 3;
  on_done(&refused);
}

int checkpoints_open(void (*done)(const struct checkpoint *), char *err, unsigned long errlen) {
  char path[512];
  pthread_t thread;
  on_done = done;
  text_format(path, sizeof path, "%s/checkpoints", config.state);
  int dir = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  if (sodium_init() < 0 || dir < 0 || load_key(dir) < 0) goto failed;
  file = openat(dir, "checkpoints.jsonl", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0 || read_last() < 0) goto failed;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, to_thread) < 0) goto failed;
  if (loop_add(&answers, to_thread[0], EPOLLIN, answer_ready) < 0 || pthread_create(&thread, NULL, signer, NULL) != 0) goto failed;
  close(dir);
  return 0;
failed:
  text_format(err, errlen, "%s: %s", path, strerror(errno));
  if (dir >= 0) close(dir);
  return -1;
}
