/** What every part of a story about one sandbox has at hand. */
import type { Checks } from '../../harness/checks.ts';
import type { Instance } from '../../harness/instance.ts';
import type { Company } from './company.ts';
import type { Terminal } from './terminal.ts';

export interface Scene {
  readonly instance: Instance;
  readonly check: Checks;
  readonly company: Company;
  readonly terminal: Terminal;
  /** The sandbox's workspace, as the host sees it. */
  readonly workspace: string;
}
