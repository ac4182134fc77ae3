/* The journal of the operation that is being done. */
#include "holds_journal.h"
#include "openshelld_store.h"
#include "openshelld_text.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct journal {
  _Atomic uint32_t state; /* written last: the rest is whole when it says so */
  int32_t error;
  uint64_t nid, dev, ino;
  char sandbox[72];
};

static struct journal *journal;

void journal_adopt(int fd) {
  void *page = mmap(NULL, sizeof *journal, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) journal = page;
  close(fd);
}

int journal_open(void) {
  if (journal) return 0;
  int fd = memfd_create("openshelld-journal", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, sizeof *journal) < 0) return -1;
  store_keep("journal", &fd, 1);
  journal_adopt(fd);
  return journal ? 0 : -1;
}

void journal_begin(const char *sandbox, uint64_t nid, const struct operation *op) {
  atomic_store(&journal->state, JOURNAL_NONE);
  text_format(journal->sandbox, sizeof journal->sandbox, "%s", sandbox);
  journal->nid = nid;
  journal->dev = op->from.dev;
  journal->ino = op->from.ino;
  atomic_store(&journal->state, JOURNAL_DOING);
}

void journal_end(int error) {
  journal->error = error;
  atomic_store(&journal->state, JOURNAL_DONE);
}

void journal_clear(void) { atomic_store(&journal->state, JOURNAL_NONE); }

enum journal_state journal_left(const char *sandbox, uint64_t nid, int *error, dev_t *dev, ino_t *ino) {
  uint32_t state = atomic_load(&journal->state);
  if (state == JOURNAL_NONE || journal->nid != nid || strcmp(journal->sandbox, sandbox) != 0) return JOURNAL_NONE;
  *error = journal->error;
  *dev = (dev_t)journal->dev;
  *ino = (ino_t)journal->ino;
  atomic_store(&journal->state, JOURNAL_NONE);
  return state == JOURNAL_DONE ? JOURNAL_DONE : JOURNAL_DOING;
}
