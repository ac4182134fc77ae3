/** What is true of every request that has no body: there is nothing to wait for, and nothing behind it. */
export abstract class Bodiless {
  uploaded(): boolean {
    return true;
  }
  complete(): boolean {
    return true;
  }
  trailers(): readonly string[] {
    return [];
  }
  goOn(): void {}
}
