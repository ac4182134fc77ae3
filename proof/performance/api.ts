/** The gateway's API over one kept connection, and commands in a sandbox over WebSockets that are open before the clock starts. */
import { Agent, request } from 'node:http';
import type { ExecServerFrame } from '@nemoclaw/contract';
import WebSocket from 'ws';

/** Milliseconds since boot, on the clock that the C programs use. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** A command that may be started at once, on its own WebSocket. */
export class Exec {
  readonly lines: string[] = [];
  readonly #ws: WebSocket;
  #partial = '';
  #errors = '';
  #finish: ((end: { code: number; at: number }) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;

  constructor(ws: WebSocket) {
    this.#ws = ws;
    ws.on('message', (data: Buffer, binary: boolean) => {
      const at = nowMs();
      if (binary) return this.#output(data);
      const frame = JSON.parse(data.toString()) as ExecServerFrame;
      if (frame.t === 'done') this.#finish?.({ code: frame.code, at });
      if (frame.t === 'exit') this.#finish?.({ code: frame.code ?? 128, at });
      if (frame.t === 'error') this.#fail?.(new Error(`${frame.error.what} ${frame.error.why ?? ''}`));
    });
    ws.on('close', () => this.#fail?.(new Error('the connection was closed')));
    ws.on('error', (error) => this.#fail?.(error));
  }

  #output(data: Buffer): void {
    const text = data.toString('utf8', 1);
    if (data[0] === 2) return void (this.#errors += text);
    const parts = (this.#partial + text).split('\n');
    this.#partial = parts.pop() ?? '';
    this.lines.push(...parts);
  }

  /** Runs it to its end; gives the time of the exit's arrival. Throws unless the code is 0. */
  run(argv: readonly string[]): Promise<number> {
    return this.#start({ argv }, argv.join(' '));
  }

  /** The same of a task of the sandbox's agent; needs a socket of `run`. */
  task(task: string): Promise<number> {
    return this.#start({ task }, task);
  }

  async #start(frame: object, shown: string): Promise<number> {
    const ended = new Promise<{ code: number; at: number }>((finish, fail) => {
      this.#finish = finish;
      this.#fail = fail;
    });
    this.#ws.send(JSON.stringify(frame));
    const { code, at } = await ended;
    if (code !== 0) throw new Error(`${shown} ended with ${code}: ${this.#errors}${this.lines.join('\n')}`);
    return at;
  }

  /** What it has said on stderr so far. */
  get errors(): string {
    return this.#errors;
  }

  /** Writes to its standard input. */
  write(text: string): void {
    this.#ws.send(Buffer.concat([Buffer.from([0]), Buffer.from(text)]));
  }

  /** Ends its standard input. */
  endInput(): void {
    this.#ws.send(JSON.stringify({ t: 'eof' }));
  }
}

export class Api {
  readonly #socket: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** The answer's JSON. Throws for an answer that is no success. */
  call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((done, failed) => {
      const outgoing = request({ socketPath: this.#socket, agent: this.#agent, method, path, headers: { host: 'nemoclaw', ...(payload && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }) } }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => {
          if ((response.statusCode ?? 500) < 300) done(JSON.parse(text) as T);
          else failed(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
        });
      });
      outgoing.on('error', failed);
      outgoing.end(payload);
    });
  }

  /** A WebSocket for one command in the sandbox `name`, connected; the sandbox need not be there yet. */
  async open(name: string, verb: 'exec' | 'run' = 'exec'): Promise<Exec> {
    const ws = new WebSocket(`ws+unix:${this.#socket}:/v1/sandboxes/${name}/${verb}`, { perMessageDeflate: false });
    await new Promise<void>((done, failed) => ws.once('open', done).once('error', failed));
    return new Exec(ws);
  }

  close(): void {
    this.#agent.destroy();
  }
}
