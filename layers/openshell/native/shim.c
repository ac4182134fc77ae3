/* The shim's loop: openshelld, init, refused and asked system calls, the end. Started by openshelld with its packet socket as descriptor 3. */
#include "shim.h"
#include "shim_starts.h"
#include "init.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shim shim = {.daemon.fd = -1, .listening = -1, .layer_lock = -1};

int64_t shim_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void shim_tell(json_t *message, const int *fds, int count) {
  if (!message || shim.daemon.fd < 0) json_decref(message); /* NULL: an answer to what was no question */
  else if (channel_send_json(&shim.daemon, message, fds, count) < 0) channel_close(&shim.daemon);
}

static int listen_for_openshelld(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (shim.alone) return 0;
  if (!text_format(address.sun_path, sizeof address.sun_path, "%s", shim.socket)) return -1;
  (void)unlink(shim.socket);
  umask(0077);
  shim.listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (shim.listening < 0 || bind(shim.listening, (struct sockaddr *)&address, sizeof address) < 0) return -1;
  return listen(shim.listening, 4);
}

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

/* From here on the shim can signal its sandbox and nothing else that root can. */
static int drop_privileges(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}};
  /* Agents wait for every answer; only now, so that the sandbox does not inherit it. */
  (void)setpriority(PRIO_PROCESS, 0, -5);
  if (geteuid() != 0) return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* a user's shim has none */
  for (int cap = 0; cap < 64; cap++)
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL) return -1;
  data[0].effective = data[0].permitted = 1U << CAP_KILL;
  if (syscall(SYS_capset, &header, data) < 0) return -1;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void accept_openshelld(void) {
  struct ucred who;
  socklen_t size = sizeof who;
  int fds[SHIM_FDS], fd = accept4(shim.listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || who.uid != geteuid()) {
    close(fd);
    return;
  }
  /* The newest wins: an older openshelld that still holds its end is dead or about to be. */
  channel_close(&shim.daemon);
  channel_init(&shim.daemon, fd);
  shim.overtime_told = false;
  int count = shim_fds(fds);
  shim_tell(shim_describe("hello"), fds, count);
  shim_calls_resend();
  shim_starts_resend();
  const char *id;
  json_t *record;
  json_object_foreach(shim.asked_by_kernel, id, record) shim_tell(json_pack("{s:s,s:s,s:O}", "t", "lsm.held", "id", id, "record", record), NULL, 0);
  shim_disk_tell(true);
  shim_tell(json_pack("{s:s}", "t", "synced"), NULL, 0);
}

static void openshelld_ready(void) {
  struct packet packet;
  int got = packet_receive(shim.daemon.fd, &packet);
  if (got == 0) return;
  if (got < 0) {
    channel_close(&shim.daemon);
    return;
  }
  json_t *message = json_loadb(packet.data, packet.length, 0, NULL);
  const char *t = json_string_value(json_object_get(message, "t"));
  if (!t) t = "";
  if (strcmp(t, "exec") == 0) {
    shim_exec(message, &packet);
  } else if (strcmp(t, "freeze") == 0) {
    int result = shim_stand_still(STILL_PERSON, json_is_true(json_object_get(message, "frozen")));
    shim_tell(json_pack("{s:s,s:O,s:b}", "t", "answer", "n", json_object_get(message, "n"), "ok", result == 0), NULL, 0);
  } else if (strcmp(t, "attached") == 0) {
    const char *worker = json_string_value(json_object_get(message, "worker"));
    text_format(shim.worker, sizeof shim.worker, "%s", worker ? worker : "");
    shim.worker_pid = (int)json_integer_value(json_object_get(message, "pid"));
  } else if (strcmp(t, "overtime.taken") == 0) {
    shim.overtime = false;
  } else if (strcmp(t, "rules") == 0) {
    json_decref(shim.escalate);
    shim.escalate = json_incref(json_object_get(message, "escalate")); /* for the next openshelld */
    json_decref(shim.lsm);
    shim.lsm = json_incref(json_object_get(message, "lsm"));
    json_t *names = json_object_get(message, "recordRules");
    if (names) {
      json_decref(shim.record_rules);
      shim.record_rules = json_incref(names);
    }
  } else if (strcmp(t, "lsm.held") == 0 || strcmp(t, "lsm.unheld") == 0) {
    const char *id = json_string_value(json_object_get(message, "id"));
    if (!shim.asked_by_kernel) shim.asked_by_kernel = json_object();
    if (id && strcmp(t, "lsm.held") == 0) json_object_set(shim.asked_by_kernel, id, json_object_get(message, "record"));
    else if (id) json_object_del(shim.asked_by_kernel, id);
  } else if (strcmp(t, "keep") == 0) {
    while (packet.count > 0 && shim.kept_count < SHIM_KEPT_MAX) shim.kept[shim.kept_count++] = packet.fds[--packet.count];
  } else if (strcmp(t, "destroy") == 0) {
    shim.over = true;
    shim.why = "destroyed";
  } else if (!shim_calls_message(t, message, &packet) && !shim_starts_message(t, message)) {
    (void)shim_exec_message(t, message);
  }
  json_decref(message);
  packet_close_fds(&packet);
}

static void end(void) {
  shim_disk_close();
  (void)cgroup_kill(&shim.group);
  launch_destroy(&shim.sandbox);
  shim_layer_free();
  int left = cgroup_remove(&shim.group, 500);
  if (!shim.alone) (void)unlink(shim.socket);
  shim_tell(json_pack("{s:s,s:s,s:b}", "t", "gone", "why", shim.why, "clean", left == 0), NULL, 0);
}

int main(int argc, char **argv) {
  (void)argv;
  if (argc != 1 || fcntl(3, F_SETFL, O_NONBLOCK) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC) < 0) return 2;
  signal(SIGPIPE, SIG_IGN);
  channel_init(&shim.daemon, 3);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || shim_launch() < 0) return 1;
  char err[300] = "";
  if (shim_calls_open() < 0 || listen_for_openshelld() < 0 || shim_starts_open(err, sizeof err) < 0 || drop_privileges() < 0 || shim_starts_keep() < 0) {
    shim_tell(json_pack("{s:s,s:s,s:s}", "t", "failed", "code", err[0] ? "host" : "internal", "error", err[0] ? err : strerror(errno)), NULL, 0);
    shim.why = "shim";
    end();
    return 1;
  }
  /* The calling thread waits for our answer anyway: wake us on its own CPU. Linux 6.6; without it all is the same but slower. */
  (void)ioctl(shim.sandbox.notify_fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  int fds[SHIM_FDS], count = shim_fds(fds);
  shim_tell(shim_describe("ready"), fds, count);
  /* openshelld died meanwhile, and its successor may have looked for us before we listened: nobody knows of this sandbox. */
  if (shim.daemon.fd < 0) {
    shim.over = true;
    shim.why = "openshelld went away";
  }
  while (!shim.over) {
    struct pollfd polled[7] = {{shim.sandbox.pidfd, POLLIN, 0},
                               {shim_calls_fd(), POLLIN, 0},
                               {shim.sandbox.exec_fd, POLLIN, 0},
                               {shim.daemon.fd, (short)(POLLIN | (shim.daemon.first ? POLLOUT : 0)), 0},
                               {shim.listening, POLLIN, 0},
                               {shim_starts_fd(), POLLIN, 0},
                               {shim_disk_fd(), POLLIN, 0}};
    if (poll(polled, 7, shim_starts_wait(shim_timeout_wait(shim_calls_wait()))) < 0 && errno != EINTR) break;
    if (polled[2].revents) shim_init_ready();
    if (polled[0].revents) {
      shim.over = true;
      shim.why = "init ended";
    }
    if (polled[5].revents & POLLIN) shim_starts_ready();
    if (polled[1].revents & POLLIN) shim_notify_ready();
    if (polled[3].revents & POLLOUT) (void)channel_flush(&shim.daemon);
    if (polled[3].revents & ~POLLOUT && shim.daemon.fd >= 0) openshelld_ready();
    if (polled[4].revents) accept_openshelld();
    if (polled[6].revents) shim_disk_ready();
    shim_calls_tick();
    shim_starts_tick();
    shim_timeout_tick();
    shim_disk_tell(false);
    if (shim.alone && shim.daemon.fd < 0 && !shim.over) {
      shim.over = true;
      shim.why = "openshelld went away";
    }
  }
  end();
  return 0;
}
