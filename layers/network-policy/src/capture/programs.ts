/** Which program opened a captured connection: asked once, and only where a rule speaks of programs. A hint; what cannot be found out allows nothing. */
import type { Socket } from 'node:net';

/** Both ends as the sandbox sees them. */
export interface Ends {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

/** Path of the program in the sandbox, '' where it is not known; undefined: not seen here, and the policy is content with that. A rejection counts as not known. */
export type ProgramOf = (ends: Ends) => Promise<string | undefined>;

export interface ProgramsOptions {
  readonly ask: ProgramOf;
  /** Whether a rule on this host (without one: any rule) speaks of programs. */
  readonly named: (host?: string) => boolean;
  /** ms after which it counts as not known. */
  readonly patienceMs: number;
}

export class Programs {
  readonly #options: ProgramsOptions;
  readonly #known = new WeakMap<Socket, Promise<string | undefined>>();
  readonly #found = new WeakMap<Socket, string>();

  constructor(options: ProgramsOptions) {
    this.#options = options;
  }

  /** To be waited for before the connection goes on to `host`, never rejects; undefined where nobody has to wait. `host` undefined: any may follow. */
  wanted(socket: Socket, host: string | undefined): Promise<string | undefined> | undefined {
    if (!this.#options.named(host)) return undefined;
    let asked = this.#known.get(socket);
    if (asked === undefined) this.#known.set(socket, (asked = this.#ask(socket)));
    return asked;
  }

  /** What was found out of this connection. */
  found(socket: Socket): string | undefined {
    return this.#found.get(socket);
  }

  async #ask(socket: Socket): Promise<string | undefined> {
    const { remoteAddress: source, remotePort: sourcePort, localAddress: destination, localPort: destinationPort } = socket;
    if (source === undefined || sourcePort === undefined || destination === undefined || destinationPort === undefined) return '';
    const program = await new Promise<string | undefined>((resolve) => {
      const timer = setTimeout(() => resolve(''), this.#options.patienceMs);
      const done = (path: string | undefined): void => {
        clearTimeout(timer);
        resolve(path);
      };
      this.#options.ask({ source, sourcePort, destination, destinationPort }).then(done, () => done(''));
    });
    if (program !== undefined) this.#found.set(socket, program);
    return program;
  }
}
