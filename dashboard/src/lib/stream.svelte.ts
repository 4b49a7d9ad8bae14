// The stream: one socket, a snapshot, then what changes. What is on the page is never older than it says.
import { freshToken } from './api';
import type { Entry, Topics } from './shapes';

const TOPICS = ['status', 'prices', 'positions', 'orders', 'decisions', 'alarms', 'breaker', 'connection', 'round_trips', 'records'];
const PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000];
const RECORDS_KEPT = 300;
export const STALE_MS = 5_000;

type Link = 'off' | 'connecting' | 'open' | 'lost';
type Said =
  | { type: 'snapshot'; seq: number; data: Record<string, unknown> }
  | { type: 'update'; seq: number; topic: string; data: unknown };

class Stream {
  link = $state<Link>('off');
  topics = $state.raw<Partial<Topics>>({});
  records = $state.raw<Entry[]>([]);
  /** Milliseconds since the last word of the stream; Infinity before the first. */
  silent_ms = $state(Infinity);
  /** Milliseconds from the start of the page to the first live value; null until then. */
  first_ms = $state<number | null>(null);
  losses = $state(0);

  #socket: WebSocket | null = null;
  #heard = -Infinity;
  #seq: number | null = null;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #wanted = false;
  #hearers = new Set<(entry: Entry) => void>();

  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#watch = setInterval(() => (this.silent_ms = performance.now() - this.#heard), 500);
    addEventListener('online', this.#now);
    void this.#open();
  }

  stop(): void {
    this.#wanted = false;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    removeEventListener('online', this.#now);
    this.#socket?.close();
    this.#socket = null;
    this.link = 'off';
    this.topics = {};
    this.records = [];
    this.silent_ms = Infinity;
    this.#seq = null;
    this.#heard = -Infinity;
  }

  /** Every record from now on, until what is returned is called. */
  hear(does: (entry: Entry) => void): () => void {
    this.#hearers.add(does);
    return () => this.#hearers.delete(does);
  }

  get stale(): boolean {
    return this.link !== 'open' || this.silent_ms > STALE_MS;
  }

  #now = (): void => {
    if (this.link === 'lost') {
      clearTimeout(this.#timer);
      void this.#open();
    }
  };

  async #open(): Promise<void> {
    this.link = 'connecting';
    let token: string | null;
    try {
      token = await freshToken();
    } catch {
      this.#again();
      return;
    }
    if (!token || !this.#wanted) return;
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/stream`);
    this.#socket = socket;
    socket.onopen = () => {
      const resume = this.#seq === null ? {} : { resume: this.#seq };
      socket.send(JSON.stringify({ token, topics: TOPICS, ...resume }));
    };
    socket.onmessage = (event: MessageEvent<string>) => this.#said(JSON.parse(event.data) as Said);
    socket.onclose = () => {
      if (this.#socket !== socket || !this.#wanted) return;
      this.#socket = null;
      this.#again();
    };
  }

  #again(): void {
    this.link = 'lost';
    this.losses += 1;
    const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)] ?? 8_000;
    this.#failures += 1;
    this.#timer = setTimeout(() => void this.#open(), pause * (0.8 + Math.random() * 0.4));
  }

  #said(said: Said): void {
    this.#heard = performance.now();
    this.silent_ms = 0;
    this.#seq = said.seq ?? this.#seq;
    if (said.type === 'snapshot') {
      this.link = 'open';
      this.#failures = 0;
      const { records, ...topics } = said.data;
      this.topics = { ...this.topics, ...topics };
      if (Array.isArray(records)) (records as Entry[]).forEach((entry) => this.#record(entry));
    } else if (said.type === 'update') {
      if (said.topic === 'records') {
        for (const entry of Array.isArray(said.data) ? (said.data as Entry[]) : [said.data as Entry]) this.#record(entry);
      } else {
        this.topics = { ...this.topics, [said.topic]: said.data };
      }
    }
    if (this.first_ms === null && this.topics.prices?.some((price) => price.price !== null)) this.first_ms = Math.round(performance.now());
  }

  #record(entry: Entry): void {
    this.records = [...this.records.slice(-RECORDS_KEPT + 1), entry];
    this.#hearers.forEach((does) => does(entry));
  }
}

export const stream = new Stream();
