/* Connecting a socket of the agent, as the agent: the very socket that it named when it asked, to the address that was shown. */
#include "perform.h"
#include "openshelld_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* Threads share their descriptors; one that does not is refused, since its number may mean another socket. */
static int take_socket(pid_t tid, int number) {
  pid_t group = (pid_t)caller_status(tid, "\nTgid:", 10);
  if (group != tid && syscall(SYS_kcmp, tid, group, 2 /* KCMP_FILES */, 0, 0) != 0) {
    errno = EPERM;
    return -1;
  }
  int process = group > 0 ? (int)syscall(SYS_pidfd_open, group, 0) : -1;
  if (process < 0) return -1;
  int fd = (int)syscall(SYS_pidfd_getfd, process, number, 0), saved = errno;
  close(process);
  struct stat st;
  if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))) {
    close(fd);
    fd = -1;
    saved = ENOTSOCK;
  }
  errno = saved;
  return fd;
}

static bool tcp_refused(const struct view *view, int family, int socket_fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return view->no_tcp && (family == AF_INET || family == AF_INET6) && (getsockopt(socket_fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type == SOCK_STREAM);
}

/* Every byte, so that no two addresses look the same. */
static void show_bytes(char *out, size_t size, const unsigned char *bytes, size_t length, bool text) {
  for (size_t i = 0; i < length; i++) {
    bool plain = text && bytes[i] > 0x20 && bytes[i] < 0x7f && bytes[i] != '\\';
    text_format(out, size, plain ? "%c" : text ? "\\x%02x" : "%02x", bytes[i]);
    size -= strlen(out);
    out += strlen(out);
  }
}

/* What a person reads. */
static void show(struct operation *op, const struct sockaddr_storage *address, size_t length) {
  char text[INET6_ADDRSTRLEN] = "?";
  char *out = op->from.path;
  size_t size = sizeof op->from.path;
  const struct sockaddr_in *four = (const struct sockaddr_in *)address;
  const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
  const struct sockaddr_un *local = (const struct sockaddr_un *)address;
  if (address->ss_family == AF_INET && length >= sizeof *four) {
    inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
    text_format(out, size, "%s:%u", text, ntohs(four->sin_port));
  } else if (address->ss_family == AF_INET6 && length >= offsetof(struct sockaddr_in6, sin6_scope_id)) {
    inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
    if (six->sin6_scope_id) text_format(out, size, "[%s%%%u]:%u", text, six->sin6_scope_id, ntohs(six->sin6_port));
    else text_format(out, size, "[%s]:%u", text, ntohs(six->sin6_port));
  } else if (address->ss_family == AF_UNIX) {
    text_format(out, size, "@");
    show_bytes(out + 1, size - 1, (const unsigned char *)local->sun_path + 1, length > 3 ? length - 3 : 0, true);
  } else {
    text_format(out, size, "address of family %u: ", address->ss_family);
    show_bytes(out + strlen(out), size - strlen(out), (const unsigned char *)address + sizeof(sa_family_t), length - sizeof(sa_family_t), false);
  }
}

int connect_read(struct operation *op, const struct view *view, const struct seccomp_notif *call, int notify, bool always) {
  const __u64 *a = call->data.args;
  pid_t tid = (pid_t)call->pid;
  uint64_t id = call->id;
  struct sockaddr_storage address;
  char path[sizeof address + 1];
  memset(&address, 0, sizeof address);
  op->syscall = "connect";
  op->is.kind = DO_CONNECT;
  if (a[2] < sizeof(sa_family_t) || a[2] > sizeof address) return always ? EINVAL : OPERATION_CONTINUE;
  struct iovec mine = {&address, a[2]}, theirs = {(void *)a[1], a[2]};
  if (process_vm_readv(tid, &mine, 1, &theirs, 1, 0) != (ssize_t)a[2]) return always ? EFAULT : OPERATION_CONTINUE;
  const struct sockaddr_un *local = (const struct sockaddr_un *)&address;
  bool named = address.ss_family == AF_UNIX && a[2] > offsetof(struct sockaddr_un, sun_path) && local->sun_path[0];
  if (!named && !always) return OPERATION_CONTINUE;
  if (named) {
    size_t length = a[2] - offsetof(struct sockaddr_un, sun_path);
    memcpy(path, local->sun_path, length);
    path[length] = 0;
    int error = place_resolve(&op->from, view, tid, AT_FDCWD, path);
    if (!error) error = op->from.special ? ECONNREFUSED : place_follow(&op->from, view);
    if (!error) place_find_lock(&op->from, view);
    if (!always && (error || op->from.lock < 0 || !view->locks[op->from.lock].hidden)) return OPERATION_CONTINUE;
    if (!error && op->from.lock >= 0) error = place_unlock(&op->from, view, false);
    if (error) return error;
  } else {
    show(op, &address, a[2]);
  }
  op->to.parent = take_socket(tid, (int)a[0]);
  if (op->to.parent < 0) return errno;
  if (ioctl(notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0) return ESRCH;
  if (tcp_refused(view, address.ss_family, op->to.parent)) return EACCES;
  op->value = malloc(a[2]);
  if (!op->value) return ENOMEM;
  memcpy(op->value, &address, a[2]);
  op->value_length = a[2];
  return 0;
}

int connect_do(const struct operation *op) {
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  if (op->from.parent < 0) return connect(op->to.parent, (const struct sockaddr *)op->value, (socklen_t)op->value_length) < 0 ? errno : 0;
  int object = place_object(&op->from);
  if (object < 0) return errno == ESTALE ? EPERM : errno;
  text_format(local.sun_path, sizeof local.sun_path, "/proc/self/fd/%d", object);
  int error = connect(op->to.parent, (struct sockaddr *)&local, sizeof local) < 0 ? errno : 0;
  close(object);
  return error;
}
