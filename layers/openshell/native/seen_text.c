/* Names of hostile programs: control characters and broken UTF-8 are shown as numbers (RFC 3629). */
#include "seen_text.h"
#include <stdio.h>
#include <string.h>

/* Bytes of the well-formed sequence at `p`, 0: none. C1 controls (U+0080 to U+009F) and bidirectional overrides count as none. */
static size_t sequence(const unsigned char *p, size_t left) {
  if (p[0] >= 0x20 && p[0] < 0x7f) return p[0] == '\\' ? 0 : 1;
  size_t n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
  if (n == 0 || left < n) return 0;
  for (size_t i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0) return 0;
  if (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0))) return 0;
  if (n == 3 && p[0] == 0xe2 && ((p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9))) return 0;
  if (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))) return 0;
  return n;
}

const char *seen_text(char *out, size_t size, const char *from, size_t length) {
  size_t used = 0, end = strnlen(from, length);
  for (size_t i = 0; i < end && used + 5 <= size;) {
    size_t n = sequence((const unsigned char *)from + i, end - i);
    if (n > 0) memcpy(out + used, from + i, n);
    else sprintf(out + used, "\\x%02x", (unsigned char)from[i]);
    used += n > 0 ? n : 4;
    i += n > 0 ? n : 1;
  }
  out[used] = 0;
  return out;
}
