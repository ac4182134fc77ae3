/* The one operation that is being done, in memory that the supervisor keeps: a call whose answer was lost with openshelld is answered by the next one, and never done twice. */
#pragma once
#include "perform.h"

enum journal_state { JOURNAL_NONE, JOURNAL_DOING, JOURNAL_DONE };

int journal_open(void);
/* Takes over the descriptor. */
void journal_adopt(int fd);
/* Operations are done one at a time, so there is one entry. */
void journal_begin(const char *sandbox, uint64_t nid, const struct operation *op);
void journal_end(int error);
void journal_clear(void);
/* What the last openshelld left of this call. DONE: `error` is its result. DOING: `dev` and `ino` are what it was about to act on. */
enum journal_state journal_left(const char *sandbox, uint64_t nid, int *error, dev_t *dev, ino_t *ino);
