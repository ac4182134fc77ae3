/* Programs that a person decides on, in tier B: the kernel asks (fanotify) before such a file is opened to start or to read it, and the caller waits. */
#pragma once
#include "channel.h"

#include <jansson.h>
#include <stdbool.h>

/* While the shim still has all rights, before the agent's first program: marks the mounts of the sandbox. 0, also where no rule asks; -1: `err` says why. */
int shim_starts_open(char *err, size_t size);
/* After the rights are dropped: a process that keeps the questions open until all in the sandbox is dead, whatever kills the shim. 0 or -1 with errno. */
int shim_starts_keep(void);
/* The kernel's questions, or -1. */
int shim_starts_fd(void);
void shim_starts_ready(void);
void shim_starts_tick(void);
int shim_starts_wait(int most); /* ms; `most` -1: no bound */
void shim_starts_resend(void);
bool shim_starts_message(const char *t, json_t *message);
/* True if a rule asks for something that comes from the system call filter. */
bool shim_rules_by_calls(json_t *escalate);
