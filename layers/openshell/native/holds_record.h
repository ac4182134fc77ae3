/* Names of files in messages and records: shown as text, kept as bytes. */
#pragma once
#include "perform.h"

#include <jansson.h>

/* For people: file names are bytes; what is not UTF-8, and each backslash, is shown as \xNN. */
json_t *record_text(const char *text);
/* The first name of an operation; an address is such text already. */
json_t *record_path(const struct operation *op);
/* What the shim keeps of a held operation, and back: the folders of its names become `fds`. False: damaged. */
json_t *record_of_operation(const struct operation *op);
bool record_to_operation(json_t *record, struct operation *op, const int *fds, int count);
