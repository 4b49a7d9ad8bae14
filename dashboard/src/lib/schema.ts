// Made from the API's description by make_types.py; not to be changed by hand.

export interface AlarmItem {
  at_ms: number;
  code: string;
  seq: number;
  text: string;
}

export interface AuditPage {
  items: AuditRow[];
  next: string | null;
}

export interface AuditRow {
  action: string;
  at_ms: number;
  detail: Record<string, unknown>;
  hash: string;
  seq: number;
  who: string;
}

export interface AuditVerdict {
  head: string;
  journals_gone: string[];
  problem: string | null;
  records: number;
  records_not_compared: number;
  rows: number;
}

export interface BreakerView {
  cooldown_until_ms: number | null;
  history: TurnView[];
  limits: LimitView[];
  off: string | null;
  paused: string | null;
}

export interface CandleFile {
  bytes: number;
  name: string;
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

export interface ChangeInput {
  on?: boolean | null;
  password?: string | null;
  role?: Role | null;
  second_factor?: false | null;
}

export interface ChangeOutput {
  from: string;
  key: string;
  to: string;
}

export interface Changes {
  changes: Record<string, string | null>;
}

export interface ChangesWhy {
  changes: Record<string, string | null>;
  reason: string;
}

export interface Check {
  passed: boolean;
  seen: string;
  what: string;
}

export interface Checked {
  changes: ChangeOutput[];
  problems: string[];
  text: string;
}

export interface Clock {
  at_ms: number;
  error_ms: number;
  offset_ms: number;
}

export interface Code {
  code: string;
}

export interface Confirmation {
  code?: string | null;
  password?: string | null;
}

export interface Confirmed {
  confirmed_until_ms: number;
}

export interface Connection {
  at_ms: number | null;
  banned_until_ms: number | null;
  clock: Clock | null;
  limits: VenueLimitView[];
  links: string[];
  price_age_max_ms: number;
  prices: PriceAge[];
  running: boolean;
  streams: StreamAge[];
  wanted: string[];
}

export interface DecisionItem {
  at_ms: number;
  detail: string;
  outcome: string;
  seq: number;
  signal: Signal;
}

export interface Drill {
  book: DrillBook;
  drilled: number;
  passed: boolean;
  scenes: Scene[];
}

export interface DrillBook {
  equity: string;
  held: string[];
  source: string;
}

export interface Enrolled {
  secret: string;
  svg: string;
  uri: string;
}

export interface EquityPoint {
  after: string;
  at_ms: number;
  equity: string;
  peak: string | null;
  transferred: string;
  without_transfers: string | null;
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
  trade_id: number | null;
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

export interface Held {
  amount: string;
  asset: string;
  price: string | null;
  value: string | null;
}

export interface HeldPosition {
  entry_price: string | null;
  fees: string | null;
  mark: string | null;
  notional: string | null;
  open_profit: string | null;
  open_profit_pct: string | null;
  opened_ms: number | null;
  protection: Protection;
  quantity: string;
  share_pct: string | null;
  symbol: string;
}

export interface Holding {
  amount: string;
  asset: string;
}

export interface Job {
  by: string;
  ended_ms: number | null;
  id: string;
  made_ms: number;
  problem: string | null;
  progress_pct: number | null;
  request: Request;
  started_ms: number | null;
  state: "waiting" | "running" | "done" | "failed" | "canceled";
  summary: Record<string, unknown> | null;
}

export interface JobResult {
  job: Job;
  result: Record<string, unknown> | null;
}

export interface Jobs {
  items: Job[];
  next: string | null;
}

export interface JournalItem {
  at_ms: number;
  body: unknown;
  edge: "event" | "command";
  kind: string;
  run: string;
  seq: number;
}

export type Kind = "AccountSnapshot" | "AdoptRequested" | "BalanceMoved" | "BreakerResetRequested" | "CancelAllRequested" | "CancelOrder" | "CancelRefused" | "CandleClosed" | "ClockRead" | "CloseRequested" | "FlattenRequested" | "HistoryLoaded" | "IncomePaid" | "InstrumentsLoaded" | "KillRequested" | "LinkLost" | "LinkRestored" | "LiveSwitched" | "MarginCalled" | "MarkPriceTold" | "OrderAccepted" | "OrderAmended" | "OrderCanceled" | "OrderExpired" | "OrderFilled" | "OrderNotFound" | "OrderRejected" | "OutcomeUnknown" | "PauseRequested" | "PriceDropped" | "PriceMarked" | "QueryOrder" | "ReadAccount" | "ReadFills" | "RecordAlarm" | "RecordBooks" | "RecordDecision" | "RecordEquity" | "RecordPlan" | "RecordReset" | "RecordStopPassed" | "RecordTransfer" | "RecordTrip" | "ReplaceOrder" | "ResumeRequested" | "RunStarted" | "SettingsChanged" | "StreamSilent" | "SubmitList" | "SubmitOrder" | "VenueLimited" | "VenueTraded" | "WatchPrice" | "Woke";

export type Level = "info" | "warning" | "critical";

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
  code?: string | null;
  token: string;
}

export interface Login {
  code?: string | null;
  name: string;
  password: string;
}

export interface Me {
  confirmed: boolean;
  confirmed_until_ms: number;
  has_password: boolean;
  mode: string;
  name: string;
  role: string;
  second_factor: boolean;
  session_id: string;
}

export interface Metrics {
  average_loss: string | null;
  average_win: string | null;
  cagr_pct: number | null;
  calmar: number | null;
  duration_mean_ms: number | null;
  duration_median_ms: number | null;
  expectancy: string | null;
  exposure_pct: number | null;
  fees: string | null;
  from_ms: number | null;
  funding: string | null;
  largest_loss: string | null;
  largest_win: string | null;
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
  slippage: string | null;
  sortino: number | null;
  sqn: number | null;
  to_ms: number | null;
  truncated: boolean;
  volatility_pct: number | null;
  win_rate_pct: number | null;
}

export interface Need {
  advice: string;
  found: string;
  name: string;
  standing: "met" | "missing" | "not known";
}

export interface NewPassword {
  new: string;
  old?: string | null;
}

export interface NewUser {
  name: string;
  password: string;
  role: Role;
}

export interface Notification {
  at_ms: number;
  by: string;
  count: number;
  deliveries: SentTo[];
  kind: string;
  level: string;
  number: number;
  text: string;
  title: string;
  told_ms: number;
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
  from_ms: number | null;
  items: AlarmItem[];
  next: number | null;
}

export interface PageCandleFile {
  from_ms: number | null;
  items: CandleFile[];
  next: number | null;
}

export interface PageCandleItem {
  from_ms: number | null;
  items: CandleItem[];
  next: number | null;
}

export interface PageDecisionItem {
  from_ms: number | null;
  items: DecisionItem[];
  next: number | null;
}

export interface PageEquityPoint {
  from_ms: number | null;
  items: EquityPoint[];
  next: number | null;
}

export interface PageFillItem {
  from_ms: number | null;
  items: FillItem[];
  next: number | null;
}

export interface PageJournalItem {
  from_ms: number | null;
  items: JournalItem[];
  next: number | null;
}

export interface PageNotification {
  from_ms: number | null;
  items: Notification[];
  next: number | null;
}

export interface PageOrderItem {
  from_ms: number | null;
  items: OrderItem[];
  next: number | null;
}

export interface PagePositionView {
  from_ms: number | null;
  items: PositionView[];
  next: number | null;
}

export interface PagePriceView {
  from_ms: number | null;
  items: PriceView[];
  next: number | null;
}

export interface PageRoundTripItem {
  from_ms: number | null;
  items: RoundTripItem[];
  next: number | null;
}

export interface PageSessionShown {
  from_ms: number | null;
  items: SessionShown[];
  next: number | null;
}

export interface PageSetting {
  from_ms: number | null;
  items: Setting[];
  next: number | null;
}

export interface PageStrategy {
  from_ms: number | null;
  items: Strategy[];
  next: number | null;
}

export interface PageSymbolItem {
  from_ms: number | null;
  items: SymbolItem[];
  next: number | null;
}

export interface PageTurn {
  from_ms: number | null;
  items: Turn[];
  next: number | null;
}

export interface PageUserShown {
  from_ms: number | null;
  items: UserShown[];
  next: number | null;
}

export interface Parameter {
  default: number;
  high: number;
  low: number;
  meaning: string;
  name: string;
  unit: string;
  whole: boolean;
}

export interface Portfolio {
  at_ms: number | null;
  cash: string | null;
  equity: string | null;
  exposure: string | null;
  exposure_pct: string | null;
  holdings: Held[] | null;
  open_profit: string | null;
  positions: HeldPosition[] | null;
  quote: string | null;
  running: boolean;
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
  mark_price: string | null;
  profit: string | null;
  quantity: string;
  stop_price: string | null;
  symbol: string;
  target_price: string | null;
  unprotected_in_all_ms: number;
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

export interface Protection {
  liquidation_price: string | null;
  stop_distance_pct: string | null;
  stop_price: string | null;
  target_price: string | null;
  unprotected_in_all_ms: number;
  unprotected_ms: number | null;
}

export type Readiness = "not ready" | "minimum" | "warm" | "best";

export interface RealMoney {
  in_use: boolean;
  mode: string;
  needs: Need[];
  ready: boolean;
}

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

export interface RecoveryCodes {
  recovery_codes: string[];
}

export interface Request {
  band: boolean;
  detail: string[];
  engine: "fast" | "exact" | "both";
  files: string[];
  gaps: "refuse" | "keep";
  settings: Record<string, string>;
}

export interface Risk {
  at_ms: number | null;
  cooldown_until_ms: number | null;
  entries_off: string | null;
  loss_streak_max: number;
  losses_in_row: number | null;
  notional_max_pct_of_equity: string;
  portfolio_risk_max_pct: string;
  positions: PositionRisk[] | null;
  positions_max: number;
  risk_pct_of_equity: string;
  to_stop_pct: string | null;
}

export type Role = "viewer" | "trader" | "admin";

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
  unprotected_ms: number | null;
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
  unprotected_ms: number | null;
}

export interface Rule {
  name: string;
  score: number;
  target: number | null;
}

export interface Scene {
  checks: Check[];
  equity_after: string | null;
  equity_before: string | null;
  held: string[];
  limit_pct: string | null;
  loss_pct: string | null;
  passed: boolean;
  rule: string;
  skipped: string | null;
  tier: string;
}

export interface SentTo {
  problem: string | null;
  service: string;
  tries: number;
}

export interface SessionShown {
  address: string;
  agent: string;
  ends_ms: number;
  id: string;
  is_this: boolean;
  made_ms: number;
  name: string;
  seen_ms: number;
  way: string;
}

export interface Setting {
  allowed: string;
  changeable: boolean;
  default: string;
  description: string;
  key: string;
  source: string;
  value: string;
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
  balances: Holding[] | null;
  books: string | null;
  differences: string[] | null;
  entries_off: string | null;
  equity: string | null;
  foreign: string[] | null;
  journal: string | null;
  live_off: string | null;
  mode: string;
  open_profit: string | null;
  problem: string | null;
  quote: string | null;
  round_trip_count: number | null;
  run: string | null;
  running: boolean;
}

export interface Strategy {
  name: string;
  parameters: Parameter[];
  rules: Rule[];
}

export interface StreamAge {
  age_ms: number;
  stream: string;
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

export interface Taken {
  text: string;
}

export type Tier = "warn" | "no_entries" | "shrink" | "flatten";

export interface Topics {
  alarms: RecordAlarm[] | null;
  breaker: BreakerView | null;
  connection: Connection;
  decisions: RecordDecision[] | null;
  orders: OrderView[] | null;
  positions: PositionView[] | null;
  prices: PriceView[] | null;
  records: JournalItem[] | RecordsBegin;
  round_trips: RoundTrip[] | null;
  status: Status;
}

export interface Tried {
  text: string;
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

export interface UserShown {
  has_password: boolean;
  made_ms: number;
  name: string;
  off_ms: number | null;
  role: Role;
  second_factor: boolean;
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

export interface Wanted {
  band?: boolean;
  detail?: string[];
  engine?: "fast" | "exact" | "both";
  files: string[];
  gaps?: "refuse" | "keep";
  settings?: Record<string, string>;
}

export interface Why {
  reason: string;
}

export interface WhyLive {
  accepts: string[];
  reason: string;
}

export interface WhyOf {
  reason: string;
  symbol: string;
}

export interface Get {
  '/alarms': { query: { symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageAlarmItem };
  '/audit': { query: { cursor?: number | null; limit?: number; who?: string | null; action?: string | null; since_ms?: number | null; until_ms?: number | null }; body: undefined; answer: AuditPage };
  '/audit/verify': { query: undefined; body: undefined; answer: AuditVerdict };
  '/backtests': { query: { cursor?: string | null; limit?: number }; body: undefined; answer: Jobs };
  '/backtests/files': { query: undefined; body: undefined; answer: PageCandleFile };
  '/backtests/{job_id}': { query: { job_id: string }; body: undefined; answer: JobResult };
  '/backtests/{job_id}/report': { query: { job_id: string }; body: undefined; answer: undefined };
  '/breaker': { query: undefined; body: undefined; answer: BreakerView | null };
  '/breaker/history': { query: undefined; body: undefined; answer: PageTurn };
  '/connection': { query: undefined; body: undefined; answer: Connection };
  '/decisions': { query: { outcome?: string | null; symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageDecisionItem };
  '/equity': { query: { since_ms?: number | null; until_ms?: number | null; points?: number }; body: undefined; answer: PageEquityPoint };
  '/fills': { query: { symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageFillItem };
  '/health': { query: undefined; body: undefined; answer: Health };
  '/health/live': { query: undefined; body: undefined; answer: Record<string, string> };
  '/health/ready': { query: undefined; body: undefined; answer: Record<string, string> };
  '/journal': { query: { kind?: Kind[] | null; since_seq?: number; before_seq?: number | null; newest_first?: boolean; symbol?: string | null; limit?: number }; body: undefined; answer: PageJournalItem };
  '/market/candles': { query: { symbol: string; interval?: "1m" | "3m" | "5m" | "15m" | "30m" | "1h" | "2h" | "4h" | "6h" | "8h" | "12h" | "1d" | null; limit?: number }; body: undefined; answer: PageCandleItem };
  '/market/indicators': { query: { symbol: string; interval?: "1m" | "3m" | "5m" | "15m" | "30m" | "1h" | "2h" | "4h" | "6h" | "8h" | "12h" | "1d" | null; limit?: number }; body: undefined; answer: Lines };
  '/market/prices': { query: undefined; body: undefined; answer: PagePriceView };
  '/market/symbols': { query: undefined; body: undefined; answer: PageSymbolItem };
  '/me': { query: undefined; body: undefined; answer: Me };
  '/metrics': { query: undefined; body: undefined; answer: Metrics };
  '/notifications': { query: { level?: Level | null; kind?: string | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageNotification };
  '/openapi.json': { query: undefined; body: undefined; answer: unknown };
  '/orders': { query: { open?: boolean | null; symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageOrderItem };
  '/orders/{client_order_id}': { query: { client_order_id: string }; body: undefined; answer: OrderLife };
  '/portfolio': { query: undefined; body: undefined; answer: Portfolio };
  '/positions': { query: undefined; body: undefined; answer: PagePositionView };
  '/readiness': { query: undefined; body: undefined; answer: RealMoney };
  '/risk': { query: undefined; body: undefined; answer: Risk };
  '/round-trips': { query: { symbol?: string | null; since_ms?: number | null; until_ms?: number | null; cursor?: number | null; limit?: number }; body: undefined; answer: PageRoundTripItem };
  '/sessions': { query: undefined; body: undefined; answer: PageSessionShown };
  '/settings': { query: undefined; body: undefined; answer: PageSetting };
  '/signals': { query: undefined; body: undefined; answer: PageDecisionItem };
  '/status': { query: undefined; body: undefined; answer: Status };
  '/strategies': { query: undefined; body: undefined; answer: PageStrategy };
  '/users': { query: undefined; body: undefined; answer: PageUserShown };
}

export interface Post {
  '/auth/confirm': { query: undefined; body: Confirmation; answer: Confirmed };
  '/auth/link': { query: undefined; body: Link; answer: Signed };
  '/auth/login': { query: undefined; body: Login; answer: Signed };
  '/auth/logout': { query: undefined; body: undefined; answer: undefined };
  '/auth/password': { query: undefined; body: NewPassword; answer: undefined };
  '/auth/refresh': { query: undefined; body: undefined; answer: Signed };
  '/auth/totp/enroll': { query: undefined; body: undefined; answer: Enrolled };
  '/auth/totp/verify': { query: undefined; body: Code; answer: RecoveryCodes };
  '/backtests': { query: undefined; body: Wanted; answer: Job };
  '/bot/cancel-all': { query: undefined; body: Why; answer: Taken };
  '/bot/close': { query: undefined; body: WhyOf; answer: Taken };
  '/bot/flatten': { query: undefined; body: Why; answer: Taken };
  '/bot/kill': { query: undefined; body: Why; answer: Taken };
  '/bot/live-off': { query: undefined; body: Why; answer: Taken };
  '/bot/live-on': { query: undefined; body: WhyLive; answer: Taken };
  '/bot/pause': { query: undefined; body: Why; answer: Taken };
  '/bot/resume': { query: undefined; body: Why; answer: Taken };
  '/breaker/drill': { query: undefined; body: undefined; answer: Drill };
  '/breaker/reset': { query: undefined; body: Why; answer: Taken };
  '/notifications/test': { query: undefined; body: undefined; answer: Tried };
  '/settings': { query: undefined; body: ChangesWhy; answer: Checked };
  '/settings/check': { query: undefined; body: Changes; answer: Checked };
  '/users': { query: undefined; body: NewUser; answer: UserShown };
}

export interface Patch {
  '/users/{name}': { query: { name: string }; body: ChangeInput; answer: UserShown };
}

export interface Delete {
  '/backtests/{job_id}': { query: { job_id: string }; body: undefined; answer: undefined };
  '/sessions/{session_id}': { query: { session_id: string }; body: undefined; answer: undefined };
  '/users/{name}': { query: { name: string }; body: undefined; answer: undefined };
}
