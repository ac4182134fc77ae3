/* The system calls whose refusal is told one by one: name, where the path stands, what permission they ask for. */
#pragma once
#include "seen.h"
#include <stddef.h>

/* SEEN_LOOK: asks whether something is there; that it is, is never told. */
enum seen_kind { SEEN_FILE, SEEN_LOOK, SEEN_NETWORK, SEEN_SIGNAL };
enum { SEEN_EXECUTE = 1, SEEN_WRITE = 2, SEEN_READ = 4 };

struct seen_call {
  int nr;
  const char *name;
  enum seen_kind kind;
  int path; /* 1 first argument, 2 second, 0 none */
  bool changes_parent; /* makes or removes a name: the folder's permission counts */
  bool owner_only; /* EPERM means: only the owner may */
  unsigned (*wants)(const struct seen_event *event);
};

/* NULL: counted only. */
const struct seen_call *seen_call(int nr);
/* Of a call with two names the one that `path` does not say; "" for all others. */
const char *seen_other_name(const struct seen_event *event, const struct seen_call *call);
/* True if the call would make the name that `path` says. */
bool seen_makes(const struct seen_event *event, const struct seen_call *call);
/* The kernel's name of any call, "call_N" for one that the headers of the build did not know, "other" for SEEN_OTHER. */
const char *seen_name(int nr, char *out, size_t size);
/* The number of a name, read up to the first space; -1: there is none. */
int seen_number(const char *name);
