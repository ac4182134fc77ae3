/** A client for benchmarks: one connection, bytes prepared beforehand, so that nearly all of the time measured is not its own. */
import { connect, type Socket } from 'node:net';

export class BenchClient {
  readonly #socket: Socket;
  #text = '';
  #done: ((ok: boolean) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (chunk: unknown) => {
      this.#text += String(chunk);
      const head = this.#text.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = /content-length: (\d+)/i.exec(this.#text.slice(0, head));
      if (length ? this.#text.length < head + 4 + Number(length[1]) : !this.#text.endsWith('0\r\n\r\n')) return;
      const ok = this.#text.startsWith('HTTP/1.1 200');
      this.#text = '';
      this.#done?.(ok);
    });
    socket.on('close', () => this.#done?.(false));
    socket.on('error', () => this.#done?.(false));
  }

  static open(port: number): Promise<BenchClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new BenchClient(socket)));
      socket.once('error', reject);
    });
  }

  /** Sends one request and waits for its whole answer; ms. Rejects on anything but 200. */
  once(request: Buffer): Promise<number> {
    const begin = performance.now();
    return new Promise((resolve, reject) => {
      this.#done = (ok) => {
        const took = performance.now() - begin;
        if (ok) resolve(took);
        else reject(new Error('the request failed'));
      };
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** The bytes of a chat request with this body. */
export function chatRequest(body: string): Buffer {
  return Buffer.from(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: inference.local\r\nauthorization: Bearer placeholder\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
