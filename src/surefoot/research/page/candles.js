// Candles with entries, exits and stops on a canvas: drag, pinch, wheel and keys move over them.
(() => {
  const root = document.querySelector('.candles');
  if (!root) return;
  const canvas = root.querySelector('canvas'), told = root.querySelector('output'), buttons = root.querySelector('.buttons');
  const parts = JSON.parse(root.querySelector('script').textContent).map(unpacked);
  const AXIS = 62, FOOT = 22, GROUP_PX = 3, FINE_PX = 1.5, NEAR_PX = 22, CANDLES_MIN = 12;
  let part, from, to, pointer = null, colours = {}, hits = [];

  // A run is [open_ms, differences]: open to the close before, close to open, high and low beyond both.
  function level(given, decimals) {
    const step = given.step, unit = 10 ** -decimals, t = [], o = [], h = [], l = [], c = [];
    const spans = given.runs.map(([first, flat]) => {
      let close = 0;
      for (let at = 0; at < flat.length; at += 4) {
        const open = close + flat[at];
        close = open + flat[at + 1];
        t.push(first + step * (at >> 2));
        o.push(open * unit);
        c.push(close * unit);
        h.push((Math.max(open, close) + flat[at + 2]) * unit);
        l.push((Math.min(open, close) - flat[at + 3]) * unit);
      }
      return [first, first + step * (flat.length >> 2)];
    });
    return { step, t, o, h, l, c, spans };
  }

  function unpacked(given) {
    const coarse = level(given.coarse, given.decimals);
    const fine = given.fine && given.fine.runs.length ? level(given.fine, given.decimals) : null;
    const start = coarse.t[0], end = coarse.t[coarse.t.length - 1] + coarse.step;
    return { ...given, coarse, fine, start, end, step: (fine || coarse).step };
  }

  // The first place whose time is not before `wanted`.
  function place(times, wanted) {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < wanted) low = middle + 1; else high = middle;
    }
    return low;
  }

  const width = () => canvas.clientWidth - AXIS, height = () => canvas.clientHeight - FOOT;
  const xOf = (at) => (at - from) / (to - from) * width();
  const timeOf = (x) => from + x / width() * (to - from);
  const text = (at) => new Date(at).toISOString().slice(0, 16).replace('T', ' ');
  const price = (value) => value.toLocaleString('en', { minimumFractionDigits: part.decimals, maximumFractionDigits: part.decimals });

  // What to draw: fine candles where there are any and they are wide enough, else coarse ones, several as one if need be.
  function visible() {
    const fine = part.fine && part.fine.step / (to - from) * width() >= FINE_PX ? part.fine : null;
    const candles = [];
    gather(part.coarse, fine ? fine.spans : [], candles);
    if (fine) gather(fine, [], candles);
    return candles;
  }

  function gather(source, covered, candles) {
    const { t, o, h, l, c, step } = source, group = Math.max(1, Math.ceil(GROUP_PX * (to - from) / width() / step));
    const first = place(t, from - step * group), end = place(t, to);
    let span = 0;
    for (let at = first; at < end; at++) {
      while (span < covered.length && covered[span][1] <= t[at]) span++;
      if (span < covered.length && covered[span][0] <= t[at]) continue;
      const bucket = Math.floor(t[at] / step / group), one = candles[candles.length - 1];
      if (one && one.bucket === bucket && one.source === source) {
        one.h = Math.max(one.h, h[at]);
        one.l = Math.min(one.l, l[at]);
        one.c = c[at];
        one.end = t[at] + step;
      } else {
        candles.push({ source, bucket, t: t[at], end: t[at] + step, o: o[at], h: h[at], l: l[at], c: c[at] });
      }
    }
  }

  function draw() {
    const scale = window.devicePixelRatio || 1, pen = canvas.getContext('2d');
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = '11px system-ui, sans-serif';
    const style = getComputedStyle(document.documentElement);
    for (const name of ['ink', 'soft', 'line', 'won', 'lost', 'stop', 'up', 'down', 'curve', 'paper']) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    const candles = visible(), trips = part.trips.filter((trip) => trip.to >= from && trip.from <= to);
    const close = trips.length < 60, lows = candles.map((one) => one.l), highs = candles.map((one) => one.h);
    for (const trip of trips) {
      const levels = close ? [...trip.stops.map((stop) => stop[1]), ...(trip.target === null ? [] : [trip.target])] : [];
      lows.push(...levels);
      highs.push(...levels);
    }
    const bottom = Math.min(...lows), top = Math.max(...highs), spare = (top - bottom || top || 1) * 0.06;
    const low = bottom - spare, high = top + spare, yOf = (value) => (high - value) / (high - low) * height();
    axes(pen, low, high, yOf);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, width(), height());
    pen.clip();
    for (const one of candles) candle(pen, one, yOf);
    hits = [];
    for (const trip of trips) roundTrip(pen, trip, yOf, close);
    pen.restore();
    if (pointer) crosshair(pen, candles, low, high);
    else told.textContent = `${part.symbol} · ${text(from)} to ${text(to)} UTC · ${trips.length} round trips in view`;
    canvas.dataset.drawn = `${candles.length} candles, ${trips.length} round trips`;
  }

  function axes(pen, low, high, yOf) {
    pen.fillStyle = colours.soft;
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.textBaseline = 'middle';
    const rough = (high - low) / (height() / 60), power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    for (let value = Math.ceil(low / step) * step; value < high; value += step) {
      line(pen, [[0, yOf(value)], [width(), yOf(value)]]);
      pen.fillText(price(value), width() + 5, yOf(value));
    }
    const hour = 3.6e6, wanted = (to - from) / (width() / 110);
    const steps = [1 / 12, 0.25, 0.5, 1, 2, 4, 8, 12, 24, 48, 96, 168, 336, 720, 1440, 4320, 8760].map((hours) => hours * hour);
    const apart = steps.find((size) => size >= wanted) || steps[steps.length - 1];
    for (let at = Math.ceil(from / apart) * apart; at < to; at += apart) {
      line(pen, [[xOf(at), 0], [xOf(at), height()]]);
      const label = apart < 24 * hour ? text(at).slice(5) : text(at).slice(0, 10);
      if (xOf(at) + 70 < width()) pen.fillText(label, xOf(at) + 3, height() + FOOT / 2);
    }
  }

  function line(pen, points, dashes = []) {
    pen.setLineDash(dashes);
    pen.beginPath();
    for (const [x, y] of points) pen.lineTo(x, y);
    pen.stroke();
    pen.setLineDash([]);
  }

  function candle(pen, one, yOf) {
    const left = xOf(one.t), wide = Math.max(1, xOf(one.end) - left), middle = left + wide / 2;
    pen.strokeStyle = pen.fillStyle = one.c >= one.o ? colours.up : colours.down;
    pen.lineWidth = 1;
    line(pen, [[middle, yOf(one.h)], [middle, yOf(one.l)]]);
    const edge = yOf(Math.max(one.o, one.c)), tall = Math.max(1, Math.abs(yOf(one.o) - yOf(one.c)));
    if (wide >= 2) pen.fillRect(left + wide * 0.15, edge, wide * 0.7, tall);
  }

  function roundTrip(pen, trip, yOf, close) {
    const colour = trip.pnl > 0 ? colours.won : colours.lost, x0 = xOf(trip.from), x1 = xOf(trip.to);
    if (close) {
      pen.lineWidth = 1.5;
      pen.strokeStyle = colours.stop;
      const steps = trip.stops.map(([after, value]) => [xOf(trip.from + after), yOf(value)]);
      const corners = steps.flatMap(([x, y], at) => [[x, y], [at + 1 < steps.length ? steps[at + 1][0] : x1, y]]);
      line(pen, corners);
      pen.strokeStyle = colours.won;
      if (trip.target !== null) line(pen, [[x0, yOf(trip.target)], [x1, yOf(trip.target)]], [3, 4]);
    }
    pen.lineWidth = 1.5;
    pen.strokeStyle = colour;
    line(pen, [[x0, yOf(trip.entry)], [x1, yOf(trip.exit)]], [2, 3]);
    // The arrow points to the entry price: from below for a long position, from above for a short one.
    const y0 = yOf(trip.entry), y1 = yOf(trip.exit), away = trip.short ? -9 : 9;
    pen.fillStyle = colours.curve;
    pen.strokeStyle = colours.paper;
    pen.lineWidth = 1;
    shape(pen, () => { pen.moveTo(x0, y0); pen.lineTo(x0 - 5, y0 + away); pen.lineTo(x0 + 5, y0 + away); pen.closePath(); });
    pen.fillStyle = colour;
    shape(pen, () => pen.arc(x1, y1, 4, 0, 7));
    if (trip.depends) {
      pen.strokeStyle = colours.ink;
      pen.beginPath();
      pen.arc(x1, y1, 7, 0, 7);
      pen.stroke();
    }
    hits.push([x0, y0, trip], [x1, y1, trip]);
  }

  function shape(pen, path) {
    pen.beginPath();
    path();
    pen.fill();
    pen.stroke();
  }

  function crosshair(pen, candles, low, high) {
    const [x, y] = pointer, at = timeOf(x), one = candles.find((given) => given.t <= at && at < given.end);
    pen.strokeStyle = colours.soft;
    pen.lineWidth = 1;
    line(pen, [[x, 0], [x, height()]], [2, 2]);
    line(pen, [[0, y], [width(), y]], [2, 2]);
    pen.fillStyle = colours.ink;
    pen.fillText(price(high - y / height() * (high - low)), width() + 5, y);
    const away = ([hx, hy]) => Math.hypot(hx - x, hy - y), near = hits.reduce((best, hit) => (!best || away(hit) < away(best) ? hit : best), null);
    const trip = near && away(near) < NEAR_PX ? near[2] : null;
    const words = one ? `${text(one.t)} UTC · O ${price(one.o)} H ${price(one.h)} L ${price(one.l)} C ${price(one.c)}` : `${text(at)} UTC`;
    told.textContent = trip ? tripText(trip) : words;
  }

  function tripText(trip) {
    const stops = trip.stops.length ? ` · stop ${price(trip.stops[0][1])}${trip.stops.length > 1 ? ` → ${price(trip.stops[trip.stops.length - 1][1])}` : ''}` : '';
    return `#${trip.number} ${trip.short ? 'short' : 'long'} ${text(trip.from)} at ${price(trip.entry)} → ${text(trip.to)} at ${price(trip.exit)}`
      + ` by ${trip.reason}, ${trip.pnl > 0 ? '+' : ''}${trip.pnl.toFixed(2)}${stops}${trip.depends ? ' · depends on the path' : ''}`;
  }

  function show(first, last) {
    const room = part.end - part.start, span = Math.min(room, Math.max(last - first, CANDLES_MIN * part.step));
    from = Math.max(part.start, Math.min((first + last - span) / 2, part.end - span));
    to = from + span;
    draw();
  }

  const zoom = (factor, x = width() / 2) => { const at = timeOf(x); show(at - (at - from) * factor, at + (to - at) * factor); };
  const pan = (px) => { const by = px / width() * (to - from); show(from + by, to + by); };

  function choose(symbol) {
    part = parts.find((given) => given.symbol === symbol);
    for (const button of buttons.querySelectorAll('[aria-pressed]')) button.ariaPressed = String(button.textContent === symbol);
    show(part.start, part.end);
  }

  function goTo(trip) {
    const around = Math.max((trip.to - trip.from) * 0.4, 30 * part.step);
    show(trip.from - around, trip.to + around);
    told.textContent = tripText(trip);
  }

  function beside(direction) {
    const middle = (from + to) / 2, trips = direction > 0 ? part.trips : [...part.trips].reverse();
    const next = trips.find((trip) => ((trip.from + trip.to) / 2 - middle) * direction > part.step);
    if (next) goTo(next);
  }

  function button(label, action, name = label) {
    const made = buttons.appendChild(document.createElement('button'));
    made.textContent = label;
    made.title = made.ariaLabel = name;
    made.addEventListener('click', action);
    return made;
  }

  for (const { symbol } of parts) button(symbol, () => choose(symbol)).ariaPressed = 'false';
  buttons.appendChild(document.createElement('i'));
  button('◀ trip', () => beside(-1), 'the round trip before');
  button('trip ▶', () => beside(1), 'the next round trip');
  button('−', () => zoom(2), 'farther');
  button('+', () => zoom(0.5), 'closer');
  button('all', () => show(part.start, part.end), 'the whole period');

  const fingers = new Map(), spot = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, spot(event));
    pointer = spot(event);
    draw();
  });
  canvas.addEventListener('pointermove', (event) => {
    const before = fingers.get(event.pointerId), now = spot(event);
    pointer = fingers.size < 2 ? now : null;
    if (before) {
      const other = [...fingers].find(([id]) => id !== event.pointerId);
      fingers.set(event.pointerId, now);
      if (other) zoom(Math.max(20, Math.abs(before[0] - other[1][0])) / Math.max(20, Math.abs(now[0] - other[1][0])), other[1][0]);
      else return pan(before[0] - now[0]);
    }
    draw();
  });
  for (const kind of ['pointerup', 'pointercancel']) canvas.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener('pointerleave', () => { pointer = null; draw(); });
  canvas.addEventListener('dblclick', () => show(part.start, part.end));
  // The wheel scrolls the page until the chart was clicked, or with Ctrl, which is also how a touchpad pinches.
  canvas.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))), event.offsetX);
  }, { passive: false });
  const keys = { ArrowLeft: () => pan(-80), ArrowRight: () => pan(80), '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2), 0: () => show(part.start, part.end) };
  canvas.addEventListener('keydown', (event) => { if (keys[event.key]) { event.preventDefault(); keys[event.key](); } });
  document.addEventListener('click', (event) => {
    const number = Number(event.target.dataset && event.target.dataset.trip);
    const found = number && parts.find((given) => given.trips.some((trip) => trip.number === number));
    if (!found) return;
    choose(found.symbol);
    goTo(found.trips.find((trip) => trip.number === number));
    root.scrollIntoView({ block: 'start' });
  });
  new ResizeObserver(() => draw()).observe(canvas);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw());
  choose(parts[0].symbol);
})();
