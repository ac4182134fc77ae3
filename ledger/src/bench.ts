/** The figures of this room: the way into the record, and a search of it. */
import { benchAppend } from './bench-append.ts';
import { benchSearch } from './bench-search.ts';

process.stdout.write(`${JSON.stringify({ ...(await benchAppend()), ...(await benchSearch()) }, undefined, 2)}\n`);
