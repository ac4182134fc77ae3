/** What is kept of a held request: as much as may be shown while it waits, nothing of what it carries after the decision. Pure. */
import type { RequestWire } from './record.ts';

/** The request without what it carries: action, method, host and path. This is what stays after the decision. */
export function withoutPayload(request: RequestWire): RequestWire {
  const { resource } = request;
  if (resource.kind === 'http') {
    const { kind, host, port, method, path, tls } = resource;
    return { ...request, params: [], resource: { kind, host, port, method, path, query: [], tls } };
  }
  return { ...request, params: [], resource: resource.kind === 'host' ? { kind: 'host', host: resource.host, port: resource.port } : resource };
}

/** The request without anything that its caller wrote: the place and the action. */
export function placeOf(request: RequestWire): RequestWire {
  const bare = withoutPayload(request);
  return bare.resource.kind === 'http' ? { ...bare, resource: { ...bare.resource, path: '/[redacted]' } } : bare;
}

/** The request as it is kept while it waits: without what its caller wrote, where `mask` finds something in that. */
export function keptRequest(request: RequestWire, mask: (text: string) => string): RequestWire {
  const { resource, params } = request;
  // With their names beside them, by which some are known.
  const asked = resource.kind === 'http' || resource.kind === 'host' ? [JSON.stringify(resource.message ?? {})] : [];
  const head = resource.kind === 'http' ? [resource.path, resource.query.map(([name, value]) => `${name}=${value}`).join('&'), JSON.stringify(resource.headers ?? {})] : [];
  const written = [...head, ...asked, ...params.map(([name, value]) => JSON.stringify({ [name]: value }))].join('\n');
  return mask(written) === written ? request : placeOf(request);
}
