// The stream: one socket, a snapshot, then what changes. What is on the page is never older than it says.
import { freshToken } from './api';
import type { Entry, RecordsBegin, Topics } from './shapes';

const TOPICS = ['status', 'prices', 'positions', 'orders', 'decisions', 'alarms', 'breaker', 'connection', 'round_trips', 'records'];
const PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000];
const TOKEN_LOOK_MS = 60_000;
const RECORDS_KEPT = 300;
export const STALE_MS = 5_000;

type Link = 'off' | 'connecting' | 'open' | 'lost';
type Said =
  | { type: 'snapshot'; seq: number; data: Partial<Topics> & { records?: RecordsBegin } }
  | { type: 'update'; seq: number; topic: 'records'; data: Entry[] }
  | { type: 'update'; seq: number; topic: keyof Topics; data: Topics[keyof Topics] };

class Stream {
  link = $state<Link>('off');
  topics = $state.raw<Partial<Topics>>({});
  /** The newest last. */
  records = $state.raw<Entry[]>([]);
  /** Milliseconds since the last word of the stream; Infinity before the first. */
  silent_ms = $state(Infinity);
  /** Milliseconds from the start of the page to the first live price; null until then. */
  first_ms = $state<number | null>(null);
  /** Grows when records may have been missed: who shows a list of them reads it anew. */
  gaps = $state(0);
  losses = $state(0);

  #socket: WebSocket | null = null;
  #heard = -Infinity;
  #seq = 0;
  #journal: string | null = null;
  #last = $state<number | null>(null);
  #failures = 0;
  #again: ReturnType<typeof setTimeout> | undefined;
  #watches: ReturnType<typeof setInterval>[] = [];
  #wanted = false;
  #hearers = new Set<(entry: Entry) => void>();

  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#watches = [
      setInterval(() => (this.silent_ms = performance.now() - this.#heard), 500),
      setInterval(() => void this.#showToken(), TOKEN_LOOK_MS),
    ];
    addEventListener('online', this.#now);
    addEventListener('offline', this.#gone);
    void this.#open();
  }

  stop(): void {
    this.#wanted = false;
    clearTimeout(this.#again);
    this.#watches.forEach(clearInterval);
    removeEventListener('online', this.#now);
    removeEventListener('offline', this.#gone);
    this.#socket?.close();
    this.#socket = null;
    this.link = 'off';
    this.topics = {};
    this.records = [];
    this.silent_ms = Infinity;
    this.#heard = -Infinity;
    this.#last = null;
  }

  /** Every record from now on, until what is returned is called. */
  hear(does: (entry: Entry) => void): () => void {
    this.#hearers.add(does);
    return () => this.#hearers.delete(does);
  }

  /** The number of the newest record that is known of. */
  get lastRecord(): number | null {
    return this.#last;
  }

  /** A trader that runs says something four times a second; one that does not has nothing to say. */
  get stale(): boolean {
    return this.link !== 'open' || (this.topics.status?.running === true && this.silent_ms > STALE_MS);
  }

  /** Why it is not known what is held; null while it is. */
  get unknown(): string | null {
    const { status, positions } = this.topics;
    return status && !positions ? (status.problem ?? 'nothing was told') : null;
  }

  #now = (): void => {
    if (this.link !== 'lost') return;
    clearTimeout(this.#again);
    void this.#open();
  };

  #gone = (): void => this.#socket?.close();

  async #open(): Promise<void> {
    if (this.link === 'off') this.link = 'connecting';
    let token: string | null;
    try {
      token = await freshToken();
    } catch {
      this.#lost();
      return;
    }
    if (!token || !this.#wanted) return;
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/stream`);
    this.#socket = socket;
    socket.onopen = () => {
      const place = this.#last === null ? {} : { resume: this.#last, journal: this.#journal };
      socket.send(JSON.stringify({ token, topics: TOPICS, ...place }));
    };
    socket.onmessage = (event: MessageEvent<string>) => this.#said(JSON.parse(event.data) as Said);
    socket.onclose = () => {
      if (this.#socket !== socket || !this.#wanted) return;
      this.#socket = null;
      this.#lost();
    };
  }

  #lost(): void {
    if (this.link === 'open') this.losses += 1;
    this.link = 'lost';
    const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)] ?? 8_000;
    this.#failures += 1;
    this.#again = setTimeout(() => void this.#open(), pause * (0.8 + Math.random() * 0.4));
  }

  /** The server ends a stream whose token ends, so a newer one is shown to it in time. */
  async #showToken(): Promise<void> {
    try {
      const token = await freshToken(120_000);
      if (token && this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ token }));
    } catch {
      // Not reachable now: the socket will tell.
    }
  }

  #said(said: Said): void {
    this.#heard = performance.now();
    this.silent_ms = 0;
    if (said.type === 'snapshot') this.#begin(said.data);
    else if (said.seq !== this.#seq + 1) return this.#socket?.close();
    else if (said.topic === 'records') said.data.forEach((entry) => this.#record(entry));
    else this.topics = { ...this.topics, [said.topic]: said.data };
    this.#seq = said.seq;
    if (this.first_ms === null && this.topics.prices?.some((price) => price.price !== null)) {
      this.first_ms = Math.round(performance.now());
    }
  }

  #begin({ records, ...topics }: Partial<Topics> & { records?: RecordsBegin }): void {
    this.link = 'open';
    this.#failures = 0;
    this.topics = topics;
    if (!records) return;
    if (records.missed || (this.#journal !== null && records.journal !== this.#journal)) {
      this.records = [];
      this.gaps += 1;
      this.#last = null;
    }
    this.#journal = records.journal;
    this.#last ??= records.last_seq;
  }

  #record(entry: Entry): void {
    this.#last = entry.seq;
    this.records = [...this.records.slice(-RECORDS_KEPT + 1), entry];
    this.#hearers.forEach((does) => does(entry));
  }
}

export const stream = new Stream();
