/** The host as an attack finds it: secrets, sockets, a pipe, a neighbour process; everything is told apart by random words, made new for each attempt. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, chownSync, closeSync, constants, copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../harness/listener.ts';

const word = (): string => randomBytes(12).toString('hex');

/** What every workspace has of a project: names that its owner's programs obey. */
const project: Readonly<Record<string, string>> = {
  '.git/HEAD': 'ref: refs/heads/main\n', '.git/config': '[core]\n\trepositoryformatversion = 0\n', '.git/hooks/pre-commit.sample': '#!/bin/sh\n',
  '.vscode/settings.json': '{}\n', '.claude/settings.json': '{}\n', '.github/workflows/build.yml': 'on: push\n', 'AGENTS.md': 'Be kind.\n', 'src/main.c': 'int main(void) { return 0; }\n',
};

/** What an attempt left in the world. */
export interface Seen {
  readonly world: World;
  /** What it wrote to $W/loot. */
  readonly loot: string;
  /** Everything that arrived at a listener outside. */
  readonly heard: string;
  /** How the sandbox's command ended, as a shell reports it. */
  readonly code?: number | undefined;
}

/** One host. Folders: `hidden` (/run, in no view), `scratch` (/tmp, others' in every view), `shown` (/opt, read-only in the view at the same path). */
export class World {
  readonly hidden = mkdtempSync('/run/nca-');
  readonly scratch = mkdtempSync('/tmp/nca-');
  readonly shown = mkdtempSync('/opt/nca-');
  /** Beside `shown` on the same file system, in no view. */
  readonly beside = mkdtempSync('/opt/nca-');
  /** Identity of the neighbour, and of the attacker. */
  readonly uid: number;
  readonly tries: string;
  workspace = '';
  token = '';
  secret = '';
  /** Time stamp of `shown`/open, in milliseconds. */
  readonly shownSince = 1_700_000_000_000;
  neighbour: ChildProcess | undefined;
  readonly #servers: Server[] = [];
  readonly #datagrams: Datagrams[] = [];
  readonly #helpers: ChildProcess[] = [];
  #heard = '';
  #port = 0;
  #datagramPort = 0;
  #six = 0;
  #back = 0;
  #pipe = -1;
  /** Type and bytes of the handle of `beside`/secret; writing to the file does not change them. */
  #handle: string[] = [];
  #caller: NodeJS.Timeout | undefined;
  readonly #abstract = `nca-${word()}`;
  /** What is offered to all by the kernel's own means; it stays for the world's life. */
  readonly shared = word();
  readonly #sharedKey = `0x6e${randomBytes(3).toString('hex')}`;
  readonly #sharedName = `nca-${word()}`;

  constructor(tries: string, uid: number) {
    this.tries = tries;
    this.uid = uid;
  }

  async open(): Promise<void> {
    for (const folder of [this.hidden, this.shown, this.beside]) chmodSync(folder, 0o755);
    chmodSync(this.scratch, 0o777);
    execFileSync('mkfifo', ['-m', '666', join(this.shown, 'pipe')]);
    // Both ends, so that opening does not wait and nothing is lost.
    this.#pipe = openSync(join(this.shown, 'pipe'), constants.O_RDWR | constants.O_NONBLOCK);
    const hear = (data: Buffer): void => void (this.#heard += data.toString('latin1'));
    const serve = async (at: { port: 0; host: '127.0.0.1' | '::1' } | { path: string }): Promise<Server> => {
      const server = createServer((socket) => socket.on('data', hear).on('error', () => socket.destroy()));
      await new Promise<void>((ready) => server.listen(at, ready));
      this.#servers.push(server);
      return server;
    };
    this.#port = ((await serve({ port: 0, host: '127.0.0.1' })).address() as AddressInfo).port;
    await serve({ path: join(this.hidden, 'stream.sock') });
    chmodSync(join(this.hidden, 'stream.sock'), 0o666);
    await serve({ path: join(this.shown, 'root.sock') });
    chmodSync(join(this.shown, 'root.sock'), 0o600);
    await serve({ path: `\0${this.#abstract}` });
    copyFileSync(this.tries, join(this.shown, 'become'));
    chmodSync(join(this.shown, 'become'), 0o4755);
    await this.#helper(this.tries, ['offer_shared', this.#sharedKey, this.#sharedName, this.shared]);
    const datagrams = createSocket('udp4').on('message', hear);
    await new Promise<void>((ready) => datagrams.bind(0, '127.0.0.1', ready));
    this.#datagramPort = datagrams.address().port;
    this.#six = ((await serve({ port: 0, host: '::1' })).address() as AddressInfo).port;
    this.#datagrams.push(datagrams);
    // For the attacker to listen at.
    this.#back = await freePort();
    writeFileSync(join(this.beside, 'secret'), '', { mode: 0o600 });
    this.#handle = execFileSync(this.tries, ['handle_of', join(this.beside, 'secret')], { encoding: 'utf8' }).split(' ');
    await this.#startNamedDatagrams(hear);
  }

  /** A program beside us that says when it is ready, and ends with its stdin. */
  async #helper(program: string, args: readonly string[], hear: (data: Buffer) => void = () => undefined): Promise<void> {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#helpers.push(child);
    await new Promise<void>((ready, failed) => {
      child.stdout.once('data', () => ready()).on('data', hear);
      child.once('exit', (code) => failed(new Error(`${program} ${args[0] ?? ''} ended with ${code}`)));
    });
  }

  /** Node has no datagram Unix sockets; a few lines of Python hear them. */
  async #startNamedDatagrams(hear: (data: Buffer) => void): Promise<void> {
    const script = 'import os,socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind(sys.argv[1]); os.chmod(sys.argv[1],0o666)\na=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); a.bind("\\0"+sys.argv[2]+"-d")\np=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); p.bind("\\0"+sys.argv[2]+"-p"); p.listen(9)\nprint("up",flush=True)\nimport select\nwhile True:\n for r in select.select([s,a,p,0],[],[])[0]:\n  if r == 0: sys.exit()\n  print((r.accept()[0] if r is p else r).recv(100).decode(),flush=True)';
    await this.#helper('/usr/bin/python3', ['-c', script, join(this.hidden, 'datagram.sock'), this.#abstract], hear);
  }

  /** New secrets, a new workspace, a new neighbour; nothing of the attempt before is left. `owner`: whose workspace it is; `ofProject`: it has what a project has. */
  reset(owner: number, ofProject = false): void {
    this.clear();
    this.token = word();
    this.secret = word();
    this.#heard = '';
    this.#drainPipe();
    writeFileSync(join(this.hidden, 'secret'), this.secret, { mode: 0o644 });
    writeFileSync(join(this.beside, 'secret'), this.secret, { mode: 0o600 });
    rmSync(join(this.shown, 'root-only'), { force: true });
    writeFileSync(join(this.shown, 'root-only'), this.secret, { mode: 0o600 });
    rmSync(join(this.shown, 'open'), { force: true });
    writeFileSync(join(this.shown, 'open'), 'as it was');
    chmodSync(join(this.shown, 'open'), 0o666);
    utimesSync(join(this.shown, 'open'), this.shownSince / 1000, this.shownSince / 1000);
    for (const name of readdirSync(this.scratch)) rmSync(join(this.scratch, name), { recursive: true });
    writeFileSync(join(this.scratch, 'open'), 'as it was');
    chmodSync(join(this.scratch, 'open'), 0o666);
    this.workspace = mkdtempSync('/tmp/nca-workspace-');
    for (const folder of ['keys', 'vault', 'vault/deep', 'fixed']) mkdirSync(join(this.workspace, folder));
    for (const file of ['keys/secret', 'vault/deep/secret', 'fixed/file']) writeFileSync(join(this.workspace, file), this.secret);
    if (ofProject) this.#addProject();
    copyFileSync(this.tries, join(this.workspace, 'tries'));
    chmodSync(join(this.workspace, 'tries'), 0o755);
    for (const path of ['', ...readdirSync(this.workspace, { recursive: true, encoding: 'utf8' })]) chownSync(join(this.workspace, path), owner, owner);
    this.neighbour = spawn('/usr/bin/sleep', ['600'], { uid: this.uid, gid: this.uid, stdio: 'ignore', env: { NEIGHBOUR: this.secret } });
    let calls = 0;
    this.#caller = setInterval(() => {
      if ((calls += 1) > 1000) return;
      const socket = connect(this.#back, '127.0.0.1', () => undefined).on('data', (data: Buffer) => (this.#heard += data.toString('latin1'))).on('error', () => socket.destroy());
    }, 25);
  }

  #addProject(): void {
    for (const folder of ['.git', '.git/hooks', '.git/refs', '.git/objects', '.vscode', '.claude', '.github', '.github/workflows', 'src']) mkdirSync(join(this.workspace, folder));
    for (const [file, text] of Object.entries(project)) writeFileSync(join(this.workspace, file), text);
  }

  /** The variables an attempt is written with. `workspace`: where it is for the attacker. */
  variables(workspace: string): Record<string, string> {
    return {
      W: workspace, TRY: `${workspace}/tries`, HIDDEN: this.hidden, SCRATCH: this.scratch, SHOWN: this.shown, TOKEN: this.token, PORT: String(this.#port), DATAGRAMS: String(this.#datagramPort),
      BACK: String(this.#back), ABSTRACT: this.#abstract, KEY: this.#sharedKey, NAME: this.#sharedName, SIX: String(this.#six), UID_: String(this.uid), NEIGHBOUR: String(this.neighbour?.pid ?? 0), HANDLE_TYPE: this.#handle[0] ?? '', HANDLE: this.#handle[1] ?? '',
    };
  }

  /** After an attempt; waits a moment for what is under way. */
  async look(ms: number): Promise<Seen> {
    await new Promise((next) => setTimeout(next, ms));
    this.#drainPipe();
    const loot = join(this.workspace, 'loot');
    return { world: this, code: undefined, loot: existsSync(loot) ? readFileSync(loot, 'utf8') : '', heard: this.#heard };
  }

  /** Whether an attempt that has ended worked. What is under way gets `ms`; where it is `expected` to work, as long as a slow machine may take. */
  async worked(won: (seen: Seen) => boolean, ms: number, expected: boolean): Promise<boolean> {
    for (let left = expected ? 300 : 1; left > 0; left -= 1) if (won(await this.look(expected ? 10 : ms))) return true;
    return false;
  }

  get neighbourLives(): boolean {
    return this.neighbour?.exitCode === null && this.neighbour.signalCode === null;
  }

  #drainPipe(): void {
    const buffer = Buffer.alloc(4096);
    try {
      for (;;) this.#heard += buffer.toString('latin1', 0, readSync(this.#pipe, buffer));
    } catch {
      // EAGAIN: empty
    }
  }

  clear(): void {
    clearInterval(this.#caller);
    this.neighbour?.kill('SIGKILL');
    if (this.workspace !== '') rmSync(this.workspace, { recursive: true, force: true });
    this.workspace = '';
  }

  /** Resolves when nothing is left of it. */
  async close(): Promise<void> {
    this.clear();
    const ended = this.#helpers.map((helper) => (helper.exitCode === null && helper.signalCode === null ? once(helper, 'exit') : undefined));
    if (this.#pipe >= 0) closeSync(this.#pipe);
    this.#pipe = -1;
    for (const server of [...this.#servers, ...this.#datagrams]) server.close();
    for (const helper of this.#helpers) helper.stdin?.end(); // then they take away what they made
    for (const folder of [this.hidden, this.scratch, this.shown, this.beside]) rmSync(folder, { recursive: true, force: true });
    await Promise.all(ended);
  }
}
