/** The blueprints of this host and the trust anchors their policies name; folders that root installed. */
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { loadBlueprintFolder, NemoError, safeLine, type BlueprintFolder, type BlueprintView } from '@nemoclaw/contract';
import type { Settings } from '../settings.ts';

const folderName = /^[a-z][a-z0-9-]{0,62}$/;

function listFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1));
}

function load(dir: string, settings: Settings): BlueprintFolder {
  return loadBlueprintFolder(dir, (path) => readFileSync(path), listFiles, { channels: settings.channels, sinks: settings.sinks });
}

function foldersOf(settings: Settings): Map<string, string> {
  const found = new Map<string, string>();
  for (const dir of settings.blueprintDirs) {
    let names: string[] = [];
    let real = dir;
    try {
      real = realpathSync(dir); // a folder that is mounted into a sandbox is named without symbolic links
      names = readdirSync(real);
    } catch {
      continue; // a folder that is not there has no blueprints
    }
    for (const name of names.filter((one) => folderName.test(one)).sort()) if (!found.has(name)) found.set(name, join(real, name));
  }
  return found;
}

/** Throws NemoError: NEMO_E_NOT_FOUND, or what is wrong with the files, with the place. */
export function findBlueprint(name: string, settings: Settings): BlueprintFolder {
  const dir = foldersOf(settings).get(name);
  if (dir === undefined) throw new NemoError('NEMO_E_NOT_FOUND', { what: `There is no blueprint ${safeLine(name, 80)}.`, fix: 'Look at `nemoclaw blueprint list`.' });
  return load(dir, settings);
}

export function listBlueprints(settings: Settings): BlueprintView[] {
  return [...foldersOf(settings).values()].map((dir): BlueprintView => {
    try {
      const { blueprint, digest } = load(dir, settings);
      return { name: basename(dir), version: blueprint.version, digest, description: safeLine(blueprint.description, 500), role: blueprint.role, agent: blueprint.agent.kind, problem: '' };
    } catch (error) {
      return { name: basename(dir), version: '', digest: '', description: '', role: '', agent: '', problem: error instanceof Error ? error.message : String(error) };
    }
  });
}

/** PEM of a trust anchor: from the blueprint's own folder, else from the anchors of this host. `file` is a bare file name (checked at load). */
export function readAnchor(file: string, blueprintDir: string, settings: Settings): string | undefined {
  for (const dir of [blueprintDir, ...settings.anchorDirs]) {
    try {
      return readFileSync(join(dir, basename(file)), 'utf8');
    } catch {
      continue;
    }
  }
  return undefined;
}
