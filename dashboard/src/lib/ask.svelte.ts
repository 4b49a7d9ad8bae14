// Questions to the person, one at a time: a reason for what is asked of the bot, and who they are, once more.
export interface Question {
  title: string;
  text: string;
  /** Named consequences, one a line. */
  points?: string[];
  yes: string;
  danger?: boolean;
  /** The reason is kept in the journal; without one none is asked for. */
  reason?: string;
  /** A word to be typed, where a slip would be costly. */
  word?: string;
}

class Ask {
  question = $state.raw<Question | null>(null);
  confirming = $state.raw<{ why: string } | null>(null);
  #answer: ((reason: string | null) => void) | null = null;
  #confirmed: ((yes: boolean) => void) | null = null;

  /** The reason given, "" where none was asked for; null when the person let it be. */
  open(question: Question): Promise<string | null> {
    this.#answer?.(null);
    this.question = question;
    return new Promise((resolve) => (this.#answer = resolve));
  }

  answer(reason: string | null): void {
    this.question = null;
    this.#answer?.(reason);
    this.#answer = null;
  }

  confirm(why: string): Promise<boolean> {
    this.#confirmed?.(false);
    this.confirming = { why };
    return new Promise((resolve) => (this.#confirmed = resolve));
  }

  confirmed(yes: boolean): void {
    this.confirming = null;
    this.#confirmed?.(yes);
    this.#confirmed = null;
  }
}

export const ask = new Ask();
