/* Tier A in openshelld: the program in the kernel, the rules of each sandbox, its questions. Everything fails closed. */
#pragma once
#include "lsm.h"
#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

enum lsm_map { LSM_SANDBOX_MAP, LSM_RULE_MAP, LSM_NAMED_MAP, LSM_PROTECTED_MAP, LSM_GRANT_MAP, LSM_ASK_RING, LSM_DENIAL_RING, LSM_COUNT_MAP, LSM_SECRET_MAP, LSM_MAPS };

/*
 * lsm_open.c. Takes up the pinned program of a former openshelld, or loads, attaches and pins it below /sys/fs/bpf/nemoclaw/<instance>;
 * without an instance it ends with this process.
 * 0, or -1 with `why` in plain words: then there is no tier A on this host and nothing is left attached.
 */
int lsm_open(const char *instance, char *why, size_t size);
bool lsm_active(void);
/* Descriptor of a map; valid while active. */
int lsm_map(enum lsm_map map);
/* Device and inode number as the kernel's walk sees them. 0 or errno. */
int lsm_identify(int fd, uint32_t *dev, uint64_t *ino);
/* Pins of other versions go, now that every sandbox has its rules in this one. */
void lsm_forget_others(void);
/* `remove`: the pins go too, and with them the policy. */
void lsm_close(bool remove);
uint64_t lsm_count(unsigned which);

/* lsm_rules.c: what one sandbox has in the maps. */
struct lsm_armed;
struct lsm_target {
  uint32_t id;  /* unique among living sandboxes: its host uid */
  int cgroup;   /* directory of its v2 control group */
  int root;     /* O_PATH on its root */
  uint32_t netns;
  /* Called with an O_PATH descriptor of each object that has a rule; to be kept as long as the sandbox lives, so that its number is not given to another. */
  void (*keep)(int fd, void *arg);
  void *arg;
};
/* Puts the plan's `lsm` in force, rules first, then the sandbox. NULL with `err`: nothing is in force. */
struct lsm_armed *lsm_arm(const struct lsm_target *target, json_t *lsm, char *err, size_t size);
/* Frees it and leaves what is in force: it was put in force anew. */
void lsm_forget(struct lsm_armed *armed);
/* Takes everything of it out of the maps and frees it. NULL is fine. */
void lsm_disarm(struct lsm_armed *armed);

/* lsm_text.c: words for messages and records. */
const char *lsm_op_name(uint32_t op);
/* The word of a policy as a right's bit; 0: no such word. */
uint32_t lsm_right(const char *word);
/* "/a/b" of an event; to be freed. */
char *lsm_path_text(const struct lsm_path *path);
