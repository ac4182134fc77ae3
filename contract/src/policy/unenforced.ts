/** What a policy asks that this host or this version does not enforce: never silently ignored. */
import { NemoError, type Where } from '../errors.ts';
import type { ApprovalPolicy } from './approvals.ts';
import type { Catalogue } from './catalogue.ts';
import { foreignNotes } from './foreign.ts';
import type { Inference } from './inference.ts';
import type { EgressRule, NetworkPolicyFile } from './network.ts';
import { protocolOf } from './network-sense.ts';
import type { SandboxPolicy } from './sandbox.ts';
import { isStated, whereOf, type Path } from './source.ts';
import { unseenActions } from './unseen-actions.ts';

/** What of the host's facts the check needs. A: root + BPF LSM, B: root, C: rootless. */
export interface PolicyHostFacts {
  readonly tier: 'A' | 'B' | 'C';
  /** What control groups can limit; absent: all of it. */
  readonly limits?: { readonly memory: boolean; readonly cpu: boolean; readonly freezer?: boolean };
  /** Devices that `gpuAccess: full` shows; absent: none. */
  readonly gpu?: readonly string[];
  /** Whether the program that opens a connection is seen; absent: it is not. */
  readonly programs?: boolean;
}

/** The other files of a bundle, where there are any; a bundle is one. */
export interface OtherPolicies {
  readonly network?: NetworkPolicyFile;
  readonly inference?: Inference;
  readonly catalogue?: Catalogue;
  readonly approvals?: ApprovalPolicy;
}

interface Gap {
  readonly text: string;
  /** A default that the file does not speak of: said, but no error. */
  readonly unasked?: boolean;
  /** What happens instead is stricter than what the policy asks, so that it is said but is no error. */
  readonly stricter?: true;
  readonly where: Where | undefined;
}

/** One plain sentence for each thing that is not done as the policy says; empty if all of it is. */
export function unenforced(policy: SandboxPolicy, facts: PolicyHostFacts, others: OtherPolicies = {}): string[] {
  return gaps(policy, facts, others).map((gap) => gap.text);
}

/**
 * Throws NEMO_E_POLICY_NEEDS if the policy requires a higher tier, or asks for something unenforced without `enforcement: best-effort`;
 * what is only stricter than asked (no incoming requests, no recorded payloads) is no error.
 * A tier that is required is required in any case.
 */
export function checkHost(policy: SandboxPolicy, facts: PolicyHostFacts, others: OtherPolicies = {}): void {
  const lacking = policy.spec.requires.findIndex((need) => need === 'tier-a' ? facts.tier !== 'A' : need === 'tier-b' ? facts.tier === 'C' : writesDirectly(policy));
  if (lacking >= 0) {
    const where = whereOf(policy, ['spec', 'requires', lacking]);
    if (policy.spec.requires[lacking] === 'disk-quota') {
      throw new NemoError('NEMO_E_POLICY_NEEDS', {
        what: 'The policy requires disk-quota, but the workspace is written directly, and then its size is counted and not kept by the kernel.',
        ...(where ? { where } : {}),
        fix: 'Say `filesystem: { overlay: true }` and `resources.maxDisk`: then what is written lies in a layer of that size until it is committed. Or remove the requirement.',
      });
    }
    throw new NemoError('NEMO_E_POLICY_NEEDS', {
      what: `The policy requires ${String(policy.spec.requires[lacking])}; only tier ${facts.tier} is enforced here.`,
      ...(where ? { where } : {}),
      fix: 'Run it on a host of that tier, or remove the requirement. `nemoclaw doctor` says what this host has.',
    });
  }
  if (policy.spec.enforcement === 'best-effort') return;
  const found = gaps(policy, facts, others).filter((gap) => gap.stricter !== true && gap.unasked !== true);
  const first = found[0];
  if (first === undefined) return;
  throw new NemoError('NEMO_E_POLICY_NEEDS', {
    what: found.length > 1 ? `${first.text} (and ${found.length - 1} more)` : first.text,
    ...(first.where ? { where: first.where } : {}),
    why: 'A rule that is not enforced must not look as if it were.',
    fix: 'Remove it, or say `enforcement: best-effort` and look at what `status` lists as not enforced.',
  });
}

/** True: agents write to the registered folder itself, not to a layer over it. */
export function writesDirectly({ spec }: SandboxPolicy): boolean {
  const layered = spec.isolation.filesystem === 'ephemeral' || spec.filesystem.overlay;
  return !layered && (spec.isolation.filesystem === 'workspace' || spec.filesystem.readWrite.some((path) => /^\/workspace(\/|$)/.test(path)));
}

function gaps(policy: SandboxPolicy, facts: PolicyHostFacts, others: OtherPolicies): Gap[] {
  const out: Gap[] = [];
  const spec = policy.spec;
  for (const note of [...foreignNotes(policy), ...(others.network === undefined ? [] : foreignNotes(others.network))]) out.push({ ...note, stricter: true });
  const gap = (path: Path, text: string): number => out.push({ text, where: whereOf(policy, ['spec', ...path]) });
  const withoutRoot = (path: Path, text: string): number => out.push({ text, where: whereOf(policy, ['spec', ...path]), stricter: true });
  if (spec.process.exec.escalate.length > 0 && facts.tier === 'C') withoutRoot(['process', 'exec', 'escalate'], 'process.exec.escalate: without root nobody can be asked before a program starts; what it names is out of sight.');
  if (spec.resources.gpuAccess === 'full' && (facts.gpu ?? []).length === 0) gap(['resources', 'gpuAccess'], 'resources.gpuAccess: full: no GPU device can be shown here: one that the host permits (`gpu` in host.yaml), that is there, and that agents may open (mode 666; without root: that you may open).');
  spec.filesystem.escalate.forEach((rule, index) => {
    if (rule.on.includes('exec') && facts.tier === 'C') withoutRoot(['filesystem', 'escalate', index, 'on'], `filesystem.escalate[${index}]: without root nobody can be asked before a program starts; what it names is out of sight.`);
  });
  const unlessAsked = (path: Path, text: string): number => out.push({ text, where: whereOf(policy, ['spec', ...path]), unasked: !isStated(policy, ['spec', ...path]) });
  if (facts.limits?.memory === false) unlessAsked(['resources', 'maxMemory'], 'resources.maxMemory: no control group can be used here, so that only the memory of each process is limited, not of all together.');
  if (facts.limits?.cpu === false) unlessAsked(['resources', 'maxCPU'], 'resources.maxCPU: no control group can be used here, so that CPU time is not limited.');
  if (facts.tier === 'C' && spec.auditLog.syscalls !== 'off') unlessAsked(['auditLog', 'syscalls'], 'auditLog.syscalls: without root system calls are not counted; only those that the call filter refuses are seen.');
  if (spec.resources.maxDisk !== undefined && writesDirectly(policy) && facts.limits !== undefined && facts.limits.freezer !== true) gap(['resources', 'maxDisk'], 'resources.maxDisk: what is written to the workspace itself is not limited here: no control group can stop the sandbox when it is full. Say `filesystem: { overlay: true }`: then what the agent writes lies in a layer of that size until it is committed; or put the folder on a file system of that size.');
  if (!spec.auditLog.enabled) out.push({ text: 'auditLog.enabled: false: the record is always kept.', stricter: true, where: whereOf(policy, ['spec', 'auditLog', 'enabled']) });
  if (spec.auditLog.onAuditFailure === 'continue') out.push({ text: 'auditLog.onAuditFailure: continue: what cannot be undone is refused while it cannot be put on record.', stricter: true, where: whereOf(policy, ['spec', 'auditLog', 'onAuditFailure']) });
  // Not a gap of ours, but whoever opens the folder afterwards must see it wherever the sandbox is shown.
  if (spec.filesystem.protect === 'off') out.push({ text: 'filesystem.protect: off: the agent may write git hooks and settings of editors and agents that run on your side.', stricter: true, where: whereOf(policy, ['spec', 'filesystem', 'protect']) });
  if (spec.mode === 'monitor') out.push({ text: 'mode: monitor: what the rules of this policy would deny or ask about is recorded and let through; levels, what is shown of the host, protected names and limits stay in force.', stricter: true, where: whereOf(policy, ['spec', 'mode']) });
  if (others.inference?.privacyRouter?.fallback === 'deny') {
    out.push({ text: 'privacyRouter.fallback: deny: what may not go to the cloud goes to a local model where there is one.', where: whereOf(others.inference, ['privacyRouter', 'fallback']) });
  }
  if (others.network !== undefined && others.catalogue !== undefined && spec.isolation.network !== 'none') out.push(...unseenActions(policy, others.network, others.catalogue, others.approvals));
  if (others.network !== undefined) networkGaps(others.network, spec.isolation.network === 'open', facts.programs === true && facts.tier !== 'C', out);
  if (others.inference?.privacyRouter !== undefined && others.inference.privacyRouter.residencyRules.length > 0) {
    out.push({ text: 'privacyRouter.residencyRules: this version does not route by region.', where: whereOf(others.inference, ['privacyRouter', 'residencyRules']) });
  }
  return out;
}

function networkGaps(file: NetworkPolicyFile, open: boolean, programs: boolean, out: Gap[]): void {
  const policy = file.networkPolicy;
  const at = (...path: Path): Where | undefined => whereOf(file, ['networkPolicy', ...path]);
  policy.ingress.allow.forEach((rule, i) => {
    if (rule.auth === undefined) out.push({ text: `ingress.allow[${i}]: unproven: anybody can say that they are ${rule.source}, so nobody is admitted until the rule says how a caller proves it (\`auth\`).`, stricter: true, where: at('ingress', 'allow', i) });
  });
  if (policy.inspection.scanForPII && !policy.inspection.tlsDecrypt) {
    const stated = isStated(file, ['networkPolicy', 'inspection', 'scanForPII']);
    out.push({ text: 'inspection.scanForPII: with `tlsDecrypt: false` nothing is searched that goes through TLS, unless its rule says `tls: intercept`.', unasked: !stated, where: at('inspection', stated ? 'scanForPII' : 'tlsDecrypt') });
  }
  if (policy.inspection.logPayloads) out.push({ text: 'inspection.logPayloads: this version never records payloads.', stricter: true, where: at('inspection', 'logPayloads') });
  for (const list of ['allow', 'escalate', 'deny'] as const) {
    policy.egress[list].forEach((given, index) => {
      const rule: EgressRule = given;
      const protocol = protocolOf(rule);
      const looksInside = rule.methods !== undefined || rule.paths !== undefined || rule.query !== undefined || rule.headers !== undefined || (protocol !== '' && protocol !== 'tcp');
      if (open && list !== 'allow' && rule.domain === '*' && looksInside) out.push({ text: `egress.${list}[${index}]: with isolation.network: open TLS to most hosts is not opened, so that this is decided for plain HTTP only.`, where: at('egress', list, index) });
      if (rule.binaries !== undefined && !programs) out.push({ text: `egress.${list}[${index}].binaries: which program opened a connection is not seen here, so that with best effort the rule holds for any.`, where: at('egress', list, index, 'binaries') });
    });
  }
}
