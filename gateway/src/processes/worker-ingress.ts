/** Calls from outside, in the worker: the one listener, and what each sandbox here admits by its configuration. */
import { Socket } from 'node:net';
import type { AuditSink, Clock, IngressListen, SandboxConfig, Sensitivity } from '@nemoclaw/contract';
import { IngressDoor, KnownSecrets } from '@nemoclaw/network-policy';

export interface WorkerIngressPorts {
  readonly clock: Clock;
  readonly audit: AuditSink;
  readonly recording: () => boolean;
  /** A connection to a port on the loopback of a sandbox, as a descriptor. */
  readonly connect: (sandbox: string, port: number) => Promise<number>;
}

export class WorkerIngress {
  readonly #ports: WorkerIngressPorts;
  readonly #door: IngressDoor;
  #listening = '';
  #turn: Promise<void> = Promise.resolve();

  constructor(ports: WorkerIngressPorts) {
    this.#ports = ports;
    this.#door = new IngressDoor(ports);
  }

  /** What the gateway says again over a new link, and what has not changed, keeps its connections. */
  listen(listen: IngressListen): void {
    const wanted = JSON.stringify(listen);
    this.#turn = this.#turn.then(async () => {
      if (wanted === this.#listening) return;
      this.#listening = '';
      try {
        const port = await this.#door.listen(listen);
        this.#listening = wanted;
        this.#tell(`Calls into sandboxes are taken on ${listen.host} port ${port}.`, 1);
      } catch (error) {
        this.#tell(`Calls into sandboxes cannot be taken on ${listen.host} port ${listen.port}: ${error instanceof Error ? error.message : 'unknown error'}`, 4);
      }
    });
  }

  /** `label`: asked for each answer, since it may rise meanwhile. */
  set(config: SandboxConfig, label: () => Sensitivity): void {
    const secrets = new KnownSecrets([...config.credentials.flatMap(({ value, sigv4 }) => [value, sigv4?.sessionToken ?? '']), ...config.providers.map(({ apiKey }) => apiKey), ...(config.ingress ?? []).flatMap(({ proof }) => (proof.kind === 'hmac' ? [proof.key] : []))]);
    this.#door.set(config.sandbox, {
      id: config.sandbox, name: config.name, rules: config.ingress ?? [],
      connect: async (port) => new Socket({ fd: await this.#ports.connect(config.sandbox, port), readable: true, writable: true }),
      withhold: (body) => (label() === 'restricted' ? 'the sandbox may know what is restricted' : secrets.inBytes(body) ? 'a secret of the sandbox is in it' : undefined),
    });
  }

  remove(sandbox: string): void {
    this.#door.set(sandbox, undefined);
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#door.close();
  }

  #tell(message: string, severity: 1 | 4): void {
    this.#ports.audit.emit({ time: this.#ports.clock.now(), class: 'applicationLifecycle', activity: 99, severity, sandbox: '', layer: 'proxy', message });
  }
}
