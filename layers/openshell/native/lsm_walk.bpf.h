/* Which rule an object is under: up the folders and across mounts to the nearest one that has a rule. No path is made or compared. */
#pragma once
#include "lsm_maps.bpf.h"

/*
 * Functions that are not static are verified once each, for any argument; else every outcome of one walk would be followed through the next.
 * That wants kernel objects as plain addresses: `arg` takes them so, the casts read through them (a wrong address reads as 0).
 */
static __always_inline uint64_t arg(const void *ctx, int n) {
  uint64_t value = 0;
  bpf_probe_read_kernel(&value, sizeof value, (const char *)ctx + 8 * n);
  return value;
}
#define OBJECT(type, address) ((struct type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(struct type)))

/* The mount that a vfsmount is part of. */
static __always_inline struct mount *mount_of(struct vfsmount *mnt) {
  return OBJECT(mount, (void *)mnt - bpf_core_field_offset(struct mount, mnt));
}

struct found {
  uint32_t deny, ask, index;
  uint32_t self;  /* the object itself has the rule */
  uint32_t known; /* a rule was found */
  uint32_t reason;
};

static __always_inline void take_rule(struct found *out, const struct lsm_rule *rule) {
  out->deny = rule->deny;
  out->ask = rule->ask;
  out->index = rule->index;
}

/* As numbers, so that one round through the loop looks to the verifier like every other. */
struct climb {
  uint64_t d, mnt, below, first, children;
  uint32_t rules, names, hit, at_top, pending, ended;
  struct found found;
};
/* How names are looked at. What is in a folder that is moved, or behind a link, could have any name. */
#define NAMES_NOT 0u
#define NAMES_EXACT 1u
#define NAMES_FOLDER 2u
#define NAMES_LINK 3u

/* Protected names: `.envrc` alone, `mise` below `.config`, or `hooks/pre-commit` anywhere below `.git`. */
static __always_inline void look_at_name(struct climb *c, struct dentry *d) {
  struct lsm_name_key name = {.rules = c->rules};
  uint64_t parts = 0;
  c->at_top = 0;
  if (d->d_name.len < LSM_PROTECTED) {
    bpf_probe_read_kernel_str(name.name, sizeof name.name, d->d_name.name);
    struct lsm_name *known = bpf_map_lookup_elem(&protected_names, &name);
    if (known) {
      uint64_t both = known->parent & c->children;
      uint32_t flags = known->flags;
      if (flags & LSM_NAME_ENDS) c->hit = c->pending = 0;
      if (both & known->deep) c->pending = 1;
      if (flags & LSM_NAME_ALONE || both & ~(known->deep | known->top) || (flags & LSM_NAME_HOLDS && (c->pending || c->names == NAMES_LINK))) c->hit = 1;
      if (flags & LSM_NAME_TOP || both & known->top) c->at_top = 1;
      parts = known->child;
    }
  }
  c->children = parts;
  if (c->names == NAMES_LINK) c->names = NAMES_EXACT; /* its own name only */
}

/* Takes the rule that is here, the name's if it has one, else the object's. True if no more is to be found above: names are looked for up to LSM_RULE_PROTECT. */
static __always_inline int rule_at(struct climb *c, struct dentry *d) {
  struct inode *inode = d->d_inode;
  if (!inode) return 0;
  struct lsm_child_key key = {.rules = c->rules, .dev = inode->i_sb->s_dev, .ino = inode->i_ino};
  struct lsm_rule *rule = bpf_map_lookup_elem(&rules, &key); /* begins with a lsm_rule_key */
  if (!rule) return 0;
  uint32_t flags = rule->flags;
  if (flags & LSM_RULE_PROTECT && (c->hit || c->at_top)) c->found.reason = LSM_REASON_NAME;
  if (c->found.known) return flags & LSM_RULE_PROTECT;
  take_rule(&c->found, rule);
  c->found.known = 1;
  if (!c->below) {
    c->found.self = 1;
    c->found.ask |= rule->ask_self;
  } else if (flags & LSM_RULE_NAMES) {
    struct dentry *below = OBJECT(dentry, c->below);
    if (below->d_name.len < LSM_NAME) {
      bpf_probe_read_kernel_str(key.name, sizeof key.name, below->d_name.name);
      struct lsm_rule *named = bpf_map_lookup_elem(&named_rules, &key);
      if (named) {
        take_rule(&c->found, named);
        if (c->below == c->first) c->found.ask |= named->ask_self;
      }
    }
  }
  return !c->names || flags & LSM_RULE_PROTECT;
}

static long step(uint32_t index, struct climb *c) {
  struct dentry *d = OBJECT(dentry, c->d);
  c->ended = 1;
  if (rule_at(c, d)) return 1;
  if (c->names) look_at_name(c, d);
  struct vfsmount *mnt = OBJECT(vfsmount, c->mnt); /* of none: reads as no mount */
  if (d == mnt->mnt_root) {
    struct mount *m = mount_of(mnt);
    struct mount *above = m->mnt_parent;
    if (above == m) return 1;
    bpf_probe_read_kernel(&c->d, sizeof c->d, &m->mnt_mountpoint);
    uint64_t parent = 0;
    bpf_probe_read_kernel(&parent, sizeof parent, &m->mnt_parent);
    c->mnt = parent + bpf_core_field_offset(struct mount, mnt);
    c->below = c->d;
  } else {
    if (d->d_parent == d) return 1;
    c->below = c->d;
    bpf_probe_read_kernel(&c->d, sizeof c->d, &d->d_parent);
  }
  c->ended = 0;
  return 0;
}

/* `names`: how to look for protected names on the way. `mount` 0: the file system's own folders only (every mount's root has a rule). */
__noinline int walk(struct lsm_sandbox *sandbox, uint64_t start, uint64_t mount, uint32_t names, struct found *out) {
  if (!sandbox || !out) return 0;
  struct climb c = {.d = start, .first = start, .mnt = mount, .rules = sandbox->rules, .names = sandbox->flags & LSM_NAMES ? names : NAMES_NOT};
  if (names >= NAMES_FOLDER) c.children = ~0ull;
  c.pending = names == NAMES_FOLDER;
  c.found.deny = sandbox->elsewhere_deny;
  c.found.ask = sandbox->elsewhere_ask;
  c.found.index = ~0u;
  bpf_loop(LSM_DEPTH, step, &c, 0);
  if (!c.ended) c.found.reason = LSM_REASON_DEEP;
  *out = c.found;
  return 0;
}

/* The object's names for a person, innermost first, up to the process's root. */
__noinline int tell_path(struct lsm_path *out, uint64_t start, uint64_t mount, struct lsm_sandbox *sandbox) {
  if (!out || !sandbox) return 0;
  struct lsm_rule_key key = {.rules = sandbox->rules};
  struct dentry *d = OBJECT(dentry, start);
  struct vfsmount *mnt = OBJECT(vfsmount, mount); /* of none: reads as no mount */
  struct dentry *root = OBJECT(dentry, BPF_CORE_READ(bpf_get_current_task_btf(), fs, root.dentry));
  out->cut = 1;
  out->count = LSM_PARTS;
  /* Where the mount is not known, the end of the path is all that is the sandbox's own. */
  if (!mount) out->count = 2;
  for (int i = 0; i < LSM_PARTS; i++) {
    /* A mount's root has its name where it is mounted; a few may be on top of each other. */
    for (int above = 0; above < 4 && d == mnt->mnt_root; above++) {
      struct mount *m = mount_of(mnt);
      if (d == root || m->mnt_parent == m) break;
      d = m->mnt_mountpoint;
      mnt = OBJECT(vfsmount, &m->mnt_parent->mnt);
    }
    struct dentry *parent = d->d_parent;
    if (d == root || parent == d) {
      out->cut = 0;
      out->count = i;
      return 0;
    }
    if (!mount && i >= 2) return 0;
    /* A socket's listener may have come by a mount of its own. */
    struct inode *inode = d->d_inode;
    if (inode) {
      key.dev = inode->i_sb->s_dev;
      key.ino = inode->i_ino;
      struct lsm_rule *rule = bpf_map_lookup_elem(&rules, &key);
      if (rule && rule->flags & LSM_RULE_WORKSPACE) {
        __builtin_memcpy(out->names[i], "workspace", 10);
        out->cut = 0;
        out->count = i + 1;
        return 0;
      }
    }
    bpf_probe_read_kernel_str(out->names[i], LSM_PART, d->d_name.name);
    d = parent;
  }
  return 0;
}
