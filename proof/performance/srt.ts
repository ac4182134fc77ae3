/** The peer from npm: Anthropic's sandbox-runtime (`srt`), fetched into a cache of its own; it is no part of this project. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { run } from '../harness/instance.ts';

const version = '0.0.83';
const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'nemoclaw-bench', `srt-${version}`);
const program = join(cache, 'node_modules/@anthropic-ai/sandbox-runtime/dist/cli.js');

/** The command line that runs `command` in srt with `folder` writable; the folder keeps its name inside. */
export function srtWrapped(command: readonly string[], folder: string): string[] {
  const settings = join(folder, '..', 'srt.json');
  writeFileSync(settings, JSON.stringify({ network: { allowedDomains: [], deniedDomains: [] }, filesystem: { denyRead: [], allowWrite: [folder], denyWrite: [] } }));
  return [process.execPath, program, '-s', settings, ...command];
}

/** True if it can be run; says what it does. Without it figures stand beside fewer peers. */
export async function provideSrt(say: (text: string) => void): Promise<boolean> {
  if (!existsSync(program)) {
    say(`fetching srt ${version} from npm, to compare with`);
    mkdirSync(cache, { recursive: true });
    writeFileSync(join(cache, 'package.json'), '{"private":true}\n');
    await run('npm', ['install', '--prefix', cache, '--no-audit', '--no-fund', '--ignore-scripts', `@anthropic-ai/sandbox-runtime@${version}`], { timeoutMs: 120_000 });
  }
  for (const [tool, pack] of [['/usr/bin/socat', 'socat'], ['/usr/bin/rg', 'ripgrep']] as const) {
    if (!existsSync(tool)) await run('apt-get', ['install', '-y', '--no-install-recommends', pack], { env: { DEBIAN_FRONTEND: 'noninteractive' }, timeoutMs: 120_000 });
  }
  if (!existsSync(program)) return false;
  const folder = join(cache, 'trial');
  mkdirSync(folder, { recursive: true });
  const [first = '', ...rest] = srtWrapped(['/bin/true'], folder);
  return (await run(first, rest, { timeoutMs: 30_000 })).code === 0;
}
