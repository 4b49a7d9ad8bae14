// An order's life, record by record, in words.
import { plain, price } from './decimal';
import type { Entry } from './shapes';

type Body = Record<string, unknown>;
const text = (value: unknown): string => (value === null || value === undefined ? '' : String(value));
const part = (body: Body, name: string): Body => (body[name] ?? {}) as Body;

export function told(entry: Entry, id: string): { title: string; detail: string; level: string } {
  const body = entry.body;
  const simple = (title: string, detail = '', level = '') => ({ title, detail, level });
  switch (entry.kind) {
    case 'SubmitOrder':
    case 'SubmitList':
    case 'ReplaceOrder': {
      if (entry.kind === 'ReplaceOrder' && body.cancel_id === id) return simple('Replaced by a new stop', text(part(body, 'order').client_order_id));
      const own = entry.kind === 'SubmitList' ? ((body.orders as Body[]).find((each) => each.client_order_id === id) ?? {}) : part(body, 'order');
      const at = own.stop_price ? `stop ${price(text(own.stop_price))}` : own.price ? `at ${price(text(own.price))}` : 'at the market';
      const how = entry.kind === 'SubmitList' ? `in one ${text(body.type)} list` : entry.kind === 'ReplaceOrder' ? 'in place of another' : '';
      return simple('Written down and sent', `${text(own.side)} ${text(own.type)} ${own.quantity ? plain(text(own.quantity)) : ''} ${at} ${how}`.replace(/\s+/g, ' '));
    }
    case 'OrderAccepted':
      return body.resting ? simple('Rests at the exchange', `its number there is ${text(body.order_id)}`, 'good') : simple('Accepted, waits for its entry', `its number there is ${text(body.order_id)}`);
    case 'OrderFilled':
    case 'VenueTraded': {
      const fill = part(body, 'fill');
      return simple('Filled', `${plain(text(fill.quantity))} at ${price(text(fill.price))}, fee ${plain(text(fill.fee))} ${text(fill.fee_asset)}`, 'good');
    }
    case 'OrderRejected':
      return simple('Refused by the exchange', `${text(body.text)} ${body.code === null ? '' : `(${text(body.code)})`}`, 'bad');
    case 'OrderCanceled':
      return simple('Canceled', body.executed ? `${plain(text(body.executed))} had filled` : '');
    case 'OrderExpired':
      return simple('Expired', text(body.reason));
    case 'CancelOrder':
      return simple('Cancel sent');
    case 'CancelRefused':
      return simple('Cancel refused', text(body.text), 'warn');
    case 'OutcomeUnknown':
      return simple('In doubt: the answer was lost', text(body.text), 'warn');
    case 'QueryOrder':
      return simple('The exchange is asked');
    case 'OrderNotFound':
      return simple('The exchange knows no such order', '', 'warn');
    case 'ReadFills':
      return simple('Its trades are read');
    default:
      return simple(entry.kind);
  }
}
