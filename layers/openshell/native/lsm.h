/* What lsm.bpf.c and openshelld say to each other: rules, grants, questions, denials. Little endian, x86-64. */
#pragma once
#ifdef __bpf__
typedef __u8 uint8_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
#else
#include <stdbool.h>
#include <stdint.h>
#endif

/* Changed whenever a map's layout or meaning changes: pins of another number are not taken over. */
#define LSM_ABI 4
#define LSM_SANDBOXES 4096
#define LSM_RULES 65536
#define LSM_NAME 64        /* of a name that a rule waits for, with its 0 */
#define LSM_PROTECTED 28   /* of a protected name, with its 0 */
#define LSM_DEPTH 512      /* folders between an object and its nearest rule; deeper is denied */
#define LSM_PARTS 14       /* names of a path that an event carries */
#define LSM_PART 64

/* Rights, as bits of deny and ask. */
#define LSM_READ 1u
#define LSM_WRITE 2u /* content, mode, owner, times, extended attributes */
#define LSM_CREATE 4u
#define LSM_DELETE 8u
#define LSM_RENAME 16u
#define LSM_EXEC 32u
#define LSM_MAP 64u /* map executable; cannot be asked */
#define LSM_REACH 128u /* connect to a Unix socket that has a name */
/* Other operations that an event may name; never bits of a rule. */
#define LSM_SOCKET 0x100u
#define LSM_SEND 0x200u
#define LSM_PTRACE 0x400u
#define LSM_SIGNAL 0x800u
#define LSM_MOUNT 0x1000u
#define LSM_KERNEL 0x2000u /* bpf, perf_event, modules, keys */
#define LSM_NAMESPACE 0x4000u
#define LSM_DEVICE 0x8000u

/* A sandbox, kept in its control group's storage. */
#define LSM_NAMES 1u /* there are protected names */
struct lsm_sandbox {
  uint32_t id, flags;
  uint64_t families;                 /* bit n: sockets of address family n may be made */
  uint32_t netns;                    /* inode number of its network namespace */
  uint32_t elsewhere_deny, elsewhere_ask; /* for objects below no rule: pipes, memory files */
  uint32_t rules; /* the number that its set of rules has in the other maps, another one after each change: all of them change in one step */
};

struct lsm_rule_key {
  uint32_t rules, dev;
  uint64_t ino;
};
#define LSM_RULE_NAMES 1u   /* some names directly below have rules of their own */
#define LSM_RULE_PROTECT 2u /* protected names below it may not be made or changed; the search for names goes up to here */
#define LSM_RULE_WORKSPACE 4u /* called so where a path is told, whatever mount it was reached by */
struct lsm_rule {
  uint32_t deny, ask, flags;
  uint32_t ask_self; /* asked for the object itself, not below it */
  uint32_t index; /* of the plan's rule */
  uint32_t pad;
};
/* A rule for a name in a folder, whether or not there is such a thing now. */
struct lsm_child_key {
  uint32_t rules, dev;
  uint64_t ino;
  char name[LSM_NAME];
};
struct lsm_name_key {
  uint32_t rules;
  char name[LSM_PROTECTED];
};
/* `.envrc` is protected alone; of `.config/mise` the first name is parent and the second child of one bit. */
#define LSM_NAME_ALONE 1u
#define LSM_NAME_TOP 2u   /* alone, but only in the folder that has LSM_RULE_PROTECT */
#define LSM_NAME_ENDS 4u  /* below a folder of this name nothing is protected */
#define LSM_NAME_HOLDS 8u /* the pairs of `deep` count below a folder of this name only */
struct lsm_name {
  uint64_t parent, child;
  uint64_t deep, top; /* of parent: pairs that count below a folder that holds them; pairs whose folder lies in the one with LSM_RULE_PROTECT */
  uint32_t flags, pad;
};

/* What is done to what, by which call of which thread: a question and its grant have the same key. */
struct lsm_grant_key {
  uint32_t tid, op, dev, to_dev;
  uint64_t ino, dir, to_ino, to_dir;
  uint64_t names; /* keyed hash of the names in `dir` and `to_dir` */
  uint64_t call;  /* keyed hash of the call: its number, all its registers, where in the program and on which stack it stands */
  uint64_t value; /* keyed hash of what the call gave by its memory, as the kernel has taken it */
};
struct lsm_grant {
  uint64_t expires; /* CLOCK_BOOTTIME ns */
  uint32_t allow, pad;
};

struct lsm_path {
  uint32_t count; /* names, innermost first */
  uint32_t cut;   /* more were above */
  char names[LSM_PARTS][LSM_PART];
};
#define LSM_REASON_RULE 0u
#define LSM_REASON_DEEP 1u
#define LSM_REASON_NAME 2u
#define LSM_REASON_FULL 3u
struct lsm_event {
  uint64_t boottime;
  struct lsm_grant_key key;
  uint32_t sandbox, tgid, rule;
  uint32_t reason, number; /* number: of the signal, the family, … */
  char comm[16];
  struct lsm_path path;
};
struct lsm_ask {
  struct lsm_event event;
  struct lsm_path to;
};

enum { LSM_COUNT_DENIED, LSM_COUNT_ASKED, LSM_COUNT_GRANTED, LSM_COUNT_DROPPED, LSM_COUNT_FULL, LSM_COUNT_DEEP, LSM_COUNTS };

/* For the program `resolve`: which object a descriptor of the caller is to the kernel (a stat may say another device). */
struct lsm_resolve {
  uint32_t fd, dev;
  uint64_t ino;
};
