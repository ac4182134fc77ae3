/** Writes docs/errors.md from the one table of errors. */
import { writeFileSync } from 'node:fs';
import { errorTable } from '@nemoclaw/contract';

const rows = Object.entries(errorTable).map(([code, entry]) => `| \`${code}\` | ${entry.exit} | ${entry.title} | ${entry.fix} |`);
const text = `# Errors

Every error that a person can get. Written from \`contract/src/errors.ts\` by \`node_modules/.bin/node docs/write-errors.ts\`; a test compares the two.

Exit codes of the command line: 0 ok, 1 failed, 2 usage, 3 denied by policy, 4 waiting for approval, 5 no daemon.

| code | exit | what | how to fix it |
|---|---|---|---|
${rows.join('\n')}
`;
writeFileSync(new URL('errors.md', import.meta.url), text);
