/** The bounds that the specification states, so that a run says by itself which are kept on this machine. */
import type { Figure } from './figure.ts';

export interface Target {
  readonly p50?: number;
  readonly p99?: number;
  /** At least, instead of at most. */
  readonly least?: true;
}

/** In the figure's unit; a test compares the numbers with the specification's row. */
export const targets: Readonly<Record<string, Target>> = {
  'syscall.getpid': { p50: 0.1 },
  'syscall.getpid.ruled': { p50: 0.1 },
  'syscall.open': { p50: 1, p99: 5 },
  'syscall.unlink': { p50: 1, p99: 5 },
  'syscall.rename': { p50: 1, p99: 5 },
  'syscall.creat': { p50: 1, p99: 5 },
  'syscall.mkdir': { p50: 1, p99: 5 },
  'syscall.exec': { p50: 1, p99: 5 },
  'syscall.connect': { p50: 2, p99: 10 },
  'syscall.unlink.ruled': { p50: 10, p99: 25 },
  'syscall.rename.ruled': { p50: 10, p99: 25 },
  'syscall.open.ruled': { p50: 10, p99: 25 },
  'syscall.creat.ruled': { p50: 10, p99: 25 },
  'syscall.mkdir.ruled': { p50: 10, p99: 25 },
  'syscall.connect.ruled': { p50: 10, p99: 25 },
  'syscall.exec.ruled': { p50: 10, p99: 25 },
  'sandbox.launch': { p50: 4 },
  'sandbox.launch.alone': { p50: 2 },
  'sandbox.create': { p50: 20, p99: 60 },
  'sandbox.destroy': { p50: 50 },
  'sandbox.memory': { p50: 2 },
  'pipeline.first': { p50: 100 },
  'pipeline.later': { p50: 15 },
  'network.apply': { p50: 2, p99: 15 },
  'policy.decide': { p50: 0.5, p99: 5 },
  'router.added': { p50: 0.1, p99: 2 },
  'router.added.100k': { p50: 0.5, p99: 2 },
  'proxy.added': { p50: 60 },
  'proxy.rate': { p50: 20_000, least: true },
  'proxy.handshakes': { p50: 700, least: true },
  'proxy.fairness': { p99: 3 },
  'ledger.append': { p50: 20, p99: 200 },
  'ledger.commit': { p50: 2, p99: 10 },
  'cli.start': { p50: 60 },
  'cli.start.list': { p50: 150 },
  'approval.resume': { p99: 100 },
  'pii.throughput': { p50: 60, least: true },
  'pii.throughput.hyperscan': { p50: 300, least: true },
  'pii.precision': { p50: 0.97, least: true },
  'pii.recall': { p50: 0.98, least: true },
};

/** `kept`, `missed`, `noise` (the machine's own noise is above the bound, so this run cannot tell), or '' where nothing is promised. */
export function verdict(name: string, figure: Figure): '' | 'kept' | 'missed' | 'noise' {
  const target = targets[name];
  if (!target) return '';
  const keeps = (value: number, bound: number | undefined): boolean => bound === undefined || (target.least ? value >= bound : value <= bound);
  if (!keeps(figure.p50, target.p50)) return 'missed';
  if (keeps(figure.p99, target.p99)) return 'kept';
  // Only where the peer is what is added to nothing: the noise alone.
  return name.startsWith('syscall.') && !keeps(figure.peers?.['plain']?.p99 ?? 0, target.p99) ? 'noise' : 'missed';
}

/** `≤ 1 / ≤ 5`, or '' where nothing is promised. */
export function bounds(name: string): string {
  const target = targets[name];
  if (!target) return '';
  const sign = target.least ? '≥' : '≤';
  return [target.p50, target.p99].map((bound) => (bound === undefined ? '–' : `${sign} ${bound}`)).join(' / ').replace(/ \/ –$/, '');
}
