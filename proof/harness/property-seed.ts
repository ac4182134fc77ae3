/** Property tests of `npm test` draw the same examples every time, so that a run says something about the change and not about luck. PROPERTY_SEED=random explores; a number repeats. */
import fc from 'fast-check';

const given = process.env['PROPERTY_SEED'] ?? '20260101';
if (given !== 'random') fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(given) });
