/** Door of `detect`: the one pack of detectors of personal data and secrets. */
export { findingTypes, type Finding, type FindingType } from './finding.ts';
export { compileKnown, maskKnown, type Known, type KnownSet } from './known.ts';
export { redact } from './redact.ts';
export { Scanner } from './stream.ts';
export { scan, type ScanOptions } from './scan.ts';
export { evaluate, type Score } from './evaluate.ts';
