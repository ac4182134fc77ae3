/** The thread in which long bodies are inspected; inspect-aside.ts gives it one after the other. */
import { parentPort } from 'node:worker_threads';
import { examine } from './examine.ts';
import type { Examination } from './examine.ts';

parentPort?.on('message', ({ bytes, contentType, known, settings }: Examination) => {
  parentPort?.postMessage(examine({ bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), contentType, known, settings }));
});
