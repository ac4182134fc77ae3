/* Just enough DNS and HTTP/1.1 for a client in a sandbox, without a library that would have to be started first. */
#pragma once
#include "clock.h"
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The sandbox's resolver, from /etc/resolv.conf. */
static struct sockaddr_in resolver(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
  char line[256], text[64] = "127.0.0.1";
  FILE *file = fopen("/etc/resolv.conf", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "nameserver %63s", text) == 1) break;
  if (file != NULL) fclose(file);
  if (inet_pton(AF_INET, text, &to.sin_addr) != 1) die("resolv.conf");
  return to;
}

/* The first IPv4 address of a name; dies where there is none. */
static struct sockaddr_in look_up(const char *name, int port) {
  unsigned char packet[512] = {0x12, 0x34, 1, 0, 0, 1};
  size_t at = 12;
  for (const char *label = name; *label != '\0';) {
    size_t length = strcspn(label, ".");
    packet[at++] = (unsigned char)length;
    memcpy(packet + at, label, length);
    at += length;
    label += length + (label[length] == '.');
  }
  memcpy(packet + at, "\0\0\1\0\1", 5);
  at += 5;
  struct sockaddr_in to = resolver(), found = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct timeval patience = {5, 0};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (sendto(fd, packet, at, 0, (struct sockaddr *)&to, sizeof to) < 0) die("dns");
  ssize_t got = recv(fd, packet, sizeof packet, 0);
  close(fd);
  /* our only question gets one short answer: the address is its end */
  for (ssize_t i = (ssize_t)at; i + 14 <= got; i++)
    if (packet[i] == 0 && packet[i + 1] == 1 && packet[i + 2] == 0 && packet[i + 3] == 1 && packet[i + 8] == 0 && packet[i + 9] == 4) {
      memcpy(&found.sin_addr, packet + i + 10, 4);
      return found;
    }
  fprintf(stderr, "dns: no address of %s\n", name);
  exit(1);
}

/* A connection with one request without a body sent on it. */
static int ask(const struct sockaddr_in *to, const char *host, int port, const char *method, const char *path) {
  char head[512];
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (const struct sockaddr *)to, sizeof *to) != 0) die("connect");
  int length = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: 0\r\n\r\n", method, path, host, port);
  if (send(fd, head, (size_t)length, MSG_NOSIGNAL) != length) die("send");
  return fd;
}

/* The status of the answer, 0 where the connection ended without one. Reads only the beginning; a 5xx is told on stderr. */
static int status_of(int fd) {
  char text[4096];
  ssize_t got = recv(fd, text, sizeof text - 1, 0);
  if (got < 12) return 0;
  text[got] = '\0';
  if (text[9] == '5') fprintf(stderr, "%s\n", text);
  return atoi(text + 9);
}

/* The rule that the proxy says has refused the request; "none" where it names none. */
static void rule_of(int fd, char rule[64]) {
  char text[4096];
  ssize_t got = recv(fd, text, sizeof text - 1, 0);
  text[got > 0 ? got : 0] = '\0';
  const char *at = strstr(text, "x-nemoclaw-rule: ");
  if (at == NULL || sscanf(at + 17, "%63s", rule) != 1) strcpy(rule, "none");
}
