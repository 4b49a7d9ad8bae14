// The first question of all: am I safe? One answer from everything that is known, worst news first.
import type { Breaker, Position, Status } from './shapes';
import { span } from './time';

export type Level = 'good' | 'warn' | 'bad' | 'none';
export interface Safety {
  level: Level;
  /** For a picture and for tests: what is the matter. */
  kind: 'unknown' | 'stale' | 'unprotected' | 'not-running' | 'books' | 'entries-off' | 'protected' | 'flat';
  title: string;
  detail: string;
}

interface Known {
  status?: Status;
  positions?: Position[] | null;
  breaker?: Breaker | null;
  stale: boolean;
  silent_ms: number;
}

const count = (number: number, word: string) => `${number} ${word}${number === 1 ? '' : 's'}`;

export function safety({ status, positions, breaker, stale, silent_ms }: Known): Safety {
  if (!status) return { level: 'none', kind: 'unknown', title: 'Connecting', detail: 'Nothing is known yet.' };
  if (stale) {
    const since = Number.isFinite(silent_ms) ? `No news for ${span(Math.floor(silent_ms / 1_000) * 1_000)}. ` : '';
    return { level: 'warn', kind: 'stale', title: 'Out of touch', detail: `${since}What you see is old; stops that rest at the exchange stay there. Connecting again.` };
  }
  const odd = status.problem === null ? '' : ` ${sentence(status.problem)}`;
  if (!status.running) {
    const seen = positions ? 'You see what its journal left.' : 'What it holds is not known.';
    return { level: 'bad', kind: 'not-running', title: 'The bot is not running', detail: `${seen}${odd} Stops that rest at the exchange stay there.` };
  }
  if (!positions) return { level: 'warn', kind: 'unknown', title: 'Not known', detail: `What is held is not known.${odd}` };
  const held = positions;
  const naked = held.filter((position) => position.unprotected_ms !== null);
  if (naked.length) {
    const worst = Math.max(...naked.map((position) => position.unprotected_ms ?? 0));
    return { level: 'bad', kind: 'unprotected', title: `Unprotected for ${span(Math.floor(worst / 1_000) * 1_000 || worst)}`, detail: `${naked.map((position) => position.symbol).join(', ')}: no stop rests at the exchange. The bot is placing one, and sells when it cannot.` };
  }
  const kept = held.length ? `${count(held.length, 'position')}, ${held.length === 1 ? 'with its' : 'each with a'} stop resting at the exchange.` : 'Nothing is held.';
  if (status.differences?.length) {
    return { level: 'bad', kind: 'books', title: 'Books differ from the exchange', detail: `${status.differences.join('; ')}. ${kept}` };
  }
  const off = breaker?.off ?? status.entries_off;
  if (off) return { level: 'warn', kind: 'entries-off', title: 'Entries are off', detail: `${sentence(off)} ${kept}` };
  if (!held.length) return { level: 'good', kind: 'flat', title: 'Flat', detail: 'Nothing is held, so nothing is at risk. Entries are on.' };
  return { level: 'good', kind: 'protected', title: 'Protected', detail: `${kept} Entries are on.` };
}

export function sentence(text: string): string {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}
