/** A request that is refused with 401 although a credential was put in: the credential is renewed outside, once, and the request is sent again where all of it is still here. */
import type { Dispatcher } from 'undici';
import type { Core } from '../core.ts';
import type { Credential } from './credentials.ts';

/** ms that an answer waits for a newer value at most. */
const patience = 5000;

/** Asks for newer values of those of `used` that can be renewed; whether there are any now. Never rejects; of several who ask for the same one, one asks. */
export async function newerValues(core: Core, used: readonly Credential[]): Promise<boolean> {
  const renewable = used.filter((one) => one.renewable === true);
  const newer = await Promise.all(renewable.map((one) => isNewer(core, one) || askFor(core, one.placeholder)));
  // It counts only once it is in force here.
  return newer.includes(true) && renewable.some((one) => isNewer(core, one));
}

/** Somebody else may have had it renewed since this request was sent. */
function isNewer(core: Core, { placeholder, value }: Credential): boolean {
  return core.config.credentials.some((one) => one.placeholder === placeholder && one.value !== value);
}

async function askFor(core: Core, placeholder: string): Promise<boolean> {
  const { renew } = core.ports;
  if (!renew) return false;
  const asking = core.renewing.get(placeholder) ?? bounded(() => renew(placeholder)).finally(() => core.renewing.delete(placeholder));
  core.renewing.set(placeholder, asking);
  return asking;
}

async function bounded(ask: () => Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => { timer = setTimeout(() => resolve(false), patience); });
  try {
    return await Promise.race([ask(), late]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

export interface Renewal {
  /** Whether a newer value is there. Never rejects. */
  renew(): Promise<boolean>;
  /** Sends the request again; what comes of it goes to `relay`. Undefined where its body is gone: then the refusal is passed on, and the next request has the newer value. */
  readonly again: (() => void) | undefined;
}

type Whole = Required<Pick<Dispatcher.DispatchHandler, 'onRequestStart' | 'onResponseStart' | 'onResponseData' | 'onResponseEnd' | 'onResponseError'>>;

/** Stands between the first attempt and its relay: all passes but a 401, which waits for the newer value. */
export class RenewingHandler implements Dispatcher.DispatchHandler {
  readonly #relay: Whole;
  readonly #renewal: Renewal;
  #state: 'passing' | 'waiting' | 'replaced' = 'passing';
  /** What was under way when the origin was paused. */
  readonly #behind: (() => void)[] = [];

  constructor(relay: Whole, renewal: Renewal) {
    this.#relay = relay;
    this.#renewal = renewal;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#relay.onRequestStart(controller, context);
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: Parameters<Whole['onResponseStart']>[2]): void {
    const { again, renew } = this.#renewal;
    if (status !== 401) {
      this.#relay.onResponseStart(controller, status, headers);
      return;
    }
    if (!again) {
      void renew();
      this.#relay.onResponseStart(controller, status, headers);
      return;
    }
    this.#state = 'waiting';
    controller.pause();
    void renew().then((newer) => {
      if (this.#state !== 'waiting') return;
      if (newer) {
        this.#state = 'replaced';
        controller.abort(new Error('it is sent again'));
        again();
        return;
      }
      // First, for the relay may pause it again; what comes in the same breath stands behind the head.
      controller.resume();
      if (this.#state !== 'waiting') return;
      this.#state = 'passing';
      this.#relay.onResponseStart(controller, status, headers);
      for (const step of this.#behind.splice(0)) step();
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#next(() => this.#relay.onResponseData(controller, chunk));
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: Parameters<Whole['onResponseEnd']>[1]): void {
    this.#next(() => this.#relay.onResponseEnd(controller, trailers));
  }

  #next(step: () => void): void {
    if (this.#state === 'passing') step();
    else if (this.#state === 'waiting') this.#behind.push(step);
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#state === 'replaced') return;
    this.#state = 'passing';
    this.#relay.onResponseError(controller, error);
  }
}
