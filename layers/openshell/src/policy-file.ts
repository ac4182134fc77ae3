/** Reads a policy file by its name. */
import { readFileSync } from 'node:fs';
import { loadSandboxPolicy, NemoError, type SandboxPolicy } from '@nemoclaw/contract';

/** Throws NEMO_E_USAGE if it cannot be read, else as loadSandboxPolicy. */
export function readPolicyFile(file: string): SandboxPolicy {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new NemoError('NEMO_E_USAGE', { what: `${file} cannot be read.`, why: cause instanceof Error ? cause.message : String(cause), cause });
  }
  return loadSandboxPolicy(text, file);
}
