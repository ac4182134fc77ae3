/** The writer process of the benchmark: serves the link on descriptor 3; argument: folder of the record. */
import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import { serveLink } from './link-source.ts';
import { LedgerReader } from './reader.ts';
import { redactor } from './redactor.ts';
import { openLedger } from './writer.ts';

const dir = process.argv[2];
if (dir === undefined) throw new Error('usage: bench-writer DIR');
const writer = await openLedger({
  dir,
  redact: redactor(),
  sign: async () => undefined,
  clock: { now: () => Date.now(), monotonic: () => performance.now() },
  ids: { next: (prefix) => `${prefix}_${randomBytes(8).toString('hex')}` },
  onFailure: (error) => {
    throw error;
  },
});
const link = new Socket({ fd: 3 });
serveLink(link, { writer, reader: new LedgerReader(writer), name: 'bench', mayRead: true, now: () => Date.now() });
link.once('close', () => void writer.close().then(() => process.exit(0)));
