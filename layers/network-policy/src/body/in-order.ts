/** What is looked at elsewhere for a while keeps its place: all that comes behind it waits. */
import type { Passed, PatientTransform } from '../hooks.ts';

/** `next` of a value, at once where it is here. */
export function after<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** The same value, but for its failure. */
export function orThrow<T>(value: T | Promise<T>, error: () => Error): T | Promise<T> {
  return value instanceof Promise ? value.catch(() => { throw error(); }) : value;
}

/** What all of them make of it, one behind the other. */
export function through(transforms: readonly PatientTransform[], chunk: Buffer): Passed {
  let passed: Passed = chunk;
  for (const transform of transforms) passed = after(passed, (bytes) => transform.next(bytes));
  return passed;
}

export class InOrder {
  #behind: (() => void)[] | undefined;

  /** Now, or behind what is held. */
  run(step: () => void): void {
    if (this.#behind) this.#behind.push(step);
    else step();
  }

  /** From now on everything waits, until `step` is done by what comes back: whoever holds stops what comes. */
  hold(): (step: () => void) => void {
    this.#behind = [];
    return (step) => {
      const waiting = this.#behind ?? [];
      this.#behind = undefined;
      step();
      for (const one of waiting) this.run(one);
    };
  }
}
