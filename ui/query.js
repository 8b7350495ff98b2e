"use strict";
const $ = id => document.getElementById(id);
const colors = ["#2f6fde","#d9480f","#2b8a3e","#9c36b5","#e6a700","#0b7285","#c2255c","#5c940d","#495057","#845ef7"];
let graph = false;
const label = metric => {
  const { __name__: name = "", ...rest } = metric;
  const pairs = Object.entries(rest).map(([k, v]) => (/^[a-zA-Z_]\w*$/.test(k) ? k : JSON.stringify(k)) + "=" + JSON.stringify(v));
  return name + (pairs.length || !name ? "{" + pairs.join(", ") + "}" : "");
};
async function call(path, parameters) {
  const response = await fetch("api/v1/" + path + "?" + new URLSearchParams(parameters));
  const text = await response.text();
  let body;
  try { body = JSON.parse(text); } catch { throw new Error(response.status + " " + text.trim()); }
  if (body.status !== "success") throw new Error(body.errorType + ": " + body.error);
  return body;
}
function note(text, error) { $("note").textContent = text; $("note").className = error ? "error" : ""; }
function table(data) {
  const rows = data.resultType === "scalar" || data.resultType === "string"
    ? [[data.resultType, data.result[1]]]
    : data.result.map(s => [label(s.metric), s.value ? s.value[1]
        : s.histogram ? "count " + s.histogram[1].count + ", sum " + s.histogram[1].sum
        : (s.values || []).map(p => p[1] + " @" + p[0]).join("\n")]);
  const out = document.createElement("table");
  for (const row of rows.slice(0, 2000)) {
    const tr = out.insertRow();
    for (const text of row) { const td = tr.insertCell(); td.textContent = text; td.style.whiteSpace = text.includes("\n") ? "pre" : ""; }
  }
  $("result").replaceChildren(out);
  return rows.length;
}
function plot(series, start, end) {
  const W = 1000, H = 340, L = 62, B = 24, NS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`); svg.setAttribute("preserveAspectRatio", "none");
  let low = Infinity, high = -Infinity;
  for (const s of series) for (const [, v] of s.values || []) { const f = +v; if (isFinite(f)) { low = Math.min(low, f); high = Math.max(high, f); } }
  if (low > high) { low = 0; high = 1; }
  if (low === high) { low -= Math.abs(low) * .1 || 1; high += Math.abs(high) * .1 || 1; }
  // Lines at round numbers: steps of 1, 2 or 5 times a power of ten.
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const gap = power * [1, 2, 5, 10].find(f => f * power >= rough);
  low = Math.floor(low / gap) * gap; high = Math.ceil(high / gap) * gap;
  const lines = Math.round((high - low) / gap);
  const when = t => { const d = new Date(t * 1000); return end - start > 86400 ? d.toLocaleDateString() + " " + d.toLocaleTimeString([], { timeStyle: "short" }) : d.toLocaleTimeString(); };
  const x = t => L + (t - start) / (end - start) * (W - L - 8), y = v => 8 + (high - v) / (high - low) * (H - B - 16);
  const add = (tag, attributes, text) => { const e = document.createElementNS(NS, tag); for (const k in attributes) e.setAttribute(k, attributes[k]); if (text !== undefined) e.textContent = text; svg.append(e); return e; };
  for (let i = 0; i <= lines; i++) {
    const v = low + gap * i;
    add("line", { x1: L, x2: W - 8, y1: y(v), y2: y(v), stroke: "currentColor", "stroke-opacity": .15 });
    add("text", { x: L - 6, y: y(v) + 4, "text-anchor": "end" }, Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 }).format(v));
  }
  for (let i = 0; i <= 4; i++) {
    const t = start + (end - start) * i / 4;
    add("text", { x: x(t), y: H - 8, "text-anchor": i === 0 ? "start" : i === 4 ? "end" : "middle" }, when(t));
  }
  series.slice(0, 200).forEach((s, i) => {
    let d = "", pen = false, last = 0;
    const step = (end - start) / 250;
    for (const [t, v] of s.values || []) {
      if (!isFinite(+v)) { pen = false; continue; }
      d += (pen && t - last <= step * 1.5 ? "L" : "M") + x(t).toFixed(1) + " " + y(+v).toFixed(1);
      pen = true; last = t;
    }
    add("path", { d, fill: "none", stroke: colors[i % colors.length], "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" });
  });
  const legend = document.createElement("div");
  legend.className = "legend";
  series.slice(0, 50).forEach((s, i) => { const row = document.createElement("div"), dot = document.createElement("i"); dot.style.background = colors[i % colors.length]; row.append(dot, label(s.metric)); legend.append(row); });
  if (series.length > 50) legend.append(`… and ${series.length - 50} more`);
  $("result").replaceChildren(svg, legend);
}
function until() { const chosen = $("until").value; return chosen ? new Date(chosen).getTime() : Date.now(); }
async function run() {
  const query = $("expr").value.trim();
  if (!query) return;
  const url = new URL(location); url.searchParams.set("g0.expr", query); url.searchParams.set("g0.tab", graph ? "0" : "1"); history.replaceState(null, "", url);
  const begun = performance.now();
  try {
    let body, count;
    if (graph) {
      const end = Math.floor(until() / 1000), span = +$("range").value, step = Math.max(1, Math.round(span / 250));
      body = await call("query_range", { query, start: end - span, end, step });
      plot(body.data.result, end - span, end); count = body.data.result.length;
    } else {
      body = await call("query", $("until").value ? { query, time: until() / 1000 } : { query }); count = table(body.data);
    }
    const remarks = [...(body.warnings || []), ...(body.infos || [])].join("\n");
    const most = graph ? 200 : 2000, left = count > most ? `, the first ${most.toLocaleString()} are shown` : "";
    note(`${count.toLocaleString()} series in ${(performance.now() - begun).toFixed(0)} ms${left}` + (remarks ? "\n" + remarks : ""));
  } catch (error) { $("result").replaceChildren(); note(error.message, true); }
}
function show(which) { graph = which; $("tab-graph").setAttribute("aria-selected", graph); $("tab-table").setAttribute("aria-selected", !graph); run(); }
$("form").addEventListener("submit", e => { e.preventDefault(); run(); });
$("expr").addEventListener("keydown", e => { if (e.key === "Enter" && !e.shiftKey) { e.preventDefault(); run(); } });
$("tab-table").addEventListener("click", () => show(false));
$("tab-graph").addEventListener("click", () => show(true));
$("range").addEventListener("change", () => graph && run());
$("until").addEventListener("change", run);
$("metrics").addEventListener("change", e => { if (e.target.value) { $("expr").value = e.target.value; e.target.value = ""; run(); } });
call("label/__name__/values", { limit: 5000 }).then(b => { for (const n of b.data) $("metrics").add(new Option(n, n)); }).catch(() => {});
call("status/tsdb", {}).then(b => { const h = b.data.headStats; $("facts").textContent = `${h.numSeries.toLocaleString()} series in the head, ${h.chunkCount.toLocaleString()} chunks`; }).catch(() => {});
const wanted = new URLSearchParams(location.search);
if (wanted.get("g0.expr")) { $("expr").value = wanted.get("g0.expr"); show(wanted.get("g0.tab") === "0"); }
