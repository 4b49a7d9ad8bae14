// Reading anew after news, without reading once per record.
//
// An effect that reads from the API depends on values that are compared, never on a topic of the stream: a topic is a new
// object with every message, several times a second. What is news for a list is heard (stream.hear) and asked for here.

/** Does it once, `ms` after the first of any number of calls: news that never pauses does not put it off for ever. */
export function soon(does: () => void, ms: number): { ask: () => void; stop: () => void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  const ask = () => {
    timer ??= setTimeout(() => {
      stop();
      does();
    }, ms);
  };
  return { ask, stop };
}
