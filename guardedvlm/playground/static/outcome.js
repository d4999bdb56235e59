// What one press of the button brought: pictures side by side, regions, answers, differences.
import { answer, spanKey } from "./answer.js";
import { difference } from "./difference.js";
import { counted, h } from "./dom.js";
import { after, before } from "./figures.js";
import { regionList, regionsOf } from "./regions.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Shows runs of one picture, and redraws the part that changed. */
export class Outcome {
  #root; #page = 0; #lit = new Set();

  constructor(root, original, runs, past) {
    this.#root = root;
    this.original = original;
    this.runs = runs;
    this.past = past;
    this.changes = null;
    const place = (name) => h("div", { "data-place": name });
    root.onmouseover = ({ target }) => { if (target.matches("rect[data-key]")) this.light([target.dataset.key], this.#page, false); };
    root.onclick = ({ target }) => { if (target.matches("rect[data-key]")) root.querySelector(`[data-pick="${target.dataset.key}"]`)?.focus(); };
    root.onmouseleave = () => this.light([], this.#page, false);
    root.replaceChildren(place("state"), h("div", { class: `shown${runs.length === 1 ? " beside" : ""}` }, place("pictures"), place("results")), place("difference"));
  }

  /** Draw everything anew. */
  draw() {
    this.#put("state", this.runs.map((run) => this.#state(run)));
    this.#put("pictures", this.#pictures());
    const light = (...told) => this.light(...told);
    this.#put("results", h("div", { class: `columns runs-${this.runs.length}` }, this.runs.map((run) => this.#result(run, light))));
    this.#put("difference", this.#difference(light));
  }

  /** Mark places. Pointing follows the mouse; what is `settled` turns to the page, too; `bring` the pictures into view. */
  light(keys, page, settled, bring = false) {
    this.#lit = new Set(keys);
    if (settled && page !== this.#page) this.#turn(page);
    this.#show();
    if (bring) this.#root.querySelector(".place.lit")?.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  }

  #show() {
    for (const element of this.#root.querySelectorAll("[data-key]")) element.classList.toggle("lit", this.#lit.has(element.dataset.key));
    this.#root.classList.toggle("dim", this.#lit.size > 0);
  }

  #turn(page) {
    this.#page = page;
    this.#put("pictures", this.#pictures());
    this.#show();
  }

  #put(name, content) {
    const place = this.#root.querySelector(`[data-place="${name}"]`);
    place.replaceChildren(...[content].flat(Infinity).filter(Boolean));
  }

  #name(run) {
    return this.runs.length > 1 ? `${run.policy.name}` : "After";
  }

  #state(run) {
    const name = `${run.policy.name} ${run.policy.version ?? ""}`;
    if (run.refused) return refusal(name, run);
    if (!run.redaction) return null;
    const pages = run.redaction.pages;
    const residuals = pages.flatMap((page) => page.residuals);
    const most = Math.max(...pages.map((page) => page.passes));
    const looks = most === 1 ? "verified at the first look" : `verified after ${most} looks; what the first one found was hidden as well: ${residuals.map((one) => `${one.words} ${one.count}`).join(", ") || "nothing"}`;
    return h("p", { class: "check ok" }, h("strong", {}, "Cleared"), ` under ${name}: ${counted(pages.length, "page")}, ${looks}.`);
  }

  #size() {
    return this.runs.map((run) => run.redaction?.pages[this.#page]).find(Boolean) ?? { width: 210, height: 297 };
  }

  #marks(runs) {
    const size = this.#size();
    // Of a past run only what somebody points at is shown.
    const shown = this.past && runs.length === this.runs.length ? [...runs, this.past] : runs;
    const regions = shown.flatMap((run) => regionsOf(run, run.number).filter(({ region, page }) => region.box && page === this.#page).map(({ region, key }) => ({
      key, box: region.box, in: size, class: run === this.past ? "ground" : `run-${this.runs.indexOf(run)}`, title: `${region.words}: ${region.why}` })));
    const spans = runs.flatMap((run) => (run.done?.grounding ?? []).flatMap((span, index) => span.places.filter((place) => place.page === this.#page).map((place) => ({
      key: spanKey(run.number, index), box: place.box, in: run.done.verified[this.#page] ?? size, class: "ground", title: "the answer's number stands here" }))));
    return [...regions, ...spans];
  }

  #pictures() {
    const size = this.#size();
    const shown = this.runs.filter((run) => run.redaction || !run.refused);
    if (!shown.length) return null;
    const panes = [before(this.original, this.#page, size, this.#marks(shown)), ...shown.map((run) => after(this.#name(run), run, this.#page, size, this.#marks([run])))];
    return h("section", { class: "pictures", "aria-label": "Before and after" }, this.#paging(), h("div", { class: `panes panes-${panes.length}` }, panes));
  }

  #paging() {
    const pages = Math.max(...this.runs.map((run) => run.redaction?.pages.length ?? 0));
    if (pages < 2) return null;
    const turn = (by) => () => { this.#turn(this.#page + by); this.#root.querySelector(`[data-turn="${by}"]:enabled, [data-turn]:enabled`)?.focus(); };
    return h("div", { class: "turner" },
      h("button", { type: "button", class: "quiet", "data-turn": "-1", disabled: this.#page === 0, click: turn(-1) }, "Previous", h("span", { class: "hidden" }, " page")),
      h("span", { role: "status" }, `Page ${this.#page + 1} of ${pages}`),
      h("button", { type: "button", class: "quiet", "data-turn": "1", disabled: this.#page === pages - 1, click: turn(1) }, "Next", h("span", { class: "hidden" }, " page")));
  }

  #result(run, light) {
    if (run.refused && !run.redaction) return null;
    const title = this.runs.length > 1 ? h("h2", {}, `${run.policy.name} `, h("span", { class: `swatch run-${this.runs.indexOf(run)}`, "aria-hidden": "true" })) : h("h2", {}, "What happened");
    return h("section", { "data-run": run.number }, title, answer(run, run.number, light), h("h3", {}, "What was hidden, and why"), regionList(run, run.number, light) ?? h("p", { class: "muted" }, "Waiting for the guard."), facts(run));
  }

  #difference(light) {
    if (!this.runs.every((run) => run.over)) return null;
    const pair = this.runs.length > 1 ? this.runs : this.past ? [this.past, this.runs[0]] : null;
    if (!pair) return null;
    const names = this.runs.length > 1 ? pair.map((run) => run.policy.name) : [`${pair[0].policy.name} as it was`, `${pair[1].policy.name} now`];
    return difference(pair[0], pair[1], names, this.changes, light);
  }
}

function refusal(name, { refused }) {
  const details = Object.entries(refused.details ?? {}).map(([key, value]) => `${key.replaceAll("_", " ")} ${value}`).join(", ");
  const sentence = refused.sentence[0].toUpperCase() + refused.sentence.slice(1);
  return h("div", { class: "notice bad refusal", role: "alert" },
    h("p", {}, h("strong", {}, refused.code === "FAILED_PRECONDITION" ? "Refused" : "Not possible"), ` under ${name}: `, `${sentence}.`, details ? ` (${details})` : ""),
    refused.place ? h("p", {}, h("code", {}, refused.place), `: ${refused.explanation}`) : null,
    h("p", {}, refused.advice),
    h("p", { class: "small" }, h("code", {}, `${refused.code} ${refused.reason}`)));
}

function facts(run) {
  if (!run.over || !run.redaction) return null;
  const times = (run.done?.times ?? []).filter((time) => time.ms > 0).map((time) => `${time.stage} ${(time.ms / 1000).toFixed(1)} s`).join(", ");
  const line = (name, value) => (value ? [h("dt", {}, name), h("dd", {}, value)] : []);
  const digest = run.redaction.policy_digest;
  return h("details", {}, h("summary", {}, "Facts"), h("dl", { class: "facts one" },
    line("Policy digest", h("code", { class: "digest" }, digest)), line("Record in the ledger", run.done?.audit_id ? h("code", { class: "digest" }, run.done.audit_id) : null), line("Time by stage", times),
    run.file ? line("Redacted document", h("a", { href: run.file.url, download: `redacted.${run.file.extension}` }, `Save as ${run.file.extension.toUpperCase()}`)) : []));
}
