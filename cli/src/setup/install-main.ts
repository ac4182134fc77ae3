/** Program called by the bootstrap: installs the copy, links `nemoclaw` for everybody unless a private root is used. */
import { lstatSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { installCopy } from './install-copy.ts';

const [from, prefix] = process.argv.slice(2);
if (!from || !prefix) throw new Error('usage: install-main.ts CHECKOUT PREFIX');
installCopy({ from, prefix, id: `${process.pid}-${process.hrtime.bigint()}`, own: process.getuid?.() === 0 });
if (prefix === '/opt/nemoclaw') linkForEverybody(join(prefix, 'bin/nemoclaw'));

/** Replaces only a link that points into the prefix; a program of that name that is not ours stays. */
function linkForEverybody(target: string): void {
  const link = '/usr/local/bin/nemoclaw';
  const there = lstatSync(link, { throwIfNoEntry: false });
  if (there?.isSymbolicLink() && readlinkSync(link) === target) return;
  if (there && !there.isSymbolicLink()) {
    process.stderr.write(`note: ${link} is another program and stays; use ${target}\n`);
    return;
  }
  rmSync(link, { force: true });
  symlinkSync(target, link);
}
