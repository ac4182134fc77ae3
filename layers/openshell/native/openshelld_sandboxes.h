/* The sandboxes, as openshelld sees them: one shim each, who has its listeners, its commands, its holds. */
#pragma once
#include "openshelld.h"
#include "perform.h"
#include "registry.h"

struct openshelld_exec {
  struct openshelld_exec *next;
  char id[72];
  json_int_t request; /* the gateway's, until answered; 0: none */
  uint32_t number;
  int pid;
  int fds[3], count; /* the gateway's ends, until it has them */
  bool started, exited;
  bool left; /* by the last gateway: its end is told a little later, so that the next one can take what it wrote */
  int code, signal;
};

/* A question to the shim that the gateway waits for. */
struct openshelld_asked {
  struct openshelld_asked *next;
  uint32_t number;
  json_int_t request;
  char exec[72]; /* of exec.fds, else empty */
};

enum sandbox_state { SANDBOX_STARTING, SANDBOX_READY, SANDBOX_ENDING };

struct sandbox {
  struct sandbox *next;
  char id[72];
  enum sandbox_state state;
  uid_t uid;
  pid_t shim, init;
  bool child; /* the shim is our child */
  bool synced; /* the shim has said everything it knows */
  char worker[32], registration[24]; /* registration: of the workspace, "" for none */
  int layer; /* folder of a workspace's layer that is kept, until the shim has it; -1 */
  int layer_lock; /* alone: held, by the shim too, as long as the sandbox is there, against other programs that use the same folder; -1 */
  int manifest; /* what is protected in it, see openshelld_release.h; -1 */
  pid_t attached; /* of the worker process that has the listeners */
  struct channel channel;
  struct watch watch;
  struct timer patience;
  int notify, listeners[2], pts;
  struct view view;
  int twins[24], twin_count; /* as they come from the shim, until the view has them */
  json_t *created; /* probe and phases */
  json_t *plan; /* until it is ready */
  size_t locks_size; /* bytes of its locks, which stay as they were at the start */
  json_int_t create_request, destroy_request;
  uint32_t next_number;
  struct openshelld_exec *execs;
  struct openshelld_asked *asked;
  json_t *escalate; /* rules of the plan, or what they were changed to */
  bool asks; /* calls come from the kernel to be matched with the rules */
  struct shared_calls *shared;
  struct asker *asker; /* answers its asked calls; NULL where no rule asks */
  struct hold *holds;
  struct lsm_hold *asked_by_kernel;
  struct start *starts; /* programs that wait, in tier B */
  struct lsm_armed *armed; /* its rules in the kernel, in tier A */
  json_t *lsm; /* as the plan or the last change has them */
  struct timer tally, refusals;
  int64_t refusals_next;
};

extern struct sandbox *sandboxes;
struct sandbox *sandbox_find(const char *id);
/* Whether it is ready and its listeners are this worker's. */
bool sandbox_of_worker(const struct sandbox *sandbox, const struct service *worker);

/* openshelld_create.c */
void asked_create(struct service *service, json_t *message, json_int_t id);

/* openshelld_inventory.c: once every shim has said what it knows, or has had its chance */
void sandboxes_tell_inventory(void);

/* openshelld_sandboxes.c */
struct sandbox *sandbox_make(const char *id); /* in the table, with nothing in it; NULL: no memory */
int sandboxes_open(char *err, size_t errlen); /* finds the shims of the last openshelld */
/* Ends all; `none_left`, where given, is called once none is left or their patience is over. */
void sandboxes_stop(void (*none_left)(void));
void sandboxes_close(void);
void sandboxes_reap(void);
void sandboxes_attach_worker(struct service *worker);
void sandboxes_detach_worker(struct service *worker);
void sandboxes_gateway_gone(void);
void asked_destroy(struct service *service, json_t *message, json_int_t id);
/* Other escalate rules and limits; the caller has seen to it that nothing else of the plan changes. */
void asked_update(struct service *service, json_t *message, json_int_t id);
void asked_freeze(struct service *service, json_t *message, json_int_t id);
void sandbox_attach(struct sandbox *sandbox);
/* Gives up everything of it; `why` goes to the gateway, NULL: it was asked for. */
void sandbox_gone(struct sandbox *sandbox, const char *why);

/* openshelld_shims.c */
int shim_start(struct sandbox *sandbox, json_t *launch, int workspace); /* 0 or -1 with errno */
int shim_connect(struct sandbox *sandbox, const char *path);
/* Bytes of the rules of a plan, or of those that a change brings; a shim says them again to the next openshelld, with its commands, in one packet. */
#define SHIM_RULES_MAX (CHANNEL_PACKET_MAX - 64 * 1024)
size_t shim_rules_size(const json_t *from);
void shim_say(struct sandbox *sandbox, json_t *message, const int *fds, int count);
uint32_t shim_ask(struct sandbox *sandbox, json_int_t request, const char *exec);

/* openshelld_execs.c */
void asked_exec(struct service *service, json_t *message, json_int_t id);
void asked_exec_attach(struct service *service, json_t *message, json_int_t id);
void asked_exec_signal(struct service *service, json_t *message, json_int_t id);
void asked_exec_resize(struct service *service, json_t *message, json_int_t id);
bool execs_message(struct sandbox *sandbox, const char *t, json_t *message);
void execs_adopt(struct sandbox *sandbox, json_t *list);
void execs_left(struct sandbox *sandbox);
void execs_tell_ends(struct sandbox *sandbox);
json_t *execs_names(const struct sandbox *sandbox);
void execs_drop(struct sandbox *sandbox);

/* openshelld_ingress.c */
void asked_ingress(struct service *service, json_t *message, json_int_t id);

/* openshelld_alone.c: for the one program of alone mode */
void asked_workspace_register(struct service *service, json_t *message, json_int_t id, const int *fds, int count);

/* openshelld_host.c, openshelld_requests.c */
void asked_host(struct service *service, json_t *message, json_int_t id);
void asked_flush(struct service *service, json_t *message, json_int_t id);
void asked_seen(struct service *service, json_t *message, json_int_t id);
struct checkpoint;
void checkpoint_done(const struct checkpoint *done);

/* holds.c */
void asked_hold_answer(struct service *service, json_t *message, json_int_t id);
/* Takes over `calls`, the memory shared with the shim. 0 or -1. */
int holds_prepare(struct sandbox *sandbox, json_t *escalate, int calls);
/* Other rules from the next call on. 0 or -1. */
int holds_change(struct sandbox *sandbox, json_t *escalate);
/* Once the shim has said what is held: from here on asked calls are taken. 0 or -1. */
int holds_start(struct sandbox *sandbox);
void holds_adopt(struct sandbox *sandbox, json_t *message, struct packet *packet);
void holds_ended(struct sandbox *sandbox, uint64_t nid, const char *why);
void holds_list(const struct sandbox *sandbox, json_t *list);
void holds_drop(struct sandbox *sandbox);

/* holds_rules.c: the escalate rules of one sandbox */
struct hold_rules *rules_make(const struct view *view, json_t *escalate);
void rules_free(struct hold_rules *rules);
/* Index of the nearest rule that makes this operation wait, or -1. `asked`: the one of its ON_ bits that does. */
int rules_match(struct hold_rules *rules, struct operation *op, const struct view *view, unsigned *asked);
const char *on_word(unsigned on);
/* A system call that the policy names: every one waits. */
#define CALL_RULES_MAX 64
struct call_rule {
  char name[32];
  int nr, args, rule;
  bool goes_on; /* after approval the kernel does it: its arguments are numbers */
};
const struct call_rule *rules_call(const struct hold_rules *rules, int nr);
