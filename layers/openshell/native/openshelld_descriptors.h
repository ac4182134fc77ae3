/* How many descriptors openshelld may have: each sandbox needs some, and a kernel that gives no more must not be met half-way. */
#pragma once
#include <stdbool.h>

/* Of a sandbox with as many rules as a plan can have, without what is only kept to be quicker; and for all that is not a sandbox's: channels, requests, files under way. */
#define DESCRIPTORS_A_SANDBOX 96
#define DESCRIPTORS_SET_ASIDE 256

/* As many as the host lets us have. Once, at the start. */
void descriptors_open(void);
/* The limit (RLIMIT_NOFILE) as it is now. */
int descriptors_most(void);
/* Whether one more sandbox has room; `used` gets how many are open. */
bool descriptors_suffice(int *used);
