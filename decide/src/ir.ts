/** The rules of one policy version as plain data: what the compiler makes, what is shipped, what tables and Cedar text are built from. */
import type { ActionLabels, AttributeExpression, FileOp, RuleRef, Threshold } from '@nemoclaw/contract';

export interface EgressRuleIr {
  readonly ref: RuleRef;
  readonly effect: 'allow' | 'escalate' | 'deny';
  /** Exact name, `*.suffix` or `*`. */
  readonly domain: string;
  /** [] = any port (deny only). */
  readonly ports: readonly number[];
  /** [] = any. */
  readonly methods: readonly string[];
  /** [] = any. */
  readonly paths: readonly string[];
  /** undefined = any query. */
  readonly query?: readonly (readonly [string, readonly string[]])[];
  readonly addresses: readonly string[];
  readonly ca: string;
  readonly tls: 'intercept' | 'passthrough' | '';
  /** Action a matching request counts as, or ''. */
  readonly as: string;
  /** The highest label of a sandbox that may send here without a question, where it is more than `confidential`. */
  readonly accepts: 'restricted' | '';
}

export interface NamedRuleIr {
  readonly ref: RuleRef;
  /** `crm.read`, `admin.*` or `*`. */
  readonly pattern: string;
}

export interface TriggerIr extends NamedRuleIr {
  readonly threshold: Threshold;
}

export interface HttpMatchIr {
  readonly host: string;
  /** '' = any. */
  readonly method: string;
  /** '' = any. */
  readonly path: string;
}

export interface ActionIr {
  readonly ref: RuleRef;
  readonly name: string;
  readonly local: boolean;
  /** Exact names, or a prefix followed by `*`. */
  readonly tools: readonly string[];
  readonly http: readonly HttpMatchIr[];
  readonly attributes: readonly (readonly [string, AttributeExpression])[];
  readonly labels: ActionLabels;
}

export interface FileRuleIr {
  readonly ref: RuleRef;
  /** Absolute path without the links of the sandbox's root, and everything below it. */
  readonly path: string;
  /** The policy wrote `dir/**`. */
  readonly folder: boolean;
  /** Operations that wait for a person; [] for other kinds of rules. */
  readonly on: readonly FileOp[];
}

export interface PolicyIr {
  readonly format: 1;
  readonly version: number;
  readonly name: string;
  /** '' = any role. */
  readonly role: string;
  readonly networkNone: RuleRef | null;
  readonly egress: readonly EgressRuleIr[];
  readonly inspection: { readonly tlsDecrypt: boolean; readonly logPayloads: boolean; readonly scanForPII: boolean };
  readonly allowed: readonly NamedRuleIr[];
  readonly denied: readonly NamedRuleIr[];
  readonly triggers: readonly TriggerIr[];
  readonly organization: readonly string[];
  readonly actions: readonly ActionIr[];
  readonly files: {
    readonly workspaceWritable: boolean;
    readonly readOnly: readonly FileRuleIr[];
    readonly readWrite: readonly FileRuleIr[];
    readonly deny: readonly FileRuleIr[];
    readonly escalate: readonly FileRuleIr[];
    readonly execAllow: readonly FileRuleIr[];
    readonly execEscalate: readonly FileRuleIr[];
  };
  /** System calls that wait for a person, by name. */
  readonly calls: readonly { readonly ref: RuleRef; readonly name: string }[];
}
