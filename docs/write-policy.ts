/** Writes docs/policy.md and docs/schemas from the schemas of policy files. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { policyReference, policySchemas } from './policy-reference.ts';

const folder = new URL('schemas/', import.meta.url);
mkdirSync(folder, { recursive: true });
writeFileSync(new URL('policy.md', import.meta.url), policyReference());
for (const [name, text] of policySchemas()) writeFileSync(new URL(name, folder), text);
