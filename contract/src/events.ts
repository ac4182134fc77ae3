/** What the record holds: an event is OCSF at birth; `LedgerEvent` is what a source hands in, the writer adds place in the chain. */
import type { Decision, Verdict } from './decision.ts';

/** OCSF classes used (schema.ocsf.io 1.9): uid by name. */
export const ocsfClass = {
  fileActivity: 1001,
  kernelActivity: 1003,
  processActivity: 1007,
  detectionFinding: 2004,
  dataSecurityFinding: 2006,
  authentication: 3002,
  entityManagement: 3004,
  userAccess: 3005,
  networkActivity: 4001,
  httpActivity: 4002,
  dnsActivity: 4003,
  configState: 5019,
  apiActivity: 6003,
  applicationLifecycle: 6002,
} as const;
export type OcsfClassName = keyof typeof ocsfClass;

/** Which layer stopped or saw it. `kernel`: refused, and by which of the kernel's layers is not known. */
export type Layer = 'view' | 'mounts' | 'uid' | 'landlock' | 'seccomp' | 'limits' | 'netns' | 'dns' | 'proxy' | 'gate' | 'router' | 'approval' | 'gateway' | 'openshelld' | 'ledger' | 'kernel';

export interface LedgerEvent {
  /** ms since epoch. */
  readonly time: number;
  readonly class: OcsfClassName;
  /** OCSF activity id within the class. */
  readonly activity: number;
  readonly severity: 1 | 2 | 3 | 4 | 5 | 6;
  readonly sandbox: string;
  readonly layer: Layer;
  /** One plain sentence for people; the writer redacts it like every other string. */
  readonly message: string;
  /** Absent where nothing was decided. `observe`: monitor mode. */
  readonly verdict?: Verdict | 'approved' | 'rejected' | 'observe';
  readonly decision?: Pick<Decision, 'action' | 'rules' | 'reason' | 'policyVersion' | 'decidedBy' | 'micros'>;
  /** Ties request, hold, approval and effect together. */
  readonly correlation?: string;
  /** Everything else, flat or nested JSON; unknown to the writer, redacted, kept. */
  readonly data?: Readonly<Record<string, unknown>>;
}
