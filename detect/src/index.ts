/** Door of `detect`: the one pack of detectors of personal data and secrets. */
export { findingTypes, type Finding, type FindingType } from './finding.ts';
export { compileKnown, maskKnown, type Known, type KnownSet } from './known.ts';
export { redact, redactForCard, shownOnCards } from './redact.ts';
export { Scanner } from './stream.ts';
export { scan, type Scan, type ScanOptions } from './scan.ts';
export { fastestScan, hyperscanLibrary, type ToldScanner } from './hyperscan.ts';
export { evaluate, type Score } from './evaluate.ts';
