/** Names of parameters and members as the laxest servers read them. Pure. */
import { foldKey } from '@nemoclaw/contract';

type Query = readonly (readonly [string, string])[];

/** Without blanks, signs and what is no character (PHP leaves them out), in small letters of plain forms, and without the bracket that makes a list of it. */
export const bareName = (name: string): string => foldKey(name.normalize('NFKC').replace(/(?!^)\[.*$/s, '')).replaceAll(/[^\p{L}\p{N}]/gu, '');

/** What stands behind semicolons: some servers end a parameter there, too. */
export const behindSemicolons = (query: Query): Query => query.flatMap(([name, value]) => `${name}=${value}`.split(';').slice(1).map((part): readonly [string, string] => [/^[^=]*/.exec(part)?.[0] ?? '', part.slice(part.indexOf('=') + 1)]));

/** All parameters that a server could see. */
export const allParameters = (query: Query): Query => [...query, ...behindSemicolons(query)];
