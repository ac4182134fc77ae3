/* $RUN/register.sock: one line in, one line out; who asks is what the kernel says. */
#include "channel.h"
#include "openshelld.h"
#include "openshelld_release.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "registry.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PEERS_MAX 16
#define PEERS_OF_ONE 4 /* of one person; root is not bound by it */
#define TOLD_A_MINUTE 20 /* refusals of one person that are put on record one by one */
#define LINE_MAX_BYTES 8192
#define PATIENCE_MS 6000

struct peer {
  unsigned long number; /* of the connection: which is older */
  int fd, answer; /* -1: free; the child's socket or -1 */
  struct watch watch, answer_watch;
  struct timer timer;
  struct registry_peer who;
  pid_t child;
  size_t used;
  char line[LINE_MAX_BYTES];
  char path[4096];
};

static struct peer peers[PEERS_MAX];
static unsigned long connections;
static struct watch listening;
static char socket_path[120];
static pid_t ended[PEERS_MAX]; /* children to reap */

void registry_reap(void) {
  for (int i = 0; i < PEERS_MAX; i++)
    if (ended[i] != 0 && waitpid(ended[i], NULL, WNOHANG) != 0) ended[i] = 0;
}

static void finish(struct peer *peer) {
  timer_stop(&peer->timer);
  loop_remove(&peer->watch);
  loop_remove(&peer->answer_watch);
  if (peer->answer >= 0) {
    close(peer->answer);
    /* It has ended or is about to; it stays a zombie, so the pid is still its own. */
    if (peer->child > 0 && kill(peer->child, SIGKILL) == 0)
      for (int i = 0; i < PEERS_MAX; i++)
        if (ended[i] == 0) {
          ended[i] = peer->child;
          break;
        }
  }
  close(peer->fd);
  peer->fd = peer->answer = -1;
}

/* Refusals of one person, so that nobody floods the record: beyond TOLD_A_MINUTE they are counted, and the next one that is told says how many. */
static struct teller {
  uid_t uid;
  int64_t since; /* ms, CLOCK_BOOTTIME; 0: free */
  int told, silent;
} tellers[PEERS_MAX];

/* True if this refusal is to be told; `silent` is how many were not since the last one. */
static bool may_tell(uid_t uid, int *silent) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  int64_t at = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
  struct teller *mine = &tellers[0];
  for (int i = 0; i < PEERS_MAX; i++) {
    if (tellers[i].since != 0 && tellers[i].uid == uid) {
      mine = &tellers[i];
      break;
    }
    if (tellers[i].since < mine->since) mine = &tellers[i]; /* the one that was quiet longest */
  }
  if (mine->uid != uid || mine->since == 0) *mine = (struct teller){.uid = uid, .since = at};
  if (at - mine->since >= 60000) mine->since = at, mine->told = 0;
  *silent = mine->silent;
  if (mine->told >= TOLD_A_MINUTE) {
    mine->silent++;
    return false;
  }
  mine->told++;
  mine->silent = 0;
  return true;
}

static void refuse(struct peer *peer, const char *code, const char *text) {
  json_t *reply = json_pack("{s:b,s:s,s:s}", "ok", 0, "code", code, "error", text);
  char *line = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
  if (line) dprintf(peer->fd, "%s\n", line);
  free(line);
  json_decref(reply);
  int silent;
  if (may_tell(peer->who.uid, &silent)) {
    log_line("registration by uid %u refused: %s", peer->who.uid, code);
    event_emit("entityManagement", 1, 3, "", "openshelld", "deny", json_pack("{s:I,s:s,s:i}", "uid", (json_int_t)peer->who.uid, "code", code, "notTold", silent), "Registering a workspace was refused: %s", text);
  }
  finish(peer);
}

static void timed_out(struct timer *timer) { refuse(container_of(timer, struct peer, timer), "open", "timed out"); }

static void answered(struct watch *watch, uint32_t events) {
  struct peer *peer = container_of(watch, struct peer, answer_watch);
  struct packet packet;
  (void)events;
  int got = packet_receive(watch->fd, &packet);
  if (got == 0) return;
  json_t *answer = got > 0 ? json_loadb(packet.data, packet.length, 0, NULL) : NULL;
  const char *code = json_string_value(json_object_get(answer, "code"));
  if (!code || (code[0] == 0 && packet.count != 1)) {
    refuse(peer, "open", "the folder could not be opened");
  } else if (code[0]) {
    const char *error = json_string_value(json_object_get(answer, "error"));
    refuse(peer, code, strcmp(code, "system") == 0 ? "this is a folder of the system or of NemoClaw itself" : strcmp(code, "not-yours") == 0 ? "the folder is neither yours nor writable by you" : error);
  } else {
    bool fresh;
    int fd = packet.fds[0];
    packet.count = 0;
    /* What operators are shown is where the folder is, not what somebody called it. */
    char link[40], real[sizeof peer->path];
    text_format(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, real, sizeof real - 1);
    if (length > 0) {
      real[length] = 0;
      (void)text_format(peer->path, sizeof peer->path, "%s", real);
    }
    const struct registration *one = registry_add(peer->who.uid, peer->who.gid, peer->path, fd, &fresh);
    if (!one) {
      refuse(peer, "full", "too many workspaces are registered");
    } else {
      json_t *reply = json_pack("{s:b,s:s,s:s}", "ok", 1, "id", one->id, "path", one->path);
      char *line = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
      if (line) dprintf(peer->fd, "%s\n", line);
      free(line);
      json_decref(reply);
      finish(peer);
      if (fresh) {
        releases_retry(one->id);
        log_line("uid %u registered %s", one->uid, one->id);
        event_emit("entityManagement", 1, 1, "", "openshelld", "allow", json_pack("{s:s,s:I}", "registration", one->id, "uid", (json_int_t)one->uid), "A workspace was registered: %s", one->path);
        tell_gateway(json_pack("{s:s,s:{s:s,s:I,s:I,s:s}}", "t", "workspace.registered", "registration", "id", one->id, "uid", (json_int_t)one->uid, "gid", (json_int_t)one->gid, "path", one->path), NULL, 0);
      }
    }
  }
  json_decref(answer);
  if (got > 0) packet_close_fds(&packet);
}

static void start_child(struct peer *peer) {
  int ends[2];
  if (channel_pair(ends) < 0) {
    refuse(peer, "open", strerror(errno));
    return;
  }
  peer->child = fork();
  if (peer->child == 0) registry_open_as(&peer->who, peer->path, ends[1]);
  close(ends[1]);
  peer->answer = ends[0];
  if (peer->child < 0 || loop_add(&peer->answer_watch, ends[0], EPOLLIN, answered) < 0) refuse(peer, "open", strerror(errno));
}

static void line_ready(struct watch *watch, uint32_t events) {
  struct peer *peer = container_of(watch, struct peer, watch);
  (void)events;
  ssize_t n = recv(watch->fd, peer->line + peer->used, sizeof peer->line - 1 - peer->used, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    finish(peer);
    return;
  }
  peer->used += (size_t)n;
  peer->line[peer->used] = 0;
  char *end = memchr(peer->line, '\n', peer->used);
  if (!end && peer->used < sizeof peer->line - 1) return;
  loop_remove(watch); /* one request for each connection */
  json_t *request = end ? json_loadb(peer->line, (size_t)(end - peer->line), JSON_REJECT_DUPLICATES, NULL) : NULL;
  const char *t = NULL, *path = NULL;
  /* Only now that the line is read: an answer before it would be lost in the reset. */
  if (config_is_ours(peer->who.uid)) refuse(peer, "identity", "services and sandboxes register nothing");
  else if (!request || json_unpack_ex(request, NULL, JSON_STRICT, "{s:s,s:s}", "t", &t, "path", &path) < 0 || strcmp(t, "register") != 0) refuse(peer, "protocol", "one line {\"t\":\"register\",\"path\":\"/…\"} is expected");
  else if (path[0] != '/' || !text_format(peer->path, sizeof peer->path, "%s", path)) refuse(peer, "path", "the path must be absolute and under 4096 bytes");
  else start_child(peer);
  json_decref(request);
}

/* A place for one more of `uid`. Who has all of theirs gives up the one that has said nothing for longest: nobody keeps others out by waiting. */
static struct peer *free_place(uid_t uid) {
  struct peer *open = NULL, *oldest = NULL;
  int mine = 0, strangers = 0;
  for (int i = 0; i < PEERS_MAX; i++) {
    struct peer *one = &peers[i];
    if (one->fd < 0) {
      if (ended[i] == 0) open = one;
      continue;
    }
    strangers += one->who.uid != 0;
    if (one->who.uid != uid) continue;
    mine++;
    if (one->answer < 0 && ended[i] == 0 && (!oldest || one->number < oldest->number)) oldest = one;
  }
  if (uid == 0 && open) return open;
  if (mine < PEERS_OF_ONE && (uid == 0 || strangers < PEERS_MAX - PEERS_OF_ONE)) return open;
  if (!oldest) return NULL;
  finish(oldest);
  return oldest;
}

static void connection_ready(struct watch *watch, uint32_t events) {
  struct ucred who;
  socklen_t size = sizeof who;
  (void)events;
  int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0) {
    close(fd);
    return;
  }
  struct peer *peer = free_place(who.uid);
  if (!peer) {
    close(fd);
    return;
  }
  *peer = (struct peer){.number = ++connections, .fd = fd, .answer = -1, .watch.fd = -1, .answer_watch.fd = -1, .who = {.uid = who.uid, .gid = who.gid}};
  size = sizeof peer->who.groups;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->who.groups, &size) == 0) peer->who.group_count = (int)(size / sizeof(gid_t));
  if (loop_add(&peer->watch, fd, EPOLLIN, line_ready) < 0) finish(peer);
  else timer_set(&peer->timer, PATIENCE_MS, timed_out);
}

int registry_open(char *err, size_t errlen) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  for (int i = 0; i < PEERS_MAX; i++) peers[i].fd = peers[i].answer = -1;
  text_format(socket_path, sizeof socket_path, "%s/register.sock", config.run);
  if (!text_format(address.sun_path, sizeof address.sun_path, "%s", socket_path)) {
    text_format(err, errlen, "%s: too long for a socket", socket_path);
    return -1;
  }
  (void)unlink(socket_path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  mode_t old = umask(0777); /* closed to all until owner and mode are right */
  int bound = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
  umask(old);
  if (bound < 0 || lchown(socket_path, 0, config.operators) < 0 || chmod(socket_path, 0660) < 0 || listen(fd, 16) < 0 || loop_add(&listening, fd, EPOLLIN, connection_ready) < 0) {
    text_format(err, errlen, "%s: %s", socket_path, strerror(errno));
    return -1;
  }
  return 0;
}

void registry_close(void) { (void)unlink(socket_path); }
