/** Door of `ledger`: the record (OCSF events in a hash chain), its reader, its verification, its sinks, and the way to it from other processes. */
export { openLedger, type LedgerOptions, type LedgerStatus, type LedgerWriter, type SourceHandle } from './writer.ts';
export { LedgerReader, type TailQuery } from './reader.ts';
export { LinkSink, type LinkSinkOptions } from './link-sink.ts';
export { serveLink, type LinkSourceOptions } from './link-source.ts';
export { redactor, type Json, type JsonObject, type Redact, type RedactorOptions } from './redactor.ts';
export { verifyLedger, type Finding, type FindingKind, type Report, type VerifyOptions } from './verify.ts';
export { checkpointText } from './checkpoints.ts';
export { exposition, expositionType, metrics, type Metric, type MetricName, type Sample } from './metrics.ts';
export { readExposition, type ReadMetrics, type ReadSample } from './exposition-check.ts';
export { feedSink, fileDelivery, type SinkFeed } from './sink-feed.ts';
export { toOcsf, controls, type Place } from './ocsf.ts';
export type { RecentRecord } from './recent.ts';
export type { Sign, Why } from './checkpoint-signer.ts';
