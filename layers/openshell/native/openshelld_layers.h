/*
 * Layers that outlive their sandbox: $STATE/layers/<sandbox>/{about.json, data/{upper,work}, snapshots/<name>}, and for one with a size layer.img, on whose file
 * system `upper` and `work` are then (layer-image.h). Root's; the shim gets `data`, or the folder with the image.
 */
#pragma once
#include "openshelld_sandboxes.h"

/* For a plan whose workspace is an overlay that is kept: opens (or makes) its layer into sandbox->layer, and says `layerBytes` in `launch` where it has a size. 0; -1 with the reason in `err`. Other plans: 0. */
int layer_prepare(struct sandbox *sandbox, json_t *plan, json_t *launch, const struct registration *workspace, char *err, size_t errlen);
/* {t: layer, id, sandbox, op: diff | commit | discard | remove | snapshot | snapshots | restore, name} */
void asked_layer(struct service *service, json_t *message, json_int_t id);
