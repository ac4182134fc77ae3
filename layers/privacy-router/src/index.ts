/** Door of the room: the Privacy Router of one sandbox. */
export { createRouter, type RouterOptions } from './create.ts';
export { defaultLimits, type Limits, type ResolvedTool, type RouterParts } from './parts.ts';
export { routerFor, type Router } from './router.ts';
