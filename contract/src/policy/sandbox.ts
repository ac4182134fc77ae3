/** `SandboxPolicy`: what a sandbox may use and see (design: Layer 1). */
import { z } from 'zod';
import { NemoError } from '../errors.ts';
import { sensitivities } from '../decision.ts';
import { isOpenshellFile } from './foreign.ts';
import { checkSource, problem, type Loaded } from './issue.ts';
import { allowedAction, deniedAction, duration, filePattern, size } from './scalars.ts';
import { sandboxFromOpenshell } from './openshell-file.ts';
import { readSource, whereOf } from './source.ts';

export const networkLevels = ['none', 'restricted', 'open'] as const;
export const filesystemLevels = ['read-only', 'workspace', 'ephemeral'] as const;
export const syscallLevels = ['minimal', 'standard', 'permissive'] as const;

const syscallName = z.string().regex(/^[a-z][a-z0-9_]{0,31}$/, 'This is not the name of a system call');
/** A protected name: one or two plain segments, wherever it lies in the workspace. */
const protectedName = z.string().regex(/^(?!\.{1,2}(\/|$))[^/\0*?]{1,100}(\/(?!\.{1,2}$)[^/\0*?]{1,100})?$/, 'Write a name such as .envrc or .github/workflows: one or two segments, no wildcard');
const paths = z.array(filePattern).max(256).default([]);

export const sandboxPolicySchema = z.strictObject({
  apiVersion: z.literal('openshell.nvidia.com/v1'),
  kind: z.literal('SandboxPolicy'),
  metadata: z.strictObject({ name: z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?$/, 'A name has small letters, digits, dots and dashes') }),
  spec: z
    .strictObject({
      isolation: z.strictObject({
        /** What each level means, and why: layers/openshell/src/levels.ts. */
        network: z.enum(networkLevels).default('restricted'),
        filesystem: z.enum(filesystemLevels).default('read-only'),
        syscalls: z.enum(syscallLevels).default('minimal'),
      }),
      resources: z
        .strictObject({
          /** bytes */
          maxMemory: size.default(2 * 2 ** 30),
          /** cores */
          maxCPU: z.number().positive().max(1024).default(1),
          gpuAccess: z.enum(['none', 'inference-only', 'full']).default('none'),
          maxPids: z.int().min(1).max(4_194_304).default(512),
          maxOpenFiles: z.int().min(16).max(1_048_576).default(4096),
          /** bytes of each private file system and of a layer, and by which a workspace that is written directly may grow; absent: the workspace is not limited */
          maxDisk: size.optional(),
          /** ms of wall time from the first command in an idle sandbox until everything in it is ended; absent: not limited */
          timeout: duration.optional(),
        })
        .prefault({}),
      permissions: z.strictObject({ allowedAPIs: z.array(allowedAction).max(4096).default([]), deniedAPIs: z.array(deniedAction).max(4096).default([]) }).prefault({}),
      auditLog: z
        .strictObject({
          enabled: z.boolean().default(true),
          destination: z.string().regex(/^siem:\/\/[a-z0-9][a-z0-9._-]{0,62}$/, 'A destination is written siem://name').default('siem://security-events'),
          syscalls: z.enum(['off', 'counts', 'full']).default('counts'),
          onAuditFailure: z.enum(['deny', 'continue']).default('deny'),
        })
        .prefault({}),
      filesystem: z
        .strictObject({
          readOnly: paths,
          readWrite: paths,
          deny: paths,
          escalate: z.array(z.strictObject({ path: filePattern, on: z.array(z.enum(['delete', 'rename', 'write', 'create', 'read', 'exec', 'connect'])).min(1) })).max(256).default([]),
          /** True: changes of the workspace go to a layer of their own, to be looked at, committed or discarded; the folder itself stays as it is. */
          overlay: z.boolean().default(false),
          /** Names in the workspace that other programs obey by themselves (git hooks, settings of editors and agents). `git` stands for what is dangerous in git directories. */
          protect: z
            .union([z.enum(['default', 'off']), z.strictObject({ add: z.array(protectedName).max(64).default([]), except: z.array(z.union([z.literal('git'), protectedName])).max(128).default([]) })])
            .default('default'),
          labels: z.array(z.strictObject({ path: filePattern, level: z.enum(sensitivities) })).max(256).default([]),
        })
        .prefault({}),
      process: z
        .strictObject({
          exec: z.strictObject({ allow: paths, escalate: paths }).prefault({}),
          /** The number seen inside; never the uid on the host. */
          user: z.int().min(1).max(65_533).optional(),
        })
        .prefault({}),
      syscalls: z
        .strictObject({ profile: z.enum(syscallLevels).optional(), allow: z.array(syscallName).default([]), deny: z.array(syscallName).default([]), escalate: z.array(syscallName).default([]) })
        .prefault({}),
      mode: z.enum(['enforce', 'monitor']).default('enforce'),
      requires: z.array(z.enum(['tier-a', 'tier-b', 'disk-quota'])).default([]),
      enforcement: z.enum(['strict', 'best-effort']).default('strict'),
    })
    .superRefine((spec, ctx) => {
      const profile = spec.syscalls.profile;
      if (profile !== undefined && profile !== spec.isolation.syscalls) {
        ctx.addIssue({ code: 'custom', path: ['syscalls', 'profile'], message: `This says ${profile}, but isolation.syscalls says ${spec.isolation.syscalls}.`, params: problem('NEMO_E_POLICY_TYPE', undefined, 'Say it once, or the same twice.') });
      }
    }),
});

/** Sizes are bytes, times ms; every optional list is there, empty. */
export type SandboxPolicy = z.output<typeof sandboxPolicySchema>;

export interface SandboxPolicyOptions {
  /** Names of configured audit destinations; `security-events` when left out. */
  readonly sinks?: ReadonlySet<string>;
}

/** Reads a SandboxPolicy from YAML or JSON, also from OpenShell's own format (`foreignNotes` says what is then stricter). Throws NemoError with the place of the first problem. */
export function loadSandboxPolicy(text: string, file: string, options: SandboxPolicyOptions = {}): Loaded<SandboxPolicy> {
  const source = readSource(text, file);
  const theirs = isOpenshellFile(source) ? sandboxFromOpenshell(source) : undefined;
  const policy = theirs === undefined ? checkSource(sandboxPolicySchema, source) : theirs.finish(checkSource(sandboxPolicySchema, theirs.source));
  const sinks = options.sinks ?? new Set(['security-events']);
  const name = policy.spec.auditLog.destination.slice('siem://'.length);
  if (!sinks.has(name)) {
    const where = whereOf(policy, ['spec', 'auditLog', 'destination']);
    throw new NemoError('NEMO_E_POLICY_SINK', { what: `No audit destination is called ${name}.`, ...(where ? { where } : {}), why: 'What is written nowhere is not a record.', fix: `Configure it, or use ${[...sinks].map((s) => `siem://${s}`).join(', ')}.` });
  }
  return policy;
}
