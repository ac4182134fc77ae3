/** The thread in which long bodies are inspected and decoded; inspect-aside.ts gives it one after the other. */
import { getPriority, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { fastestScan, scan } from '@nemoclaw/detect';
import { threadTime } from '../fairness/pace.ts';
import { examine } from './examine.ts';
import type { Answer, Question, Searching, ThreadSettings } from './inspect-aside.ts';
import { searchWindow } from './search-window.ts';
import { hashesInMessage } from '../taint/taint.ts';
import { undoEncodings } from './undo-encodings.ts';

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// To Linux 0 is the calling thread, not the process (setpriority(2)). Everybody's connections wait for the other thread, so it goes first; this one keeps a tenth of its weight.
try {
  setPriority(0, Math.min(19, getPriority(0) + 10));
} catch {
  // Where that is not allowed it inspects all the same.
}

const { library } = workerData as ThreadSettings;
const search = library === '' ? scan : fastestScan((scanner, why) => parentPort?.postMessage({ scanner, why } satisfies Searching), library);

parentPort?.on('message', (question: Question) => {
  const before = threadTime();
  if ('examine' in question) {
    const examined = examine(question.examine, search);
    answer({ examined, took: threadTime() - before });
    return;
  }
  if ('search' in question) {
    const found = searchWindow(question.search);
    answer({ found, took: threadTime() - before });
    return;
  }
  if ('hash' in question) {
    const hashes = hashesInMessage(question.hash.bytes, question.hash.key);
    answer({ hashes, took: threadTime() - before });
    return;
  }
  const { body, encoding, limit } = question.undo;
  const undone = undoEncodings(bufferOf(body), encoding, limit);
  // Handed over instead of copied, where it has its memory for itself.
  const memory = undone.state === 'done' ? undone.body.buffer : undefined;
  answer({ undone, took: threadTime() - before }, memory instanceof ArrayBuffer && undone.state === 'done' && undone.body.length === memory.byteLength ? [memory] : []);
});

function answer(said: Answer, handedOver: ArrayBuffer[] = []): void {
  parentPort?.postMessage(said, handedOver);
}
