/** The action catalogue: which tools, requests and system calls are which action, and what a person says about it. */
import { z } from 'zod';
import { sensitivities } from '../decision.ts';
import { parseAttribute } from './attribute.ts';
import { loadWith, problem, type Loaded } from './issue.ts';
import { action, filePattern, method } from './scalars.ts';
import { domain } from './suffixes.ts';

const tool = z.string().max(256).superRefine((given, ctx) => {
  if (!/^[A-Za-z0-9_./:-]+\*?$/.test(given)) ctx.addIssue({ code: 'custom', message: `${JSON.stringify(given)} is not a tool name.`, params: problem('NEMO_E_POLICY_PATTERN', 'A wildcard stands only at the end, after at least one character.', 'Write e.g. crm_read or crm_delete_*') });
});

/** `/tickets/{ticketId}/resolve`: `{name}` is one segment and becomes a parameter; `*` within a segment; `**`, a whole segment, any number of them. */
const pathTemplate = z.string().max(2048).superRefine((given, ctx) => {
  const plain = given.replace(/\{[A-Za-z_][A-Za-z0-9_]*\}/g, 'x');
  const whole = given.split('/').every((s) => !/[{}]/.test(s) || /^\{[A-Za-z_][A-Za-z0-9_]*\}$/.test(s));
  if (!plain.startsWith('/') || /[{}?#\s\\]/.test(plain) || plain.split('/').some((s) => s.includes('**') && s !== '**') || !whole || plain.split('/').some((s) => s === '.' || s === '..')) {
    ctx.addIssue({ code: 'custom', message: `${JSON.stringify(given)} is not a path.`, params: problem('NEMO_E_POLICY_PATTERN', 'A parameter is a whole segment.', 'Write e.g. /tickets/{ticketId}/resolve') });
  }
});

const matcher = z
  .strictObject({
    tool: tool.optional(),
    http: z.strictObject({ host: domain, method: method.optional(), path: pathTemplate.optional() }).optional(),
    syscall: z.array(z.enum(['unlink', 'rename', 'rename-over', 'truncate', 'open', 'exec', 'kill'])).min(1).optional(),
    path: filePattern.optional(),
  })
  .superRefine((match, ctx) => {
    const kinds = [match.tool, match.http, match.syscall].filter((k) => k !== undefined).length;
    if (kinds !== 1) ctx.addIssue({ code: 'custom', message: 'One match is one of tool, http or syscall.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Write one list item for each.') });
    if ((match.path !== undefined) !== (match.syscall !== undefined)) ctx.addIssue({ code: 'custom', message: '`path` and `syscall` belong together.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Give both; the path of a request stands inside `http`.') });
  });

const attribute = z.string().max(512).superRefine((given, ctx) => {
  if (parseAttribute(given) === undefined) ctx.addIssue({ code: 'custom', message: `${JSON.stringify(given)} is not an attribute expression.`, params: problem('NEMO_E_POLICY_TYPE', undefined, 'Write a path, and arithmetic by constants if needed: "$.amount / 100"') });
});

const actionLabelsSchema = z.strictObject({
  sensitivity: z.enum(sensitivities).default('restricted'),
  reversibility: z.enum(['fully-reversible', 'partially-reversible', 'irreversible']).default('irreversible'),
  scope: z.enum(['single', 'team', 'organization', 'external']).default('external'),
  compliance: z.array(z.string().min(1).max(32)).default([]),
});

const entry = z
  .strictObject({
    name: action,
    match: z.array(matcher).min(1).max(256),
    attributes: z.record(z.string().regex(/^[A-Za-z][A-Za-z0-9_]*$/, 'This is not an attribute name'), attribute).default({}),
    /** What nobody labelled counts as restricted, irreversible, external. */
    labels: actionLabelsSchema.prefault({}),
    /** The tool touches only the sandbox; the kernel governs it. */
    local: z.enum(['fs', 'process']).optional(),
  })
  .superRefine((given, ctx) => {
    const prefix = /^(fs|process)\./.exec(given.name)?.[1];
    if (prefix !== given.local) {
      const message = given.local === undefined ? `Names in \`${prefix}.\` are for tools that touch only the sandbox.` : `A tool that is local: ${given.local} is named ${given.local}.…`;
      ctx.addIssue({ code: 'custom', path: ['name'], message, params: problem('NEMO_E_POLICY_TYPE', undefined, `Add \`local: ${prefix ?? given.local}\` and name it ${prefix ?? given.local}.…, or use another name.`) });
    }
    if (given.local !== undefined) {
      given.match.forEach((m, index) => {
        if (m.tool === undefined) ctx.addIssue({ code: 'custom', path: ['match', index], message: 'A local action has only tools.', params: problem('NEMO_E_POLICY_TYPE', 'Requests leave the sandbox; files are governed by `filesystem`.') });
      });
    }
  });

export const catalogueSchema = z.strictObject({
  /** Which recipients are ours, for the threshold external-only. */
  organization: z.strictObject({ domains: z.array(domain.refine((d) => !d.includes('*'), 'Name the domains one by one')).default([]) }).prefault({}),
  actions: z.array(entry).max(10_000).superRefine((entries, ctx) => {
    const seen = new Set<string>();
    entries.forEach((e, index) => {
      if (seen.has(e.name)) ctx.addIssue({ code: 'custom', path: [index, 'name'], message: `The action ${e.name} stands here twice.`, params: problem('NEMO_E_POLICY_TYPE', undefined, 'Put its matches into one entry.') });
      seen.add(e.name);
    });
  }),
});
export type Catalogue = z.output<typeof catalogueSchema>;

/** Reads an action catalogue from YAML or JSON. Throws NemoError with the place of the first problem. */
export function loadCatalogue(text: string, file: string): Loaded<Catalogue> {
  return loadWith(catalogueSchema, text, file);
}
