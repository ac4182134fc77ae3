/** Asks for checkpoints: at most one question open, the newest state asked next, refusals admitted once until they end. */
export type Why = 'interval' | 'commit' | 'stop';

/** Signs a state of the chain outside this process (openshelld). Resolves once the checkpoint is kept; rejects if it is refused. */
export type Sign = (state: { readonly count: number; readonly head: string; readonly why: Why }) => Promise<unknown>;

export interface SignerOptions {
  readonly sign: Sign;
  readonly state: () => { readonly count: number; readonly head: string };
  readonly onRefused: (count: number, why: string) => void;
  readonly onResumed: (count: number) => void;
}

export class CheckpointSigner {
  readonly #options: SignerOptions;
  #open: Promise<void> | undefined;
  #wanted: Why | undefined;
  #refused = false;
  #signed = 0;

  constructor(options: SignerOptions) {
    this.#options = options;
  }

  /** Count of the last signed checkpoint of this process; 0 before the first. */
  get signed(): number {
    return this.#signed;
  }

  /** Resolves when a checkpoint that covers everything durable at the time of the call was answered, whichever way. */
  async request(why: Why): Promise<void> {
    if (this.#open) {
      if (this.#wanted === undefined || this.#wanted === 'interval') this.#wanted = why;
      await this.#open;
      if (this.#wanted === undefined) return this.#open;
    }
    return this.#start(this.#wanted ?? why);
  }

  #start(why: Why): Promise<void> {
    if (this.#open) return this.#open;
    this.#wanted = undefined;
    this.#open = this.#ask(why).finally(() => {
      this.#open = undefined;
    });
    return this.#open;
  }

  async #ask(why: Why): Promise<void> {
    const { count, head } = this.#options.state();
    if (count === 0 || (count === this.#signed && why === 'interval')) return;
    try {
      await this.#options.sign({ count, head, why });
    } catch (error) {
      if (!this.#refused) this.#options.onRefused(count, error instanceof Error ? error.message : String(error));
      this.#refused = true;
      return;
    }
    this.#signed = count;
    if (this.#refused) this.#options.onResumed(count);
    this.#refused = false;
  }
}
