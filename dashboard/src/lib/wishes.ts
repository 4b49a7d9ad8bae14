// What a person asks of the bot. Each is asked back first, has a reason, and what the bot answered is told.
import { post, type Problem } from './api';
import { ask, type Question } from './ask.svelte';
import { news } from './news.svelte';
import { stream } from './stream.svelte';

type Wish = '/bot/pause' | '/bot/resume' | '/bot/flatten' | '/bot/cancel-all' | '/bot/kill' | '/bot/live-off' | '/breaker/reset';

async function asked(question: Question, does: (reason: string) => Promise<{ text: string }>): Promise<boolean> {
  const reason = await ask.open(question);
  if (reason === null) return false;
  try {
    news.tell('good', (await does(reason)).text);
    return true;
  } catch (problem) {
    news.tell('bad', `${question.title}: ${(problem as Problem).message}`);
    return false;
  }
}

const wish = (path: Wish, question: Question) => asked(question, (reason) => post(path, { reason }));

export const pause = () =>
  wish('/bot/pause', {
    title: 'Pause entries',
    text: 'No new position is opened until you resume.',
    points: ['Stops and targets stay at the exchange.', 'Exits go on as ever.', 'A restart does not end a pause.'],
    yes: 'Pause',
    reason: 'paused from the dashboard',
  });

export const resume = () =>
  wish('/bot/resume', {
    title: 'Resume entries',
    text: 'New positions may be opened again. A trip of the breaker is not ended by it.',
    yes: 'Resume',
    reason: 'resumed from the dashboard',
  });

export function flatten(): Promise<boolean> {
  const held = stream.topics.positions ?? [];
  const nothing = stream.unknown === null ? 'Nothing is held at the moment. Entries on their way are canceled.' : 'What is held is not known here. Closes all that the bot holds at the market, now.';
  return wish('/bot/flatten', {
    title: 'Flatten: sell everything',
    text: held.length ? `Closes ${held.length === 1 ? 'the position' : `all ${held.length} positions`} at the market, now.` : nothing,
    points: [...held.map((position) => `${position.symbol}: ${position.quantity}`), 'Entries go on afterwards: pause first to keep them off.'],
    yes: 'Flatten',
    danger: true,
    reason: 'flattened from the dashboard',
    word: 'FLATTEN',
  });
}

export const close = (symbol: string, quantity: string) =>
  asked(
    {
      title: `Close ${symbol}`,
      text: `Closes the position of ${quantity} at the market, now, and takes its stop and target back.`,
      yes: 'Close position',
      danger: true,
      reason: `closed ${symbol} from the dashboard`,
    },
    (reason) => post('/bot/close', { reason, symbol }),
  );

export const cancelAll = () =>
  wish('/bot/cancel-all', {
    title: 'Cancel entries',
    text: 'Takes back every entry that has not filled. Stops and targets of what is held stay.',
    yes: 'Cancel entries',
    reason: 'entries canceled from the dashboard',
  });

export const kill = () =>
  wish('/bot/kill', {
    title: 'Kill switch',
    text: 'Pauses entries and sells everything that is held, at the market, in one. Entries stay off until you resume.',
    yes: 'Kill',
    danger: true,
    reason: 'kill switch from the dashboard',
    word: 'KILL',
  });

export const liveOn = (unmet: string[]) =>
  asked(
    {
      title: 'Switch real money on',
      text: 'From now on the bot opens positions with real money, within its limits. A restart does not switch it off.',
      points: unmet.map((name) => `Not met: ${name}`),
      yes: 'Switch on',
      danger: true,
      reason: '',
      word: 'REAL MONEY',
    },
    (reason) => post('/bot/live-on', { reason, accepts: unmet }),
  );

export const liveOff = () =>
  wish('/bot/live-off', {
    title: 'Switch real money off',
    text: 'No new position is opened with real money until somebody switches it on again.',
    points: ['Stops and targets stay at the exchange.', 'Exits go on as ever.'],
    yes: 'Switch off',
    reason: 'real money switched off from the dashboard',
  });

export const resetBreaker = () =>
  wish('/breaker/reset', {
    title: 'Reset the breaker',
    text: 'Lets go of all trips. Losses are measured anew from the equity of this moment.',
    points: ['Say why it is safe to go on: it stands in the journal.'],
    yes: 'Reset',
    danger: true,
    reason: '',
  });
