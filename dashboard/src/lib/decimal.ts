// Decimals arrive as text and stay exact: a number is never made of money to show it.

interface Exact {
  units: bigint;
  places: number;
}

const SHAPE = /^([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

function parsed(text: string): Exact | null {
  const found = SHAPE.exec(text);
  if (!found) return null;
  const fraction = found[3] ?? '';
  let places = fraction.length - Number(found[4] ?? 0);
  let units = BigInt(found[2] + fraction);
  if (places < 0) {
    units *= 10n ** BigInt(-places);
    places = 0;
  }
  return { units: found[1] === '-' ? -units : units, places };
}

/** Half away from zero, as a person rounds. */
function rounded({ units, places }: Exact, wanted: number): bigint {
  if (places <= wanted) return units * 10n ** BigInt(wanted - places);
  const step = 10n ** BigInt(places - wanted);
  const half = units < 0n ? -step / 2n : step / 2n;
  return (units + half) / step;
}

function written(units: bigint, places: number): string {
  const digits = (units < 0n ? -units : units).toString().padStart(places + 1, '0');
  const whole = digits.slice(0, digits.length - places).replace(/\B(?=(\d{3})+$)/g, ',');
  return (units < 0n ? '−' : '') + whole + (places ? `.${digits.slice(-places)}` : '');
}

export const NO_VALUE = '–';
type Maybe = string | null | undefined;

/** With so many decimals, grouped: 12,345.68. */
export function fixed(text: Maybe, places: number): string {
  const value = text == null ? null : parsed(text);
  return value ? written(rounded(value, places), places) : (text ?? NO_VALUE);
}

/** As fixed, with its sign: +5.20, −5.20. */
export function signed(text: Maybe, places = 2): string {
  const value = text == null ? null : parsed(text);
  if (!value) return text ?? NO_VALUE;
  const units = rounded(value, places);
  return (units > 0n ? '+' : '') + written(units, places);
}

/** Every digit there is, without zeros that say nothing, but at least so many. */
export function plain(text: Maybe, least = 0): string {
  const value = text == null ? null : parsed(text);
  if (!value) return text ?? NO_VALUE;
  let { units, places } = value;
  while (places > least && units % 10n === 0n) {
    units /= 10n;
    places -= 1;
  }
  return places < least ? written(units * 10n ** BigInt(least - places), least) : written(units, places);
}

/** A price: its own digits, two at least; above 10 000 no more than two. */
export function price(text: Maybe): string {
  const value = text == null ? null : parsed(text);
  if (!value) return text ?? NO_VALUE;
  const whole = (value.units < 0n ? -value.units : value.units) / 10n ** BigInt(value.places);
  if (whole >= 10_000n) return fixed(text, 2);
  return whole >= 1n ? plain(fixedText(value, 4), 2) : plain(text, 2);
}

function fixedText(value: Exact, places: number): string {
  if (value.places <= places) places = value.places;
  const units = rounded(value, places);
  const digits = (units < 0n ? -units : units).toString().padStart(places + 1, '0');
  return (units < 0n ? '-' : '') + digits.slice(0, digits.length - places) + (places ? `.${digits.slice(-places)}` : '');
}

/** -1, 0 or 1; null when it is not known. */
export function sign(text: Maybe): -1 | 0 | 1 | null {
  const value = text == null ? null : parsed(text);
  if (!value) return null;
  return value.units > 0n ? 1 : value.units < 0n ? -1 : 0;
}

export function minus(left: Maybe, right: Maybe): string | null {
  const a = left == null ? null : parsed(left);
  const b = right == null ? null : parsed(right);
  if (!a || !b) return null;
  const places = Math.max(a.places, b.places);
  return fixedText({ units: rounded(a, places) - rounded(b, places), places }, places);
}

export function times(left: Maybe, right: Maybe): string | null {
  const a = left == null ? null : parsed(left);
  const b = right == null ? null : parsed(right);
  if (!a || !b) return null;
  const places = a.places + b.places;
  return fixedText({ units: a.units * b.units, places }, places);
}

export function plus(values: readonly Maybe[]): string | null {
  let total: string | null = '0';
  for (const value of values) total = value == null ? null : minus(total, minus('0', value));
  return total;
}

/** A share in percent, for a picture or two decimals of text; null when it cannot be told. */
export function share(part: Maybe, whole: Maybe): number | null {
  const a = part == null ? null : parsed(part);
  const b = whole == null ? null : parsed(whole);
  if (!a || !b || b.units === 0n) return null;
  const places = Math.max(a.places, b.places);
  return Number((rounded(a, places) * 1_000_000n) / rounded(b, places)) / 10_000;
}

export interface Valued {
  equity: string;
  transferred: string;
  without_transfers: string | null;
}

/** What trading made from one point of the curve to another: in money without transfers, in percent as if there were none. */
export function made(from: Valued | undefined, until: Valued | undefined): { change: string | null; part: number | null } {
  const moved = minus(until?.transferred, from?.transferred);
  return {
    change: minus(minus(until?.equity, from?.equity), moved),
    part: share(minus(until?.without_transfers, from?.without_transfers), from?.without_transfers),
  };
}

/** For pixels of a chart only. */
export function pixels(text: string): number {
  return Number(text);
}

export function pct(value: number | string | null | undefined, places = 2): string {
  if (value == null) return NO_VALUE;
  return typeof value === 'string' ? `${signed(value, places)} %` : `${signed(value.toFixed(places), places)} %`;
}

export function tone(text: Maybe): '' | 'good' | 'bad' {
  const direction = sign(text);
  return direction === 1 ? 'good' : direction === -1 ? 'bad' : '';
}
