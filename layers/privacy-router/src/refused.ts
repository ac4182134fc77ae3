/** A request that the router does not pass on, with what the agent needs to do better. */

export interface Refusal {
  /** HTTP status: 400 not understood, 401 who are you, 403 not allowed, 413 too large, 429 too many at once. */
  readonly status: 400 | 401 | 403 | 413 | 429;
  readonly code: string;
  readonly rule: string;
  readonly message: string;
  readonly hint: string;
}

/** Thrown while a request is read; containers add their key on the way out, so `path` is only built for refused requests. */
export class RequestRefused extends Error {
  readonly refusal: Refusal;
  readonly #path: string[] = [];

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.name = 'RequestRefused';
    this.refusal = refusal;
  }

  /** Puts `segment` (`messages`, `[3]`) in front of the path. */
  inside(segment: string): this {
    this.#path.unshift(segment);
    return this;
  }

  /** JSON path of the field, e.g. `messages[3].content[0].image_url`; '' for the whole request. */
  get path(): string {
    return this.#path.join('.').replaceAll('.[', '[');
  }

  /** The body of the answer, in the shape that OpenAI clients show. */
  body(): string {
    const { code, rule, hint, message, status } = this.refusal;
    const type = status === 403 ? 'denied_by_policy' : status === 401 ? 'authentication_error' : 'invalid_request_error';
    const where = this.path;
    return JSON.stringify({ error: { message: where === '' ? message : `${message} (${where})`, type, code, rule, hint, param: where === '' ? null : where } });
  }
}

/** Refused by the allow-list: understood, or unknown, but not something that may leave. */
export function denied(code: string, message: string, hint: string): RequestRefused {
  return new RequestRefused({ status: 403, code, rule: `router.${code}`, message, hint });
}

/** Refused because it is not what the dialect describes. */
export function malformed(message: string): RequestRefused {
  return new RequestRefused({ status: 400, code: 'malformed', rule: 'router.malformed', message, hint: 'Send the request as the API describes it.' });
}
