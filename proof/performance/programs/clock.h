/* Nanoseconds since boot; the same clock inside and outside of a sandbox. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void die(const char *what) {
  perror(what);
  exit(1);
}

/* Samples in nanoseconds as native 32-bit numbers. */
static inline void save(const char *path, const uint32_t *samples, size_t count) {
  FILE *out = fopen(path, "w");
  if (out == NULL || fwrite(samples, sizeof *samples, count, out) != count || fclose(out) != 0) die(path);
}
