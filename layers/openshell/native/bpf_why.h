/* Why a program for the kernel could not be loaded, in libbpf's first words and ours. */
#pragma once
#include <stddef.h>

/* From here on libbpf's first warning is kept, instead of printed. */
void bpf_listen(void);
/* `what: error; warning` into `why`. -1 */
int bpf_fail(char *why, size_t size, const char *what, int error);
