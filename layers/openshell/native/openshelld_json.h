/* Files of JSON in few system calls: jansson by itself asks the kernel for one byte at a time, and writes word by word. */
#pragma once
#include <jansson.h>

/* The file from its beginning, 8 MiB at most, or NULL. */
json_t *json_read_whole(int fd);

/* 0, or -1 with errno. */
int json_write_whole(int fd, const json_t *json);
