/** Loads a whole blueprint folder, through functions that are passed in, and gives it a digest. */
import { createHash } from 'node:crypto';
import { NemoError } from '../errors.ts';
import { loadApprovalPolicy, type ApprovalPolicy } from './approvals.ts';
import { loadBlueprint, type Blueprint } from './blueprint.ts';
import { loadCatalogue, type Catalogue } from './catalogue.ts';
import { loadInference, type Inference } from './inference.ts';
import type { Loaded } from './issue.ts';
import { loadNetworkPolicy, type NetworkPolicyFile } from './network.ts';
import { loadSandboxPolicy, type SandboxPolicy } from './sandbox.ts';
import { whereOf } from './source.ts';

/** Everything `compilePolicy` takes, and what else a blueprint says. */
export interface PolicyBundle {
  readonly blueprint: Loaded<Blueprint>;
  readonly role: string;
  readonly sandboxPolicy: Loaded<SandboxPolicy>;
  readonly network?: Loaded<NetworkPolicyFile>;
  readonly approvals?: Loaded<ApprovalPolicy>;
  readonly catalogue?: Loaded<Catalogue>;
  readonly inference?: Loaded<Inference>;
  /** Text of each policy file by its name in the folder, `blueprint.yaml` too. */
  readonly files: ReadonlyMap<string, string>;
}
export interface BlueprintFolder extends PolicyBundle {
  readonly dir: string;
  /** SHA-256 hex over every file of the folder, by sorted name. */
  readonly digest: string;
}
export interface BundleOptions {
  readonly sinks?: ReadonlySet<string>;
  readonly channels?: ReadonlySet<string>;
}

/** Loads and checks the policy files of a blueprint from their texts (name in the folder -> text). Throws NemoError with the place. */
export function loadBundle(files: ReadonlyMap<string, string>, options: BundleOptions = {}): PolicyBundle {
  const text = (name: string, field?: string): string => {
    const found = files.get(name);
    if (found !== undefined) return found;
    const where = field === undefined ? undefined : whereOf(blueprint, ['files', field]);
    throw new NemoError('NEMO_E_BLUEPRINT', { what: `The blueprint has no file ${name}.`, ...(where ? { where } : {}), fix: 'Add the file, or correct its name.' });
  };
  const blueprint = loadBlueprint(text('blueprint.yaml'), 'blueprint.yaml');
  const { sandbox, network, actions, approvals, inference } = blueprint.files;
  const bundle = {
    blueprint,
    role: blueprint.role,
    sandboxPolicy: loadSandboxPolicy(text(sandbox, 'sandbox'), sandbox, options),
    ...(network === undefined ? {} : { network: loadNetworkPolicy(text(network, 'network'), network) }),
    ...(approvals === undefined ? {} : { approvals: loadApprovalPolicy(text(approvals, 'approvals'), approvals, options) }),
    ...(actions === undefined ? {} : { catalogue: loadCatalogue(text(actions, 'actions'), actions) }),
    ...(inference === undefined ? {} : { inference: loadInference(text(inference, 'inference'), inference) }),
    files,
  };
  if (blueprint.demo.approvedRequests.length > 0 && bundle.inference?.providers.some((p) => p.kind !== 'demo') !== false) {
    const where = whereOf(blueprint, ['demo', 'approvedRequests']);
    throw new NemoError('NEMO_E_DEMO_ANSWERS', { what: 'The blueprint answers approvals by itself, but not every provider is the scripted demo.', ...(where ? { where } : {}), why: 'A real model could be made to ask exactly what is approved beforehand.' });
  }
  return bundle;
}

/** The names of the policy files that a blueprint is made of, `blueprint.yaml` first. */
function policyFilesOf(blueprint: Blueprint): string[] {
  return ['blueprint.yaml', ...Object.values(blueprint.files).filter((name): name is string => name !== undefined)];
}

/**
 * Loads the blueprint in `dir`. `readFile` gives a file's bytes (or text) by path; `listFiles` every file below a folder, relative to it.
 * Throws NemoError with file:line:column, NEMO_E_BLUEPRINT for a file that is missing or unreadable.
 */
export function loadBlueprintFolder(
  dir: string,
  readFile: (path: string) => Uint8Array | string,
  listFiles: (dir: string) => readonly string[],
  options: BundleOptions = {},
): BlueprintFolder {
  const read = (name: string): Uint8Array => {
    try {
      const bytes = readFile(`${dir}/${name}`);
      return typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes;
    } catch (cause) {
      throw new NemoError('NEMO_E_BLUEPRINT', { what: `The file ${name} of the blueprint cannot be read.`, cause });
    }
  };
  const decode = (name: string): string => {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(read(name));
    } catch (cause) {
      if (cause instanceof NemoError) throw cause;
      throw new NemoError('NEMO_E_POLICY_YAML', { what: `The file ${name} is not UTF-8 text.`, where: { file: name, line: 1, column: 1 }, cause });
    }
  };
  const first = decode('blueprint.yaml');
  const blueprint = loadBlueprint(first, 'blueprint.yaml');
  const files = new Map<string, string>([['blueprint.yaml', first]]);
  for (const name of policyFilesOf(blueprint)) if (!files.has(name)) files.set(name, decode(name));
  const bundle = loadBundle(files, options);
  return { ...bundle, dir, digest: digestFiles([...listFiles(dir)], read) };
}

/** SHA-256 hex over (name, size, bytes) of every file, names sorted by code unit. */
function digestFiles(names: readonly string[], read: (name: string) => Uint8Array): string {
  const hash = createHash('sha256');
  for (const name of [...names].sort()) {
    const bytes = read(name);
    hash.update(`${JSON.stringify(name)} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex');
}
