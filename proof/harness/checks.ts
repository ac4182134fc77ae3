/** Counts what held and what did not; a proof ends with `N passed, N failed`. */

export class Checks {
  #passed = 0;
  readonly #failures: string[] = [];
  #section = '';

  section(title: string): void {
    this.#section = title;
    console.log(`\n# ${title}`);
  }

  /** One statement about the world. `detail` is shown when it does not hold. */
  that(statement: string, holds: boolean, detail: unknown = ''): void {
    if (holds) {
      this.#passed += 1;
      console.log(`ok   ${statement}`);
      return;
    }
    const shown = typeof detail === 'string' ? detail : JSON.stringify(detail, undefined, 1);
    this.#failures.push(`${this.#section}: ${statement}`);
    console.log(`FAIL ${statement}${shown ? `\n     ${shown.slice(0, 4000).replaceAll('\n', '\n     ')}` : ''}`);
  }

  /** Runs a step that may throw; a throw is a failure of the named statement. */
  async step(statement: string, run: () => Promise<void> | void): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.that(statement, false, error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  }

  /** Prints the closing line; returns the exit code. */
  close(): number {
    if (this.#failures.length > 0) console.log(`\nfailed:\n${this.#failures.map((line) => `  ${line}`).join('\n')}`);
    console.log(`\n${this.#passed} passed, ${this.#failures.length} failed`);
    return this.#failures.length === 0 && this.#passed > 0 ? 0 : 1;
  }
}
