/* Loads the program of connected.bpf.c, keeps its map, looks connections up (libbpf; Documentation/bpf/map_hash.rst). */
#include "bpf_why.h"
#include "connected.h"
#include "cgroup.h"
#include "connected_program.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The number is changed with the meaning of what stands in the map: another one's is not taken over. */
#define MAP_NAME "connected1"

enum { MAP, LINK };
static int fds[CONNECTED_FDS] = {-1, -1};

/* The top of the v2 tree: sandboxes are somewhere below it. -1 with errno. */
static int open_tree(void) {
  struct cgroup_tree all[CGROUP_MAX];
  int count = cgroup_trees(all, CGROUP_MAX);
  for (int i = 0; i < count; i++)
    if (all[i].v2) return open(all[i].parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  errno = ENOENT;
  return -1;
}

static int attach(struct bpf_object *object, int tree, char *why, size_t size) {
  struct bpf_program *program = bpf_object__find_program_by_name(object, "connecting");
  struct bpf_map *map = bpf_object__find_map_by_name(object, MAP_NAME);
  if (!program || !map) return bpf_fail(why, size, "the program is not whole", ENOENT);
  fds[LINK] = bpf_link_create(bpf_program__fd(program), tree, BPF_CGROUP_SOCK_OPS, NULL);
  if (fds[LINK] < 0) return bpf_fail(why, size, "the program cannot be attached to the control groups", errno);
  fds[MAP] = fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3);
  return fds[MAP] < 0 ? bpf_fail(why, size, MAP_NAME, errno) : 0;
}

static int load(int tree, struct connected_range uids, char *why, size_t size) {
  struct bpf_object_open_opts options = {.sz = sizeof options, .object_name = "nemoclaw_conn"};
  struct bpf_object *object = bpf_object__open_mem(connected_program, CONNECTED_PROGRAM_BYTES, &options);
  if (!object) return bpf_fail(why, size, "the program cannot be read", errno);
  struct bpf_map *map, *constants = NULL;
  bpf_object__for_each_map(map, object)
    if (strstr(bpf_map__name(map), ".rodata")) constants = map;
  int error = constants ? bpf_map__set_initial_value(constants, &uids, sizeof uids) : -ENOENT;
  if (!error) error = bpf_object__load(object);
  int result = error ? bpf_fail(why, size, "the kernel does not take the program", -error) : attach(object, tree, why, size);
  bpf_object__close(object);
  return result;
}

int connected_start(struct connected_range uids, char *why, size_t size) {
  bpf_listen();
  int tree = open_tree();
  if (tree < 0) return bpf_fail(why, size, "there is no control group v2 tree", errno);
  int result = load(tree, uids, why, size);
  close(tree);
  if (result < 0) connected_stop();
  return result;
}

int connected_adopt(const int *given, int count) {
  struct bpf_map_info info = {0};
  uint32_t length = sizeof info;
  for (int i = 0; i < count; i++) {
    if (i < CONNECTED_FDS) fds[i] = given[i];
    else close(given[i]);
  }
  if (count == CONNECTED_FDS && bpf_obj_get_info_by_fd(fds[MAP], &info, &length) == 0 && strcmp(info.name, MAP_NAME) == 0 && info.key_size == sizeof(struct connected_key) && info.value_size == sizeof(struct connected_value)) return 0;
  connected_stop();
  return -1;
}

void connected_fds(int out[CONNECTED_FDS]) { memcpy(out, fds, sizeof fds); }

bool connected_active(void) { return fds[LINK] >= 0; }

bool connected_address(const char *text, uint8_t out[16]) {
  if (inet_pton(AF_INET6, text, out) == 1) return true;
  memcpy(out, (uint8_t[12]){[10] = 0xff, [11] = 0xff}, 12);
  return inet_pton(AF_INET, text, out + 12) == 1;
}

int connected_find(const struct connected_key *key, struct connected_value *value) {
  return fds[MAP] >= 0 && bpf_map_lookup_elem(fds[MAP], key, value) == 0 && value->length <= CONNECTED_PATH ? 0 : -1;
}

void connected_path(const struct connected_value *value, char path[CONNECTED_PATH + 1]) {
  size_t left = value->length <= CONNECTED_PATH ? value->length : 0, at = 0;
  while (left > 0) {
    size_t begin = left - 1; /* of the last name, whose NUL is at left - 1 */
    while (begin > 0 && value->parts[begin - 1] != 0) begin--;
    path[at++] = '/';
    memcpy(path + at, value->parts + begin, left - 1 - begin);
    at += left - 1 - begin;
    left = begin;
  }
  path[at] = 0;
}

void connected_stop(void) {
  for (int i = 0; i < CONNECTED_FDS; i++) {
    if (fds[i] >= 0) close(fds[i]);
    fds[i] = -1;
  }
}
