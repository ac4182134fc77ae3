/* Questions of the kernel's program: the process is stopped until a grant, for or against, lets it try again. */
#pragma once
#include "openshelld_sandboxes.h"

/* Begins to hear questions and denials; once, when tier A is there. 0 or -1. */
int lsm_holds_open(void);
/* True if `id` is one of ours; then it has been answered. */
bool lsm_holds_answer(struct service *service, json_t *message, json_int_t id);
void lsm_holds_list(const struct sandbox *sandbox, json_t *list);
/* What the shim kept of a question over our restart. */
void lsm_holds_adopt(struct sandbox *sandbox, json_t *record);
void lsm_holds_drop(struct sandbox *sandbox);
/* lsm_denials.c: reads what the kernel refused, now and then regularly. 0 or -1. */
int lsm_denials_open(void);
/* OCSF activity of a file operation. */
int lsm_activity(uint32_t op);
