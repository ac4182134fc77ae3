/* Which settings of a git directory are harmless: an allow-list, since git runs programs by dozens of others. */
#include "protect.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX (256 * 1024)

struct setting {
  char section[64], sub[512], key[64];
  bool has_sub;
  const char *value; /* "" where there is none */
};
typedef bool (*each_setting)(void *arg, const struct setting *setting);

/* By section; `sub` says whether [section "name"] is meant. "*": every key. See git-config(1). */
static const struct {
  const char *section;
  bool sub;
  const char *keys;
} harmless[] = {
    {"core", false,
     " repositoryformatversion filemode bare logallrefupdates ignorecase precomposeunicode symlinks autocrlf eol safecrlf quotepath sparsecheckout sparsecheckoutcone abbrev compression bigfilethreshold preloadindex untrackedcache commitgraph multipackindex longpaths protecthfs protectntfs trustctime checkstat sharedrepository whitespace hidedotfiles deltabasecachelimit packedgitlimit packedgitwindowsize fscache worktree "},
    {"user", false, " name email useconfigonly signingkey "},
    {"author", false, " name email "},
    {"committer", false, " name email "},
    {"remote", true, " url pushurl fetch push tagopt prune prunetags skipdefaultupdate skipfetchall mirror promisor partialclonefilter followremotehead "},
    {"remote", false, " pushdefault "},
    {"branch", true, " remote merge rebase pushremote description vscode-merge-base "},
    {"branch", false, " autosetupmerge autosetuprebase sort "},
    {"submodule", true, " url active path branch ignore shallow fetchrecursesubmodules "},
    {"submodule", false, " active recurse fetchjobs "},
    {"init", false, " defaultbranch "},
    {"pull", false, " rebase ff "},
    {"push", false, " default autosetupremote followtags "},
    {"fetch", false, " prune prunetags parallel writecommitgraph recursesubmodules "},
    {"extensions", false, " objectformat partialclone noop refstorage worktreeconfig preciousobjects relativeworktrees compatobjectformat "},
    {"gc", false, " auto autopacklimit autodetach pruneexpire reflogexpire reflogexpireunreachable worktreepruneexpire packrefs writecommitgraph aggressivewindow aggressivedepth "},
    {"pack", false, " packsizelimit window depth threads windowmemory usebitmaps writebitmaps compression "},
    {"maintenance", false, " auto strategy "},
    {"index", false, " version threads sparse skiphash "},
    {"feature", false, "*"},
    {"color", false, "*"},
    {"color", true, "*"},
    {"column", false, "*"},
    {"advice", false, "*"},
    {"status", false, "*"},
    {"rerere", false, " enabled autoupdate "},
    {"merge", false, " conflictstyle ff renamelimit log stat renames "},
    {"diff", false, " algorithm renames renamelimit context colormoved mnemonicprefix noprefix indentheuristic wserrorhighlight "},
    {"log", false, " date decorate follow abbrevcommit "},
    {"rebase", false, " autosquash autostash updaterefs "},
    {"commit", false, " gpgsign verbose status "},
    {"tag", false, " gpgsign sort "},
    {"gpg", false, " format "},
    {"lfs", false, " repositoryformatversion locksverify "},
};

static void lower(char *text) {
  for (; *text != '\0'; text++) *text = (char)tolower((unsigned char)*text);
}

/* A line of `n` bytes without blanks around it; false: not one that this reader understands. */
static bool read_header(char **line, struct setting *s) {
  char *p = *line + 1, *end = strchr(p, ']'), *quote = strchr(p, '"');
  if (end == NULL) return false;
  memset(s->sub, 0, sizeof s->sub);
  s->has_sub = false;
  if (quote != NULL && quote < end) {
    char *close_quote = strchr(quote + 1, '"');
    if (close_quote == NULL || (size_t)(close_quote - quote) > sizeof s->sub) return false;
    memcpy(s->sub, quote + 1, (size_t)(close_quote - quote - 1));
    if (strchr(s->sub, '\\') != NULL || close_quote[1] != ']') return false;
    s->has_sub = true;
    end = close_quote + 1;
    *quote = '\0';
    for (char *blank = quote; blank > p && (blank[-1] == ' ' || blank[-1] == '\t');) *--blank = '\0';
  } else *end = '\0';
  char *dot = strchr(p, '.');
  if (!s->has_sub && dot != NULL) { /* the old spelling [section.name] */
    if (!(s->has_sub = (size_t)snprintf(s->sub, sizeof s->sub, "%s", dot + 1) < sizeof s->sub)) return false;
    *dot = '\0';
  }
  if ((size_t)snprintf(s->section, sizeof s->section, "%s", p) >= sizeof s->section || s->section[0] == '\0') return false;
  for (const char *c = s->section; *c != '\0'; c++)
    if (!isalnum((unsigned char)*c) && *c != '-') return false;
  lower(s->section);
  *line = end + 1;
  return true;
}

static bool read_key(char *line, struct setting *s) {
  size_t n = 0;
  while (isalnum((unsigned char)line[n]) || line[n] == '-') n++;
  if (n == 0 || n >= sizeof s->key || s->section[0] == '\0') return false;
  memcpy(s->key, line, n);
  s->key[n] = '\0';
  lower(s->key);
  line += n;
  line += strspn(line, " \t");
  if (*line != '=' && *line != '\0') return false;
  s->value = *line == '=' ? line + 1 + strspn(line + 1, " \t") : "";
  return true;
}

/* False: a line it does not understand (also one that goes on in the next), or `each` said no. Changes `text`. */
static bool read_config(char *text, size_t length, each_setting each, void *arg) {
  struct setting s = {.section = ""};
  if (memchr(text, '\0', length) != NULL) return false;
  for (char *line = text, *next; line != NULL; line = next) {
    next = strchr(line, '\n');
    if (next != NULL) *next++ = '\0';
    size_t n = strlen(line);
    if (n > 0 && line[n - 1] == '\r') line[--n] = '\0';
    if (strchr(line, '\r') != NULL || (n > 0 && line[n - 1] == '\\')) return false;
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t')) line[--n] = '\0';
    line += strspn(line, " \t");
    if (*line == '[') {
      if (!read_header(&line, &s)) return false;
      line += strspn(line, " \t");
    }
    if (*line == '\0' || *line == '#' || *line == ';') continue;
    if (!read_key(line, &s) || !each(arg, &s)) return false;
  }
  return true;
}

static bool key_in(const char *keys, const char *key) {
  char spaced[70];
  snprintf(spaced, sizeof spaced, " %s ", key);
  return keys[0] == '*' || strstr(keys, spaced) != NULL;
}

/* The folder that a git directory's settings lie in. */
static char *folder_of(const char *path) {
  char *folder = strdup(path), *slash = folder != NULL ? strrchr(folder, '/') : NULL;
  if (folder != NULL) *(slash != NULL ? slash : folder) = '\0';
  return folder;
}

static bool check(void *arg, const struct setting *s) {
  bool known = false;
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless && !known; i++) known = strcmp(s->section, harmless[i].section) == 0 && s->has_sub == harmless[i].sub && key_in(harmless[i].keys, s->key);
  const char *value = s->value[0] == '"' ? s->value + 1 : s->value;
  /* Git takes quotes and backslashes out wherever they stand (`ext:"":sh`) and ends a value at `#` or `;`: understood is what is plain, or plain between two quotes. */
  size_t length = strlen(value);
  bool quoted = value != s->value;
  if (quoted ? length == 0 || strcspn(value, "\"\\") != length - 1 || value[length - 1] != '"' : strpbrk(value, "\"\\#;") != NULL) return false;
  /* Helpers (ext::sh …), options and commands where an address or a name is expected. */
  if (!known || strstr(value, "::") != NULL || strstr(s->sub, "::") != NULL || value[0] == '-' || value[0] == '!') return false;
  /* A work tree elsewhere makes `git checkout` write there. */
  return strcmp(s->section, "core") != 0 || strcmp(s->key, "worktree") != 0 || (strpbrk(value, "\"\\~") == NULL && protect_inside(arg, value));
}

static bool config_harmless(int root, const char *path) {
  size_t length = 0;
  char *text = protect_read(root, path, CONFIG_MAX, &length), *folder = folder_of(path);
  bool good = text != NULL && folder != NULL && read_config(text, length, check, folder);
  free(text);
  free(folder);
  return good;
}

static bool git_file_harmless(int root, const char *path) {
  size_t length = 0;
  char *text = protect_read(root, path, 4096, &length), *folder = folder_of(path);
  bool good = false;
  if (text != NULL && folder != NULL && strlen(text) == length && strncmp(text, "gitdir: ", 8) == 0) {
    text[strcspn(text, "\r\n")] = '\0';
    good = protect_inside(folder, text + 8);
  }
  free(text);
  free(folder);
  return good;
}

bool git_harmless(int root, const struct found *found) {
  if (found->kind == FOUND_GIT_CONFIG) return config_harmless(root, found->path);
  if (found->kind == FOUND_GIT_FILE) return git_file_harmless(root, found->path);
  if (found->kind != FOUND_COMMON_DIR) return false;
  /* Of a work tree: the git directory two above. Anything else could be a git directory in disguise. */
  size_t length = 0;
  char *text = protect_read(root, found->path, 4096, &length);
  bool good = text != NULL && strlen(text) == length && (strcmp(text, "../..\n") == 0 || strcmp(text, "../..") == 0);
  free(text);
  return good;
}

static bool note_hooks(void *arg, const struct setting *s) {
  char **hooks = arg;
  if (strcmp(s->section, "core") != 0 || s->has_sub || strcmp(s->key, "hookspath") != 0) return true;
  free(*hooks);
  *hooks = strdup(s->value);
  return true;
}

char *git_hooks_of(int root, const char *path) {
  size_t length = 0;
  char *text = protect_read(root, path, CONFIG_MAX, &length), *said = NULL, *result = NULL, *folder = folder_of(path);
  if (text != NULL && folder != NULL) {
    (void)read_config(text, length, note_hooks, &said);
    /* Relative to the work tree, which is the folder above `.git`. */
    size_t n = strlen(folder);
    if (n >= 4 && strcmp(folder + n - 4, ".git") == 0) folder[n > 4 ? n - 5 : 0] = '\0';
    if (said != NULL && said[0] != '\0' && said[0] != '/' && said[0] != '~' && strpbrk(said, "\"\\") == NULL && strstr(said, "..") == NULL && asprintf(&result, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", said) < 0) result = NULL;
  }
  if (result != NULL && result[0] != '\0' && result[strlen(result) - 1] == '/') result[strlen(result) - 1] = '\0';
  free(text);
  free(said);
  free(folder);
  return result;
}
