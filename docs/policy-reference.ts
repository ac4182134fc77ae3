/** The reference of policy files as Markdown, and as JSON Schemas for editors: from the schemas, the levels and the table of protected names. */
import { z } from 'zod';
import { approvalPolicySchema, blueprintSchema, catalogueSchema, inferenceSchema, networkPolicySchema, sandboxPolicySchema } from '@nemoclaw/contract';
import { callGroups, levels, protectedNames, testedCalls } from '@nemoclaw/openshell';
import { policyWords } from './policy-words.ts';

interface Node {
  type?: string | string[];
  properties?: Record<string, Node>;
  items?: Node;
  anyOf?: Node[];
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  description?: string;
  required?: string[];
  minimum?: number;
  maximum?: number;
}

/** `kind` is also the file name of the JSON Schema. `defaults`: what an empty file means, where there can be one. */
const files = [
  { kind: 'SandboxPolicy', schema: sandboxPolicySchema, says: '`sandbox.yaml`: what a sandbox may use and see.', defaults: sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 'x' }, spec: { isolation: {} } }) },
  { kind: 'networkPolicy', schema: networkPolicySchema, says: '`network.yaml`: whom it may talk to. What nothing allows is refused; a denial beats a question, a question beats an allowance.', defaults: networkPolicySchema.parse({ networkPolicy: { name: 'x' } }) },
  { kind: 'ApprovalPolicy', schema: approvalPolicySchema, says: '`approvals.yaml`: which actions ask a person.', defaults: approvalPolicySchema.parse({}) },
  { kind: 'Catalogue', schema: catalogueSchema, says: '`actions.yaml`: which tools, requests and file operations are which action. Exactly one of `tool`, `http` and `syscall` in a match.', defaults: catalogueSchema.parse({ actions: [] }) },
  { kind: 'Inference', schema: inferenceSchema, says: '`inference.yaml`: which model providers there are.', defaults: {} },
  { kind: 'Blueprint', schema: blueprintSchema, says: '`blueprint.yaml`: what a folder of policies holds.', defaults: { workspace: {}, patience: { stream: 600_000, http: 25_000 } } },
] as const;

const units = [[2 ** 30, 'Gi'], [2 ** 20, 'Mi']] as const;
const times = [[60_000, 'm'], [1000, 's']] as const;
const isSize = (node: Node): boolean => Array.isArray(node.type) && node.type.length === 2 && node.type.includes('string') && node.type.includes('number');

/** A default as a policy would write it. */
function written(node: Node, value: unknown): string {
  if (value === undefined || (Array.isArray(value) && value.length === 0) || (typeof value === 'object' && value !== null && Object.keys(value).length === 0)) return '';
  if (typeof value === 'number' && (isSize(node) || node.type === 'string')) {
    const [by, unit] = (isSize(node) ? units : times).find(([one]) => value % one === 0) ?? [1, ''];
    return `\`${value / by}${unit}\``;
  }
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

function typeOf(node: Node): string {
  if (node.anyOf) return node.anyOf.map(typeOf).join(' or ');
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  if (node.enum) return node.enum.map((one) => `\`${String(one)}\``).join(', ');
  if (isSize(node)) return 'size (`512Mi`, `4Gi`, bytes)';
  if (node.type === 'integer') return `integer${node.minimum === undefined ? '' : `, ${node.minimum} to ${node.maximum ?? ''}`}`;
  if (node.type === 'object') return 'map';
  return String(node.type ?? 'any');
}

interface Field {
  readonly path: string;
  readonly node: Node;
  readonly value: unknown;
  readonly required: boolean;
}

/** The fields of a schema that words speak of: leaves, and whatever has words of its own. */
function fields(kind: string, node: Node, path = '', value: unknown = undefined, required = true): Field[] {
  const words = policyWords[kind] ?? {};
  const self: Field = { path, node, value: value ?? node.default, required };
  const inner = (node: Node): Field[] => {
    const out: Field[] = (node.anyOf ?? []).flatMap(inner);
    for (const [name, child] of Object.entries(node.properties ?? {})) {
      const known = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
      out.push(...fields(kind, child, path === '' ? name : `${path}.${name}`, known, node.required?.includes(name) ?? false));
    }
    if (node.items && node.type === 'array') out.push(...fields(kind, node.items, `${path}[]`, undefined, false));
    return out;
  };
  if (path !== '' && words[path] !== undefined) return node.anyOf ? [self, ...inner(node)] : [self];
  const found = inner(node);
  return found.length > 0 ? found : [self];
}

const jsonSchema = (schema: z.ZodType): Node => z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node;

/** Paths of fields without words, and of words without a field: both empty, or the reference is not whole. */
export function unmatchedWords(): { readonly fieldsWithoutWords: string[]; readonly wordsWithoutField: string[] } {
  const fieldsWithoutWords: string[] = [], wordsWithoutField: string[] = [];
  for (const { kind, schema, defaults } of files) {
    const words = policyWords[kind] ?? {};
    const found = fields(kind, jsonSchema(schema), '', defaults).map((field) => field.path);
    fieldsWithoutWords.push(...found.filter((path) => words[path] === undefined).map((path) => `${kind}: ${path}`));
    wordsWithoutField.push(...Object.keys(words).filter((path) => !found.includes(path)).map((path) => `${kind}: ${path}`));
  }
  return { fieldsWithoutWords, wordsWithoutField };
}

/** JSON Schema texts for editors, by file name. Sizes, durations and patterns are checked by the loader, more strictly than here. */
export function policySchemas(): ReadonlyMap<string, string> {
  return new Map(files.map(({ kind, schema, defaults }) => {
    const whole = jsonSchema(schema);
    for (const { path, node } of fields(kind, whole, '', defaults)) {
      const words = policyWords[kind]?.[path];
      if (words) node.description = words.replaceAll('`', '');
    }
    return [`${kind}.json`, `${JSON.stringify({ title: kind, ...whole }, null, 1)}\n`];
  }));
}

function table(kind: string, schema: z.ZodType, defaults: unknown): string {
  const rows = fields(kind, jsonSchema(schema), '', defaults).map(({ path, node, value, required }) => {
    const preset = written(node, value);
    return `| \`${path}\` | ${typeOf(node)} | ${required ? 'required' : preset} | ${policyWords[kind]?.[path] ?? ''} |`;
  });
  return `| field | values | default | meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function levelTables(): string {
  return Object.entries(levels).map(([part, each]) => {
    const rows = Object.entries(each).map(([name, { means, why }]) => `| \`${name}\` | ${means} | ${why} |`);
    return `### isolation.${part}\n\n| level | means | why |\n|---|---|---|\n${rows.join('\n')}\n`;
  }).join('\n');
}

function callTable(): string {
  const rows = callGroups.map(({ level, name, why, calls }) => `| ${level} | ${name} | ${why} | ${calls} |`);
  const tested = Object.entries(testedCalls).map(([level, names]) => `${level}: ${names.join(', ')}`).join('; ');
  return `| from level | group | why | calls |\n|---|---|---|---|\n${rows.join('\n')}\n\nBy their arguments (what the rules are: \`layers/openshell/src/seccomp-calls.ts\`): ${tested}. Everything else is refused.\n`;
}

function nameTable(): string {
  const reasons = new Map<string, string[]>();
  for (const { scope, why, path } of protectedNames) {
    const key = `${scope === 'everywhere' ? 'in any folder' : 'in the workspace itself and in git repositories'} | ${why}`;
    reasons.set(key, [...(reasons.get(key) ?? []), `\`${path}\``]);
  }
  return `| where | why | names |\n|---|---|---|\n${[...reasons].map(([key, names]) => `| ${key} | ${names.join(' ')} |`).join('\n')}\n`;
}

/** The text of docs/policy.md. */
export function policyReference(): string {
  return `# Policy files

Written from the schemas (\`contract/src/policy\`), the levels and the tables of \`layers/openshell/src\` by \`node_modules/.bin/node docs/write-policy.ts\`; a test compares them. For editors there are JSON Schemas in \`docs/schemas\`: \`# yaml-language-server: $schema=…/docs/schemas/SandboxPolicy.json\`.

Files are YAML or JSON. An unknown field is an error at its line and column. Sizes are bytes or \`Ki\`, \`Mi\`, \`Gi\`, \`Ti\` (\`K\`, \`M\`, \`G\`, \`T\` by thousands); times are \`ms\`, \`s\`, \`m\`, \`h\`, \`d\`, at most 30 days. A file pattern is an absolute path as seen in the sandbox, or \`dir/**\` for a folder and all below it. \`[]\` is an entry of a list; a list that is left out is empty.

OpenShell's own policy files (\`version: 1\`) are read in place of SandboxPolicy and networkPolicy.

${files.map(({ kind, says, schema, defaults }) => `## ${kind}\n\n${says}\n\n${table(kind, schema, defaults)}`).join('\n')}
## Levels

${levelTables()}
## System calls by level

Each level has what the one before it has.

${callTable()}
## Protected names

Read-only in a workspace by default (\`spec.filesystem.protect\`); in git directories also hooks and settings, by their structure.

${nameTable()}`;
}
