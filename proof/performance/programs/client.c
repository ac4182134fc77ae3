/* What an agent does, with the time at which it could go on; each mode prints one line per event.
 *   client once HOST PORT PATH          one request on a new connection: `STATUS ns`
 *   client remove FOLDER COUNT          unlinks FOLDER/0, FOLDER/1, …: `end N ERRNO ns`
 *   client put HOST PORT COUNT          PUT /held/N, one after the other: `end N STATUS ns`
 *   client chat                         one question to the model, on a new connection: `STATUS ns`
 *   client watch HOST PORT STREAMS      holds STREAMS answers open; asks for /watched on new connections when told to by a line on
 *                                       stdin, until another rule refuses it: `ready`, `now RULE ns BEGUN` each time, at last `alive N` */
#include "http.h"
#include <errno.h>

static int once(const char *host, int port, const char *path) {
  struct sockaddr_in to = look_up(host, port);
  int status = status_of(ask(&to, host, port, "GET", path));
  printf("%d %llu\n", status, (unsigned long long)now_ns());
  return status == 200 ? 0 : 1;
}

static int chat(void) {
  static const char body[] = "{\"model\":\"none\",\"messages\":[{\"role\":\"user\",\"content\":\"How are you today?\"}]}";
  const char *key = getenv("NEMOCLAW_API_KEY");
  struct sockaddr_in to = look_up("inference.local", 80);
  char text[1024];
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
  int length = snprintf(text, sizeof text, "POST /v1/chat/completions HTTP/1.1\r\nHost: inference.local\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", key != NULL ? key : "", sizeof body - 1, body);
  if (send(fd, text, (size_t)length, MSG_NOSIGNAL) != length) die("send");
  int status = status_of(fd);
  printf("%d %llu\n", status, (unsigned long long)now_ns());
  return status == 200 ? 0 : 1;
}

static int take_away(const char *folder, int count) {
  for (int i = 0; i < count; i++) {
    char path[256];
    snprintf(path, sizeof path, "%s/%d", folder, i);
    int failed = unlink(path);
    printf("end %d %d %llu\n", i, failed ? errno : 0, (unsigned long long)now_ns());
  }
  return 0;
}

static int put(const char *host, int port, int count) {
  struct sockaddr_in to = look_up(host, port);
  for (int i = 0; i < count; i++) {
    char path[64];
    snprintf(path, sizeof path, "/held/%d", i);
    int fd = ask(&to, host, port, "PUT", path), status = status_of(fd);
    printf("end %d %d %llu\n", i, status, (unsigned long long)now_ns());
    close(fd);
  }
  return 0;
}

static int watch(const char *host, int port, int count) {
  struct sockaddr_in to = look_up(host, port);
  int *streams = calloc((size_t)count + 1, sizeof *streams);
  struct timespec pause = {0, 1000000};
  char text[4096];
  for (int i = 0; i < count; i++) {
    streams[i] = ask(&to, host, port, "GET", "/stream");
    int status = status_of(streams[i]);
    if (status != 200) return fprintf(stderr, "stream %d: status %d\n", i, status), 1;
  }
  printf("ready\n");
  char last[64] = "", rule[64], line[16];
  /* Quiet in between: what is measured is the change, not a crowd at the door before it. */
  while (fgets(line, sizeof line, stdin) != NULL) {
    printf("asking\n");
    uint64_t begun, end;
    for (;;) {
      begun = now_ns();
      int fd = ask(&to, host, port, "GET", "/watched");
      rule_of(fd, rule);
      end = now_ns();
      close(fd);
      if (strcmp(rule, last) != 0) break;
      nanosleep(&pause, NULL);
    }
    printf("now %s %llu %llu\n", rule, (unsigned long long)end, (unsigned long long)begun);
    strcpy(last, rule);
  }
  int alive = 0;
  for (int i = 0; i < count; i++) {
    ssize_t got = 1;
    while (got > 0) got = recv(streams[i], text, sizeof text, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) alive++;
  }
  printf("alive %d\n", alive);
  return 0;
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *mode = argc > 1 ? argv[1] : "";
  if (argc == 5 && strcmp(mode, "once") == 0) return once(argv[2], atoi(argv[3]), argv[4]);
  if (argc == 2 && strcmp(mode, "chat") == 0) return chat();
  if (argc == 4 && strcmp(mode, "remove") == 0) return take_away(argv[2], atoi(argv[3]));
  if (argc == 5 && strcmp(mode, "put") == 0) return put(argv[2], atoi(argv[3]), atoi(argv[4]));
  if (argc == 5 && strcmp(mode, "watch") == 0) return watch(argv[2], atoi(argv[3]), atoi(argv[4]));
  fputs("usage: client once|chat|remove|put|watch …, see client.c\n", stderr);
  return 2;
}
