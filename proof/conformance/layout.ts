/** What operations need, laid out in a workspace before its sandbox starts. */
import { chmodSync, chownSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { folders, programs, ruledFiles, type Operation } from './generate.ts';

export interface Programs {
  readonly operations: string;
  readonly nothing: string;
}

export interface Laid {
  /** Lines for the program that does the operations: what it must prepare itself, then the operations. */
  readonly lines: readonly string[];
  /** How many of the lines prepare. */
  readonly prepared: number;
  /** Ends the listeners. */
  close(): Promise<void>;
}

/** Fills `workspace` with the folders, the files that rules may name, and what each operation needs, all of `owner`. */
export async function layOut(workspace: string, owner: number, built: Programs, operations: readonly Operation[]): Promise<Laid> {
  const outside = (path: string): string => join(workspace, path.slice('/workspace'.length));
  const ours: string[] = [workspace];
  const servers: Server[] = [];
  for (const folder of [...folders, programs]) {
    mkdirSync(outside(folder), { recursive: true });
    ours.push(outside(folder));
  }
  const program = (file: string, from: string): void => {
    copyFileSync(from, file);
    chmodSync(file, 0o755);
    ours.push(file);
  };
  program(outside(`${programs}/operations`), built.operations);
  program(outside(`${programs}/nothing`), built.nothing);
  for (const file of ruledFiles) program(outside(file), built.nothing);
  const lines: string[] = [];
  for (const { path, needs } of operations) {
    if (needs === 'nothing') continue;
    if (!path.startsWith('/workspace/')) {
      lines.push(`prepare-${needs === 'program' ? 'file' : needs}\t${path}\t${programs}/nothing`);
      continue;
    }
    const file = outside(path);
    if (needs === 'folder') mkdirSync(file);
    else if (needs === 'program') program(file, built.nothing);
    else if (needs === 'file') writeFileSync(file, path);
    else servers.push(await listener(file));
    ours.push(file);
  }
  if (process.getuid?.() === 0) for (const path of ours) chownSync(path, owner, owner);
  return {
    lines: [...lines, ...operations.map(({ op, path, toPath, needs }) => `${op === 'delete' && needs === 'folder' ? 'delete-folder' : op}\t${path}\t${toPath ?? ''}`)],
    prepared: lines.length,
    close: async () => void (await Promise.all(servers.map((server) => new Promise((done) => server.close(done))))),
  };
}

async function listener(path: string): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => undefined).destroy());
  await new Promise<void>((ready, failed) => server.on('error', failed).listen(path, ready));
  chmodSync(path, 0o755);
  return server;
}
