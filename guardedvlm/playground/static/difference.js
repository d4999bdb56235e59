// What is different between two trials of one picture: under two policies, or before and after a policy was edited.
import { counted, h } from "./dom.js";
import { regionsOf } from "./regions.js";

const SAME = 0.5; // overlap of two boxes, as a share of their union, from which they are one place

/** Regions that only one of two runs hides, and those hidden otherwise. null where the policy gives no places out. */
export function compared(old, fresh) {
  const left = regionsOf(old, old.number), right = regionsOf(fresh, fresh.number);
  if ([...left, ...right].some(({ region }) => !region.box)) return null;
  const open = new Set(right), gone = [], changed = [];
  for (const item of left) {
    const twin = best(item, open);
    if (!twin) { gone.push(item); continue; }
    open.delete(twin);
    if (twin.region.kind !== item.region.kind || twin.region.action !== item.region.action) changed.push([item, twin]);
  }
  return { gone, fresh: [...open], changed };
}

function best(item, others) {
  let found = null, most = SAME;
  for (const other of others) {
    const share = other.page === item.page ? overlap(item.region.box, other.region.box) : 0;
    if (share >= most) [found, most] = [other, share];
  }
  return found;
}

function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return width * height / (area(a) + area(b) - width * height);
}

/** The section. `names`: of the two; `changes`: of their policies, null where they are not known. */
export function difference(old, fresh, names, changes, light) {
  return h("section", { class: "difference", "aria-labelledby": "difference-title" },
    h("h2", { id: "difference-title" }, `Difference: ${names[0]} and ${names[1]}`),
    old.redaction && fresh.redaction ? regionsPart(old, fresh, names, light) : h("p", {}, "One of them was refused, so there are no regions to compare."),
    changes ? policyPart(changes) : null);
}

function regionsPart(old, fresh, names, light) {
  const found = compared(old, fresh);
  if (!found) return kindsPart(old, fresh, names);
  if (!found.gone.length && !found.fresh.length && !found.changed.length) return [h("p", {}, "Both hide the same places in the same way."), kindsPart(old, fresh, names)];
  return [h("div", { class: "columns three" },
    part(`Hidden by ${names[0]} only`, found.gone, light, "gone"),
    part(`Hidden by ${names[1]} only`, found.fresh, light, "fresh"),
    part("Hidden by both, otherwise", found.changed.map(([, twin]) => twin), light, "changed",
      (item) => { const [before] = found.changed.find(([, twin]) => twin === item); return `${before.region.words}, ${before.region.action} → ${item.region.words}, ${item.region.action}`; })),
  kindsPart(old, fresh, names)];
}

function part(title, items, light, name, words = (item) => item.region.words + (item.region.label ? ` (${item.region.label})` : "")) {
  const line = (item) => h("li", {}, h("button", { type: "button", class: "pick", focus: () => light([item.key], item.page, true), click: () => light([item.key], item.page, true, true),
    mouseenter: () => light([item.key], item.page, false), mouseleave: () => light([], item.page, false) }, words(item)));
  return h("div", { "data-part": name }, h("h3", {}, `${title}: ${items.length}`),
    items.length ? h("ul", { class: "plain picks" }, items.map(line)) : h("p", { class: "muted" }, "none"));
}

function kindsPart(old, fresh, names) {
  const tally = (run) => regionsOf(run, run.number).reduce((all, { region }) => all.set(region.kind, [(all.get(region.kind)?.[0] ?? 0) + 1, region.words]), new Map());
  const [a, b] = [tally(old), tally(fresh)];
  const rows = [...new Set([...a.keys(), ...b.keys()])].sort().map((kind) => {
    const [x, y] = [a.get(kind)?.[0] ?? 0, b.get(kind)?.[0] ?? 0];
    const step = y - x;
    return h("tr", {}, h("th", { scope: "row" }, (a.get(kind) ?? b.get(kind))[1]), h("td", { class: "num" }, x), h("td", { class: "num" }, y),
      h("td", { class: "num" }, step ? (step > 0 ? `+${step}` : `−${-step}`) : "="));
  });
  return h("details", { class: "as-table" }, h("summary", {}, "Regions by kind"), h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Kind"), names.map((name) => h("th", { scope: "col", class: "num" }, name)), h("th", { scope: "col", class: "num" }, "Change"))), h("tbody", {}, rows)));
}

function policyPart(changes) {
  const badge = { weaker: "bad", stronger: "ok", other: "" };
  if (!changes.length) return h("p", { class: "muted" }, "The two policies are the same.");
  return [h("h3", {}, `Policy: ${counted(changes.length, "value")} changed`),
    h("div", { class: "scroll list-box", tabindex: "0", role: "region", "aria-label": "Values that differ" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Value", "From", "To", "Effect"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, changes.map((change) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, change.path)), h("td", {}, change.old), h("td", {}, change.new),
        h("td", {}, h("span", { class: `badge ${badge[change.effect]}` }, change.effect)))))))];
}
