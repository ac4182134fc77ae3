/*
 * Workspaces that sandboxes give back. While a sandbox lives, $STATE/workspaces/<sandbox>.json says what was protected in its folder
 * (see protect.h) and whose it is; the file goes when the folder has been checked, so that a crash or a reboot only delays that.
 * Alone the file is the starting program's (src/workspace-use.ts), which looks at it when we have ended: emptied, the folder was checked.
 */
#pragma once
#include "openshelld_sandboxes.h"

/* For a sandbox with a workspace: a descriptor that its shim writes the manifest to, -1 with errno. Alone it is the file `given`, else $STATE's. */
int release_prepare(struct sandbox *sandbox, const char *given);
/* Who owns the folder, for the manifest. */
json_t *release_owner(const struct sandbox *sandbox, const struct registration *workspace);
/* Nothing of the sandbox lives any more. Answers its destroy request, or tells the gateway `why` (NULL: nothing), once its workspace is checked. */
void release_begin(struct sandbox *sandbox, const char *why);
/* True: this create request must wait for a check of the same folder and will be asked again. */
bool release_first(struct service *service, json_t *message, json_int_t id, const char *registration);
/* The registration that a sandbox works in, for one that was found again. */
void release_recall(struct sandbox *sandbox);
/* What earlier sandboxes left, once the living ones are known. */
void releases_open(void);
/* The gateway listens (again). */
void releases_tell(void);
/* A folder was registered (again). */
void releases_retry(const char *registration);
/* From now on nobody listens: what is found is told by the next openshelld. */
void releases_stopping(void);
void releases_close(void);
