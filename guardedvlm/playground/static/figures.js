// One page, before and after, with what is marked on it. Boxes are drawn over the pictures and never into them.
import { h, s } from "./dom.js";

/** The reader's own file, drawn by the browser; where it draws no such file, a sheet of the page's size. */
export function before(original, page, size, marks) {
  const drawn = original.drawable && page === 0;
  const sheet = drawn
    ? h("img", { src: original.url, alt: "Your picture, drawn by your browser", draggable: "false" })
    : blank(size, "Your browser draws no such page inside this one: boxes stand where something is hidden.");
  const note = drawn ? null : h("p", { class: "muted small" }, h("a", original.opens ? { href: original.link, target: "_blank", rel: "noopener" } : { href: original.link, download: original.name },
    original.opens ? "Open your file in a new tab" : "Save your file"));
  return figure("Before", "your own file, not sent back", sheet, size, marks, note);
}

/** The redacted page of a trial. */
export function after(title, run, page, size, marks) {
  const url = run.sheets.get(page);
  const why = run.refused ? "Nothing was released." : run.over ? "The policy gives no redacted picture out." : "Waiting for the guard.";
  const sheet = url ? h("img", { src: url, alt: `Page ${page + 1} after redaction, as verified`, draggable: "false" }) : blank(size, why);
  return figure(title, url ? "redacted and verified" : "", sheet, size, url || run.redaction ? marks : [], null);
}

function figure(title, note, sheet, size, marks, below) {
  const stage = h("div", { class: "sheet" }, sheet, overlay(size, marks));
  return h("figure", { class: "pane" }, h("figcaption", {}, h("strong", {}, title), note ? h("span", { class: "muted" }, ` ${note}`) : null), stage, below);
}

function blank({ width, height }, text) {
  const paper = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "blank", role: "img", "aria-label": text },
    s("rect", { width: "100%", height: "100%", class: "paper" }));
  return h("div", { class: "unseen" }, paper, h("p", {}, text));
}

/** Marks by the geometry that their boxes count in. */
function overlay(size, marks) {
  const groups = Map.groupBy ? Map.groupBy(marks, (mark) => `${mark.in.width} ${mark.in.height}`) : grouped(marks);
  return [...groups].map(([frame, found]) => s("svg", { class: "marks", viewBox: `0 0 ${frame}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    found.map((mark) => s("rect", { x: mark.box[0], y: mark.box[1], width: mark.box[2] - mark.box[0], height: mark.box[3] - mark.box[1],
      class: `place ${mark.class}`, "data-key": mark.key }, s("title", {}, mark.title)))));
}

function grouped(marks) {
  const found = new Map();
  for (const mark of marks) {
    const frame = `${mark.in.width} ${mark.in.height}`;
    found.set(frame, [...(found.get(frame) ?? []), mark]);
  }
  return found;
}
