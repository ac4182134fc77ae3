/* Names of files in messages and records: shown as text, kept as bytes. */
#pragma once
#include "perform.h"

#include <jansson.h>

/* For people: file names are bytes; what is not UTF-8 is shown as \xNN. */
json_t *record_text(const char *text);
/* What the shim keeps of a held call's object, and back. `parent` becomes the place's. False: damaged. */
json_t *record_of_place(const struct place *place);
bool record_to_place(json_t *record, struct place *place, int parent);
