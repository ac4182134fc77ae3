/** Door of the gateway: the composition and its API, for tests and benchmarks; the process itself is in processes/gateway.ts. */
export { openGateway, type Gateway } from './compose.ts';
export { serveApi, type ApiServer, type ServerOptions } from './api/server.ts';
export type { Backend, ExecRequest, OcsfRecord, RecordReader, Started } from './backend.ts';
export type { House, Plan, PlanRequest, Ports } from './house.ts';
export { MemoryStore } from './store/memory-store.ts';
export { SqliteStore } from './store/sqlite-store.ts';
export { systemClock, systemIds } from './clock.ts';
