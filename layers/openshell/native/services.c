/* The life of the services. */
#include "services.h"
#include "openshelld_store.h"
#include "openshelld_text.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_BACKOFF_MS 50
#define LAST_BACKOFF_MS 2000
#define STOP_PATIENCE_MS 3000

struct service services[SERVICES_MAX];
int service_count;
static bool stopping, ledger_too;
static void (*when_stopped)(void);
static struct timer patience;
static void (*when_parent_gone)(void); /* NULL: not alone */

static void start_one(struct service *service);

struct service *service_find(const char *name) {
  for (int i = 0; i < service_count; i++)
    if (strcmp(services[i].name, name) == 0) return &services[i];
  return NULL;
}

void services_prepare(void) {
  size_t i;
  json_t *entry;
  json_array_foreach(config.services, i, entry) {
    const char *role = json_string_value(json_object_get(entry, "role"));
    enum role r = ROLE_GATEWAY;
    while (strcmp(role, role_names[r]) != 0) r++;
    for (int k = 0; k < (r == ROLE_WORKER ? config.workers : 1) && service_count < SERVICES_MAX; k++) {
      struct service *service = &services[service_count++];
      if (r == ROLE_WORKER) text_format(service->name, sizeof service->name, "worker:%d", k + 1);
      else text_format(service->name, sizeof service->name, "%s", r == ROLE_DEMO ? json_string_value(json_object_get(entry, "name")) : role);
      service->role = r;
      service->entry = entry;
      service->pidfd = service->control.fd = -1;
      service->backoff_ms = FIRST_BACKOFF_MS;
    }
  }
}

static void check_stopped(void) {
  bool others = false, ledger = false;
  for (int i = 0; i < service_count; i++)
    if (services[i].pid != 0) *(services[i].role == ROLE_LEDGER ? &ledger : &others) = true;
  if (!others && !ledger_too) {
    ledger_too = true;
    for (int i = 0; i < service_count; i++)
      if (services[i].pid != 0) (void)syscall(SYS_pidfd_send_signal, services[i].pidfd, SIGTERM, NULL, 0);
  }
  if (!others && !ledger) when_stopped();
}

static void restart_due(struct timer *timer) { start_one(container_of(timer, struct service, restart)); }

static void died(struct service *service) {
  pid_t pid = service->pid;
  char text[64];
  siginfo_t info = {0};
  if (pid == 0) return;
  /* One that outlived an earlier openshelld is not our child: its status went to the supervisor. */
  bool ours = waitid(P_PIDFD, (id_t)service->pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0;
  service->pid = 0;
  service->hello = false;
  loop_remove(&service->pid_watch);
  loop_remove(&service->control_watch);
  close(service->pidfd);
  service->pidfd = -1;
  channel_close(&service->control);
  text_format(text, sizeof text, "service/%s", service->name);
  store_drop(text);
  if (stopping) {
    check_stopped();
    return;
  }
  if (boottime_ms() - service->began > 5000) service->backoff_ms = FIRST_BACKOFF_MS;
  service->restarts++;
  log_line("%s (pid %d) ended, %s %d; starts again in %d ms", service->name, pid, !ours ? "status unknown" : info.si_code == CLD_EXITED ? "code" : "signal", ours ? info.si_status : 0, service->backoff_ms);
  links_gone(service);
  service_died(service);
  event_emit("applicationLifecycle", 4, 4, "", "openshelld", NULL, NULL, "The service %s ended and is started again", service->name);
  timer_set(&service->restart, service->backoff_ms, restart_due);
  service->backoff_ms = service->backoff_ms * 2 > LAST_BACKOFF_MS ? LAST_BACKOFF_MS : service->backoff_ms * 2;
}

/* Without its channel a service is of no use, and nobody could stop it. */
static void cut_off(struct service *service) {
  loop_remove(&service->control_watch);
  if (!when_parent_gone) {
    (void)syscall(SYS_pidfd_send_signal, service->pidfd, SIGKILL, NULL, 0);
    return;
  }
  service->pid = 0;
  service->hello = false;
  channel_close(&service->control);
  when_parent_gone();
}

static void pid_ready(struct watch *watch, uint32_t events) {
  (void)events;
  died(container_of(watch, struct service, pid_watch));
}

static void control_ready(struct watch *watch, uint32_t events) {
  struct service *service = container_of(watch, struct service, control_watch);
  struct packet packet;
  if (events & EPOLLOUT) {
    (void)channel_flush(&service->control);
    if (!service->control.first) loop_change(watch, EPOLLIN);
  }
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  int got = packet_receive(watch->fd, &packet);
  if (got == 0) return;
  if (got < 0) {
    cut_off(service);
    return;
  }
  json_t *message = json_loadb(packet.data, packet.length, JSON_REJECT_DUPLICATES, NULL);
  const char *t = json_string_value(json_object_get(message, "t"));
  if (!t) {
    log_line("%s sent a packet that is not a message", service->name);
  } else {
    if (strcmp(t, "hello") == 0) service->hello = true;
    service_said(service, message, packet.fds, packet.count);
  }
  json_decref(message);
  packet_close_fds(&packet);
}

static int watch_both(struct service *service) {
  if (loop_add(&service->pid_watch, service->pidfd, EPOLLIN, pid_ready) < 0) return -1;
  return loop_add(&service->control_watch, service->control.fd, EPOLLIN, control_ready);
}

int service_send(struct service *service, json_t *message, const int *fds, int count) {
  if (service->pid == 0 || service->control.fd < 0) {
    json_decref(message);
    return -1;
  }
  if (!message) return -1; /* a text in it was none: no reason to take the service for dead */
  int result = channel_send_json(&service->control, message, fds, count);
  if (result < 0 && errno != EMSGSIZE) {
    if (when_parent_gone) cut_off(service);
    else (void)syscall(SYS_pidfd_send_signal, service->pidfd, SIGKILL, NULL, 0);
  } else if (service->control.first) loop_change(&service->control_watch, EPOLLIN | EPOLLOUT);
  return result;
}

int services_parent(int control, void (*gone)(void)) {
  struct service *service = &services[service_count++];
  when_parent_gone = gone;
  text_format(service->name, sizeof service->name, "gateway");
  service->role = ROLE_GATEWAY;
  service->pid = getppid();
  service->pidfd = -1;
  service->began = boottime_ms();
  channel_make_room(control);
  channel_init(&service->control, control);
  return loop_add(&service->control_watch, control, EPOLLIN, control_ready);
}

static void start_one(struct service *service) {
  int ends[2];
  char name[64];
  if (channel_pair(ends) < 0) goto failed;
  service->began = boottime_ms();
  service->pid = service_spawn(service, ends[1]);
  close(ends[1]);
  channel_init(&service->control, ends[0]);
  if (service->pid < 0) goto failed_open;
  service->pidfd = (int)syscall(SYS_pidfd_open, service->pid, 0);
  if (service->pidfd < 0 || watch_both(service) < 0) {
    kill(service->pid, SIGKILL);
    goto failed_open;
  }
  text_format(name, sizeof name, "service/%s", service->name);
  store_keep(name, (int[]){service->control.fd, service->pidfd}, 2);
  log_line("%s started, pid %d uid %u", service->name, service->pid, config.identity[service->role].uid);
  links_make(service);
  return;
failed_open:
  channel_close(&service->control);
failed:
  log_line("%s cannot be started: %s", service->name, strerror(errno));
  service->pid = 0;
  timer_set(&service->restart, LAST_BACKOFF_MS, restart_due);
}

/* The pid behind a pidfd, or 0 when it has ended. */
static pid_t pid_of(int pidfd) {
  char path[48], line[128];
  int pid = 0;
  text_format(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
  FILE *info = fopen(path, "re");
  while (info && fgets(line, sizeof line, info))
    if (sscanf(line, "Pid: %d", &pid) == 1) break;
  if (info) fclose(info);
  return pid > 0 ? pid : 0;
}

void services_adopt(const char *name, const int *fds, int count) {
  struct service *service = service_find(name);
  if (!service || count != 2 || service->pid != 0) {
    for (int i = 0; i < count; i++) close(fds[i]);
    return;
  }
  channel_init(&service->control, fds[0]);
  service->pidfd = fds[1];
  service->pid = pid_of(fds[1]);
  service->began = boottime_ms();
  if (service->pid == 0 || watch_both(service) < 0) service->pid = -1; /* ended meanwhile; services_start sees to it */
}

void services_start(void) {
  for (int i = 0; i < service_count; i++)
    if (services[i].pid < 0) died(&services[i]);
  for (int i = 0; i < service_count; i++)
    if (services[i].pid > 0) (void)service_send(&services[i], json_pack("{s:s}", "t", "reset"), NULL, 0);
  for (int i = 0; i < service_count; i++)
    if (services[i].pid == 0 && !services[i].restart.set) start_one(&services[i]);
}

static void out_of_patience(struct timer *timer) {
  for (int i = 0; i < service_count; i++)
    if (services[i].pid > 0 && (services[i].role != ROLE_LEDGER || ledger_too)) (void)syscall(SYS_pidfd_send_signal, services[i].pidfd, SIGKILL, NULL, 0);
  timer_set(timer, STOP_PATIENCE_MS, out_of_patience);
}

void services_stop(void (*done)(void)) {
  stopping = true;
  when_stopped = done;
  for (int i = 0; i < service_count; i++) {
    timer_stop(&services[i].restart);
    if (services[i].pid > 0 && services[i].role != ROLE_LEDGER) (void)syscall(SYS_pidfd_send_signal, services[i].pidfd, SIGTERM, NULL, 0);
  }
  timer_set(&patience, STOP_PATIENCE_MS, out_of_patience);
  check_stopped();
}
