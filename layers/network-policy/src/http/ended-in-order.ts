/** Whether the other side of an HTTP/2 stream ended it, or Node did because it was reset. */
import type { Http2Stream } from 'node:http2';

/** Node ends what can be read of a stream, too, when that is reset with NO_ERROR; but that comes behind its close. To be called before anything of `stream` is read; a whole request may be there by the time that its head is told. */
export function endedInOrder(stream: Http2Stream): () => boolean {
  let ended = !stream.closed && stream.state.remoteClose === 1;
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    ended ||= chunk === null && !stream.closed;
    return push(chunk, encoding);
  };
  return () => ended;
}
