/* Which rule of the policy a refusal belongs to, for the record. */
#pragma once
#include "seen_calls.h"
#include <jansson.h>

/* `rules` is LaunchPlan.recordRules. {id, file?, line?}, borrowed; NULL: no rule of the policy, or nobody knows. The path is the agent's own word, and so is what it leads to. */
json_t *rule_of_path(json_t *rules, const struct seen_event *event, const struct seen_call *call, const char *path);
json_t *rule_of_call(json_t *rules, const char *name);
