/** Ranges of rows (PostgREST's `Range-Unit: items`): a page of whole rows is a document of its own, in which a value stands whole or not at all; a range of bytes cuts values. */
import { valuesOf } from '../http/fields.ts';

/** Units known to count rows; any other may count characters. */
const unit = '(?:items|rows|records)';
const isUnit = new RegExp(`^${unit}$`, 'i');
const withUnit = new RegExp(`^${unit}=\\d+-\\d*$`, 'i');
const bare = /^\d+-\d*$/;
const told = new RegExp(`^(?:${unit}[ =])?\\d+-\\d+/(?:\\d+|\\*)$`, 'i');

/** Whether a request asks for one range, of rows. `fields`: name, value, name, value… */
export function asksForRows(fields: readonly string[]): boolean {
  const [range = '', ...more] = valuesOf(fields, 'range');
  const units = valuesOf(fields, 'range-unit');
  return more.length === 0 && units.every((one) => isUnit.test(one)) && (withUnit.test(range) || (units.length > 0 && bare.test(range)));
}

/** Whether an answer says that it is a page of rows and nothing else; also one that no range was asked of: PostgREST answers so to `?limit=10`, too. */
export function isPageOfRows(fields: readonly string[]): boolean {
  const [range = '', ...more] = valuesOf(fields, 'content-range');
  return more.length === 0 && told.test(range) && valuesOf(fields, 'range-unit').every((one) => isUnit.test(one)) && !valuesOf(fields, 'content-type').some((type) => /^multipart\//i.test(type));
}
