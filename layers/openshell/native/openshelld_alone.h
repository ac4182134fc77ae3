/*
 * Alone mode, for one program that wants sandboxes and has no NemoClaw around it (src/sandbox.ts):
 *   openshelld --alone    its control channel (SEQPACKET, contract/src/control.ts) is descriptor 3, its configuration one JSON object on stdin:
 *   {"instance": "alone-7", "bindRoots": ["/usr", …], "devices": [], "holdSeconds": 900, "limits": {…}, "testing": false}
 * The program speaks as the gateway does and also gets the events. There are no other services, no signed record and no files on disk but the program's own manifests (openshelld_release.h); all
 * sandboxes end with the program, and with openshelld. As root every sandbox has a host uid of its own; as a plain user all have that user's.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ALONE_CONTROL 3

/* Fills `config` from the JSON at `fd`. 0, or -1 with `err`. */
int alone_load(int fd, char *err, size_t errlen);
/* Removes the empty control groups of programs that are gone. */
void alone_sweep(void);
/* The host uid of the sandbox whose shim is `shim`: as root one that nobody else on this host has while the shim lives. */
uid_t alone_uid(pid_t shim);
