/** Boots the guest in qemu and streams what its script prints. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { Kernel } from './fetch.ts';

export interface Machine {
  readonly kernel: Kernel;
  readonly firstRoot: string;
  /** Raw images: root, checkout, extra files. What the guest writes to them is thrown away. */
  readonly disks: readonly string[];
  /** File for the kernel's own messages. */
  readonly console: string;
  /** The guest is ended after that. */
  readonly seconds: number;
  /** Each line as the guest's script prints it. */
  readonly onLine: (line: string) => void;
  /** More words for the kernel's command line. */
  readonly append?: string;
}

/** How the script ended; `undefined`: it did not (`why` says it). */
export type Ended = { readonly code: number } | { readonly code: undefined; readonly why: string };

const commandLine = 'console=ttyS0 quiet transparent_hugepage=never panic=-1 mitigations=off random.trust_cpu=on lsm=landlock,lockdown,yama,bpf';

function qemuArguments(machine: Machine): string[] {
  return [
    // Emulation: nested hardware virtualisation is missing on most machines that run tests, and broken on some. Node's engine fails now and then where protection keys are emulated; and
    // after cmpxchg16b (cx16), which the kernel's allocator uses, qemu 7.2 may keep flags that nobody set: an interrupt just then ends the kernel by a trap.
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max,pku=off,la57=off,cx16=off', '-smp', '2', '-m', '2048', '-display', 'none', '-no-reboot', '-nodefaults', '-no-user-config'],
    ...['-kernel', machine.kernel.image, '-initrd', machine.firstRoot, '-append', `${commandLine} ${machine.append ?? ''}`],
    // The port must be the first virtio device: init opens it as vport0p1.
    ...['-device', 'virtio-serial-pci', '-chardev', 'stdio,id=out,signal=off', '-device', 'virtserialport,chardev=out,name=out'],
    ...['-serial', `file:${machine.console}`, '-device', 'virtio-rng-pci'],
    ...machine.disks.flatMap((file) => ['-drive', `file=${file},if=virtio,format=raw,snapshot=on,cache=unsafe`]),
  ];
}

/** Resolves when the guest is off. */
export async function boot(machine: Machine): Promise<Ended> {
  closeSync(openSync(machine.console, 'w'));
  // Its stdin stays open: without it qemu takes the port for unplugged.
  const qemu = spawn('/usr/bin/qemu-system-x86_64', qemuArguments(machine), { stdio: ['pipe', 'pipe', 'pipe'] });
  let code: number | undefined;
  let late = false;
  let complaint = '';
  let pending = '';
  const stop = (): void => void qemu.kill('SIGKILL');
  const timer = setTimeout(() => {
    late = true;
    stop();
  }, machine.seconds * 1000);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const interrupted = (): void => {
    stop();
    process.exitCode = 130;
  };
  for (const signal of signals) process.on(signal, interrupted);
  const take = (line: string): void => {
    const end = /^\u001eGUEST EXIT (\d+)$/.exec(line);
    if (end) code = Number(end[1]);
    else machine.onLine(line);
  };
  qemu.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (pending + text).split('\n');
    pending = lines.pop() ?? '';
    for (const line of lines) take(line);
  });
  qemu.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  try {
    await new Promise<void>((resolve, reject) => qemu.on('error', reject).on('close', () => resolve()));
  } finally {
    clearTimeout(timer);
    for (const signal of signals) process.off(signal, interrupted);
  }
  if (pending !== '') take(pending);
  if (code !== undefined) return { code };
  const said = readFileSync(machine.console, 'utf8').trim().split('\n');
  const died = said.findIndex((line) => /BUG:|Oops|traps:|general protection|Kernel panic/.test(line));
  const last = said.slice(died < 0 ? -12 : died).slice(0, 60).join('\n');
  return { code: undefined, why: late ? `no end after ${machine.seconds} s\n${last}` : `the guest stopped before its script ended\n${complaint}${last}` };
}
