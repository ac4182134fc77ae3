/* Sets of rules in the kernel's maps: each change makes a whole one under a number of its own, and takes the former one out. */
#include "lsm_rules.h"

#include <bpf/bpf.h>
#include <sys/random.h>

/* Every key of a map begins with the number of its set. */
static void sweep(enum lsm_map map, uint32_t rules, size_t key_size) {
  char key[sizeof(struct lsm_child_key)], next[sizeof(struct lsm_child_key)];
  bool first = true;
  while (bpf_map_get_next_key(lsm_map(map), first ? NULL : key, next) == 0) {
    uint32_t owner;
    memcpy(&owner, next, sizeof owner);
    if (owner == rules) {
      /* The place before it stays a place to go on from. */
      if (bpf_map_delete_elem(lsm_map(map), next) == 0) continue;
    }
    memcpy(key, next, key_size);
    first = false;
  }
}

void lsm_sweep_set(uint32_t rules) {
  sweep(LSM_RULE_MAP, rules, sizeof(struct lsm_rule_key));
  sweep(LSM_NAMED_MAP, rules, sizeof(struct lsm_child_key));
  sweep(LSM_PROTECTED_MAP, rules, sizeof(struct lsm_name_key));
}

static bool is_used(uint32_t rules) {
  struct lsm_rule_key key, next;
  for (bool first = true; bpf_map_get_next_key(lsm_map(LSM_RULE_MAP), first ? NULL : &key, &next) == 0; first = false) {
    if (next.rules == rules) return true;
    key = next;
  }
  return false;
}

uint32_t lsm_fresh_set(void) {
  uint32_t number;
  for (int tries = 0; tries < 16; tries++)
    if (getrandom(&number, sizeof number, 0) == sizeof number && number && !is_used(number)) return number;
  return 0;
}
