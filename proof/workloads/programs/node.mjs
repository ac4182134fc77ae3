// Worker threads that share memory, a watched folder, child processes that pass messages and pipes, streams, compression, a key pair.
import { fork, execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream, mkdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Worker } from 'node:worker_threads';
import { createGunzip, createGzip } from 'node:zlib';

if (process.argv[2] === 'child') {
  process.on('message', (n) => process.send(n * 2, () => process.disconnect()));
} else {
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const counting = "const { workerData } = require('node:worker_threads'); for (let i = 0; i < 1000; i++) Atomics.add(workerData, 0, 1);";
  await Promise.all([1, 2, 3].map((_) => once(new Worker(counting, { eval: true, workerData: shared }), 'exit')));
  console.log('threads', shared[0]);

  mkdirSync('watched', { recursive: true });
  const watcher = watch('watched');
  const change = once(watcher, 'change');
  writeFileSync('watched/new', 'x');
  console.log('watch', (await change)[1]);
  watcher.close();

  const child = fork(import.meta.filename, ['child']);
  child.send(21);
  console.log('child', (await once(child, 'message'))[0], execFileSync('sh', ['-c', 'cat | tr a-z A-Z'], { input: 'pipe', encoding: 'utf8' }));
  await once(child, 'exit');

  writeFileSync('plain', 'line\n'.repeat(200_000));
  await pipeline(createReadStream('plain'), createGzip(), createWriteStream('packed'));
  await pipeline(createReadStream('packed'), createGunzip(), createWriteStream('again'));
  console.log('streams', readFileSync('again').equals(readFileSync('plain')));
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  console.log('keys', verify(null, Buffer.from('m'), publicKey, sign(null, Buffer.from('m'), privateKey)));
}
