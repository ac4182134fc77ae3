/** Policy files on disk: what kind each is, and whether it is right. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { Failure } from './failure.ts';

export interface PolicyFile {
  /** As the person named it, for messages. */
  readonly path: string;
  readonly name: string;
  readonly text: string;
}
export type PolicyKind = 'sandbox policy' | 'network policy' | 'approval policy' | 'action catalogue' | 'inference' | 'blueprint' | 'unknown';

/** The most that this version enforces on any host: what it cannot do is an error before a policy is applied, not after. */
const bestHost = { tier: 'B', gpu: ['/dev/nvidia0'] } as const;

const endings = /\.(ya?ml|json)$/;

/** What a file is, by its top-level fields; comments and quoting do not matter, YAML or JSON. */
export function policyKind(text: string): PolicyKind {
  const has = (field: string): boolean => new RegExp(String.raw`^\s{0,4}["']?${field}["']?\s*:`, 'm').test(text);
  if (/["']?kind["']?\s*:\s*["']?SandboxPolicy\b/.test(text)) return 'sandbox policy';
  if (/["']?kind["']?\s*:\s*["']?Blueprint\b/.test(text)) return 'blueprint';
  if (has('networkPolicy')) return 'network policy';
  if (has('triggers')) return 'approval policy';
  if (has('actions')) return 'action catalogue';
  if (has('providers') || has('privacyRouter')) return 'inference';
  return 'unknown';
}

/** Reads files, and of folders all files that can be policies. Throws Failure for what cannot be read. */
export function readPolicyFiles(paths: readonly string[], cwd: string): PolicyFile[] {
  return paths.flatMap((path) => {
    const at = resolve(cwd, path);
    try {
      if (!statSync(at).isDirectory()) return [{ path, name: basename(at), text: readFileSync(at, 'utf8') }];
      return readdirSync(at)
        .filter((name) => endings.test(name))
        .sort()
        .map((name) => ({ path: join(path, name), name, text: readFileSync(join(at, name), 'utf8') }))
        .filter((file) => policyKind(file.text) !== 'blueprint');
    } catch (error) {
      throw new Failure('NEMO_E_USAGE', {
        what: `Cannot read ${path}.`,
        why: error instanceof Error ? error.message : String(error),
        fix: 'Give a file or folder that exists and that you may read.',
        cause: error,
      });
    }
  });
}

/** Loads the file as what it is; throws the contract's NemoError with line and column. Resolves with its kind. */
export async function checkPolicyFile(file: PolicyFile): Promise<PolicyKind> {
  const contract = await import('@nemoclaw/contract');
  const kind = policyKind(file.text);
  switch (kind) {
    case 'sandbox policy':
      contract.checkHost(contract.loadSandboxPolicy(file.text, file.path), bestHost);
      break;
    case 'network policy':
      contract.loadNetworkPolicy(file.text, file.path);
      break;
    case 'approval policy':
      contract.loadApprovalPolicy(file.text, file.path);
      break;
    case 'action catalogue':
      contract.loadCatalogue(file.text, file.path);
      break;
    case 'inference':
      contract.loadInference(file.text, file.path);
      break;
    case 'blueprint':
      contract.loadBlueprint(file.text, file.path);
      break;
    case 'unknown':
      // The sandbox loader says best what is wrong with a file that looks like nothing we know, foreign formats too.
      contract.loadSandboxPolicy(file.text, file.path);
  }
  return kind;
}

/** Loads a blueprint's folder whole, with what is valid but has no effect or no second line of defence. Undefined if it is none. */
export async function checkBlueprintFolder(path: string, cwd: string): Promise<{ file: string; kind: string; findings: string[] } | undefined> {
  const at = resolve(cwd, path);
  if (!statSync(join(at, 'blueprint.yaml'), { throwIfNoEntry: false })?.isFile()) return undefined;
  const contract = await import('@nemoclaw/contract');
  const list = (dir: string): string[] =>
    readdirSync(resolve(cwd, dir), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(resolve(cwd, dir), join(entry.parentPath, entry.name)));
  const folder = contract.loadBlueprintFolder(path, (name) => readFileSync(resolve(cwd, name)), list);
  contract.checkHost(folder.sandboxPolicy, bestHost, folder);
  const findings = contract.lintBundle(folder).map((finding) => `${finding.code}${finding.where ? ` at ${finding.where.file}:${finding.where.line}` : ''}: ${finding.text}`);
  return { file: path, kind: `blueprint ${folder.blueprint.name}@${folder.blueprint.version}, sha256 ${folder.digest.slice(0, 12)}`, findings };
}
