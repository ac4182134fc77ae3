/** What is kept and shown of a held request in which something stands that may be neither. Pure. */
import type { RequestWire } from './record.ts';

/** The request without what its caller wrote: the place and the action. */
export function placeOf(request: RequestWire): RequestWire {
  const { resource } = request;
  return { ...request, params: [], resource: resource.kind === 'http' ? { ...resource, path: '/[redacted]', query: [] } : resource };
}

/** The request as it is kept: without what its caller wrote, where `mask` finds something in that. */
export function keptRequest(request: RequestWire, mask: (text: string) => string): RequestWire {
  const { resource, params } = request;
  // With their names beside them, by which some are known.
  const written = [...(resource.kind === 'http' ? [resource.path, resource.query.map(([name, value]) => `${name}=${value}`).join('&')] : []), ...params.map(([name, value]) => JSON.stringify({ [name]: value }))].join('\n');
  return mask(written) === written ? request : placeOf(request);
}
