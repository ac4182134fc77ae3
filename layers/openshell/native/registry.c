/* The registered workspaces themselves. */
#include "registry.h"
#include "openshelld_json.h"
#include "openshelld_config.h"
#include "openshelld_store.h"
#include "openshelld_text.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct registration *all;
static int known, room;

const struct registration *registry_find(const char *id) {
  for (int i = 0; i < known; i++)
    if (strcmp(all[i].id, id) == 0) return &all[i];
  return NULL;
}

static json_t *describe(const struct registration *one) {
  return json_pack("{s:s,s:I,s:I,s:s}", "id", one->id, "uid", (json_int_t)one->uid, "gid", (json_int_t)one->gid, "path", one->path);
}

json_t *registry_list(void) {
  json_t *list = json_array();
  for (int i = 0; i < known; i++) json_array_append_new(list, describe(&all[i]));
  return list;
}

/* A person other than root has a quarter of the places, so that nobody takes them all. */
static bool has_share(uid_t uid) {
  int mine = 0;
  for (int i = 0; i < known; i++) mine += all[i].uid == uid;
  return uid == 0 || mine < (config.max_registrations + 3) / 4;
}

static struct registration *append(const char *id, uid_t uid, gid_t gid, const char *path, int fd) {
  struct stat folder;
  if (fstat(fd, &folder) < 0 || known >= config.max_registrations) return NULL;
  if (known == room) {
    struct registration *more = realloc(all, sizeof *all * (size_t)(room + 32));
    if (!more) return NULL;
    all = more;
    room += 32;
  }
  char *copy = strdup(path);
  if (!copy) return NULL;
  struct registration *one = &all[known++];
  *one = (struct registration){.uid = uid, .gid = gid, .path = copy, .fd = fd, .dev = folder.st_dev, .ino = folder.st_ino};
  text_format(one->id, sizeof one->id, "%s", id);
  return one;
}

/* The description travels as a memfd beside the directory, so that a name of any length survives. */
static void keep(const struct registration *one) {
  char name[48];
  json_t *description = describe(one);
  char *text = description ? json_dumps(description, JSON_COMPACT) : NULL;
  int memory = memfd_create("workspace", MFD_CLOEXEC);
  text_format(name, sizeof name, "workspace/%s", one->id);
  if (text && memory >= 0 && write(memory, text, strlen(text)) == (ssize_t)strlen(text)) store_keep(name, (int[]){one->fd, memory}, 2);
  if (memory >= 0) close(memory);
  free(text);
  json_decref(description);
}

void registry_adopt(const int *fds, int count) {
  json_t *description = NULL;
  const char *id, *path;
  json_int_t uid, gid;
  if (count == 2) description = json_read_whole(fds[1]);
  bool kept = description && json_unpack(description, "{s:s,s:I,s:I,s:s}", "id", &id, "uid", &uid, "gid", &gid, "path", &path) == 0 && append(id, (uid_t)uid, (gid_t)gid, path, fds[0]);
  for (int i = kept ? 1 : 0; i < count; i++) close(fds[i]);
  json_decref(description);
}

const struct registration *registry_add(uid_t uid, gid_t gid, const char *path, int fd, bool *fresh) {
  struct stat folder;
  char id[24] = "ws_";
  struct registration *one = NULL;
  *fresh = false;
  if (fstat(fd, &folder) == 0) {
    for (int i = 0; i < known; i++)
      if (all[i].uid == uid && all[i].dev == folder.st_dev && all[i].ino == folder.st_ino) {
        close(fd);
        return &all[i];
      }
    /* The same person and folder get the same id also after a reboot, so that what names it is right again once it is registered again. An id opens nothing by itself. */
    const uint64_t what[3] = {uid, folder.st_dev, folder.st_ino};
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)what, sizeof what, NULL, 0);
    sodium_bin2hex(id + 3, 17, hash, 8);
    if (!registry_find(id) && has_share(uid)) one = append(id, uid, gid, path, fd);
  }
  if (!one) {
    close(fd);
    return NULL;
  }
  keep(one);
  *fresh = true;
  return one;
}
