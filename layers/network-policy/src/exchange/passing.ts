/** One request as its hooks see it: made once for each, filled in as it is read and decided. */
import type { Core } from '../core.ts';
import type { Asked, Passing } from '../hooks.ts';
import type { HttpResource } from '../judge/judge.ts';
import { resourceOf } from '../judge/judge-request.ts';
import type { Judged } from '../judge/judge-request.ts';
import type { CheckedRequest, Place } from '../http/request-check.ts';

const nothingAsked: readonly Asked[] = [];

export class PassingRequest implements Passing {
  readonly core: Core;
  readonly place: Place;
  readonly checked: CheckedRequest;
  readonly correlation: string;
  asked: readonly Asked[] = nothingAsked;
  judged: Judged | undefined;
  foundInPath: boolean | undefined;
  keep: ((bytes: number) => boolean) | undefined;
  #path: string | undefined;
  #asked: Asked | undefined;
  #named: readonly string[] = [];
  #program: string | undefined;
  #resource: HttpResource | undefined;

  constructor(core: Core, place: Place, checked: CheckedRequest, correlation: string) {
    this.core = core;
    this.place = place;
    this.checked = checked;
    this.correlation = correlation;
  }

  /** The same object for the same question: what decided on it once need not look again. A new policy may speak of other headers, or of programs. */
  resource(path: string): HttpResource {
    const asked = this.asked[0];
    const named = this.core.ports.judge.headersNamed(this.place.name);
    const { program } = this.core.programAt(this.place);
    if (this.#resource && path === this.#path && asked === this.#asked && program === this.#program && (named === this.#named || (named.length === 0 && this.#named.length === 0))) return this.#resource;
    this.#path = path;
    this.#asked = asked;
    this.#named = named;
    this.#program = program;
    this.#resource = resourceOf(this.place, this.checked, path, named, asked, program);
    return this.#resource;
  }
}
