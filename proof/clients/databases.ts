/** A real PostgreSQL and a real Redis on loopback, in folders of their own, under a user without rights. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { until } from '../harness/instance.ts';

/** nobody: PostgreSQL refuses to run as root. */
const plain = 65_534;

export interface Database {
  readonly port: number;
  /** Resolves when it has ended. */
  stop(): Promise<void>;
}

function program(args: readonly string[], cwd: string): string {
  const [command = '', ...rest] = args;
  const done = spawnSync(command, rest, { cwd, uid: plain, gid: plain, encoding: 'utf8', timeout: 180_000 });
  if (done.status !== 0) throw new Error(`${command}: ${done.stderr}${done.stdout}`);
  return done.stdout;
}

/** Ends it and waits; safe to call twice. */
function ending(child: ChildProcess, signal: 'SIGINT' | 'SIGTERM'): () => Promise<void> {
  const gone = new Promise<void>((done) => void child.once('exit', () => done()));
  return async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await gone;
  };
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  await until(`port ${port}`, () => new Promise<true | undefined>((resolve, reject) => {
    if (child.exitCode !== null) reject(new Error(`the server ended with ${child.exitCode}`));
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(undefined));
  }));
}

/** `started`: told how to stop it as soon as it runs, ready or not. User `tester`, password `pass-word-1`, database `app` with a table `notes`. Undefined where its programs are not installed. */
export async function startPostgres(root: string, port: number, started: (stop: () => Promise<void>) => void): Promise<Database | undefined> {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
  const bin = versions.map((version) => `/usr/lib/postgresql/${version}/bin`).find((folder) => existsSync(join(folder, 'initdb')));
  if (bin === undefined) return undefined;
  const folder = join(root, 'postgres');
  mkdirSync(folder);
  writeFileSync(join(folder, 'password'), 'pass-word-1\n');
  chownSync(folder, plain, plain);
  program([`${bin}/initdb`, '-D', join(folder, 'data'), '-U', 'tester', '--auth=scram-sha-256', `--pwfile=${join(folder, 'password')}`, '--no-sync', '-E', 'UTF8', '--locale=C'], folder);
  const child = spawn(`${bin}/postgres`, ['-D', join(folder, 'data'), '-p', String(port), '-h', '127.0.0.1', '-k', folder, '-F'], { uid: plain, gid: plain, stdio: 'ignore', cwd: folder });
  const stop = ending(child, 'SIGINT');
  started(stop);
  await listening(port, child);
  const sql = (database: string, text: string): void => {
    const done = spawnSync(`${bin}/psql`, ['-h', '127.0.0.1', '-p', String(port), '-U', 'tester', '-d', database, '-c', text], { env: { PGPASSWORD: 'pass-word-1' }, encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`psql: ${done.stderr}`);
  };
  await until('PostgreSQL', () => {
    try {
      sql('postgres', 'create database app');
      return true;
    } catch {
      return undefined;
    }
  });
  sql('app', "create table notes (text text); insert into notes values ('a note from the database')");
  return { port, stop };
}

/** Undefined where it is not installed: the server is the program that also checks files, by the name it is called. */
export async function startRedis(root: string, port: number, started: (stop: () => Promise<void>) => void): Promise<Database | undefined> {
  const binary = ['/usr/bin/redis-check-rdb', '/usr/bin/redis-server'].find((file) => existsSync(file));
  if (binary === undefined) return undefined;
  const folder = join(root, 'redis');
  mkdirSync(folder);
  chownSync(folder, plain, plain);
  symlinkSync(binary, join(folder, 'redis-server'));
  const child = spawn(join(folder, 'redis-server'), ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder], { uid: plain, gid: plain, stdio: 'ignore', cwd: folder });
  const stop = ending(child, 'SIGTERM');
  started(stop);
  await listening(port, child);
  return { port, stop };
}
