/* An attempt that stands in a file of its own: `ATTEMPT(name, least number of arguments) { … }`; tries.c finds it by its section. 0: as it was meant. */
#pragma once

struct attempt {
  const char *name;
  int (*run)(char **arg);
  int arguments;
};
extern const struct attempt __start_attempts[], __stop_attempts[];

#define ATTEMPT(name, count) \
  static int name(char **arg); \
  static const struct attempt attempt_##name __attribute__((section("attempts"), used, aligned(8))) = {#name, name, count}; \
  static int name(char **arg __attribute__((unused)))
