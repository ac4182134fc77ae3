/** Reads a GraphQL document as far as a rule asks: its operations, their names and their top-level fields, with fragments and aliases resolved. Pure. */
import { GraphqlProblem, tokenize } from './graphql-tokens.ts';
import type { Token } from './graphql-tokens.ts';

export interface GraphqlOperation {
  readonly operation: 'query' | 'mutation' | 'subscription';
  /** '' where it has none. */
  readonly name: string;
  /** Names of the fields at the top, never aliases, each once, sorted. */
  readonly fields: readonly string[];
}

/** What stands at the top of a selection: a field, another fragment, or a selection without a name of its own. */
interface Selection {
  readonly fields: readonly string[];
  readonly spreads: readonly string[];
}

const deepest = 100;

/** The operations of an executable document. Throws GraphqlProblem for everything that is not one, or that servers could read differently. */
export function readGraphqlDocument(source: string): readonly GraphqlOperation[] {
  return new DocumentReader(tokenize(source)).document();
}

class DocumentReader {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  document(): readonly GraphqlOperation[] {
    const operations: { operation: GraphqlOperation['operation']; name: string; top: Selection }[] = [];
    const fragments = new Map<string, Selection>();
    while (this.#here.kind !== 'end') {
      const { kind, text } = this.#here;
      if (kind === 'mark' && text === '{') operations.push({ operation: 'query', name: '', top: this.#selections() });
      else if (kind === 'name' && (text === 'query' || text === 'mutation' || text === 'subscription')) operations.push(this.#operation(text));
      else if (kind === 'name' && text === 'fragment') {
        const [name, top] = this.#fragment();
        if (fragments.has(name)) throw new GraphqlProblem('the GraphQL document has the same fragment twice');
        fragments.set(name, top);
      } else throw new GraphqlProblem('the GraphQL document has a part that is neither an operation nor a fragment');
    }
    if (operations.length === 0) throw new GraphqlProblem('the GraphQL document has no operation');
    if (operations.length > 1 && new Set(operations.map((o) => o.name)).size < operations.length) throw new GraphqlProblem('the GraphQL document has two operations of one name');
    if (operations.length > 1 && operations.some((o) => o.name === '')) throw new GraphqlProblem('the GraphQL document has an operation without a name beside others');
    return operations.map(({ operation, name, top }) => ({ operation, name, fields: topFields(top, fragments) }));
  }

  #operation(operation: GraphqlOperation['operation']): { operation: GraphqlOperation['operation']; name: string; top: Selection } {
    this.#at += 1;
    const name = this.#here.kind === 'name' ? this.#name() : '';
    if (this.#is('(')) this.#list('(', ')', () => this.#variable());
    this.#directives();
    return { operation, name, top: this.#selections() };
  }

  #fragment(): [string, Selection] {
    this.#at += 1;
    const name = this.#name();
    if (name === 'on') throw new GraphqlProblem('a GraphQL fragment cannot be named on');
    this.#word('on');
    this.#name();
    this.#directives();
    return [name, this.#selections()];
  }

  #variable(): void {
    this.#mark('$');
    this.#name();
    this.#mark(':');
    this.#type();
    if (this.#is('=')) {
      this.#at += 1;
      this.#value(true);
    }
    this.#directives();
  }

  #type(): void {
    this.#deeper(() => {
      if (this.#is('[')) {
        this.#at += 1;
        this.#type();
        this.#mark(']');
      } else this.#name();
      if (this.#is('!')) this.#at += 1;
    });
  }

  #selections(): Selection {
    const fields: string[] = [];
    const spreads: string[] = [];
    this.#deeper(() => this.#list('{', '}', () => this.#selection(fields, spreads)));
    return { fields, spreads };
  }

  #selection(fields: string[], spreads: string[]): void {
    if (!this.#is('...')) {
      fields.push(this.#field());
      return;
    }
    this.#at += 1;
    if (this.#here.kind === 'name' && this.#here.text !== 'on') {
      spreads.push(this.#name());
      this.#directives();
      return;
    }
    if (this.#here.kind === 'name') {
      this.#at += 1;
      this.#name();
    }
    this.#directives();
    // An inline fragment is part of the level it stands on.
    const inside = this.#selections();
    fields.push(...inside.fields);
    spreads.push(...inside.spreads);
  }

  #field(): string {
    let name = this.#name();
    if (this.#is(':')) {
      this.#at += 1;
      name = this.#name();
    }
    if (this.#is('(')) this.#list('(', ')', () => this.#argument(false));
    this.#directives();
    if (this.#is('{')) this.#selections();
    return name;
  }

  #argument(constant: boolean): void {
    this.#name();
    this.#mark(':');
    this.#value(constant);
  }

  #directives(): void {
    while (this.#is('@')) {
      this.#at += 1;
      this.#name();
      if (this.#is('(')) this.#list('(', ')', () => this.#argument(false));
    }
  }

  #value(constant: boolean): void {
    this.#deeper(() => {
      const { kind, text } = this.#here;
      if (kind === 'name' || kind === 'number' || kind === 'string') this.#at += 1;
      else if (text === '$' && !constant) {
        this.#at += 1;
        this.#name();
      } else if (text === '[') this.#list('[', ']', () => this.#value(constant), true);
      else if (text === '{') this.#list('{', '}', () => this.#argument(constant), true);
      else throw new GraphqlProblem('the GraphQL document has a broken value');
    });
  }

  #list(open: string, close: string, item: () => void, mayBeEmpty = false): void {
    this.#mark(open);
    if (!mayBeEmpty && this.#is(close)) throw new GraphqlProblem('the GraphQL document has empty brackets');
    while (!this.#is(close)) item();
    this.#at += 1;
  }

  #deeper(inside: () => void): void {
    this.#depth += 1;
    if (this.#depth > deepest) throw new GraphqlProblem('the GraphQL document is nested too deeply');
    inside();
    this.#depth -= 1;
  }

  get #here(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '' };
  }
  #is(text: string): boolean {
    return this.#here.kind === 'mark' && this.#here.text === text;
  }
  #mark(text: string): void {
    if (!this.#is(text)) throw new GraphqlProblem(`the GraphQL document lacks a ${text}`);
    this.#at += 1;
  }
  #word(text: string): void {
    if (this.#name() !== text) throw new GraphqlProblem(`the GraphQL document lacks the word ${text}`);
  }
  #name(): string {
    const { kind, text } = this.#here;
    if (kind !== 'name') throw new GraphqlProblem('the GraphQL document lacks a name');
    this.#at += 1;
    return text;
  }
}

/** Directives such as @skip take nothing away here: what may be asked for counts as asked for. */
function topFields(top: Selection, fragments: ReadonlyMap<string, Selection>): string[] {
  const fields = new Set(top.fields);
  const seen = new Set<string>();
  const open = [...top.spreads];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const fragment = fragments.get(name);
    if (!fragment) throw new GraphqlProblem('the GraphQL document uses a fragment that it does not have');
    for (const field of fragment.fields) fields.add(field);
    open.push(...fragment.spreads);
  }
  return [...fields].toSorted();
}
