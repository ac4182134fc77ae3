/* Reads the golden vectors of the control channel. vectors FOLDER N: takes N messages from descriptor 3 and compares them with the vectors, then sends every message that openshelld sends, rebuilt from its parts, in order of file name. */
#include "channel.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Strict: every key named, no other. The formats are those that openshelld unpacks and packs with. */
static const struct {
  const char *t, *format;
} messages[] = {
    {"hello", "{s:s,s:s,s:i}|t role pid"},
    {"sign", "{s:s,s:I,s:I,s:s,s:s}|t id count head why"},
    {"sandbox.create", "{s:s,s:I,s:s,s:o,s:s,s:s}|t id sandbox plan registration worker"},
    {"exec", "{s:s,s:I,s:s,s:s,s:o,s:o,s:s,s:o}|t id sandbox execId argv env cwd tty"},
    {"exec.attach", "{s:s,s:I,s:s,s:s}|t id sandbox execId"},
    {"exec.signal", "{s:s,s:I,s:s,s:s,s:i}|t id sandbox execId signal"},
    {"exec.resize", "{s:s,s:I,s:s,s:s,s:i,s:i}|t id sandbox execId rows cols"},
    {"layer", "{s:s,s:I,s:s,s:s,s:s}|t id sandbox op name"},
    {"sandbox.update", "{s:s,s:I,s:s,s:o,s:o,s:o,s:o}|t id sandbox escalate lsm limits recordRules"},
    {"workspace.register", "{s:s,s:I,s:s}|t id path"},
    {"sandbox.freeze", "{s:s,s:I,s:s,s:b}|t id sandbox frozen"},
    {"sandbox.destroy", "{s:s,s:I,s:s}|t id sandbox"},
    {"hold.answer", "{s:s,s:I,s:s,s:s,s:s}|t id sandbox holdId verdict"},
    {"ingress.connect", "{s:s,s:I,s:s,s:i}|t id sandbox port"},
    {"connection.owner", "{s:s,s:I,s:s,s:s,s:i,s:s,s:i}|t id sandbox source sourcePort destination destinationPort"},
    {"host", "{s:s,s:I}|t id"},
    {"workspaces", "{s:s,s:I}|t id"},
    {"seen", "{s:s,s:I,s:s}|t id sandbox"},
    {"flush", "{s:s,s:I,s:s}|t id sandbox"},
    {"link", "{s:s,s:s}|t peer"},
    {"peer.gone", "{s:s,s:s}|t peer"},
    {"reset", "{s:s}|t"},
    {"attach", "{s:s,s:s}|t sandbox"},
    {"detach", "{s:s,s:s}|t sandbox"},
    {"event", "{s:s,s:I,s:o}|t seq event"},
    {"signed", "{s:s,s:I,s:I,s:s,s:s}|t id count head signature"},
    {"inventory", "{s:s,s:o,s:o,s:o}|t sandboxes holds workers"},
    {"hold", "{s:s,s:o}|t hold"},
    {"hold.ended", "{s:s,s:s,s:s,s:s,s:i}|t sandbox holdId outcome errno"},
    {"exec.exited", "{s:s,s:s,s:s,s:o,s:o}|t sandbox execId code signal"},
    {"sandbox.gone", "{s:s,s:s,s:s}|t sandbox why"},
    {"workspace.released", "{s:s,s:s,s:o}|t sandbox released"},
    {"workspace.registered", "{s:s,s:o}|t registration"},
};

static const char *format_of(json_t *message) {
  const char *t = json_string_value(json_object_get(message, "t"));
  if (t && strcmp(t, "reply") == 0) return json_is_true(json_object_get(message, "ok")) ? "{s:s,s:I,s:b,s:o}|t id ok result" : "{s:s,s:I,s:b,s:s,s:s}|t id ok error code";
  for (size_t i = 0; t && i < sizeof messages / sizeof *messages; i++)
    if (strcmp(messages[i].t, t) == 0) return messages[i].format;
  return NULL;
}

/* Takes the message apart by kind and puts it together again; NULL: a key is missing, extra or of another kind. */
static json_t *rebuild(json_t *message) {
  const char *format = format_of(message), *kind = format;
  char names[200];
  json_t *built = json_object();
  if (!format) return NULL;
  snprintf(names, sizeof names, "%s", strchr(format, '|') + 1);
  size_t count = 0;
  for (char *name = strtok(names, " "); name; name = strtok(NULL, " "), count++) {
    kind = strchr(kind, ':') + 1;
    json_t *value = json_object_get(message, name);
    const char *s;
    json_int_t n;
    int b;
    json_t *part = NULL;
    if (*kind == 's' && json_unpack(value, "s", &s) == 0) part = json_string(s);
    else if ((*kind == 'i' || *kind == 'I') && json_unpack(value, "I", &n) == 0) part = json_integer(n);
    else if (*kind == 'b' && json_unpack(value, "b", &b) == 0) part = json_boolean(b);
    else if (*kind == 'o' && value) part = json_deep_copy(value);
    if (!part) return NULL;
    json_object_set_new(built, name, part);
  }
  return count == json_object_size(message) ? built : NULL;
}

static int fail(const char *what, const char *name) {
  fprintf(stderr, "%s: %s\n", name, what);
  return 1;
}

int main(int argc, char **argv) {
  struct dirent **list;
  if (argc != 3) return 2;
  int files = scandir(argv[1], &list, NULL, alphasort), wanted = atoi(argv[2]), seen = 0;
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  json_t *known = json_array();
  struct channel channel;
  channel_init(&channel, 3);
  for (int round = 0; round < 2; round++) {
    /* Round 0: learn what services send. Then take their messages. Round 1: send ours. */
    for (int i = 0; i < files; i++) {
      char path[4096];
      int fds[4] = {null, null, null, null}, count;
      const char *direction;
      json_t *message;
      if (!strstr(list[i]->d_name, ".json")) continue;
      snprintf(path, sizeof path, "%s/%s", argv[1], list[i]->d_name);
      json_t *vector = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
      if (!vector || json_unpack(vector, "{s:s,s:i,s:o}", "direction", &direction, "fds", &count, "message", &message) < 0 || count < 0 || count > 4) return fail("not a vector", path);
      json_t *built = rebuild(message);
      if (!built || !json_equal(built, message)) return fail("the C does not know this message", path);
      if (round == 0 && strcmp(direction, "to-openshelld") == 0) json_array_append(known, message);
      if (round == 1 && strcmp(direction, "from-openshelld") == 0 && channel_send_json(&channel, built, fds, count) < 0) return fail("not sent", path);
    }
    for (; round == 0 && seen < wanted; seen++) {
      struct packet packet;
      struct pollfd ready = {3, POLLIN, 0};
      if (poll(&ready, 1, 5000) <= 0 || packet_receive(3, &packet) <= 0) return fail("a message is missing", "descriptor 3");
      json_t *message = json_loadb(packet.data, packet.length, JSON_REJECT_DUPLICATES, NULL);
      bool found = false;
      for (size_t k = 0; k < json_array_size(known) && !found; k++) found = json_equal(message, json_array_get(known, k));
      if (!found) return fail("not one of the vectors", packet.data);
    }
  }
  return channel_flush(&channel) < 0 || channel.first != NULL;
}
