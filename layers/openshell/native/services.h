/* The Node services: spawned under their identities, restarted when they die, linked with each other. */
#pragma once
#include "channel.h"
#include "openshelld_config.h"
#include "openshelld_loop.h"

#define SERVICES_MAX 80

struct service {
  char name[32]; /* gateway, ledger, worker:1, … */
  enum role role;
  json_t *entry; /* of the configuration */
  pid_t pid;     /* 0: not running */
  bool hello;    /* has spoken since it started, or since we did */
  unsigned restarts;
  int backoff_ms;
  int64_t began;
  int pidfd;
  struct channel control;
  struct watch control_watch, pid_watch;
  struct timer restart;
};

extern struct service services[SERVICES_MAX];
extern int service_count;

/* Makes the table from the configuration. */
void services_prepare(void);
/* [control, pidfd] of a service that outlived the last openshelld. */
void services_adopt(const char *name, const int *fds, int count);
/* Starts what does not run; tells what runs `reset`. */
void services_start(void);
/* Ends all but the ledger, then the ledger; calls `done` when none is left. */
void services_stop(void (*done)(void));
/* Alone: the program that started us, at `control`, is the one service, named gateway. Calls `gone` when it has closed its end or does not read. 0 or -1 with errno. */
int services_parent(int control, void (*gone)(void));
struct service *service_find(const char *name);
/* Takes over `message`. -1: it does not run, or does not read (then it is killed and started again). */
int service_send(struct service *service, json_t *message, const int *fds, int count);

/* services_spawn.c: a process with `control` as descriptor 3. pid, or -1 with errno. */
pid_t service_spawn(const struct service *service, int control);
/* Confines the calling process to what a service of this role needs. 0, or -1 with errno. */
int service_confine(enum role role);
/* services_calls.c: takes from the calling process, for good, the system calls that no service makes. 0, or -1 with errno. */
int service_calls(void);
/* This process reads and writes in `folder` and runs the system's programs; all other files are out of reach. 0; -1 with errno, also where the kernel has no Landlock. */
int confine_to(const char *folder);
/* services_links.c: fresh sockets between a service that has just started and its peers. */
void links_make(struct service *fresh);
/* Tells the peers that `gone` has died. */
void links_gone(const struct service *gone);

/* What the rest of openshelld does about a service (openshelld_requests.c). */
void service_said(struct service *service, json_t *message, const int *fds, int count);
void service_died(struct service *service);

/* openshelld_events.c */
int event_open(void);
void event_adopt_sequence(int fd);
