"use strict";
// Everything is on the page without this; it only filters, sorts, compares and copies. State lives in the address.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const [LINE, STREAM, ORDER, SEED, IMAGES, KEY, FIRST] = [0, 1, 2, 3, 4, 5, 6];
  const MEMORY = FIRST + data.metrics.length;
  const LOWER = new Set(["Forgetting"]); // of which less is better
  const FEW = 5, RESAMPLES = 10000, TIE = 1e-9, DASH = "\u2013", SIGN = "\u00b1";
  const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
    2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];
  const BLANK = { theme: "", q: "", line: "", stream: "", view: "", sort: "", spread: "", digits: "", mb: "", kind: "",
    metric: "", a: "", b: "", by: "", at: "" };
  const state = { ...BLANK };
  const say = (text) => { $("status").textContent = text; };

  // ---- which lines and streams are shown
  const hidden = { line: new Set(), stream: new Set() };
  const kinds = { line: data.lines, stream: data.streams };
  const elements = { line: new Map(), stream: new Map() };

  function collect() {
    const put = (kind, slug, element) => {
      if (!elements[kind].has(slug)) elements[kind].set(slug, []);
      elements[kind].get(slug).push(element);
    };
    for (const element of all("[data-line]")) put("line", element.dataset.line, element);
    for (const element of all("svg [data-method]")) put("line", element.dataset.method, element);
    for (const element of all("svg [data-legend]")) put("line", element.dataset.legend, element);
    const slugs = new Map(data.lines.map((line) => [JSON.stringify([line.method, line.variant]), line.slug]));
    for (const row of all("table.results tr[data-method]")) {
      const slug = slugs.get(JSON.stringify([row.dataset.method, row.dataset.variant]));
      if (slug) { put("line", slug, row); row.dataset.slug = slug; }
    }
    for (const element of all("[data-stream]")) put("stream", element.dataset.stream, element);
    const names = new Map(data.streams.map((stream) => [stream.name, stream.slug]));
    for (const cell of all("table.results [data-protocol]")) {
      const slug = names.get(cell.dataset.protocol);
      if (slug) put("stream", slug, cell);
    }
  }

  const shown = { line: new Set(), stream: new Set() };
  function filter() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (entry, word) => entry.name.toLowerCase().includes(word);
    const known = { line: (word) => data.lines.some((line) => fits(line, word)) };
    for (const kind of ["line", "stream"]) {
      const own = words.filter((word) => (kind === "line") === (known.line(word) || !data.streams.some((s) => fits(s, word))));
      shown[kind].clear();
      for (const entry of kinds[kind]) {
        const on = !hidden[kind].has(entry.slug) && own.every((word) => fits(entry, word));
        if (on) shown[kind].add(entry.slug);
        for (const element of elements[kind].get(entry.slug) || []) element.classList.toggle(`off-${kind}`, !on);
      }
      $(`${kind}s-shown`).textContent = `${shown[kind].size} of ${kinds[kind].length}`;
      for (const box of all(`[data-switch=${kind}]`)) box.checked = !hidden[kind].has(box.value);
    }
    for (const body of all("table.results tbody")) {
      const rows = all("tr:not(.family)", body);
      body.classList.toggle("off-line", rows.length > 0 && rows.every((row) => row.classList.contains("off-line")));
    }
    budget();
    duel();
  }

  // ---- statistics over runs
  const values = new Map(); // "line stream" -> runs
  for (const run of data.runs) {
    const place = `${run[LINE]} ${run[STREAM]}`;
    if (!values.has(place)) values.set(place, []);
    values.get(place).push(run);
  }
  const runsOf = (line, stream) => values.get(`${line} ${stream}`) || [];

  function summary(runs, field) {
    const there = runs.map((run) => run[field]).filter((value) => value !== null);
    const n = there.length;
    if (!n) return null;
    const mean = there.reduce((a, b) => a + b, 0) / n;
    const std = n > 1 ? Math.sqrt(there.reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1)) : null;
    return { mean, std, n };
  }

  function interval(differences) {
    const n = differences.length;
    if (n < 2) return null;
    let seed = 1;
    const random = () => { // mulberry32: the same numbers at every visit
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const means = new Float64Array(RESAMPLES);
    for (let i = 0; i < RESAMPLES; i++) {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += differences[Math.floor(random() * n)];
      means[i] = sum / n;
    }
    means.sort();
    const quantile = (q) => {
      const at = q * (RESAMPLES - 1), low = Math.floor(at);
      return means[low] + (at - low) * (means[Math.min(low + 1, RESAMPLES - 1)] - means[low]);
    };
    return [quantile(0.025), quantile(0.975)];
  }

  function paired(a, b, stream, field) {
    const twin = (run) => [run[ORDER], run[SEED], run[IMAGES]].join(" ");
    const other = new Map(runsOf(b, stream).map((run) => [twin(run), run]));
    const better = LOWER.has(data.metrics[field - FIRST]) ? -1 : 1;
    const found = { pairs: [], wins: 0, ties: 0, losses: 0 };
    for (const run of runsOf(a, stream)) {
      const match = other.get(twin(run));
      if (!match || run[field] === null || match[field] === null) continue;
      const difference = run[field] - match[field];
      found.pairs.push({ difference, order: run[ORDER], seed: run[SEED] });
      found[better * difference > TIE ? "wins" : better * difference < -TIE ? "losses" : "ties"] += 1;
    }
    if (!found.pairs.length) return null;
    const differences = found.pairs.map((pair) => pair.difference);
    found.mean = differences.reduce((x, y) => x + y, 0) / differences.length;
    found.interval = interval(differences);
    found.better = better;
    return found;
  }

  const percent = (value, digits = 1) => (100 * value).toFixed(digits);
  const signed = (value) => { const text = percent(value, 2); return (value >= 0 ? "+" : "") + text.replace("-", "\u2212"); };
  const span = (found) => { // in parentheses where it rests on few pairs
    if (!found.interval) return DASH;
    const words = `${signed(found.interval[0])} to ${signed(found.interval[1])}`;
    return found.pairs.length < FEW ? `(${words})` : words;
  };
  const shownMean = (s) => (s ? percent(s.mean) + (s.std === null ? "" : ` ${SIGN} ${percent(s.std)}`) + ` (${s.n})` : DASH);
  const mib = (value) => value.toFixed(value < 1 ? 3 : value < 10 ? 2 : 1);

  // a protocol's name may go on in the next line after each part
  const breakable = (text) => text.split(/(?=\+[a-z])/).flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part]));

  function fill(table, rows) {
    const body = table.tBodies[0];
    body.replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((content, i) => {
        const [text, below] = [content].flat();
        const cell = document.createElement(i ? "td" : "th");
        if (!i) cell.scope = "row";
        if (/[a-z]/i.test(text) && i) cell.className = "text";
        cell.append(...breakable(text));
        if (below) {
          const about = document.createElement("span");
          about.className = "about";
          about.textContent = below;
          cell.append(about);
        }
        row.append(cell);
      });
      return row;
    }));
  }

  // ---- which method within a budget
  function budget() {
    const most = parseFloat($("budget-mb").value), kind = MEMORY + Number($("budget-kind").value);
    const field = FIRST + Number($("budget-metric").value), better = LOWER.has(data.metrics[field - FIRST]) ? -1 : 1;
    const rows = [], words = [];
    data.streams.forEach((stream, s) => {
      if (!shown.stream.has(stream.slug)) return;
      const fitting = [];
      data.lines.forEach((line, i) => {
        const runs = runsOf(i, s);
        if (!line.ranked || !runs.length || !shown.line.has(line.slug)) return;
        const sizes = runs.map((run) => run[kind]);
        const score = summary(runs, field);
        if (!score || sizes.some((size) => size === null || size > most + 1e-6)) return;
        fitting.push({ i, name: line.name, score, size: Math.max(...sizes) });
      });
      fitting.sort((a, b) => better * (b.score.mean - a.score.mean));
      const [best, second] = fitting;
      if (!best) {
        rows.push([stream.name, "no method fits", "", "", "", "", ""]);
        words.push([stream.name, "no method fits."]);
        return;
      }
      const apart = second && paired(best.i, second.i, s, field);
      rows.push([stream.name, best.name, shownMean(best.score), mib(best.size),
        second ? [second.name, shownMean(second.score)] : DASH,
        apart ? [signed(apart.mean), span(apart)] : DASH, second ? sure(apart) : "nothing to compare it with"]);
      words.push([stream.name, `${best.name}, ${shownMean(best.score)}, with ${mib(best.size)} MiB` + (!second ? "." :
        `; ${apart ? `${signed(apart.mean)} points against` : "next is"} ${second.name}` +
        `${apart && apart.interval ? ` , 95 % interval ${span(apart)}` : ""}: ${sure(apart)}.`)]);
    });
    fill($("budget-table"), rows);
    $("budget-words").replaceChildren(...words.map(([name, text]) => {
      const item = document.createElement("li"), strong = document.createElement("b");
      strong.append(...breakable(`${name}: `));
      item.append(strong, text);
      return item;
    }));
  }

  function sure(found) {
    if (!found) return "no shared order and seed";
    const record = `ahead in ${found.wins} of ${found.pairs.length} pairs`;
    if (found.pairs.length < FEW) return `${record}; fewer than ${FEW} pairs: not sure`;
    const clear = found.interval && (found.better > 0 ? found.interval[0] > 0 : found.interval[1] < 0);
    return clear ? `${record}; the interval excludes zero` : `${record}; the interval includes zero: a tie, so far`;
  }

  // ---- A against B
  function duel() {
    const a = data.lines.findIndex((line) => line.slug === $("duel-a").value);
    const b = data.lines.findIndex((line) => line.slug === $("duel-b").value);
    const field = FIRST + Number($("duel-metric").value), rows = [];
    let few = 0, ahead = 0, behind = 0;
    if (a < 0 || b < 0) return;
    data.streams.forEach((stream, s) => {
      const found = a !== b && shown.stream.has(stream.slug) && paired(a, b, s, field);
      if (!found) return;
      if (found.pairs.length < FEW) few += 1;
      if (found.better * found.mean > TIE) ahead += 1; else if (found.better * found.mean < -TIE) behind += 1;
      const single = found.pairs.slice(0, 8).map((p) => `${signed(p.difference)} (order ${p.order}, seed ${p.seed})`);
      rows.push([stream.name, shownMean(summary(runsOf(a, s), field)), shownMean(summary(runsOf(b, s), field)),
        signed(found.mean), span(found), String(found.pairs.length),
        `${found.wins}/${found.ties}/${found.losses}`, single.join(", ") + (found.pairs.length > 8 ? ", \u2026" : "")]);
    });
    fill($("duel-table"), rows);
    $("duel-note").textContent = a === b ? "Choose two methods." : !rows.length ? "They share no run to compare." :
      `${data.lines[a].name} is better on ${ahead}, worse on ${behind} of ${rows.length} protocols.` +
      (few ? ` Fewer than ${FEW} pairs on ${few} of them: too few for the interval to mean much.` : "") +
      " Intervals are resampled here: their last digit may differ from the command line's.";
  }

  // ---- sorting
  const tables = new Map(); // name -> { table, heads: [{ th, column }], bodies: [[tbody, rows]] }
  function sortable() {
    for (const table of all("table.results, table.sortable")) {
      const name = table.dataset.preset || table.id;
      const flat = table.tHead.rows.length === 1, heads = [];
      const add = (th, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "sort";
        button.append(...th.childNodes);
        th.append(button);
        heads.push({ th, column });
        button.addEventListener("click", () => next(name, column));
      };
      if (flat) Array.from(table.tHead.rows[0].cells).forEach((th, i) => add(th, i));
      else {
        const fixed = Array.from(table.tHead.rows[0].cells).filter((th) => th.rowSpan > 1);
        add(fixed[0], 0);
        Array.from(table.tHead.rows[1].cells).forEach((th, i) => add(th, fixed.length + i));
      }
      const bodies = Array.from(table.tBodies).map((body) => [body, Array.from(body.rows)]);
      tables.set(name, { table, heads, bodies });
    }
  }

  const sorts = () => new Map(state.sort.split(",").map((text) => text.split("."))
    .filter(([name, at]) => tables.get(name)?.heads.some((head) => head.column === Number(at))).map((p) => [p[0], p]));
  const numeric = (entry, column) => entry.bodies.some(([, rows]) => rows.some((row) => row.cells[column]?.dataset.value));

  function next(name, column) {
    const entry = tables.get(name), now = sorts(), [, at, way] = now.get(name) || [];
    const order = numeric(entry, column) ? ["d", "a", ""] : ["a", "d", ""];
    const turned = Number(at) === column ? order[(order.indexOf(way) + 1) % 3] : order[0];
    if (turned) now.set(name, [name, column, turned]); else now.delete(name);
    state.sort = Array.from(now.values(), (parts) => parts.join(".")).join(",");
    sort();
    save();
    const title = entry.heads.find((head) => head.column === column).th.textContent;
    say(turned ? `Sorted by ${title}, ${turned === "a" ? "ascending" : "descending"}` : "In the order of the paper");
  }

  function sort() {
    const now = sorts();
    for (const [name, { table, heads, bodies }] of tables) {
      const [, at, way] = now.get(name) || [];
      for (const { th, column } of heads) {
        const own = way && Number(at) === column;
        if (own) th.setAttribute("aria-sort", way === "a" ? "ascending" : "descending"); else th.removeAttribute("aria-sort");
      }
      table.classList.toggle("sorted", Boolean(way));
      for (const [body, rows] of bodies) body.append(...rows);
      if (!way) continue;
      const rows = bodies.flatMap(([, own]) => own).filter((row) => !row.classList.contains("family"));
      const key = (row) => {
        const cell = row.cells[Number(at)], value = cell?.dataset.value;
        return value === undefined ? (numeric({ bodies }, Number(at)) ? null : cell.textContent.toLowerCase()) : Number(value);
      };
      const turn = way === "a" ? 1 : -1;
      const keyed = rows.map((row) => [key(row), row]);
      keyed.sort(([x], [y]) => (x === null ? 1 : 0) - (y === null ? 1 : 0) || (x === null ? 0 : turn * (x < y ? -1 : x > y ? 1 : 0)));
      bodies[0][0].append(...keyed.map(([, row]) => row));
    }
  }

  // ---- what the main tables show: which one, digits, deviation or interval
  function view() {
    const names = all("[data-view]").map((button) => button.dataset.view);
    const chosen = names.includes(state.view) ? state.view : names[0];
    for (const button of all("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === chosen));
    for (const sheet of all("[data-sheet]")) sheet.classList.toggle("off", sheet.dataset.sheet !== chosen);
  }

  const original = new Map();
  function figures() {
    const field = { avg: FIRST, last: FIRST + 1, forgetting: FIRST + 2 };
    const lines = new Map(data.lines.map((line, i) => [line.slug, i]));
    const streams = new Map(data.streams.map((stream, i) => [stream.name, i]));
    for (const cell of all(".sheet table.results td[data-value]")) {
      const column = field[cell.dataset.column], line = lines.get(cell.parentElement.dataset.slug);
      const stream = streams.get(cell.dataset.protocol);
      if (column === undefined || line === undefined || stream === undefined) continue;
      if (!original.has(cell)) original.set(cell, cell.textContent);
      const found = summary(runsOf(line, stream), column);
      if ((!state.spread && !state.digits) || !found) { cell.textContent = original.get(cell); continue; }
      const digits = state.digits === "" ? 1 : Number(state.digits);
      const half = found.std === null ? null : state.spread === "ci"
        ? (T[found.n - 2] || 1.96) * found.std / Math.sqrt(found.n) : found.std;
      const tail = half === null || state.spread === "none" ? "" : ` ${SIGN} ${percent(half, digits)}`;
      cell.textContent = percent(found.mean, digits) + tail;
    }
  }

  // ---- copying
  async function copy(text, what, area) {
    try {
      await navigator.clipboard.writeText(text);
      say(`${what} copied`);
    } catch {
      if (!area) { say("Copy the address from the browser"); return; }
      for (let at = area; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
      area.focus();
      area.select();
      say(document.execCommand("copy") ? `${what} copied` : `${what} is selected: copy it with the keyboard`);
    }
  }

  // ---- the address
  function save() {
    state.line = Array.from(hidden.line).join(",");
    state.stream = Array.from(hidden.stream).join(",");
    const parts = Object.entries(state).filter(([name, value]) => value !== BLANK[name]);
    const text = parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  function reveal(id) {
    const target = document.getElementById(id);
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView();
    const place = target.querySelector("summary, h1, h2, h3, h4") || target;
    if (place.tabIndex < 0) place.tabIndex = -1;
    place.focus({ preventScroll: true });
  }

  const CONTROLS = { "search": "q", "theme": "theme", "budget-mb": "mb", "budget-kind": "kind", "budget-metric": "metric",
    "duel-a": "a", "duel-b": "b", "duel-metric": "by", "spread": "spread", "digits": "digits" };
  const usual = {}; // what the controls say before anybody touches them

  function restore() {
    const text = location.hash.slice(1);
    Object.assign(state, BLANK);
    if (text.includes("=")) {
      for (const part of text.split("&")) {
        const [name, value] = [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)];
        try { if (name in BLANK) state[name] = decodeURIComponent(value); } catch { /* not ours */ }
      }
    } else state.at = text;
    for (const kind of ["line", "stream"]) {
      const known = new Set(kinds[kind].map((entry) => entry.slug));
      hidden[kind] = new Set(state[kind].split(",").filter((slug) => known.has(slug)));
    }
    for (const [id, name] of Object.entries(CONTROLS)) {
      const control = $(id);
      if (!control) continue;
      control.value = state[name] || usual[id];
      if (control.selectedIndex === -1) control.value = usual[id];
    }
    apply();
    if (state.at) reveal(state.at);
  }

  function apply() {
    const theme = ["light", "dark"].includes(state.theme) ? state.theme : "";
    if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
    filter();
    view();
    figures();
    sort();
  }

  // ---- begin
  for (const element of all("[hidden]")) element.hidden = false;
  if (matchMedia("(max-width: 70rem)").matches) for (const list of all(".controls details")) list.open = false;
  collect();
  sortable();
  for (const select of [$("duel-a"), $("duel-b")]) {
    select.append(...data.lines.map((line) => new Option(line.name, line.slug)));
  }
  const rivals = data.lines.filter((line) => line.ranked);
  const best = (document.querySelector("[data-best]") || document.body).dataset;
  $("duel-a").value = best.best || (rivals[0] || data.lines[0] || {}).slug || "";
  $("duel-b").value = best.second || (rivals[1] || data.lines[0] || {}).slug || "";
  for (const [id, name] of Object.entries(CONTROLS)) {
    const control = $(id);
    if (!control) continue;
    usual[id] = control.value;
    control.addEventListener("input", () => {
      state[name] = control.value === usual[id] ? "" : control.value;
      apply();
      save();
    });
  }
  document.addEventListener("change", (event) => {
    const box = event.target, kind = box.dataset.switch;
    if (!kind) return;
    if (box.checked) hidden[kind].delete(box.value); else hidden[kind].add(box.value);
    filter();
    save();
  });
  document.addEventListener("click", (event) => {
    const target = event.target.closest("button, a");
    if (!target) return;
    const { all: whole, none, view: which, copy: id } = target.dataset;
    if (whole || none) {
      hidden[whole || none] = new Set(none ? kinds[none].map((entry) => entry.slug) : []);
      filter();
      save();
    } else if (which) {
      state.view = which;
      view();
      save();
    } else if (id) copy($(id).value, target.textContent.replace("Copy ", ""), $(id));
    else if (target.id === "reset") {
      history.replaceState(null, "", location.pathname + location.search);
      restore();
      say("Everything is shown");
    } else if (target.id === "share") copy(location.href, "Link", null);
    else if (target.tagName === "A" && target.getAttribute("href").startsWith("#")) {
      event.preventDefault();
      state.at = target.getAttribute("href").slice(1);
      reveal(state.at);
      save();
    }
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", restore);
  restore();
})();
