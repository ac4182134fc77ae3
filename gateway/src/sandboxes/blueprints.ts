/** The blueprints of this host and the trust anchors their policies name; folders that root installed. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { loadBlueprintFolder, NemoError, safeLine, type BlueprintFolder, type BlueprintView } from '@nemoclaw/contract';
import type { Settings } from '../settings.ts';

const folderName = /^[a-z][a-z0-9-]{0,62}$/;

function listFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1));
}

/** Changes whenever a file of the folder does: the kernel sets the change time, whatever a program says of the others. */
function stampOf(dir: string): string {
  return listFiles(dir)
    .map((name) => {
      const { ino, size, mtimeMs, ctimeMs } = statSync(join(dir, name));
      return `${name} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
    })
    .sort()
    .join('\n');
}

export class Blueprints {
  readonly #settings: Settings;
  /** What was loaded, while the folder stays as it is: reading one takes longer than making a sandbox. */
  readonly #loaded = new Map<string, { readonly stamp: string; readonly folder: BlueprintFolder }>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Throws NemoError: NEMO_E_NOT_FOUND, or what is wrong with the files, with the place. */
  find(name: string): BlueprintFolder {
    const dir = this.#folders().get(name);
    if (dir === undefined) throw new NemoError('NEMO_E_NOT_FOUND', { what: `There is no blueprint ${safeLine(name, 80)}.`, fix: 'Look at `nemoclaw blueprint list`.' });
    return this.#load(dir);
  }

  list(): BlueprintView[] {
    return [...this.#folders().values()].map((dir): BlueprintView => {
      try {
        const { blueprint, digest } = this.#load(dir);
        return { name: basename(dir), version: blueprint.version, digest, description: safeLine(blueprint.description, 500), role: blueprint.role, agent: blueprint.agent.kind, problem: '' };
      } catch (error) {
        return { name: basename(dir), version: '', digest: '', description: '', role: '', agent: '', problem: error instanceof Error ? error.message : String(error) };
      }
    });
  }

  /** PEM of a trust anchor: from the blueprint's own folder, else from the anchors of this host. `file` is a bare file name (checked at load). */
  anchor(file: string, blueprintDir: string): string | undefined {
    for (const dir of [blueprintDir, ...this.#settings.anchorDirs]) {
      try {
        return readFileSync(join(dir, basename(file)), 'utf8');
      } catch {
        continue;
      }
    }
    return undefined;
  }

  #load(dir: string): BlueprintFolder {
    const stamp = stampOf(dir);
    const known = this.#loaded.get(dir);
    if (known?.stamp === stamp) return known.folder;
    const folder = loadBlueprintFolder(dir, (path) => readFileSync(path), listFiles, { channels: this.#settings.channels, sinks: this.#settings.sinks });
    this.#loaded.set(dir, { stamp, folder });
    return folder;
  }

  #folders(): Map<string, string> {
    const found = new Map<string, string>();
    for (const dir of this.#settings.blueprintDirs) {
      let names: string[] = [];
      try {
        names = readdirSync(dir);
      } catch {
        continue; // a folder that is not there has no blueprints
      }
      for (const name of names.filter((one) => folderName.test(one)).sort()) if (!found.has(name)) found.set(name, join(dir, name));
    }
    return found;
  }
}
