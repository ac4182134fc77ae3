/** Which conversations are spoken here instead of HTTP, and how each begins. */
import type { Socket } from 'node:net';
import type { TlsContexts } from '../tls/contexts.ts';
import type { Core } from '../core.ts';
import type { Place } from '../http/request-check.ts';
import { PostgresSession } from './postgres-session.ts';
import { RedisSession } from './redis-session.ts';
import { SmtpSession } from './smtp-session.ts';

const own = ['smtp', 'postgres', 'redis'] as const;
export type OwnProtocol = (typeof own)[number];

export function isOwnProtocol(handling: string): handling is OwnProtocol {
  return own.some((protocol) => protocol === handling);
}

/** Whether the client waits for our first word. At 465 mail is encrypted from its first byte on (RFC 8314). */
export function serverFirst(protocol: OwnProtocol, port: number): boolean {
  return protocol === 'smtp' && port !== 465;
}

export interface Spoken {
  readonly core: Core;
  readonly contexts: TlsContexts;
  readonly place: Place;
  /** Paused, with every byte it sent so far still unread. */
  readonly client: Socket;
}

/** Holds the conversation; whatever goes wrong ends it and no other. */
export function spokenBy(protocol: OwnProtocol, { core, contexts, place, client }: Spoken): void {
  const session =
    protocol === 'smtp' ? new SmtpSession({ core, contexts, place, client, starttls: core.ports.judge.starttls(place.name, place.port) })
    : protocol === 'postgres' ? new PostgresSession({ core, contexts, place, client })
    : new RedisSession(core, place, client);
  void session.run(client);
}
