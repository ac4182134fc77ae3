/** The rules of one policy version as plain data: what the compiler makes, what is shipped, what tables and Cedar text are built from. */
import type { ActionLabels, AttributeExpression, FileOp, HostLabel, IngressRule, InspectionAction, InspectionClass, RuleProtocol, RuleRef, Threshold } from '@nemoclaw/contract';

/** What an argument of a tool may be: one of `values` (text with `*`), or a number within the range. */
export interface ArgumentIr {
  /** Names from the outermost to the innermost. */
  readonly path: readonly string[];
  readonly values: readonly (string | number | boolean)[];
  readonly min?: number;
  readonly max?: number;
}

/** At most `count` in any `windowMs`, on average; as many at once. */
export interface RateIr {
  readonly count: number;
  readonly windowMs: number;
}

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
  /** Names of `query` that must occur for an allowance. */
  readonly queryRequired?: readonly string[];
  readonly addresses: readonly string[];
  readonly ca: string;
  readonly tls: 'intercept' | 'passthrough' | '';
  /** Action a matching request counts as, or ''. */
  readonly as: string;
  /** The highest label of what may be sent here without a question. */
  readonly accepts: 'confidential' | 'restricted' | '';
  /** undefined = any headers. */
  readonly headers?: readonly (readonly [string, readonly string[]])[];
  /** undefined = unsaid: HTTP of any kind, or whatever it is where nothing is said of what is inside. */
  readonly protocol?: RuleProtocol;
  readonly graphql?: { readonly operations?: readonly string[]; readonly names?: readonly string[]; readonly fields?: readonly string[] };
  readonly mcp?: { readonly methods?: readonly string[]; readonly tools?: readonly string[]; readonly arguments?: readonly ArgumentIr[] };
  readonly jsonRpc?: { readonly methods?: readonly string[] };
  readonly smtp?: { readonly recipients?: readonly string[]; readonly starttls?: 'required' | 'allowed' };
  readonly postgres?: { readonly users?: readonly string[]; readonly databases?: readonly string[] };
  readonly redis?: { readonly commands: readonly string[] };
  /** undefined = any program. */
  readonly binaries?: readonly string[];
  /** Bytes. */
  readonly maxBody?: number;
  readonly onOversize?: 'deny' | 'escalate' | 'uninspected';
  readonly rate?: RateIr;
  readonly monitor?: true;
}

export interface IngressRuleIr {
  readonly ref: RuleRef;
  readonly source: string;
  readonly path: string;
  /** 0 = unsaid. */
  readonly port: number;
  /** undefined = unproven: admits nobody. */
  readonly auth?: IngressRule['auth'];
  readonly rate?: RateIr;
}

export interface InspectionIr {
  readonly tlsDecrypt: boolean;
  readonly logPayloads: boolean;
  readonly scanForPII: boolean;
  /** As the policy says; what it leaves unsaid is for the inspection to know. */
  readonly actions?: Readonly<Partial<Record<InspectionClass | 'default' | 'tainted', InspectionAction>>>;
  readonly responses?: boolean | { readonly actions: Readonly<Partial<Record<InspectionClass | 'default', InspectionAction>>> };
  /** Bytes. */
  readonly maxBody?: number;
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
  readonly ingress: readonly IngressRuleIr[];
  readonly inspection: InspectionIr;
  /** Labels of hosts; undefined = none. */
  readonly labels?: readonly HostLabel[];
  /** What a network rule lets through needs no word on the action that the rule names. */
  readonly rulesAllowActions?: true;
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
