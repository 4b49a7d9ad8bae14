// Curves tell the value where the pointer is. Without this script they are still drawn.
for (const chart of document.querySelectorAll('.chart')) {
  const points = JSON.parse(chart.querySelector('script').textContent);
  const drawing = chart.querySelector('svg'), told = chart.querySelector('output'), rest = told.textContent;
  const first = points[0][0], last = points[points.length - 1][0];
  const cursor = document.createElementNS(drawing.namespaceURI, 'line');
  cursor.setAttribute('class', 'cursor');
  cursor.setAttribute('y1', 0);
  cursor.setAttribute('y2', drawing.viewBox.baseVal.height);
  const leave = () => { told.textContent = rest; cursor.remove(); };
  const look = (event) => {
    const box = drawing.getBoundingClientRect();
    const wanted = first + (event.clientX - box.left) / box.width * (last - first);
    let low = 0, high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < wanted) low = middle + 1; else high = middle;
    }
    const [at, value] = points[low], x = (at - first) / (last - first || 1) * drawing.viewBox.baseVal.width;
    cursor.setAttribute('x1', x);
    cursor.setAttribute('x2', x);
    drawing.append(cursor);
    const time = new Date(at).toISOString().slice(0, 16).replace('T', ' ');
    told.textContent = `${time} UTC: ${value.toLocaleString('en', { maximumFractionDigits: 2 })}`;
  };
  drawing.addEventListener('pointermove', look);
  drawing.addEventListener('pointerdown', look);
  drawing.addEventListener('pointerleave', leave);
}
