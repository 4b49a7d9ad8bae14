// What the stream's topics hold. The values are those of the API's schema; decimals are text, times UTC ms.

export interface Holding { asset: string; amount: string }
export interface Status {
  at_ms: number | null; running: boolean; mode: string; run: string | null; journal: string | null;
  equity: string | null; quote: string | null; open_profit: string | null; balances: Holding[];
  entries_off: string | null; books: string | null; differences: string[]; foreign: string[]; round_trip_count: number;
}
export interface Price { symbol: string; price: string | null; at_ms: number | null }
export interface Position {
  symbol: string; quantity: string; entry_price: string | null; mark: string | null; profit: string | null;
  stop_price: string | null; target_price: string | null; unprotected_ms: number | null; liquidation_price: string | null;
}
export interface Order {
  client_order_id: string; symbol: string; side: string; type: string; purpose: string; state: string;
  quantity: string | null; filled: string; price: string | null; stop_price: string | null; resting: boolean; submitted_ms: number;
}
export interface OrderItem extends Order {
  seq: number; order_id: number | null; list_id: string | null; reason: string; open: boolean; changed_ms: number;
}
export interface Vote { strategy: string; target: number | null; score: number; rule: string; values: [string, number][] }
export interface Signal {
  symbol: string; at_ms: number; target: number | null; score: number; rule: string; values: [string, number][];
  readiness: string; atr: number | null; filtered: string; gap: boolean; votes: Vote[];
}
export interface Decision { at_ms: number; signal: Signal; outcome: string; detail: string; seq?: number }
export interface Alarm { at_ms: number; code: string; text: string; seq?: number }
export interface Limit { rule: string; start: string | null; loss_pct: string | null; limit_pct: string; tier: string }
export interface Turn { at_ms: number; text: string; equity: string | null; in_force: boolean }
export interface Breaker { off: string | null; limits: Limit[]; history: Turn[]; paused: string | null; cooldown_until_ms: number | null }
export interface VenueLimit { kind: string; interval_ms: number; limit: number; used: number }
export interface Connection {
  running: boolean; at_ms: number | null; wanted: string[]; links: string[]; prices: { symbol: string; age_ms: number | null }[];
  limits: VenueLimit[]; banned_until_ms: number | null; clock: { at_ms: number; offset_ms: number; error_ms: number } | null;
}
export interface RoundTrip {
  symbol: string; side: string; entry_ms: number; exit_ms: number; entry_price: string; exit_price: string;
  quantity: string; reason: string; pnl: string; dust_loss: string; funding: string; seq?: number;
}
export interface Fill {
  seq: number; at_ms: number; symbol: string; side: string; price: string; quantity: string; fee: string; fee_asset: string;
  client_order_id: string; maker?: boolean; purpose?: string; trade_id: number;
}
export interface Entry { seq: number; at_ms: number; kind: string; body: Record<string, unknown>; run?: string; edge?: string }
export interface Page<T> { items: T[]; next: number | string | null }

export interface Topics {
  status: Status; prices: Price[]; positions: Position[]; orders: Order[]; decisions: Decision[]; alarms: Alarm[];
  breaker: Breaker; connection: Connection; round_trips: RoundTrip[];
}
