// Times are UTC milliseconds, and are shown in UTC: that is what the exchange and the journal speak.

const two = (value: number) => String(value).padStart(2, '0');

export function clock(ms: number): string {
  const at = new Date(ms);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

export function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

export function moment(ms: number | null | undefined): string {
  return ms == null ? '–' : `${day(ms)} ${clock(ms)}`;
}

/** 4 s, 3 min 10 s, 5 h 12 min, 3 d 4 h. */
export function span(ms: number | null | undefined): string {
  if (ms == null) return '–';
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

const UNITS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

export function intervalMs(interval: string): number {
  return Number(interval.slice(0, -1)) * (UNITS[interval.slice(-1)] ?? NaN);
}
