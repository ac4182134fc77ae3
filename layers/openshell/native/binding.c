/* Node-API binding: SEQPACKET packets with descriptors on the event loop, and who is at the other end of a socket. Own prototypes, since Node's headers may be absent. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define PACKET_MAX (256 * 1024)
#define FDS_MAX 64
#define BATCH 64 /* packets handled before the event loop gets its turn back */

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef struct napi_ref__ *napi_ref;
typedef struct napi_handle_scope__ *napi_handle_scope;
typedef int napi_status;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
enum { napi_ok = 0, napi_pending_exception = 10, UV_POLL_HANDLE = 8, UV_READABLE = 1 };

napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
napi_status napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value);
napi_status napi_create_object(napi_env, napi_value *);
napi_status napi_create_array_with_length(napi_env, size_t, napi_value *);
napi_status napi_set_element(napi_env, napi_value, uint32_t, napi_value);
napi_status napi_get_element(napi_env, napi_value, uint32_t, napi_value *);
napi_status napi_get_array_length(napi_env, napi_value, uint32_t *);
napi_status napi_create_int32(napi_env, int32_t, napi_value *);
napi_status napi_create_uint32(napi_env, uint32_t, napi_value *);
napi_status napi_get_value_int32(napi_env, napi_value, int32_t *);
napi_status napi_get_boolean(napi_env, bool, napi_value *);
napi_status napi_get_null(napi_env, napi_value *);
napi_status napi_get_global(napi_env, napi_value *);
napi_status napi_create_external(napi_env, void *, void (*)(napi_env, void *, void *), void *, napi_value *);
napi_status napi_get_value_external(napi_env, napi_value, void **);
napi_status napi_create_buffer_copy(napi_env, size_t, const void *, void **, napi_value *);
napi_status napi_get_buffer_info(napi_env, napi_value, void **, size_t *);
napi_status napi_create_reference(napi_env, napi_value, uint32_t, napi_ref *);
napi_status napi_delete_reference(napi_env, napi_ref);
napi_status napi_get_reference_value(napi_env, napi_ref, napi_value *);
napi_status napi_open_handle_scope(napi_env, napi_handle_scope *);
napi_status napi_close_handle_scope(napi_env, napi_handle_scope);
napi_status napi_make_callback(napi_env, void *, napi_value, napi_value, size_t, const napi_value *, napi_value *);
napi_status napi_get_and_clear_last_exception(napi_env, napi_value *);
napi_status napi_fatal_exception(napi_env, napi_value);
napi_status napi_throw_error(napi_env, const char *, const char *);
napi_status napi_get_uv_event_loop(napi_env, void **);
napi_status napi_add_env_cleanup_hook(napi_env, void (*)(void *), void *);
napi_status napi_remove_env_cleanup_hook(napi_env, void (*)(void *), void *);
size_t uv_handle_size(int);
int uv_poll_init(void *loop, void *handle, int fd);
int uv_poll_start(void *handle, int events, void (*)(void *, int, int));
int uv_poll_stop(void *handle);
void uv_close(void *handle, void (*)(void *));
void *uv_handle_get_data(const void *handle);
void uv_handle_set_data(void *handle, void *data);

struct receiver {
  napi_env env;
  napi_ref callback;
  void *poll;
  int fd;
  bool closed;
};

static char packet[PACKET_MAX]; /* one event loop thread uses the binding in each process */

static napi_value fail(napi_env env, const char *what) {
  int saved = errno;
  char text[128];
  size_t used = strlen(what);
  memcpy(text, what, used);
  strncpy(text + used, strerror(saved), sizeof text - used - 1);
  text[sizeof text - 1] = 0;
  napi_throw_error(env, saved == EPIPE || saved == ECONNRESET ? "EPIPE" : saved == EMSGSIZE ? "EMSGSIZE" : "EIO", text);
  return NULL;
}

static int int_argument(napi_env env, napi_value value) {
  int32_t n = -1;
  return napi_get_value_int32(env, value, &n) == napi_ok ? n : -1;
}

static void free_poll(void *handle) { free(handle); }

static void stop(struct receiver *r) {
  if (r->closed) return;
  r->closed = true;
  uv_poll_stop(r->poll);
  uv_close(r->poll, free_poll);
  close(r->fd);
}

/* A packet, or the end of the channel (data NULL), goes to JavaScript. */
static void deliver(struct receiver *r, const char *data, size_t length, const int *fds, int count) {
  napi_handle_scope scope;
  napi_value args[2], callback, global, item, error;
  if (napi_open_handle_scope(r->env, &scope) != napi_ok) return;
  if (data) napi_create_buffer_copy(r->env, length, data, NULL, &args[0]);
  else napi_get_null(r->env, &args[0]);
  napi_create_array_with_length(r->env, (size_t)count, &args[1]);
  for (int i = 0; i < count; i++) {
    napi_create_int32(r->env, fds[i], &item);
    napi_set_element(r->env, args[1], (uint32_t)i, item);
  }
  napi_get_reference_value(r->env, r->callback, &callback);
  napi_get_global(r->env, &global);
  if (napi_make_callback(r->env, NULL, global, callback, 2, args, NULL) == napi_pending_exception && napi_get_and_clear_last_exception(r->env, &error) == napi_ok) napi_fatal_exception(r->env, error);
  napi_close_handle_scope(r->env, scope);
}

static void readable(void *handle, int status, int events) {
  struct receiver *r = uv_handle_get_data(handle);
  (void)events;
  for (int i = 0; i < BATCH && !r->closed; i++) {
    char control[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    struct iovec part = {packet, sizeof packet};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = status < 0 ? 0 : recvmsg(r->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    int fds[FDS_MAX], count = 0;
    if (n > 0)
      for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
          count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
          memcpy(fds, CMSG_DATA(c), (size_t)count * sizeof(int));
        }
    bool broken = n <= 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    if (broken) {
      for (int k = 0; k < count; k++) close(fds[k]);
      uv_poll_stop(r->poll);
      deliver(r, NULL, 0, NULL, 0);
      return;
    }
    deliver(r, packet, (size_t)n, fds, count);
  }
}

static void cleanup(void *data) { stop(data); }

static void finalize(napi_env env, void *data, void *hint) {
  struct receiver *r = data;
  (void)hint;
  napi_remove_env_cleanup_hook(env, cleanup, r);
  stop(r);
  napi_delete_reference(env, r->callback);
  free(r);
}

/* open(fd, (packet: Buffer | null, fds: number[]) => void): handle. Takes over the descriptor; null is the end. */
static napi_value open_channel(napi_env env, napi_callback_info info) {
  napi_value args[2], result;
  size_t count = 2;
  void *loop;
  napi_get_cb_info(env, info, &count, args, NULL, NULL);
  int fd = count == 2 ? int_argument(env, args[0]) : -1;
  if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    errno = EBADF;
    return fail(env, "open: ");
  }
  struct receiver *r = calloc(1, sizeof *r);
  if (!r || !(r->poll = calloc(1, uv_handle_size(UV_POLL_HANDLE)))) abort();
  r->env = env;
  r->fd = fd;
  int error = napi_get_uv_event_loop(env, &loop) != napi_ok ? -EIO : uv_poll_init(loop, r->poll, fd);
  if (error) {
    free(r->poll);
    free(r);
    errno = -error;
    return fail(env, "open: ");
  }
  uv_handle_set_data(r->poll, r);
  napi_create_reference(env, args[1], 1, &r->callback);
  napi_add_env_cleanup_hook(env, cleanup, r);
  uv_poll_start(r->poll, UV_READABLE, readable);
  napi_create_external(env, r, finalize, NULL, &result);
  return result;
}

/* close(handle): stops and closes the descriptor. */
static napi_value close_channel(napi_env env, napi_callback_info info) {
  napi_value arg;
  size_t count = 1;
  void *data = NULL;
  napi_get_cb_info(env, info, &count, &arg, NULL, NULL);
  if (napi_get_value_external(env, arg, &data) == napi_ok && data) stop(data);
  return NULL;
}

/* send(fd, packet: Buffer, fds: number[]): boolean; false: the socket is full, try again. The caller still owns fds. */
static napi_value send_packet(napi_env env, napi_callback_info info) {
  napi_value args[3], item, result;
  size_t count = 3, length = 0;
  uint32_t given = 0;
  void *data = NULL;
  int fds[FDS_MAX];
  char control[CMSG_SPACE(sizeof fds)];
  napi_get_cb_info(env, info, &count, args, NULL, NULL);
  errno = EINVAL;
  if (count != 3 || napi_get_buffer_info(env, args[1], &data, &length) != napi_ok || napi_get_array_length(env, args[2], &given) != napi_ok || given > FDS_MAX) return fail(env, "send: ");
  for (uint32_t i = 0; i < given; i++) {
    napi_get_element(env, args[2], i, &item);
    fds[i] = int_argument(env, item);
  }
  struct iovec part = {data, length};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (given > 0) {
    memset(control, 0, sizeof control);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * given);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * given);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * given);
  }
  ssize_t n = sendmsg(int_argument(env, args[0]), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR) return fail(env, "send: ");
  napi_get_boolean(env, n >= 0, &result);
  return result;
}

/* peerCred(fd): {pid, uid, gid} of the process that connected (SO_PEERCRED). */
static napi_value peer_cred(napi_env env, napi_callback_info info) {
  napi_value arg, result, value;
  size_t count = 1;
  struct ucred who;
  socklen_t size = sizeof who;
  napi_get_cb_info(env, info, &count, &arg, NULL, NULL);
  if (getsockopt(int_argument(env, arg), SOL_SOCKET, SO_PEERCRED, &who, &size) < 0) return fail(env, "peerCred: ");
  napi_create_object(env, &result);
  napi_create_int32(env, who.pid, &value);
  napi_set_named_property(env, result, "pid", value);
  napi_create_uint32(env, who.uid, &value);
  napi_set_named_property(env, result, "uid", value);
  napi_create_uint32(env, who.gid, &value);
  napi_set_named_property(env, result, "gid", value);
  return result;
}

/* closeFd(fd): for received descriptors that nobody wraps. */
static napi_value close_fd(napi_env env, napi_callback_info info) {
  napi_value arg;
  size_t count = 1;
  napi_get_cb_info(env, info, &count, &arg, NULL, NULL);
  if (close(int_argument(env, arg)) < 0) return fail(env, "closeFd: ");
  return NULL;
}

/*pair(1: packets, 0: stream): [fd, fd], for tests and for processes that play openshelld. */
static napi_value pair(napi_env env, napi_callback_info info) {
  napi_value arg, result, item;
  size_t count = 1;
  int fds[2], room = 4 * PACKET_MAX;
  napi_get_cb_info(env, info, &count, &arg, NULL, NULL);
  if (socketpair(AF_UNIX, (int_argument(env, arg) == 1 ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, fds) < 0) return fail(env, "pair: ");
  napi_create_array_with_length(env, 2, &result);
  for (uint32_t i = 0; i < 2; i++) {
    /* Best effort: only root may pass wmem_max. */
    if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0) (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    napi_create_int32(env, fds[i], &item);
    napi_set_element(env, result, i, item);
  }
  return result;
}

/* unprocessed(fd): the terminal shows output as it comes. Node's raw mode is about keys only, and a full-screen program's line feed must stay one. */
static napi_value unprocessed(napi_env env, napi_callback_info info) {
  napi_value arg;
  size_t count = 1;
  struct termios mode;
  napi_get_cb_info(env, info, &count, &arg, NULL, NULL);
  int fd = int_argument(env, arg);
  if (tcgetattr(fd, &mode) < 0) return fail(env, "unprocessed: ");
  mode.c_oflag &= ~(tcflag_t)OPOST;
  return tcsetattr(fd, TCSADRAIN, &mode) < 0 ? fail(env, "unprocessed: ") : NULL;
}

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback function;
  } all[] = {{"open", open_channel}, {"close", close_channel}, {"send", send_packet}, {"peerCred", peer_cred}, {"closeFd", close_fd}, {"pair", pair}, {"unprocessed", unprocessed}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    napi_value function;
    napi_create_function(env, all[i].name, strlen(all[i].name), all[i].function, NULL, &function);
    napi_set_named_property(env, exports, all[i].name, function);
  }
  return exports;
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }
