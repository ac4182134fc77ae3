/** What the network layer asks of a policy besides decisions: names, ports, interception, upstream addresses. */
import { isIP } from 'node:net';
import type { HostLabel } from '@nemoclaw/contract';
import { atPort, decideConnect, decideName, isBlanket, type EgressGroup, type EgressRule } from './egress.ts';
import { canonicalHost, HostIndex } from './hosts.ts';
import type { EgressRuleIr, PolicyIr } from './ir.ts';

/**
 * `inspect`: HTTP, decrypted where it is TLS. `passthrough`: TLS is spliced unread. `raw`: any protocol is spliced. `unread`: both; only plain HTTP is read.
 * `smtp`, `postgres`, `redis`: that protocol is spoken and read, and nothing else is.
 */
export type Handling = 'inspect' | 'passthrough' | 'raw' | 'unread' | 'smtp' | 'postgres' | 'redis';

export interface Upstream {
  /** [] = resolve the name, public addresses only. */
  readonly addresses: readonly string[];
  /** Blocks that a resolved address must lie in, also private ones; [] = no such condition. */
  readonly within: readonly string[];
  /** File name of an extra trust anchor, or ''. */
  readonly ca: string;
}

export interface NetworkView {
  /** Whether any request to this host could be allowed or escalated. */
  isNameAllowed(host: string): boolean;
  /** Whether a rule says this very name: whoever asks for it chose no part of it. */
  isNamed(host: string): boolean;
  /** Ports on which something could be allowed or escalated, rising. */
  portsFor(host: string): readonly number[];
  /** Where a request to this host goes if nobody says more: by TLS to port 443, or to the one port that is open (plain if that is 80), as `https://host:443`; undefined if there are several. */
  originOf(host: string): string | undefined;
  /** Whether TLS to this host is opened. */
  interceptFor(host: string): boolean;
  /** Raw: a port other than 80 and 443 whose rules, denials too, say nothing of what is inside or of its size, where no action of the catalogue is carried out. A protocol of its own: where a rule names it. */
  handlingFor(host: string, port: number): Handling;
  /** `allowed` only where every rule for mail there says so. */
  starttlsFor(host: string, port: number): 'required' | 'allowed';
  upstreamsFor(host: string): Upstream;
  /** What its answers are labelled: the highest of all patterns that cover it. Undefined: not at all. */
  labelOf(host: string): HostLabel['level'] | undefined;
  /** Domain patterns (`name` or `*.suffix`) whose TLS is opened: the name constraints of the sandbox's intermediate. No addresses. */
  readonly interceptNames: readonly string[];
  readonly inspection: PolicyIr['inspection'];
}

export function networkView(ir: PolicyIr, index: HostIndex<EgressGroup>, hasHttpActions: (host: string) => boolean): NetworkView {
  const none = ir.networkNone !== null;
  const labels = new HostIndex<{ restricted: boolean }>();
  for (const { domain, level } of ir.labels ?? []) labels.at(isIP(domain) === 0 ? domain : canonicalHost(domain), () => ({ restricted: false })).restricted ||= level === 'restricted';
  const labelOf = (host: string): HostLabel['level'] | undefined => {
    if (ir.labels === undefined) return undefined;
    const covering = labels.covering(canonicalHost(host));
    return covering.length === 0 ? undefined : covering.some(({ restricted }) => restricted) ? 'restricted' : 'confidential';
  };
  const opened = (r: EgressRuleIr): boolean => r.protocol !== 'tcp' && (r.tls === '' ? ir.inspection.tlsDecrypt : r.tls === 'intercept');
  const passing = (group: EgressGroup): EgressRule[] => [...group.allow, ...group.escalate, ...group.lets];
  const opens = (group: EgressGroup): boolean => passing(group).some((r) => opened(r.ir));
  /** Groups that can let something through, the most specific first, up to the first that closes the host. */
  const open = (given: string): EgressGroup[] => {
    if (none) return [];
    const out: EgressGroup[] = [];
    for (const group of index.covering(canonicalHost(given))) {
      if (group.deny.some(isBlanket)) break;
      if (passing(group).length > 0) out.push(group);
      if (group.allow.length > 0) break;
    }
    return out;
  };
  /** Whether a rule takes something away by what is inside: then nothing that it holds for may pass unread. */
  const looked = (given: string, port: number | undefined, rules: readonly EgressRule[]): boolean => {
    // What comes from there is read.
    if (labelOf(given) !== undefined) return true;
    // At level `open` everything but the named hosts is unread; `unenforced` says what that means for a rule on all hosts.
    if (rules.every((r) => r.ir.domain === '*' && r.ir.ports.length === 0)) return false;
    for (const group of index.covering(canonicalHost(given))) {
      if (group.deny.some((r) => r.conditional && (port === undefined || atPort(r, port)))) return true;
      if (group.allow.length > 0) return false;
    }
    return false;
  };
  const exact = new Set(ir.egress.map(({ domain }) => canonicalHost(domain)));
  const named = (domain: string): boolean => domain !== '*' && isIP(domain) === 0;
  /** A name that the pattern covers, with nothing more specific than the pattern itself. */
  const sample = (domain: string): string => domain.replace(/^[*?]\./, 'nemoclaw-sample.');
  const alone = (domain: string): boolean => {
    const groups = open(sample(domain));
    return groups.length > 0 && !groups.some(opens) && looked(sample(domain), undefined, groups.flatMap(passing));
  };
  const read = ir.egress.filter((r) => named(r.domain) && (r.effect === 'deny' ? r.monitor !== true && alone(r.domain) : opened(r)));
  const interceptNames = [...new Set([...read, ...(ir.labels ?? []).filter(({ domain }) => named(domain))].map((r) => r.domain.replace(/^\?\./, '*.')))].toSorted();
  const portsFor = (host: string): number[] =>
    [...new Set(open(host).flatMap((g) => passing(g).flatMap((r) => r.ir.ports)))].filter((port) => decideConnect(index, canonicalHost(host), port).verdict !== 'deny').toSorted((a, b) => a - b);
  return {
    isNamed: (host) => exact.has(canonicalHost(host)),
    isNameAllowed: (host) => !none && decideName(index, canonicalHost(host)).verdict === 'allow',
    portsFor,
    originOf: (host) => {
      if (none) return undefined;
      const ports = portsFor(host);
      if (decideConnect(index, canonicalHost(host), 443).verdict !== 'deny') return `https://${host}:443`;
      const [only] = ports;
      return only === undefined || ports.length > 1 ? undefined : `${only === 80 ? 'http' : 'https'}://${host}:${only}`;
    },
    interceptFor: (host) => open(host).some(opens) || looked(host, undefined, open(host).flatMap(passing)),
    handlingFor: (host, port) => {
      const rules = open(host).flatMap(passing).filter((r) => r.ir.ports.length === 0 || r.ir.ports.includes(port));
      if (rules.length === 0) return 'inspect';
      // Who denies some of it on a port speaks it there, too.
      const denied = open(host).flatMap(({ deny }) => deny).filter((r) => r.ir.ports.includes(port));
      for (const own of ['smtp', 'postgres', 'redis'] as const) if ([...rules, ...denied].some((r) => r.ir.protocol === own)) return own;
      if (looked(host, port, rules)) return 'inspect';
      if (rules.every((r) => r.ir.protocol === 'tcp')) return 'unread';
      if (rules.every((r) => r.ir.tls === 'passthrough')) return rules.every((r) => r.ir.ports.length === 0) ? 'unread' : 'passthrough';
      const plain = rules.every((r) => r.ir.tls === '' && !r.conditional && r.ir.as === '');
      // A client that waits on a raw port is passed on unread, and with it a body of any size.
      const sized = rules.some((r) => r.ir.maxBody !== undefined || r.ir.onOversize !== undefined);
      if (plain && !sized && port !== 80 && port !== 443 && !hasHttpActions(canonicalHost(host))) return 'raw';
      return port === 443 && plain && !ir.inspection.tlsDecrypt ? 'passthrough' : 'inspect';
    },
    starttlsFor: (host, port) => {
      const rules = open(host).flatMap(passing).filter((r) => r.ir.protocol === 'smtp' && (r.ir.ports.length === 0 || r.ir.ports.includes(port)));
      return rules.length > 0 && rules.every((r) => r.ir.smtp?.starttls === 'allowed') ? 'allowed' : 'required';
    },
    upstreamsFor: (host) => {
      const rules = open(host).flatMap(passing);
      const addresses = [...new Set(rules.flatMap((r) => r.ir.addresses))];
      return { addresses: addresses.filter((one) => !one.includes('/')), within: addresses.filter((one) => one.includes('/')), ca: rules.find((r) => r.ir.ca !== '')?.ir.ca ?? '' };
    },
    labelOf,
    interceptNames,
    inspection: ir.inspection,
  };
}
