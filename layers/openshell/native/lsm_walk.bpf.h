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

/* `names`: look for protected names on the way. `mnt` NULL: the file system's own folders only (every mount's root has a rule). */
__noinline int walk(struct lsm_sandbox *sandbox, uint64_t start, uint64_t mount, uint32_t names, struct found *out) {
  if (!sandbox || !out) return 0;
  struct lsm_rule_key key = {.sandbox = sandbox->id};
  struct dentry *d = OBJECT(dentry, start), *first = d, *below = 0;
  struct vfsmount *mnt = OBJECT(vfsmount, mount); /* of none: reads as no mount */
  uint64_t children = 0;
  uint32_t hit = 0;
  out->deny = sandbox->elsewhere_deny;
  out->ask = sandbox->elsewhere_ask;
  out->index = ~0u;
  out->self = out->known = 0;
  out->reason = LSM_REASON_RULE;
  names = names && sandbox->flags & LSM_NAMES;
  for (int i = 0; i < LSM_DEPTH; i++) {
    struct inode *inode = d->d_inode;
    if (inode) {
      key.dev = inode->i_sb->s_dev;
      key.ino = inode->i_ino;
      struct lsm_rule *rule = bpf_map_lookup_elem(&rules, &key);
      if (rule) {
        uint32_t flags = rule->flags;
        take_rule(out, rule);
        out->known = 1;
        out->self = below == 0;
        if (!below) out->ask |= rule->ask_self;
        if (below && flags & LSM_RULE_NAMES) {
          struct lsm_child_key child = {.sandbox = key.sandbox, .dev = key.dev, .ino = key.ino};
          if (below->d_name.len < LSM_NAME) {
            bpf_probe_read_kernel_str(child.name, sizeof child.name, below->d_name.name);
            struct lsm_rule *named = bpf_map_lookup_elem(&named_rules, &child);
            if (named) {
              take_rule(out, named);
              if (below == first) out->ask |= named->ask_self;
              flags = named->flags;
            }
          }
        }
        if (hit && flags & LSM_RULE_PROTECT) out->reason = LSM_REASON_NAME;
        return 0;
      }
    }
    if (names) {
      struct lsm_name_key name = {.sandbox = key.sandbox};
      uint64_t parts = 0;
      if (d->d_name.len < LSM_PROTECTED) {
        bpf_probe_read_kernel_str(name.name, sizeof name.name, d->d_name.name);
        struct lsm_name *known = bpf_map_lookup_elem(&protected_names, &name);
        if (known) {
          if (known->ends) hit = 0;
          hit |= known->alone || known->parent & children;
          parts = known->child;
        }
      }
      children = parts;
    }
    if (d == mnt->mnt_root) {
      struct mount *m = mount_of(mnt);
      struct mount *above = m->mnt_parent;
      if (above == m) return 0;
      d = m->mnt_mountpoint;
      mnt = OBJECT(vfsmount, &above->mnt);
      below = d;
      continue;
    }
    struct dentry *parent = d->d_parent;
    if (parent == d) return 0;
    below = d;
    d = parent;
  }
  out->reason = LSM_REASON_DEEP;
  return 0;
}

/* The object's names for a person, innermost first, up to the process's root. */
__noinline int tell_path(struct lsm_path *out, uint64_t start, uint64_t mount) {
  if (!out) return 0;
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
    bpf_probe_read_kernel_str(out->names[i], LSM_PART, d->d_name.name);
    d = parent;
  }
  return 0;
}

/* With a secret key, so that nobody can find two names of one hash. */
__noinline uint64_t hash_name(uint64_t entry, uint64_t hash) {
  struct dentry *d = OBJECT(dentry, entry);
  uint32_t length = d->d_name.len;
  const char *name = (const char *)d->d_name.name;
  for (uint32_t at = 0; at < 256; at += 32) {
    uint64_t words[4] = {0};
    if (at >= length) break;
    uint32_t left = length - at;
    if (left > 32) left = 32;
    if (bpf_probe_read_kernel(words, left & 63, name + at) < 0) break;
    for (int w = 0; w < 4; w++) {
      hash = (hash ^ words[w]) * 0x9fb21c651e98df25ull;
      hash ^= hash >> 32;
    }
  }
  return (hash ^ length) * 0x9fb21c651e98df25ull;
}
