/** What the host knows of a program: where its links lead, and what the kernel opens to start it. */
import { closeSync, openSync, readSync, realpathSync } from 'node:fs';

export interface HostProgram {
  /** Absolute, without links. */
  readonly path: string;
  readonly folder: boolean;
  /** The interpreter of a script, or the loader that an ELF file names; null: none. As written in the file. */
  readonly interpreter: string | null;
}

function head(path: string): { bytes: Buffer; folder: boolean } | undefined {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(4096);
    return { bytes: bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0)), folder: false };
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EISDIR' ? { bytes: Buffer.alloc(0), folder: true } : undefined;
  } finally {
    closeSync(fd);
  }
}

const PT_INTERP = 3;

/** PT_INTERP of an ELF64 file (elf(5)) whose headers lie in the bytes given. */
function elfInterpreter(bytes: Buffer): string | null {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) return null;
  const start = Number(bytes.readBigUInt64LE(32)), size = bytes.readUInt16LE(54), count = bytes.readUInt16LE(56);
  for (let i = 0; i < count; i++) {
    const at = start + i * size;
    if (at + 56 > bytes.length) return null;
    if (bytes.readUInt32LE(at) !== PT_INTERP) continue;
    const from = Number(bytes.readBigUInt64LE(at + 8)), length = Number(bytes.readBigUInt64LE(at + 32));
    if (from + length > bytes.length || length < 2) return null;
    return bytes.toString('latin1', from, from + length - 1);
  }
  return null;
}

/** The first word after `#!` (execve(2)). */
function scriptInterpreter(bytes: Buffer): string | null {
  const line = bytes.toString('latin1', 0, 256).split('\n')[0] ?? '';
  return /^#![ \t]*([^ \t]+)/.exec(line)?.[1] ?? null;
}

/** Looks at a program or folder of programs; undefined: it is not there or cannot be read. */
export function readProgram(given: string): HostProgram | undefined {
  try {
    const path = realpathSync(given);
    const found = head(path);
    return found && { path, folder: found.folder, interpreter: scriptInterpreter(found.bytes) ?? elfInterpreter(found.bytes) };
  } catch {
    return undefined;
  }
}
