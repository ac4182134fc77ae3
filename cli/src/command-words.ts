/** Which first words are commands and not names. */

/** First words that are commands; every other first word names a sandbox. */
export const commandWords: ReadonlySet<string> = new Set(['onboard', 'list', 'status', 'doctor', 'up', 'down', 'version', 'policy', 'approvals', 'audit', 'help']);

/** Words that come after a name; none of them can be a name. */
export const verbs: ReadonlySet<string> = new Set(['run', 'exec', 'connect', 'logs', 'stop', 'start', 'destroy']);
