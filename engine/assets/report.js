"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Columns travel as base64 little-endian typed arrays; a "base" is added back, so that 32 bits keep the cents.
  const TYPES = { f64: Float64Array, f32: Float32Array, i32: Int32Array, i8: Int8Array };
  function column(packed) {
    if (!packed) return null;
    const text = atob(packed.bytes);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const values = new TYPES[packed.type](bytes.buffer);
    if (packed.base === undefined) return values;
    const result = new Float64Array(values.length);
    for (let i = 0; i < values.length; i++) result[i] = values[i] + packed.base;
    return result;
  }
  const gaps = (values) => { // uPlot draws null, not NaN, as a gap
    for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) return Array.from(values, (v) => (Number.isNaN(v) ? null : v));
    return values;
  };

  // Numbers and times ----------------------------------------------------------------------------------------------
  const formats = new Map();
  const number = (value, digits) => {
    if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
    return formats.get(digits).format(value).replace(/^-(0(\.0*)?)$/, "$1");
  };
  const money = (value) => {
    const size = Math.abs(value);
    return number(value, size >= 1 || size < 1e-12 ? 2 : Math.min(3 - Math.floor(Math.log10(size)), 8));
  };
  const digitsFor = (values) => { // one count of decimals for a column of amounts, by its typical size
    const sizes = Array.from(values, Math.abs).filter((v) => v > 0).sort((x, y) => x - y), typical = sizes[sizes.length >> 1] || 1;
    return Math.min(Math.max(2, 1 - Math.floor(Math.log10(typical))), 8);
  };
  const percent = (value, digits = 2) => number(value * 100, Math.abs(value) < 0.001 && value !== 0 ? 4 : digits) + " %";
  const two = (n) => String(n).padStart(2, "0");
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const DAY = 86400000;
  const spanMs = Math.max(data.end - data.start, 0);
  function clock(ms, digits) {
    const at = new Date(Math.floor(ms));
    const text = two(at.getUTCHours()) + ":" + two(at.getUTCMinutes()) + ":" + two(at.getUTCSeconds());
    return digits ? text + "." + String(at.getUTCMilliseconds()).padStart(3, "0") : text;
  }
  const day = (ms) => { const at = new Date(ms); return at.getUTCDate() + " " + MONTHS[at.getUTCMonth()]; };
  const stamp = (ms) => day(ms) + (spanMs > 300 * DAY ? " " + new Date(ms).getUTCFullYear() : "") + " " + clock(ms, spanMs < DAY);
  function duration(ms) {
    if (ms < 1) return number(ms * 1000, 0) + " µs";
    if (ms < 1000) return number(ms, ms < 10 ? 2 : 0) + " ms";
    if (ms < 60000) return number(ms / 1000, 1) + " s";
    if (ms < 3600000) return Math.floor(ms / 60000) + " min " + Math.floor(ms / 1000 % 60) + " s";
    if (ms < DAY) return Math.floor(ms / 3600000) + " h " + Math.floor(ms / 60000 % 60) + " min";
    return Math.floor(ms / DAY) + " d " + Math.floor(ms / 3600000 % 24) + " h";
  }
  function timeLabels(u, splits, axis, space, step) {
    let last = null;
    return splits.map((ms) => {
      if (ms === null) return "";
      const at = new Date(ms), today = day(ms);
      if (step >= 300 * DAY) return String(at.getUTCFullYear());
      if (step >= DAY) {
        const year = at.getUTCFullYear(), shown = last === null || last !== year ? today + "\n" + year : today;
        last = year;
        return spanMs > 300 * DAY ? shown : today;
      }
      const text = step >= 60000 ? clock(ms, false).slice(0, 5) : clock(ms, step < 1000);
      const shown = last !== today ? text + "\n" + today : text;
      last = today;
      return shown;
    });
  }

  // Charts ---------------------------------------------------------------------------------------------------------
  const charts = new Map();
  let range = null; // the x range every chart shows; null for all
  let moving = false;
  const full = () => { const pad = spanMs * 0.005 || 1000; return [data.start - pad, data.end + pad]; };
  function show(min, max) {
    range = min === null ? null : [min, max];
    const [from, to] = range || full();
    moving = true;
    for (const chart of charts.values()) chart.setScale("x", { min: from, max: to });
    moving = false;
    document.querySelectorAll("[data-reset]").forEach((button) => { button.disabled = range === null; });
  }
  const width = (host) => Math.max(host.clientWidth, 200);
  const axisLabel = (values) => {
    const size = Math.max(...values.map((v) => Math.abs(v || 0))), step = values.length > 1 ? Math.abs(values[1] - values[0]) : size;
    const digits = Math.min(Math.max(0, Math.ceil(-Math.log10(step || 1) + 1e-9)), 8);
    return values.map((v) => (v === null ? "" : size >= 1e7 ? number(v / 1e6, Math.max(0, Math.ceil(-Math.log10(step / 1e6) + 1e-9))) + " M" : number(v, digits)));
  };
  function chart(id, columns, series, options = {}) {
    const host = $(id);
    if (!host) return;
    if (charts.has(id)) charts.get(id).destroy();
    const axis = { stroke: () => css("--muted"), font: "11px system-ui, sans-serif", grid: { stroke: () => css("--grid"), width: 1 }, ticks: { show: false } };
    const readout = host.parentElement.querySelector("[data-readout='" + id + "']");
    const [from, to] = range || full();
    const plot = new uPlot({
      width: width(host), height: options.height || 240, ms: 1, pxAlign: 1,
      tzDate: (ts) => uPlot.tzDate(new Date(ts), "Etc/UTC"),
      legend: { show: false },
      padding: [8, 14, 0, 0],
      cursor: {
        y: false,
        sync: { key: "run", scales: ["x", null], filters: { pub: (type) => type === "mousemove" || type === "mouseleave", sub: () => true } },
        drag: { x: true, y: false, setScale: true, dist: 6 },
        points: { size: 7, width: 2, fill: () => css("--panel"), stroke: (u, i) => (u.series[i].color ? u.series[i].color() : css("--accent")) },
        bind: { dblclick: () => () => { show(null); return null; } },
      },
      scales: { x: { time: true, min: from, max: to, range: (u, min, max) => [min, max] }, y: { range: options.range || spread } },
      axes: [
        { ...axis, values: timeLabels, space: 74, size: options.last === false ? 8 : 40, ...(options.last === false ? { values: () => [] } : {}) },
        { ...axis, size: 68, space: (options.height || 240) < 200 ? 22 : 34, values: options.values || ((u, splits) => axisLabel(splits)) },
      ],
      series: [{}, ...series],
      hooks: {
        setScale: [(u, key) => { 
          const { min, max } = u.scales.x, [from, to] = range || full();
          if (key === "x" && !moving && (min !== from || max !== to)) queueMicrotask(() => show(min, max));
         }],
        setCursor: [(u) => { if (readout) readout.innerHTML = u.cursor.idx === null || u.cursor.left < 0 ? (options.idle || "") : options.read(u, u.cursor.idx); }],
        draw: options.draw || [],
        drawClear: options.under || [],
      },
    }, [columns[0], ...columns.slice(1)], host);
    charts.set(id, plot);
    if (readout) readout.innerHTML = options.idle || "";
  }
  function spread(u, min, max) {
    if (min === null || max === null) return [0, 1];
    const pad = (max - min) * 0.07 || Math.abs(max) * 0.01 || 1;
    return [min - pad, max + pad];
  }
  const line = (variable, more = {}) => ({ stroke: () => css(variable), color: () => css(variable), width: 1.5, points: { show: false }, ...more });
  const shade = (variable, share) => () => { const c = css(variable); return c.startsWith("#") && c.length === 7 ? c + share : c; };
  const value = (label, text, color) => "&ensp;" + label + " <b" + (color ? ' class="' + color + '"' : "") + ">" + text + "</b>";
  const tone = (v) => (v > 0 ? "good-text" : v < 0 ? "bad-text" : "");
  const safe = (text) => String(text).replace(/[&<>"']/g, (c) => "&#" + c.charCodeAt(0) + ";");

  // A horizontal line at a value, under the series.
  const level = (y) => (u) => {
    const at = u.valToPos(y, "y", true);
    if (at < u.bbox.top || at > u.bbox.top + u.bbox.height) return;
    const c = u.ctx;
    c.save(); c.strokeStyle = css("--faint"); c.lineWidth = devicePixelRatio; c.setLineDash([4, 4]); c.beginPath();
    c.moveTo(u.bbox.left, at); c.lineTo(u.bbox.left + u.bbox.width, at); c.stroke(); c.restore();
  };

  const equity = data.equity && { t: column(data.equity.t), value: column(data.equity.value) };
  if (equity) {
    let peak = -Infinity;
    equity.depth = Float64Array.from(equity.value, (v) => { peak = Math.max(peak, v); return peak > 0 ? v / peak - 1 : 0; });
  }
  const symbols = data.symbols.map((each) => ({
    name: each.name, digits: each.digits, lot: each.lot, currency: each.currency,
    t: each.t ? column(each.t) : equity && equity.t,
    mark: each.mark && gaps(column(each.mark)), position: each.position && column(each.position),
    fills: each.fills && Object.fromEntries(Object.entries(each.fills).map(([name, packed]) => [name, column(packed)])),
  }));
  function benchmark() {
    const usable = symbols.filter((s) => s.mark && s.t === equity.t && s.mark.every((v) => v !== null));
    if (!usable.length) return null;
    return Float64Array.from(equity.t, (_, i) => equity.value[0] * usable.reduce((sum, s) => sum + s.mark[i] / s.mark[0], 0) / usable.length);
  }
  const hold = equity ? benchmark() : null;

  function drawEquity() {
    if (!equity) return;
    const compare = $("hold") && $("hold").checked && hold;
    const columns = [equity.t, equity.value], series = [line("--accent", { fill: compare ? undefined : shade("--accent", "1c"), fillTo: (u) => u.scales.y.min })];
    if (compare) { columns.push(hold); series.push(line("--warn", { width: 1 })); }
    const first = equity.value[0];
    chart("equity", columns, series, {
      height: 300, last: false, under: [], draw: [level(first)],
      read: (u, i) => stamp(equity.t[i]) + value("equity", money(equity.value[i])) + value("profit", money(equity.value[i] - first), tone(equity.value[i] - first)) + (compare ? value("buy and hold", money(hold[i])) : ""),
      idle: "drag to zoom, double-click to see all",
    });
    chart("drawdown", [equity.t, equity.depth], [line("--down", { width: 1, fill: shade("--down", "2e"), fillTo: 0 })], {
      height: 130, range: (u, min) => [Math.min(min === null ? -0.001 : min * 1.1, -1e-6), 0],
      values: (u, splits) => splits.map((v) => percent(v, Math.abs(splits[0]) < 0.002 ? 3 : Math.abs(splits[0]) < 0.05 ? 2 : 1)),
      read: (u, i) => "<b>" + percent(equity.depth[i]) + "</b>",
    });
  }

  let chosen = 0;
  let near = null;
  function drawFills(u) {
    const fills = symbols[chosen].fills;
    if (!fills) return;
    const { min, max } = u.scales.x, c = u.ctx, scale = devicePixelRatio;
    const from = lower(fills.t, min), to = lower(fills.t, max);
    const dense = to - from > 2500, size = (to - from > 500 ? 4 : to - from > 120 ? 5 : 6.5) * scale;
    c.save();
    c.beginPath(); c.rect(u.bbox.left, u.bbox.top - 8 * scale, u.bbox.width, u.bbox.height + 16 * scale); c.clip();
    for (const side of [1, -1]) {
      c.fillStyle = css(side > 0 ? "--up" : "--down"); c.strokeStyle = css("--panel"); c.lineWidth = scale * 0.75;
      c.beginPath();
      for (let i = from; i < to; i++) {
        if (fills.side[i] !== side) continue;
        const x = u.valToPos(fills.t[i], "x", true), y = u.valToPos(fills.price[i], "y", true);
        if (dense) { c.rect(x - scale, y - scale, 2 * scale, 2 * scale); continue; }
        const tip = y + side * 2 * scale, base = tip + side * size * 1.5;
        c.moveTo(x, tip); c.lineTo(x - size * 0.8, base); c.lineTo(x + size * 0.8, base); c.closePath();
      }
      c.fill(); if (!dense) c.stroke();
    }
    if (trade && trade.symbol === chosen) {
      c.strokeStyle = css(trade.net >= 0 ? "--up" : "--down"); c.lineWidth = 1.5 * scale; c.setLineDash([5, 4]); c.beginPath();
      c.moveTo(u.valToPos(trade.entry, "x", true), u.valToPos(trade.from, "y", true)); c.lineTo(u.valToPos(trade.exit, "x", true), u.valToPos(trade.to, "y", true)); c.stroke();
    }
    c.restore();
  }
  function lower(values, wanted) {
    let low = 0, high = values.length;
    while (low < high) { const middle = (low + high) >> 1; if (values[middle] < wanted) low = middle + 1; else high = middle; }
    return low;
  }
  function nearest(u) { // the fill within 12 pixels of the cursor
    const fills = symbols[chosen].fills;
    if (!fills || u.cursor.left < 0) return null;
    const reach = u.posToVal(u.cursor.left + 12, "x") - u.posToVal(u.cursor.left, "x"), at = u.posToVal(u.cursor.left, "x");
    let best = null, distance = 18;
    const to = lower(fills.t, at + reach);
    for (let i = lower(fills.t, at - reach), n = 0; i < to && n < 4000; i++, n++) {
      const d = Math.hypot(u.valToPos(fills.t[i], "x") - u.cursor.left, u.valToPos(fills.price[i], "y") - u.cursor.top);
      if (d < distance) { distance = d; best = i; }
    }
    return best;
  }
  function readPrice(u, index) {
    const s = symbols[chosen];
    near = nearest(u);
    if (near !== null) {
      const f = s.fills, side = f.side[near] > 0;
      return stamp(f.t[near]) + "&ensp;<b class=\"" + (side ? "good-text\">bought " : "bad-text\">sold ") + number(f.qty[near], s.lot) + " at " + number(f.price[near], s.digits) + "</b>" +
        value("", f.maker[near] ? "maker" : "taker") + value("fee", money(f.fee[near])) + (data.strategies.length > 1 ? value("", safe(data.strategies[f.strategy[near]])) : "");
    }
    const price = u.data[1][index];
    return stamp(u.data[0][index]) + (price === null || price === undefined ? "" : value("price", number(price, s.digits)));
  }
  function drawMarket() {
    const s = symbols[chosen];
    for (const id of ["price", "position"]) if (charts.has(id)) { charts.get(id).destroy(); charts.delete(id); }
    if (!s) return;
    let t = s.t, mark = s.mark;
    if (!mark && s.fills) { t = s.fills.t; mark = s.fills.price; } // no marks: the fills' own prices carry the axis
    if (mark) {
      chart("price", [t, mark], [line("--muted", { width: 1.25, color: () => css("--muted"), show: true, ...(s.mark ? {} : { stroke: "transparent" }) })], { height: 320, last: !s.position, draw: [drawFills], read: readPrice });
    }
    if (s.position) {
      chart("position", [s.t, s.position], [line("--accent-2", { paths: uPlot.paths.stepped({ align: 1 }), fill: shade("--accent-2", "2a"), fillTo: 0 })], {
        height: 140, range: (u, min, max) => spread(u, Math.min(min, 0), Math.max(max, 0)), draw: [level(0)],
        read: (u, i) => "<b>" + number(s.position[i], s.lot) + "</b>",
      });
    }
  }
  document.querySelectorAll("[data-symbol]").forEach((button) => button.addEventListener("click", () => choose(+button.dataset.symbol)));
  function choose(index) {
    chosen = index;
    document.querySelectorAll("[data-symbol]").forEach((each) => each.setAttribute("aria-pressed", String(+each.dataset.symbol === index)));
    drawMarket();
  }

  // Closed profit per strategy.
  const trades = data.trades && Object.fromEntries(Object.entries(data.trades).map(([name, packed]) => [name, column(packed)]));
  const PALETTE = ["--accent", "--accent-2", "--up", "--warn", "--down", "--muted"];
  function drawStrategies() {
    if (!$("strategies") || !trades) return;
    const count = trades.net.length, sums = data.strategies.map(() => 0);
    const columns = data.strategies.map(() => new Float64Array(count));
    const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => trades.exit[a] - trades.exit[b]);
    order.forEach((i, n) => { sums[trades.strategy[i]] += trades.net[i]; columns.forEach((c, s) => { c[n] = sums[s]; }); });
    const t = Float64Array.from(order, (i) => trades.exit[i]);
    chart("strategies", [t, ...columns], data.strategies.map((_, s) => line(PALETTE[s % PALETTE.length], { paths: uPlot.paths.stepped({ align: 1 }) })), {
      height: 220, draw: [level(0)],
      read: (u, i) => stamp(t[i]) + data.strategies.map((name, s) => value(safe(name), money(columns[s][i]), tone(columns[s][i]))).join(""),
    });
  }

  // Trade table ----------------------------------------------------------------------------------------------------
  let trade = null;
  const PAGE = 15;
  if (trades && $("trades")) {
    const body = $("trades").querySelector("tbody"), heads = [...$("trades").querySelectorAll("th")];
    const mixed = new Set(symbols.map((s) => s.currency)).size > 1;
    const digits = symbols.map((_, n) => {
      const own = (name) => trades[name].filter((value, i) => trades.symbol[i] === n);
      return { fee: digitsFor(own("fee")), net: digitsFor(own("net")), unit: mixed ? " " + safe(symbols[n].currency) : "" };
    });
    let key = "number", rising = true, page = 0, order = [];
    const filter = { strategy: $("by-strategy"), symbol: $("by-symbol"), side: $("by-side") };
    const passes = (i) => Object.entries(filter).every(([name, select]) => !select || select.value === "" || trades[name][i] === +select.value);
    function arrange() {
      order = [];
      for (let i = 0; i < trades.net.length; i++) if (passes(i)) order.push(i);
      const values = trades[key], sign = rising ? 1 : -1;
      const rank = (v) => (Number.isNaN(v) ? -Infinity : v);
      order.sort((a, b) => { const x = rank(values[a]), y = rank(values[b]); return x === y ? a - b : sign * (x < y ? -1 : 1); });
      page = 0;
      fill();
    }
    function fill() {
      const pages = Math.max(1, Math.ceil(order.length / PAGE));
      page = Math.min(Math.max(page, 0), pages - 1);
      body.innerHTML = order.slice(page * PAGE, page * PAGE + PAGE).map((i) => {
        const s = symbols[trades.symbol[i]], d = digits[trades.symbol[i]], long = trades.side[i] > 0;
        const move = (v) => (Number.isNaN(v) ? '<span class="none">n/a</span>' : number(v * 100, 3) + " %");
        const cells = [
          number(trades.number[i], 0), '<span class="side ' + (long ? "good-text\">long" : "bad-text\">short") + "</span>",
          ...(data.strategies.length > 1 ? [safe(data.strategies[trades.strategy[i]])] : []), ...(symbols.length > 1 ? [safe(s.name)] : []),
          stamp(trades.entry[i]), duration(trades.exit[i] - trades.entry[i]), number(trades.qty[i], s.lot),
          number(trades.from[i], s.digits), number(trades.to[i], s.digits), number(trades.fee[i], d.fee),
          '<span class="' + tone(trades.net[i]) + '">' + number(trades.net[i], d.net) + d.unit + "</span>", '<span class="' + tone(trades.net[i]) + '">' + number(trades.gain[i] * 100, 3) + " %" + "</span>",
          move(trades.adverse[i]), move(trades.favourable[i]),
        ];
        return '<tr data-row="' + i + '"' + (trade && trade.index === i ? ' class="chosen"' : "") + ">" + cells.map((cell, n) => "<td" + (heads[n].classList.contains("number") ? ' class="number"' : "") + ">" + cell + "</td>").join("") + "</tr>";
      }).join("") || '<tr><td colspan="' + heads.length + '" class="none">no trade passes the filter</td></tr>';
      $("page").textContent = order.length ? number(page * PAGE + 1, 0) + " to " + number(Math.min((page + 1) * PAGE, order.length), 0) + " of " + number(order.length, 0) : "";
      $("previous").disabled = page === 0;
      $("next").disabled = page >= pages - 1;
    }
    function sort(head) {
      rising = key === head.dataset.key ? !rising : head.dataset.key === "number" || head.dataset.key === "entry";
      key = head.dataset.key;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      arrange();
    }
    heads.forEach((head) => {
      head.addEventListener("click", () => sort(head));
      head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(head); } });
    });
    Object.values(filter).forEach((select) => select && select.addEventListener("change", arrange));
    $("previous").addEventListener("click", () => { page -= 1; fill(); });
    $("next").addEventListener("click", () => { page += 1; fill(); });
    body.addEventListener("click", (event) => {
      const row = event.target.closest("[data-row]");
      if (!row) return;
      const i = +row.dataset.row, again = trade && trade.index === i;
      trade = again ? null : { index: i, symbol: trades.symbol[i], entry: trades.entry[i], exit: trades.exit[i], from: trades.from[i], to: trades.to[i], net: trades.net[i] };
      fill();
      if (again) { show(null); return; }
      if (trade.symbol !== chosen) choose(trade.symbol);
      const pad = Math.max((trade.exit - trade.entry) * 1.5, spanMs * 0.004, 50);
      show(trade.entry - pad, trade.exit + pad);
      if ($("market")) $("market").scrollIntoView({ behavior: "smooth", block: "start" });
    });
    arrange();
  }

  // Page -----------------------------------------------------------------------------------------------------------
  function drawAll() { drawEquity(); drawMarket(); drawStrategies(); }
  document.querySelectorAll("[data-reset]").forEach((button) => button.addEventListener("click", () => show(null)));
  if ($("hold")) { if (hold) $("hold").addEventListener("change", drawEquity); else $("hold").closest("label").remove(); }
  $("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("twinloop-theme", theme); } catch (error) { /* not kept, then */ }
    drawAll();
  });
  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => charts.forEach((plot, id) => plot.setSize({ width: width($(id)), height: plot.height })));
  });
  drawAll();
  document.documentElement.dataset.ready = "true";
})();
