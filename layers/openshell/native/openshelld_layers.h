/* Layers that outlive their sandbox: $STATE/layers/<sandbox>/{about.json, data/{upper,work}, snapshots/<name>}. Root's; the shim gets `data`. */
#pragma once
#include "openshelld_sandboxes.h"

/* For a plan whose workspace is an overlay that is kept: opens (or makes) its layer into sandbox->layer. 0; -1 with errno. Other plans: 0. */
int layer_prepare(struct sandbox *sandbox, json_t *plan, const struct registration *workspace);
/* {t: layer, id, sandbox, op: diff | commit | discard | remove | snapshot | snapshots | restore, name} */
void asked_layer(struct service *service, json_t *message, json_int_t id);
