// Something read from the API: not there yet, there, or not to be had, each of which a page draws.
import type { Problem } from './api';

export class Load<T> {
  value = $state.raw<T | null>(null);
  problem = $state<string | null>(null);
  busy = $state(false);
  #turn = 0;
  #shown = 0;

  constructor(private readonly read: () => Promise<T>) {}

  /** Read it (again). What was there stays until the new one has come. */
  async now(): Promise<void> {
    const turn = ++this.#turn;
    this.busy = true;
    try {
      const value = await this.read();
      if (turn < this.#shown) return; // a later one was quicker
      this.#shown = turn;
      this.value = value;
      this.problem = null;
    } catch (problem) {
      if (turn === this.#turn) this.problem = (problem as Problem).message;
    } finally {
      if (turn === this.#turn) this.busy = false;
    }
  }

  clear(): void {
    this.#shown = ++this.#turn;
    this.value = null;
    this.problem = null;
  }
}
