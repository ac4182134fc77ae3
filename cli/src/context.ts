/** What every command gets: streams, environment, clock and places; tests pass their own. */
import type { CommandContext, StricliProcess } from '@stricli/core';
import type { Places } from './places.ts';

export interface Output {
  /** False: it is full, and says with 'drain' when it is not. */
  write(data: string | Uint8Array): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  on?(event: 'resize', listener: () => void): unknown;
  off?(event: 'resize', listener: () => void): unknown;
  once?(event: 'drain', listener: () => void): unknown;
}

export interface Input extends AsyncIterable<Uint8Array | string> {
  readonly isTTY?: boolean;
  setRawMode?(on: boolean): unknown;
  on(event: 'data', listener: (chunk: Uint8Array) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

export interface Signals {
  on(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown;
  off(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown;
}

/** The world outside the program. */
export interface World {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly stdin: Input;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signals: Signals;
  /** A raw terminal shows output as it comes, until it is no longer raw. */
  unprocessed(): void;
  /** ms since epoch. */
  now(): number;
  sleep(ms: number): Promise<void>;
  setExit(code: number): void;
  readonly cwd: string;
  readonly uid: number;
}

export interface CliContext extends CommandContext {
  readonly process: StricliProcess;
  readonly world: World;
  readonly places: Places;
  /** The sandbox of `nemoclaw <name> …`; '' elsewhere. */
  readonly sandbox: string;
}

/** Writes one line of what was asked for. */
export function say(context: CliContext, text: string): void {
  context.world.stdout.write(`${text}\n`);
}

/** Writes one line beside what was asked for. */
export function note(context: CliContext, text: string): void {
  context.world.stderr.write(`${text}\n`);
}

/** Writes a value as the stable JSON form. */
export function sayJson(context: CliContext, value: unknown): void {
  context.world.stdout.write(`${JSON.stringify(value, null, context.world.stdout.isTTY ? 2 : 0)}\n`);
}

/** True if a person reads stdout and wants colour. */
export function wantsColour(context: CliContext): boolean {
  return context.world.stdout.isTTY === true && !context.world.env['NO_COLOR'] && context.world.env['TERM'] !== 'dumb';
}
