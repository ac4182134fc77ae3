/* Named descriptors that the supervisor keeps while openshelld is away; and openshelld's own events. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define STORE_FDS 4

/* Takes the supervisor's socket (-1: none, nothing is kept) and calls `found` for each descriptor set of the last openshelld; `found` owns the fds. */
int store_open(int socket, void (*found)(const char *name, const int *fds, int count));
/* Keeps duplicates of fds under `name` (at most 119 bytes). */
void store_keep(const char *name, const int *fds, int count);
void store_drop(const char *name);
/* Called when the supervisor is gone. */
void store_watch(void (*gone)(void));

/* A LedgerEvent on its way to the ledger: activity and severity as in contract/src/events.ts; takes over `data` (may be NULL). Never waits; what does not fit is counted and said later. */
void event_emit(const char *class, int activity, int severity, const char *sandbox, const char *layer, const char *verdict, json_t *data, const char *format, ...) __attribute__((format(printf, 8, 9)));
/* Number of the last event that went to the ledger. */
uint64_t event_sequence(void);
/* The ledger can take events again. */
void event_flush(void);
/* One line on stderr, with time. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
