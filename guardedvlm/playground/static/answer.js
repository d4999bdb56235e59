// The answer as it was released, and what the screen did to it. What it took out is told to nobody.
import { counted, h } from "./dom.js";

const PLACEHOLDER = /\[[A-Z_]{3,40}\]|\b[A-Z][A-Z_]{2,39}-[A-Z]{1,2}(?:\+\d+d)?\b/g;
const GROUND = {
  grounded: "stands in the redacted picture",
  ungrounded: "stands nowhere in the redacted picture: a count, a sum, or something that the question says",
  masked: "stood nowhere in the redacted picture, so it was taken out",
};

/** Key of a span of the answer. */
export const spanKey = (run, index) => `${run}:span:${index}`;

/** The answer of a run. */
export function answer(run, number, light) {
  if (!run.question || (!run.text && !run.done)) return null;
  const done = run.done;
  return h("div", { class: "answer" },
    h("h3", {}, "Answer"),
    h("blockquote", { "data-answer": "" }, done ? marked(done, number, light) : run.text),
    done ? screen(done) : h("p", { class: "muted small" }, "More may follow: it leaves sentence by sentence."));
}

/** The text with its numbers and placeholders marked; offsets count code points. */
function marked(done, number, light) {
  const text = [...done.answer], found = [];
  let at = 0;
  done.grounding.forEach((span, index) => {
    if (span.start < at) return;
    found.push(placeholders(text.slice(at, span.start).join("")));
    found.push(number_(span, text.slice(span.start, span.end).join(""), spanKey(number, index), light));
    at = span.end;
  });
  found.push(placeholders(text.slice(at).join("")));
  return found;
}

function number_(span, text, key, light) {
  const about = GROUND[span.ground], place = span.places[0];
  if (!place) return h("mark", { class: span.ground, title: about }, text, h("span", { class: "hidden" }, ` (${about})`));
  const show = (settled) => () => light([key], place.page, settled);
  return h("button", { type: "button", class: `mark-in-text ${span.ground}`, "data-key": key, title: about, "aria-label": `${text}: ${about}; show where`,
    focus: show(true), click: () => light([key], place.page, true, true), mouseenter: show(false), mouseleave: () => light([], place.page, false) }, text);
}

function placeholders(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(PLACEHOLDER)) {
    found.push(text.slice(at, match.index), h("mark", { class: "label", title: "stands for something hidden" }, match[0]));
    at = match.index + match[0].length;
  }
  return [...found, text.slice(at)];
}

function screen(done) {
  const masked = done.grounding.filter((span) => span.ground === "masked").length;
  const open = done.grounding.filter((span) => span.ground === "ungrounded").length;
  const lines = done.edits.map((edit) => `${counted(edit.count, "place")} that said ${edit.words} (${edit.kind}) ${edit.count === 1 ? "was" : "were"} replaced.`);
  if (masked) lines.push(`${counted(masked, "number")} that the redacted picture does not show ${masked === 1 ? "was" : "were"} replaced by [UNGROUNDED].`);
  if (!lines.length) lines.push("Nothing: the answer left as the model wrote it.");
  if (open) lines.push(`${counted(open, "number")} that the picture does not show ${open === 1 ? "was" : "were"} left: counts, sums, or what the question says.`);
  if (done.instructions) lines.push(`${counted(done.instructions, "text")} of the picture instruct the model; they were treated as data.`);
  return h("div", { class: "screen" },
    h("h4", {}, "What the screen changed ", h("span", { class: `badge ${done.modified ? "warn" : "ok"}` }, done.modified ? "changed" : "unchanged")),
    h("ul", {}, lines.map((line) => h("li", {}, line))),
    h("p", { class: "muted small" }, `Model ${done.model}; ended: ${done.finish}.`));
}
