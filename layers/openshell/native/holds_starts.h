/* Programs that a person decides on, in tier B: the shim has the kernel's questions, the gateway is asked from here. */
#pragma once
#include "openshelld_sandboxes.h"

/* The shim's messages: what waits, what has ended, what would wait. */
bool starts_message(struct sandbox *sandbox, const char *t, json_t *message, struct packet *packet);
/* True if the hold is one of ours; then it has been answered. */
bool starts_answer(struct service *service, json_t *message, json_int_t id);
void starts_list(const struct sandbox *sandbox, json_t *list);
void starts_drop(struct sandbox *sandbox);
/* A running sandbox keeps its rules on programs: the kernel's marks are made once. */
bool starts_same(json_t *before, json_t *after);
/* True if every rule speaks of programs alone. */
bool starts_only(json_t *escalate);
