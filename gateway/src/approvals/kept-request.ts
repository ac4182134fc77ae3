/** What is kept and shown of a held request in which something stands that may be neither. Pure. */
import type { RequestWire } from './record.ts';

/** The request without what its caller wrote: the place and the action. */
export function placeOf(request: RequestWire): RequestWire {
  const { resource } = request;
  if (resource.kind === 'http') {
    const { kind, host, port, method, tls } = resource;
    return { ...request, params: [], resource: { kind, host, port, method, tls, path: '/[redacted]', query: [] } };
  }
  return { ...request, params: [], resource: resource.kind === 'host' ? { kind: 'host', host: resource.host, port: resource.port } : resource };
}

/** The request as it is kept: without what its caller wrote, where `mask` finds something in that. */
export function keptRequest(request: RequestWire, mask: (text: string) => string): RequestWire {
  const { resource, params } = request;
  // With their names beside them, by which some are known.
  const asked = resource.kind === 'http' || resource.kind === 'host' ? [JSON.stringify(resource.message ?? {})] : [];
  const head = resource.kind === 'http' ? [resource.path, resource.query.map(([name, value]) => `${name}=${value}`).join('&'), JSON.stringify(resource.headers ?? {})] : [];
  const written = [...head, ...asked, ...params.map(([name, value]) => JSON.stringify({ [name]: value }))].join('\n');
  return mask(written) === written ? request : placeOf(request);
}
