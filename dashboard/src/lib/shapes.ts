// What the stream's topics hold: the API's own types. Decimals are text, times UTC ms.
import type * as S from './schema';

export type Price = S.PriceView;
export type Position = S.PositionView;
export type Order = S.OrderView;
export type Decision = S.RecordDecision & { seq?: number };
export type Breaker = S.BreakerView;
export type Entry = Omit<S.JournalItem, 'body'> & { body: Record<string, unknown> };
export type Topics = Omit<S.Topics, 'records'>;
export type { Connection, FillItem as Fill, OrderItem, RecordsBegin, Status } from './schema';
