/* Passes a person's terminal through to one that belongs to the sandbox; the person's own never goes in. */
#include "standalone.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

int terminal_open(struct terminal *t, int pts_fd, int stdio[3]) {
  *t = (struct terminal){.input = -1, .master = -1, .slave = -1};
  if (!isatty(0) || !isatty(1)) return 0;
  if (tcgetattr(0, &t->before) != 0) return -1;
  t->master = openat(pts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  int unlocked = 0;
  if (t->master < 0 || ioctl(t->master, TIOCSPTLCK, &unlocked) != 0) return -1;
  t->slave = ioctl(t->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (t->slave < 0 || tcsetattr(t->slave, TCSANOW, &t->before) != 0) return -1;
  terminal_resize(t);
  struct termios raw = t->before;
  cfmakeraw(&raw);
  if (tcsetattr(0, TCSANOW, &raw) != 0) return -1;
  t->raw = true;
  t->input = 0;
  for (int i = 0; i < 3; i++) stdio[i] = t->slave;
  return 0;
}

void terminal_started(struct terminal *t) {
  if (t->slave >= 0) close(t->slave);
  t->slave = -1;
}

void terminal_resize(struct terminal *t) {
  struct winsize size;
  if (t->master >= 0 && ioctl(0, TIOCGWINSZ, &size) == 0) (void)ioctl(t->master, TIOCSWINSZ, &size);
}

static int write_all(int fd, const char *data, ssize_t length) {
  while (length > 0) {
    ssize_t n = write(fd, data, (size_t)length);
    if (n < 0 && errno == EAGAIN) {
      struct pollfd wait = {fd, POLLOUT, 0};
      if (poll(&wait, 1, 1000) <= 0) return -1;
      continue;
    }
    if (n < 0 && errno != EINTR) return -1;
    if (n > 0) data += n, length -= n;
  }
  return 0;
}

void terminal_input(struct terminal *t) {
  char keys[4096];
  ssize_t n = read(0, keys, sizeof keys);
  if ((n <= 0 && errno != EINTR) || (n > 0 && write_all(t->master, keys, n) != 0)) t->input = -1;
}

void terminal_output(struct terminal *t) {
  char text[16384];
  ssize_t n = read(t->master, text, sizeof text);
  if (n > 0 && write_all(1, text, n) == 0) return;
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  close(t->master); /* EIO: nobody holds the other end any more */
  t->master = t->input = -1;
}

void terminal_drain(struct terminal *t) {
  struct pollfd wait = {t->master, POLLIN, 0};
  while (t->master >= 0 && poll(&wait, 1, 0) > 0) {
    terminal_output(t);
    wait.fd = t->master;
  }
}

void terminal_close(struct terminal *t) {
  if (t->raw) (void)tcsetattr(0, TCSADRAIN, &t->before);
  if (t->slave >= 0) close(t->slave);
  if (t->master >= 0) close(t->master);
}
