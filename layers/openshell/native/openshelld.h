/* What the parts of openshelld say to each other. */
#pragma once
#include "services.h"

/* Answers a request: takes over `result`; fds stay the caller's. */
void reply_ok(struct service *service, json_int_t id, json_t *result, const int *fds, int count);
void reply_error(struct service *service, json_int_t id, const char *code, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* To the gateway, if it runs; takes over `message`. */
void tell_gateway(json_t *message, const int *fds, int count);
