/** Why the guest cannot be had on this machine: not a failure of what is tested, but never silent. */

export class GuestUnavailable extends Error {
  override readonly name = 'GuestUnavailable';
}
