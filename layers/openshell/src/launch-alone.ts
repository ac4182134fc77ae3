/** Runs one command in a sandbox of its own, without any daemon: spawns `openshell-launch` with the plan. */
import { spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { NemoError, type LaunchPlan, type Released } from '@nemoclaw/contract';
import { launcherPath } from './native.ts';
import { releasedLines, WorkspaceUse } from './workspace-use.ts';

export { launcherPath } from './native.ts';

export interface AloneOptions {
  readonly command: readonly string[];
  /** Folder mounted at /workspace; undefined: the plan has none. */
  readonly workspace?: string;
  readonly bindRoots: readonly string[];
  /** Devices that the plan may show; none where left out. */
  readonly devices?: readonly string[];
  /** Permits `plan.off`; for tests. */
  readonly testing?: boolean;
  /** What the command gets as stdin, stdout, stderr. */
  readonly stdio: 'inherit' | 'pipe';
  /** Given to stdin with `pipe`. */
  readonly input?: string;
  /** Host uid of the sandbox; one of its own where left out. */
  readonly uid?: number;
  /** For tests, where the caller is root: the person who starts the launcher. */
  readonly as?: { readonly uid: number; readonly gid: number };
}

export interface AloneResult {
  /** As a shell reports it: 128 + signal where a signal ended the command; 126, 127 where it could not be started. */
  readonly code: number;
  /** Empty with `inherit`. */
  readonly stdout: string;
  readonly stderr: string;
  /** Undefined: the launch failed before the probe. */
  readonly report: { readonly probe: Readonly<Record<string, boolean>>; readonly phases: Readonly<Record<string, number>> } | undefined;
  /** What was found in the workspace afterwards; undefined: there was none. */
  readonly released: Released | undefined;
}

async function collect(stream: NodeJS.ReadableStream | null): Promise<string> {
  if (stream === null) return '';
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(Buffer.from(part as Uint8Array));
  return Buffer.concat(parts).toString('utf8');
}

/**
 * Resolves when the command has ended, nothing of the sandbox is left and the workspace has been checked, also where the launcher was killed. Rejects with NemoError: NEMO_E_NATIVE where
 * the launcher is not built, NEMO_E_WORKSPACE where it cannot be kept that the folder is in use, NEMO_E_UNCHECKED where this command's check or an earlier one's cannot be made.
 */
export async function launchAlone(plan: LaunchPlan, options: AloneOptions): Promise<AloneResult> {
  if (!existsSync(launcherPath)) throw new NemoError('NEMO_E_NATIVE', { what: `${launcherPath} is missing.` });
  let said = '';
  const say = (line: string): void => void (options.stdio === 'inherit' ? process.stderr.write(`openshell: ${line}\n`) : (said += `openshell: ${line}\n`));
  const use = options.workspace === undefined ? undefined : await WorkspaceUse.begin(options.workspace, say, options.as);
  const result = await launch(plan, options, use);
  const late = await use?.settle();
  if (late !== undefined) ['openshell-launch ended before it had checked the workspace; it was checked now', ...releasedLines(late)].forEach(say);
  return { ...result, stderr: result.stderr + said, released: late ?? result.released };
}

async function launch(plan: LaunchPlan, options: AloneOptions, use: WorkspaceUse | undefined): Promise<AloneResult> {
  const args = ['--plan-fd', '3', '--report-fd', '4', '--release-fd', '5'];
  if (options.workspace !== undefined) args.push('--workspace', options.workspace);
  if (options.uid !== undefined) args.push('--uid', String(options.uid));
  for (const root of options.bindRoots) args.push('--bind-root', root);
  for (const device of options.devices ?? []) args.push('--device', device);
  if (options.testing === true) args.push('--testing');
  const manifest = use && openSync(use.file, 'r+');
  if (manifest !== undefined) args.push('--manifest-fd', '6');
  const stdio: StdioOptions = [options.stdio, options.stdio, options.stdio, 'pipe', 'pipe', 'pipe', ...(manifest === undefined ? [] : [manifest])];
  const child = spawn(launcherPath, [...args, '--', ...options.command], { stdio, ...options.as });
  // From now on only the launcher has it, so that its lock ends with it.
  if (manifest !== undefined) closeSync(manifest);
  // A terminal sends its signals to the launcher as well; what comes to us alone is passed on.
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  const stay = (): void => undefined;
  const terminal = process.stdin.isTTY === true && options.stdio === 'inherit';
  process.on('SIGINT', terminal ? stay : forward).on('SIGTERM', forward).on('SIGHUP', forward);
  try {
    const planPipe = child.stdio[3] as NodeJS.WritableStream;
    planPipe.on('error', stay); // EPIPE: the launcher said why on stderr
    planPipe.end(JSON.stringify(plan));
    child.stdin?.on('error', stay);
    child.stdin?.end(options.input ?? '');
    const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    const [stdout, stderr, reported, released] = await Promise.all([collect(child.stdout), collect(child.stderr), collect(child.stdio[4] as NodeJS.ReadableStream), collect((child.stdio as readonly unknown[])[5] as NodeJS.ReadableStream)]);
    const [code] = await ended;
    return { code: code ?? 137, stdout, stderr, report: reported === '' ? undefined : (JSON.parse(reported) as AloneResult['report']), released: released === '' ? undefined : (JSON.parse(released) as Released) };
  } finally {
    process.off('SIGINT', terminal ? stay : forward).off('SIGTERM', forward).off('SIGHUP', forward);
  }
}
