/** `npm run conformance -- [--seed N] [--policies N] [--operations N] [--asked delete,rename…] [--exec] [--plain UID]`: what `explain` says against what the kernel does, in this machine's tier, or as a plain user in tier C. */
import { parseArgs } from 'node:util';
import { compareAll, shown } from './cases.ts';
import { asPlainUser, withDaemon } from './compare.ts';
import type { AskedOp } from './generate.ts';

const { values } = parseArgs({ options: { seed: { type: 'string', default: '1' }, policies: { type: 'string', default: '40' }, operations: { type: 'string', default: '50' }, asked: { type: 'string', default: 'delete,rename,write,create,read,connect' }, exec: { type: 'boolean', default: false }, plain: { type: 'string' } } });
const begun = performance.now();
const sums = await compareAll({ seed: Number(values.seed), policies: Number(values.policies), operations: Number(values.operations), asked: values.asked.split(',').filter(Boolean) as AskedOp[], execRules: values.exec }, values.plain === undefined ? withDaemon : asPlainUser(Number(values.plain)));
for (const one of sums.disagreements) console.log(shown(one));
console.log(`tier ${sums.tier}: ${sums.operations} operations of ${sums.policies} policies (${sums.refused} refused), ${JSON.stringify(sums.verdicts)}, ${((performance.now() - begun) / 1000).toFixed(1)} s`);
console.log(`\n${sums.operations - sums.disagreements.length} passed, ${sums.disagreements.length} failed`);
process.exitCode = sums.disagreements.length === 0 && sums.operations > 0 ? 0 : 1;
