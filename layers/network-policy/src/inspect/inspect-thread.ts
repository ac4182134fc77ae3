/** The thread in which long bodies are inspected and decoded; inspect-aside.ts gives it one after the other. */
import { parentPort } from 'node:worker_threads';
import { examine } from './examine.ts';
import type { Answer, Question } from './inspect-aside.ts';
import { undoEncodings } from './undo-encodings.ts';

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

parentPort?.on('message', (question: Question) => {
  if ('examine' in question) {
    const { bytes, contentType, known, settings } = question.examine;
    answer({ examined: examine({ bytes: bufferOf(bytes), contentType, known, settings }) });
    return;
  }
  const { body, encoding, limit } = question.undo;
  const undone = undoEncodings(bufferOf(body), encoding, limit);
  // Handed over instead of copied, where it has its memory for itself.
  const memory = undone.state === 'done' ? undone.body.buffer : undefined;
  answer({ undone }, memory instanceof ArrayBuffer && undone.state === 'done' && undone.body.length === memory.byteLength ? [memory] : []);
});

function answer(said: Answer, handedOver: ArrayBuffer[] = []): void {
  parentPort?.postMessage(said, handedOver);
}
