// Made from the API's description by make_types.py; not to be changed by hand.

export interface AlarmItem {
  at_ms: number;
  code: string;
  seq: number;
  text: string;
}

export interface BreakerView {
  cooldown_until_ms: number | null;
  history: TurnView[];
  limits: LimitView[];
  off: string | null;
  paused: string | null;
}

export interface CandleItem {
  close: string;
  close_ms: number;
  high: string;
  low: string;
  open: string;
  open_ms: number;
  volume: string;
}

export interface Clock {
  at_ms: number;
  error_ms: number;
  offset_ms: number;
}

export interface Connection {
  at_ms: number | null;
  banned_until_ms: number | null;
  clock: Clock | null;
  limits: VenueLimitView[];
  links: string[];
  prices: PriceAge[];
  running: boolean;
  wanted: string[];
}

export interface DecisionItem {
  at_ms: number;
  detail: string;
  outcome: string;
  seq: number;
  signal: Signal;
}

export interface EquityPoint {
  after: string;
  at_ms: number;
  equity: string;
  peak: string | null;
}

export interface FillItem {
  at_ms: number;
  client_order_id: string;
  fee: string;
  fee_asset: string;
  fee_in_quote: string | null;
  notional: string;
  price: string;
  purpose: string;
  quantity: string;
  role: string;
  seq: number;
  side: string;
  symbol: string;
  trade_id: number;
}

export interface Health {
  heard_ms: number | null;
  journal: string | null;
  problem: string | null;
  ready: boolean;
  seq: number | null;
  trader_running: boolean;
  version: string;
}

export interface Holding {
  amount: string;
  asset: string;
}

export interface JournalItem {
  at_ms: number;
  body: unknown;
  edge: "event" | "command";
  kind: string;
  run: string;
  seq: number;
}

export type Kind = "AccountSnapshot" | "BalanceMoved" | "BreakerResetRequested" | "CancelAllRequested" | "CancelOrder" | "CancelRefused" | "CandleClosed" | "ClockRead" | "CloseRequested" | "FlattenRequested" | "HistoryLoaded" | "IncomePaid" | "InstrumentsLoaded" | "KillRequested" | "LinkLost" | "LinkRestored" | "OrderAccepted" | "OrderCanceled" | "OrderExpired" | "OrderFilled" | "OrderNotFound" | "OrderRejected" | "OutcomeUnknown" | "PauseRequested" | "PriceDropped" | "PriceMarked" | "QueryOrder" | "ReadAccount" | "ReadFills" | "RecordAlarm" | "RecordBooks" | "RecordDecision" | "RecordEquity" | "RecordPlan" | "RecordReset" | "RecordTransfer" | "RecordTrip" | "ReplaceOrder" | "ResumeRequested" | "RunStarted" | "SettingsChanged" | "StreamSilent" | "SubmitList" | "SubmitOrder" | "VenueLimited" | "VenueTraded" | "WatchPrice" | "Woke";

export interface LimitView {
  limit_pct: string;
  loss_pct: string | null;
  rule: string;
  start: string | null;
  tier: Tier;
}

export interface Line {
  name: string;
  pane: string;
  values: (number | null)[];
}

export interface Lines {
  lines: Line[];
  open_ms: number[];
}

export interface Link {
  token: string;
}

export interface Login {
  code?: string | null;
  name: string;
  password: string;
}

export interface Me {
  confirmed: boolean;
  mode: string;
  name: string;
  role: string;
  second_factor: boolean;
  session_id: string;
}

export interface Metrics {
  average_loss: number | null;
  average_win: number | null;
  cagr_pct: number | null;
  calmar: number | null;
  duration_mean_ms: number | null;
  duration_median_ms: number | null;
  expectancy: number | null;
  exposure_pct: number | null;
  fees: number | null;
  from_ms: number | null;
  funding: number | null;
  largest_loss: number | null;
  largest_win: number | null;
  longest_losses: number | null;
  longest_wins: number | null;
  mae_pct: number | null;
  max_drawdown_ms: number | null;
  max_drawdown_pct: number | null;
  mfe_pct: number | null;
  payoff_ratio: number | null;
  profit_factor: number | null;
  return_pct: number | null;
  round_trips: number;
  sharpe: number | null;
  sharpe_basis: string;
  slippage: number | null;
  sortino: number | null;
  sqn: number | null;
  to_ms: number | null;
  volatility_pct: number | null;
  win_rate_pct: number | null;
}

export interface OrderItem {
  changed_ms: number;
  client_order_id: string;
  filled: string;
  list_id: string | null;
  open: boolean;
  order_id: number | null;
  price: string | null;
  purpose: string;
  quantity: string | null;
  reason: string;
  resting: boolean;
  seq: number;
  side: string;
  state: string;
  stop_price: string | null;
  submitted_ms: number;
  symbol: string;
  type: string;
}

export interface OrderLife {
  order: OrderItem;
  records: JournalItem[];
}

export interface OrderView {
  client_order_id: string;
  filled: string;
  price: string | null;
  purpose: string;
  quantity: string | null;
  resting: boolean;
  side: string;
  state: string;
  stop_price: string | null;
  submitted_ms: number;
  symbol: string;
  type: string;
}

export interface PageAlarmItem {
  items: AlarmItem[];
  next: number | null;
}

export interface PageCandleItem {
  items: CandleItem[];
  next: number | null;
}

export interface PageDecisionItem {
  items: DecisionItem[];
  next: number | null;
}

export interface PageEquityPoint {
  items: EquityPoint[];
  next: number | null;
}

export interface PageFillItem {
  items: FillItem[];
  next: number | null;
}

export interface PageJournalItem {
  items: JournalItem[];
  next: number | null;
}

export interface PageOrderItem {
  items: OrderItem[];
  next: number | null;
}

export interface PagePositionView {
  items: PositionView[];
  next: number | null;
}

export interface PagePriceView {
  items: PriceView[];
  next: number | null;
}

export interface PageRoundTripItem {
  items: RoundTripItem[];
  next: number | null;
}

export interface PageSymbolItem {
  items: SymbolItem[];
  next: number | null;
}

export interface PageTurn {
  items: Turn[];
  next: number | null;
}

export interface PositionRisk {
  notional: string | null;
  symbol: string;
  to_stop: string | null;
  to_stop_pct: string | null;
}

export interface PositionView {
  entry_price: string | null;
  liquidation_price: string | null;
  mark: string | null;
  profit: string | null;
  quantity: string;
  stop_price: string | null;
  symbol: string;
  target_price: string | null;
  unprotected_ms: number | null;
}

export interface PriceAge {
  age_ms: number | null;
  symbol: string;
}

export interface PriceView {
  at_ms: number | null;
  price: string | null;
  symbol: string;
}

export interface Problem {
  code: string;
  detail: string;
  instance: string;
  status: number;
  title: string;
  type: string;
}

export type Readiness = "not ready" | "minimum" | "warm" | "best";

export interface RecordAlarm {
  at_ms: number;
  code: string;
  text: string;
}

export interface RecordDecision {
  at_ms: number;
  detail: string;
  outcome: string;
  signal: Signal;
}

export interface RecordsBegin {
  journal: string | null;
  last_seq: number;
  missed: boolean;
}

export interface Risk {
  at_ms: number | null;
  cooldown_until_ms: number | null;
  entries_off: string | null;
  loss_streak_max: number;
  losses_in_row: number | null;
  notional_max_pct_of_equity: string;
  portfolio_risk_max_pct: string;
  positions: PositionRisk[];
  positions_max: number;
  risk_pct_of_equity: string;
  to_stop_pct: string | null;
}

export interface RoundTrip {
  dust_loss: string;
  entry_ms: number;
  entry_price: string;
  exit_ms: number;
  exit_price: string;
  funding: string;
  pnl: string;
  quantity: string;
  reason: string;
  side: string;
  symbol: string;
}

export interface RoundTripItem {
  dust_loss: string;
  entry_ms: number;
  entry_price: string;
  exit_ms: number;
  exit_price: string;
  funding: string;
  pnl: string;
  quantity: string;
  reason: string;
  seq: number;
  side: string;
  symbol: string;
}

export interface Signal {
  at_ms: number;
  atr: number | null;
  filtered: string;
  gap: boolean;
  readiness: Readiness;
  rule: string;
  score: number;
  symbol: string;
  target: number | null;
  values: [string, number][];
  votes: Vote[];
}

export interface Signed {
  access_token: string;
  expires_ms: number;
  token_type: string;
}

export interface Status {
  at_ms: number | null;
  balances: Holding[];
  books: string | null;
  differences: string[];
  entries_off: string | null;
  equity: string | null;
  foreign: string[];
  journal: string | null;
  mode: string;
  open_profit: string | null;
  quote: string | null;
  round_trip_count: number;
  run: string | null;
  running: boolean;
}

export interface SymbolItem {
  base: string;
  intervals: string[];
  lot_size: string;
  market: string;
  notional_min: string;
  quantity_min: string;
  quote: string;
  symbol: string;
  tick_size: string;
  trading: boolean;
}

export type Tier = "warn" | "no_entries" | "shrink" | "flatten";

export interface Topics {
  alarms: RecordAlarm[];
  breaker: BreakerView | null;
  connection: Connection;
  decisions: RecordDecision[];
  orders: OrderView[];
  positions: PositionView[];
  prices: PriceView[];
  records: JournalItem[] | RecordsBegin;
  round_trips: RoundTrip[];
  status: Status;
}

export interface Turn {
  after: [number, string][];
  at_ms: number;
  before: [number, string][];
  equity: string | null;
  in_force: boolean;
  kind: string;
  limit: string | null;
  reason: string | null;
  rule: string | null;
  text: string;
  tier: string | null;
  value: string | null;
  who: string | null;
}

export interface TurnView {
  at_ms: number;
  equity: string | null;
  in_force: boolean;
  text: string;
}

export interface VenueLimitView {
  interval_ms: number;
  kind: string;
  limit: number;
  used: number;
}

export interface Vote {
  rule: string;
  score: number;
  strategy: string;
  target: number | null;
  values: [string, number][];
}

export interface Get {
  '/alarms': { query: { symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageAlarmItem };
  '/breaker': { query: undefined; body: undefined; answer: BreakerView | null };
  '/breaker/history': { query: undefined; body: undefined; answer: PageTurn };
  '/connection': { query: undefined; body: undefined; answer: Connection };
  '/decisions': { query: { outcome?: string | null; symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageDecisionItem };
  '/equity': { query: { since_ms?: number | null; until_ms?: number | null; points?: number }; body: undefined; answer: PageEquityPoint };
  '/fills': { query: { symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageFillItem };
  '/health': { query: undefined; body: undefined; answer: Health };
  '/health/live': { query: undefined; body: undefined; answer: Record<string, string> };
  '/health/ready': { query: undefined; body: undefined; answer: Record<string, string> };
  '/journal': { query: { kind?: Kind[] | null; since_seq?: number; symbol?: string | null; limit?: number }; body: undefined; answer: PageJournalItem };
  '/market/candles': { query: { symbol: string; interval?: "1m" | "3m" | "5m" | "15m" | "30m" | "1h" | "2h" | "4h" | "6h" | "8h" | "12h" | "1d" | null; limit?: number }; body: undefined; answer: PageCandleItem };
  '/market/indicators': { query: { symbol: string; interval?: "1m" | "3m" | "5m" | "15m" | "30m" | "1h" | "2h" | "4h" | "6h" | "8h" | "12h" | "1d" | null; limit?: number }; body: undefined; answer: Lines };
  '/market/prices': { query: undefined; body: undefined; answer: PagePriceView };
  '/market/symbols': { query: undefined; body: undefined; answer: PageSymbolItem };
  '/me': { query: undefined; body: undefined; answer: Me };
  '/metrics': { query: undefined; body: undefined; answer: Metrics };
  '/openapi.json': { query: undefined; body: undefined; answer: unknown };
  '/orders': { query: { open?: boolean | null; symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageOrderItem };
  '/orders/{client_order_id}': { query: { client_order_id: string }; body: undefined; answer: OrderLife };
  '/portfolio': { query: undefined; body: undefined; answer: Status };
  '/positions': { query: undefined; body: undefined; answer: PagePositionView };
  '/risk': { query: undefined; body: undefined; answer: Risk };
  '/round-trips': { query: { symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageRoundTripItem };
  '/signals': { query: undefined; body: undefined; answer: PageDecisionItem };
  '/status': { query: undefined; body: undefined; answer: Status };
}

export interface Post {
  '/auth/link': { query: undefined; body: Link; answer: Signed };
  '/auth/login': { query: undefined; body: Login; answer: Signed };
  '/auth/logout': { query: undefined; body: undefined; answer: undefined };
  '/auth/refresh': { query: undefined; body: undefined; answer: Signed };
}

export interface Patch {
}

export interface Delete {
}
