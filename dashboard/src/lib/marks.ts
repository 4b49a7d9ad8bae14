// What is drawn over candles: where we came in and went out, and the stop as the line that it was.
import type { Fill, OrderItem } from './shapes';

export interface Bar { time: number; open: number; high: number; low: number; close: number }

/** The bucket of a candle that a moment falls into, in seconds, as the chart counts. */
export const bucket = (ms: number, step_ms: number): number => (Math.floor(ms / step_ms) * step_ms) / 1_000;

/** For each candle the price of the stop that rested last in it; none where none did. */
export function stopLine(orders: OrderItem[], times: number[], step_ms: number): { time: number; value?: number }[] {
  const stops = orders
    .filter((order) => order.purpose === 'stop' && order.stop_price !== null)
    .sort((a, b) => a.submitted_ms - b.submitted_ms)
    .map((order) => ({ from: order.submitted_ms, until: order.open ? Infinity : order.changed_ms, value: Number(order.stop_price) }))
    .filter((stop) => stop.until - stop.from > 0);
  return times.map((time) => {
    const begin = time * 1_000;
    const end = begin + step_ms;
    let found: number | undefined;
    for (const stop of stops) if (stop.from < end && stop.until > begin) found = stop.value;
    return found === undefined ? { time } : { time, value: found };
  });
}

export interface FillMark { time: number; buys: boolean; text: string }

/** One mark for a candle, side and kind of order: parts of a fill are not told one by one. */
export function fillMarks(fills: Fill[], step_ms: number): FillMark[] {
  const found = new Map<string, FillMark>();
  for (const fill of [...fills].sort((a, b) => a.at_ms - b.at_ms)) {
    const time = bucket(fill.at_ms, step_ms);
    const what = fill.purpose === 'entry' ? 'in' : (fill.purpose ?? (fill.side === 'BUY' ? 'buy' : 'sell'));
    found.set(`${time}/${fill.side}/${what}`, { time, buys: fill.side === 'BUY', text: what });
  }
  return [...found.values()];
}
