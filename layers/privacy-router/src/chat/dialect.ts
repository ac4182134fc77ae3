/** OpenAI chat completions, as a dialect of the router. */
import type { Dialect } from '../dialect.ts';
import { ChatReader } from './answer.ts';
import { chatCallIds, isChatRepeatNote, restoreChat } from './history.ts';
import { chatUpstreamBody, chatRequestReader } from './request.ts';
import { ChatWriter } from './write.ts';

/** `maxDepth`: of JSON that is passed on as it is, such as tool schemas. */
export const chatDialect = (maxDepth: number): Dialect => ({
  turnPath: '/v1/chat/completions',
  upstreamPath: '/chat/completions',
  readTurn: chatRequestReader(maxDepth),
  restore: restoreChat,
  callIds: chatCallIds,
  isRepeatNote: isChatRepeatNote,
  upstreamBody: chatUpstreamBody,
  reader: (answer, newId, maxAnswer, maxCalls) => new ChatReader(answer, newId, maxAnswer, maxCalls),
  writer: (answer, wantsUsage) => new ChatWriter(answer, wantsUsage),
  models: (models, created) =>
    JSON.stringify({ object: 'list', data: models.map(({ id, owner }) => ({ id, object: 'model', created, owned_by: owner })) }),
});
