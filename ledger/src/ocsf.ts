/** Turns a LedgerEvent into an OCSF 1.9 record with its place in the chain (schema.ocsf.io; profiles security_control and record_integrity). */
import { ocsfClass, type LedgerEvent } from '@nemoclaw/contract';
import { ordered } from './canonical.ts';
import type { JsonObject } from './redactor.ts';

/** Where an event stands: who sent it and what it follows. `sequence` counts records from 1. */
export interface Place {
  readonly chain: string;
  readonly sequence: number;
  /** ms since epoch at which the writer took it. */
  readonly logged: number;
  readonly source: { readonly name: string; readonly run: string; readonly seq: number };
  readonly previous: { readonly sequence: number; readonly typeUid: number; readonly fingerprint: string } | undefined;
}

const classNames: Readonly<Record<LedgerEvent['class'], string>> = {
  fileActivity: 'File System Activity',
  kernelActivity: 'Kernel Activity',
  processActivity: 'Process Activity',
  detectionFinding: 'Detection Finding',
  dataSecurityFinding: 'Data Security Finding',
  authentication: 'Authentication',
  entityManagement: 'Entity Management',
  userAccess: 'User Access Management',
  networkActivity: 'Network Activity',
  httpActivity: 'HTTP Activity',
  dnsActivity: 'DNS Activity',
  configState: 'Device Config State Change',
  apiActivity: 'API Activity',
  applicationLifecycle: 'Application Lifecycle',
};
const categoryNames = ['Uncategorized', 'System Activity', 'Findings', 'Identity & Access Management', 'Network Activity', 'Discovery', 'Application Activity'];
const severityNames = ['Unknown', 'Informational', 'Low', 'Medium', 'High', 'Critical', 'Fatal'];

/** OCSF action_id and disposition_id of each verdict (profile security_control). */
export const controls: Readonly<Record<NonNullable<LedgerEvent['verdict']>, { readonly action: number; readonly disposition: number; readonly name: string }>> = {
  allow: { action: 1, disposition: 1, name: 'Allowed' },
  deny: { action: 2, disposition: 2, name: 'Blocked' },
  escalate: { action: 4, disposition: 14, name: 'Delayed' },
  approved: { action: 1, disposition: 8, name: 'Approved' },
  rejected: { action: 2, disposition: 25, name: 'Rejected' },
  observe: { action: 3, disposition: 17, name: 'Logged' },
};

/** `chain:sequence`, the metadata.uid of a record. */
export function recordUid(chain: string, sequence: number): string {
  return `${chain}:${sequence}`;
}

/**
 * One OCSF record without its fingerprint. `event` must already be redacted. Top-level keys that sort before `attestation`
 * hold only scalars or our own words, which lets `chain.ts` place the fingerprint without serialising twice.
 */
export function toOcsf(event: LedgerEvent, place: Place): JsonObject {
  const classUid = ocsfClass[event.class];
  const category = Math.floor(classUid / 1000);
  const control = event.verdict === undefined ? undefined : controls[event.verdict];
  // Keys are written in canonical order at every level: see canonical.ts.
  return {
    ...(control && { action_id: control.action }),
    activity_id: event.activity,
    attestation: { chain_uid: place.chain, ...(place.previous && { prev_event: previousOf(place) }) },
    category_name: categoryNames[category] ?? 'Uncategorized',
    category_uid: category,
    class_name: classNames[event.class],
    class_uid: classUid,
    ...(control && { disposition: control.name, disposition_id: control.disposition }),
    message: event.message,
    metadata: {
      ...(event.correlation !== undefined && { correlation_uid: event.correlation }),
      logged_time: place.logged,
      product,
      profiles: control ? controlled : plain,
      sequence: place.sequence,
      uid: recordUid(place.chain, place.sequence),
      version: '1.9.0-dev',
    },
    policy: policyOf(event),
    severity: severityNames[event.severity] ?? 'Unknown',
    severity_id: event.severity,
    time: event.time,
    type_uid: classUid * 100 + event.activity,
    unmapped: {
      ...(event.data && { data: ordered(event.data as JsonObject) }),
      ...(event.decision && { decision: ordered(event.decision as unknown as JsonObject) }),
      layer: event.layer,
      sandbox: event.sandbox,
      source: { name: place.source.name, run: place.source.run, seq: place.source.seq },
      ...(event.verdict !== undefined && { verdict: event.verdict }),
    },
  };
}

const product = { name: 'NemoClaw', vendor_name: 'NemoClaw' };
const plain = ['record_integrity'];
const controlled = ['record_integrity', 'security_control'];

function previousOf({ chain, previous }: Place): JsonObject {
  return previous ? { fingerprint: fingerprintObject(previous.fingerprint), type_uid: previous.typeUid, uid: recordUid(chain, previous.sequence) } : {};
}

/** The `fingerprint` object of OCSF for a SHA-256 in hex. */
function fingerprintObject(value: string): JsonObject {
  return { algorithm: 'SHA-256', algorithm_id: 3, value };
}

/** `is_applied` is false in monitor mode: that is how OCSF says dry run. */
function policyOf(event: LedgerEvent): JsonObject {
  const rule = event.decision?.rules[0]?.id;
  return {
    is_applied: event.verdict !== 'observe',
    name: 'nemoclaw',
    ...(rule !== undefined && { uid: rule }),
    ...(event.decision && { version: String(event.decision.policyVersion) }),
  };
}
