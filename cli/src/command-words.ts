/** Which first words are commands and not names. */

/** First words that are commands; every other first word names a sandbox. */
export const commandWords: ReadonlySet<string> = new Set(['onboard', 'list', 'status', 'doctor', 'top', 'up', 'down', 'version', 'policy', 'approvals', 'audit']);

/** Words that come after a name; none of them can be a name. */
export const verbs: ReadonlySet<string> = new Set(['run', 'exec', 'connect', 'logs', 'stop', 'start', 'destroy', 'diff', 'commit', 'discard', 'snapshot', 'credentials']);

/** Words kept free for what this version does not have; they name nothing. */
export const laterWords: ReadonlySet<string> = new Set(['inference', 'blueprint', 'console', 'node', 'rebuild', 'pause', 'resume']);
