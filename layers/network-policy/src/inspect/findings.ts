/** What inspection found in one message, and what the policy wants done about it. */
import type { FindingType } from '@nemoclaw/detect';

export type Action = 'block' | 'redact' | 'escalate' | 'log';
/** Classes as a policy names them. */
export type Class = Exclude<FoundType, 'known-secret'>;
/** `tainted`: what came from a labelled host. */
export type FoundType = FindingType | 'tainted';

export interface Found {
  readonly type: FoundType;
  readonly kind: string;
  readonly confidence: number;
  /** Where it stood, in words: never what it was. */
  readonly place: string;
  /** It was found in something that had to be decoded further. */
  readonly decoded?: true;
  /** How many like it stand there, if more than one. */
  readonly times?: number;
}

/** What a policy says under `inspection`; what it leaves unsaid is filled in here. */
export interface InspectionSettings {
  readonly scanForPII: boolean;
  readonly actions?: Readonly<Partial<Record<string, Action>>>;
  readonly responses?: boolean | { readonly actions: Readonly<Partial<Record<string, Action>>> };
  readonly maxBody?: number;
}

/**
 * What happens where the policy says nothing. Cards, social security numbers, account numbers and credentials are hardly ever what an agent should send;
 * addresses and phone numbers are what most services are about, so that they are only put on record. What came from a labelled host goes on where a person says so.
 */
const defaultActions: Readonly<Record<Class, Action>> = { secret: 'block', 'credit-card': 'block', 'us-ssn': 'block', iban: 'block', email: 'log', phone: 'log', ip: 'log', tainted: 'escalate' };

/** Where the policy does not name its class, a finding acts only if it is this sure: a long password field, or a random value behind a word, is on record and no more. */
const sure = 0.9;

/** Whether a finding is sure, or of a class that the policy names: then all that looks like it is meant. */
export function counts({ type, confidence }: Pick<Found, 'type' | 'confidence'>, { actions }: InspectionSettings): boolean {
  return confidence >= sure || actions?.[type] !== undefined;
}

/** The sandbox's own credentials never leave, whatever the policy says. */
export function actionFor(found: Found, settings: InspectionSettings): Action {
  if (found.type === 'known-secret') return 'block';
  if (!counts(found, settings)) return 'log';
  // The policy labelled its source, so that what it says of all else makes it no milder.
  if (found.type === 'tainted') return settings.actions?.['tainted'] ?? (settings.actions?.['default'] === 'block' ? 'block' : defaultActions.tainted);
  return settings.actions?.[found.type] ?? settings.actions?.['default'] ?? defaultActions[found.type];
}

/** The same for answers: what the policy does not name there is put on record. Undefined: they are not searched. */
export function answerSettings(settings: InspectionSettings): InspectionSettings | undefined {
  if (!settings.scanForPII || settings.responses === false) return undefined;
  return { ...settings, actions: { default: 'log', ...(typeof settings.responses === 'object' ? settings.responses.actions : {}) } };
}

/** Whether anything that is found could be more than put on record. */
export function acts({ actions }: InspectionSettings): boolean {
  return Object.values(actions ?? {}).some((action) => action !== 'log');
}

const rank: Readonly<Record<Action, number>> = { log: 0, redact: 1, escalate: 2, block: 3 };

/** The finding whose action is the strictest, with that action; undefined where nothing was found. */
export function strictest(all: readonly Found[], settings: InspectionSettings): { readonly found: Found; readonly action: Action } | undefined {
  let worst: { readonly found: Found; readonly action: Action } | undefined;
  for (const found of all) {
    const action = actionFor(found, settings);
    if (!worst || rank[action] > rank[worst.action]) worst = { found, action };
  }
  return worst;
}

/** Which classes a card does not show: all that were not merely put on record. */
export function hiddenOf(all: readonly Found[], settings: InspectionSettings): ReadonlySet<string> {
  const acted = all.filter((found) => actionFor(found, settings) !== 'log' || found.type === 'secret');
  return new Set(acted.flatMap(({ type, decoded }) => (decoded ? [type, 'decoded'] : [type])));
}

/** `credit-card 2, email 1`: how many of each class, for the record. */
export function numbersOf(all: readonly Found[]): Readonly<Record<string, number>> {
  const out: Record<string, number> = {};
  for (const { type, times = 1 } of all) out[type] = (out[type] ?? 0) + times;
  return out;
}

/** Words for a class, for messages to agents and people. */
export const classWords: Readonly<Record<FoundType, string>> = {
  secret: 'a credential', 'credit-card': 'a payment card number', 'us-ssn': 'a social security number', iban: 'a bank account number', email: 'an email address', phone: 'a phone number', ip: 'an IP address',
  'known-secret': 'a credential of this sandbox', tainted: 'a value from a labelled host',
};
