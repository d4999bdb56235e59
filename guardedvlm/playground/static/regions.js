// The list of what was hidden, each with its kind and its reason; pointing at a line shows the place, and the other way round.
import { counted, h } from "./dom.js";

/** Key of a region: the same on the list and on the pictures. */
export const keyOf = (run, page, index) => `${run}:${page}:${index}`;

/** Every region of a run: {region, page, key}. */
export function regionsOf(run, number) {
  return (run.redaction?.pages ?? []).flatMap((page, at) => page.regions.map((region, index) => ({ region, page: at, key: keyOf(number, at, index) })));
}

/** The list with a choice of kinds. `light(keys, page, settled)` marks places. */
export function regionList(run, number, light) {
  const all = regionsOf(run, number);
  if (!run.redaction) return null;
  if (!all.length) return h("p", {}, "Nothing was hidden: the guard found nothing on this document that the policy hides.");
  const kinds = [...new Map(all.map(({ region }) => [region.kind, region.words]))]
    .map(([kind, words]) => ({ kind, words, of: all.filter(({ region }) => region.kind === kind) }))
    .sort((a, b) => b.of.length - a.of.length || a.kind.localeCompare(b.kind));
  const many = run.redaction.pages.length > 1;
  const body = h("tbody", {}, all.map((item) => row(item, many, light)));
  const chips = kinds.map((found) => chip(found, body, light));
  const places = all.some(({ region }) => region.box);
  return h("div", { class: "regions" },
    h("p", {}, h("strong", {}, counted(all.length, "region")), " hidden", places ? "" : "; the policy gives no places out (say.boxes: false)", "."),
    h("ul", { class: "chips", "aria-label": "Show one kind only" }, chips),
    h("div", { class: "scroll list-box", tabindex: "0", role: "region", "aria-label": "Hidden regions" },
      h("table", { class: "list" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), h("th", { scope: "col" }, "Why"), h("th", { scope: "col", class: "wide" }, "Found by"))), body)));
}

function row({ region, page, key }, many, light) {
  const pointed = { mouseenter: () => light([key], page, false), mouseleave: () => light([], page, false) };
  const shown = region.label ? [" as ", h("code", {}, region.label)] : [", black"];
  const pick = h("button", { type: "button", class: "pick", "data-pick": key, "aria-label": `${region.words}${region.label ? ` as ${region.label}` : ""}: show the place`,
    focus: () => light([key], page, true), click: () => light([key], page, true, true) }, region.words);
  return h("tr", { "data-key": key, "data-kind": region.kind, ...pointed },
    h("th", { scope: "row" }, pick, h("span", { class: "muted small" }, shown, many ? `, page ${page + 1}` : "")),
    h("td", { title: `${region.detector}, score ${region.score.toFixed(2)}` }, region.why),
    h("td", { class: "wide small" }, h("code", {}, region.detector), h("br"), h("span", { class: "muted" }, `score ${region.score.toFixed(2)}`)));
}

function chip({ kind, words, of }, body, light) {
  const button = h("button", { type: "button", class: "chip", "aria-pressed": "false", title: kind, click: () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    for (const other of button.closest("ul").querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button && on));
    for (const line of body.rows) line.hidden = on && line.dataset.kind !== kind;
    light(on ? of.map(({ key }) => key) : [], of[0].page, on);
  } }, words, " ", h("b", {}, of.length));
  return h("li", {}, button);
}
