// The page: choose, press, look. Pictures stay in this tab's memory: object URLs, released when they are replaced.
import { h } from "./dom.js";
import { Outcome } from "./outcome.js";
import { attempt, SessionEnded } from "./stream.js";

const byId = (id) => document.getElementById(id);
const LIMIT = 32 * 2 ** 20;
const EXTENSIONS = { "image/png": "png", "image/tiff": "tiff", "application/pdf": "pdf", "application/dicom": "dcm" };
const STAGES = [...document.querySelectorAll("template[data-stage]")].map((stage) => ({ name: stage.dataset.stage, words: stage.innerHTML }));

let original = null; // the picture: {file, url, link, opens, drawable, name}
let policies = [];
let running = null; // AbortController of the trial
let outcome = null;
let runs = 0;
let last = null; // the last single run of this picture, to tell what an edited policy changed

// --- the session ---

const IDLE = Number(byId("trial").dataset.idle) * 1000;
let idle = 0;

/** Ask the server; every question keeps the session, and the answer may be that it is over. */
async function ask(address) {
  stay();
  const response = await fetch(address, { cache: "no-store", redirect: "manual" });
  if (response.type === "opaqueredirect" || response.status === 401) throw new SessionEnded();
  return response;
}

function stay() {
  clearTimeout(idle);
  idle = setTimeout(leave, IDLE);
}

/** The session is over: nothing of it stays in the tab, nor behind its back button. */
function leave() {
  forget();
  location.replace("/login");
}

function forget() {
  running?.abort();
  release();
  forgetOriginal();
  original = outcome = last = null;
  for (const name of ["outcome", "chosen", "suggestions"]) byId(name).replaceChildren();
  byId("chosen").hidden = true;
  byId("trial").reset();
}

function failed(error) {
  if (error instanceof SessionEnded) leave();
  else if (error.name !== "AbortError") say("The playground does not answer. Is it still running?", true);
}

window.addEventListener("pagehide", forget);

// --- the picture ---

function forgetOriginal() {
  for (const url of original ? [original.url, original.link] : []) URL.revokeObjectURL(url);
}

async function choose(file, name, questions = []) {
  if (file.size > LIMIT) { say(`This file has ${(file.size / 2 ** 20).toFixed(0)} MiB; the playground takes up to 32.`, true); return; }
  forgetOriginal();
  release();
  // A tab of this origin runs what an HTML or SVG file holds: only a PDF, which has a viewer, opens; others are saved.
  const opens = file.type === "application/pdf";
  const link = URL.createObjectURL(opens ? file : new Blob([file], { type: "application/octet-stream" }));
  original = { file, url: URL.createObjectURL(file), link, opens, drawable: false, name };
  last = null;
  const chosen = byId("chosen"), picture = new Image();
  picture.alt = "";
  picture.src = original.url;
  const mine = original;
  original.drawable = await picture.decode().then(() => true, () => false);
  if (mine !== original) return;
  chosen.replaceChildren(...(original.drawable ? [picture] : []), h("span", {}, h("strong", {}, name), h("br"), `${size(file.size)}`));
  chosen.hidden = false;
  suggest(questions);
  ready();
}

function size(bytes) {
  return bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function suggest(questions) {
  const use = (text) => () => { byId("question").value = text; ready(); byId("question").focus(); };
  byId("suggestions").replaceChildren(...questions.map((text) => h("li", {}, h("button", { type: "button", class: "suggestion", click: use(text) }, text))));
}

const drop = byId("drop");
byId("file").addEventListener("change", ({ target }) => { const [file] = target.files; if (file) choose(file, file.name); });
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) choose(file, file.name);
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) { event.preventDefault(); choose(file, "pasted picture"); }
});
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", async () => {
    const response = await ask(`/samples/full/${button.dataset.sample}.png`).catch(failed);
    if (response?.ok) await choose(await response.blob(), button.title, JSON.parse(button.dataset.questions));
    for (const other of document.querySelectorAll("[data-sample]")) other.setAttribute("aria-pressed", String(other === button));
  });
}

// --- the policies ---

async function look() {
  const told = await (await ask("/policies")).json();
  if (told.refused) { fault(told.refused); policies = []; } else policies = told.policies;
  offer(byId("policy"), []);
  offer(byId("other"), [["", "no other policy"]]);
  if (!told.refused) about();
  ready();
}

function offer(select, first) {
  const chosen = select.value;
  const names = policies.map((policy) => policy.name);
  const twice = (policy) => names.indexOf(policy.name) !== names.lastIndexOf(policy.name);
  const choices = policies.map((policy, index) => [policy.id, `${policy.name}${policy.version ? ` ${policy.version}` : ""}${twice(policy) ? ` (identity ${index + 1})` : ""}${policy.faults.length ? ": not valid" : ""}`]);
  select.replaceChildren(...[...first, ...choices].map(([value, text]) => h("option", { value }, text)));
  if ([...select.options].some((option) => option.value === chosen)) select.value = chosen;
  select.disabled = !policies.length;
}

function chosen(id) {
  return policies.find((policy) => policy.id === byId(id).value);
}

function about() {
  const policy = chosen("policy"), place = byId("about");
  byId("faults").replaceChildren(...policies.filter((one) => one.faults.length && [byId("policy").value, byId("other").value].includes(one.id)).map(faultsOf));
  if (!policy || policy.faults.length) { place.replaceChildren(); return; }
  place.replaceChildren(h("p", {}, policy.description), h("p", { class: "badges" }, h("span", { class: "badge" }, policy.mode), " ",
    policy.boxes ? null : h("span", { class: "badge warn" }, "gives no places out"), " ", policy.redacted_image ? null : h("span", { class: "badge warn" }, "gives no picture out")));
}

function faultsOf(policy) {
  return h("div", { class: "notice bad" }, h("p", {}, h("strong", {}, `${policy.name} is not valid.`), " Mend the file and press again."),
    policy.faults.map((one) => h("div", { class: "fault" }, h("p", {}, h("code", {}, one.place), `: ${one.explanation}`),
      one.excerpt.length ? h("pre", { tabindex: "0", "aria-label": `Lines around ${one.place}` }, one.excerpt.map(([number, text]) => h("span", { class: one.place.endsWith(`:${number}`) ? "at" : "" }, `${String(number).padStart(4)}  ${text}\n`))) : null)));
}

function fault(refused) {
  byId("faults").replaceChildren(h("div", { class: "notice bad" }, h("p", {}, `${refused.sentence}. ${refused.advice}`)));
}

byId("policy").addEventListener("change", () => { about(); ready(); });
byId("other").addEventListener("change", () => { about(); ready(); });
byId("question").addEventListener("input", ready);

// --- the trial ---

function ready() {
  const asks = byId("question").value.trim() !== "", two = byId("other").value !== "";
  byId("go").textContent = `${asks ? "Redact and ask" : "Redact"}${two ? " under both" : ""}`;
  byId("go").disabled = !original || !policies.length || running !== null;
  byId("stop").hidden = running === null;
  if (running === null) say(!original ? "Choose a picture first." : asks ? "" : "Without a question no model is asked.");
}

function say(text, bad = false) {
  byId("hint").textContent = text;
  byId("hint").classList.toggle("problem", bad);
}

function release() {
  for (const run of outcome?.runs ?? []) for (const url of run.urls.splice(0)) URL.revokeObjectURL(url);
}

byId("stop").addEventListener("click", () => running?.abort());
byId("trial").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!original || running) return;
  running = new AbortController();
  ready();
  try {
    await look();
    const asked = [...new Set([byId("policy").value, byId("other").value].filter(Boolean))].map((id) => policies.find((policy) => policy.id === id));
    if (!asked.length || asked.some((policy) => !policy || policy.faults.length)) {
      about();
      byId("outcome").replaceChildren(); // what an earlier version gave would pass for this one's
      byId("faults").scrollIntoView({ block: "nearest" });
      return;
    }
    await tryAll(asked, byId("question").value.trim());
  } catch (error) {
    failed(error);
  } finally {
    running = null;
    byId("working").hidden = true;
    ready();
  }
});

async function tryAll(asked, question) {
  const past = asked.length === 1 ? last : null;
  release();
  const fresh = asked.map((policy) => ({ number: runs++, policy, question, sheets: new Map(), urls: [], redaction: null, text: "", done: null, refused: null, file: null, over: false }));
  outcome = new Outcome(byId("outcome"), original, fresh, null);
  byId("working").hidden = false;
  byId("working").scrollIntoView({ block: "start" });
  for (const [index, run] of fresh.entries()) await tryOne(run, index, fresh.length);
  if (fresh.length === 1) {
    const digest = (run) => run.redaction?.policy_digest ?? run.policy.digest;
    outcome.past = past && digest(past) !== digest(fresh[0]) ? past : null;
    last = fresh[0];
  }
  const pair = fresh.length > 1 ? fresh : outcome.past ? [outcome.past, fresh[0]] : null;
  if (pair) outcome.changes = await changes(pair[0].policy.digest, pair[1].policy.digest);
  outcome.draw();
  byId("outcome").dataset.over = String(runs);
}

async function tryOne(run, index, of) {
  progress(null, run, index, of);
  stay();
  const keep = (bytes, type) => { const url = URL.createObjectURL(new Blob([bytes], { type })); run.urls.push(url); return url; };
  try {
    await attempt({ policy: run.policy.id, question: run.question }, original.file, running.signal, (told, bytes) => {
      if (told.progress) { progress(told.progress, run, index, of); return; }
      if (told.redaction) run.redaction = told.redaction;
      if (told.sheet) run.sheets.set(told.sheet.page, keep(bytes, told.sheet.media_type));
      if (told.file) run.file = { url: keep(bytes, told.file.media_type), extension: EXTENSIONS[told.file.media_type] ?? "bin" };
      if (told.text) run.text += told.text;
      if (told.done) run.done = told.done;
      if (told.refused) run.refused = told.refused;
      outcome.draw();
    });
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    run.refused = { code: "CANCELLED", reason: "CANCELLED", sentence: "you stopped it", advice: "Nothing more was released.", details: {} };
  }
  run.over = true;
  outcome.draw();
  if (running.signal.aborted) throw new DOMException("stopped", "AbortError");
}

function progress(told, run, index, of) {
  const stages = run.question ? STAGES : STAGES.slice(0, -1);
  const at = told ? stages.findIndex((stage) => stage.name === told.stage) : 0;
  const share = told && told.pages ? told.page / told.pages : 0;
  const now = share === 1 ? Math.min(at + 1, stages.length - 1) : Math.max(at, 0);
  const pages = told && told.pages > 1 && share < 1 ? `, page ${told.page + 1} of ${told.pages}` : "";
  const words = !told ? "Sending the picture to the guard" : share === 1 && at === stages.length - 1 ? "Finishing" : stages[now].words;
  byId("stage").textContent = `${words}${pages}${of > 1 ? `, under ${run.policy.name}` : ""}…`;
  byId("progress").value = (index + Math.max(0.03, (Math.max(at, 0) + share) / stages.length)) / of;
}

async function changes(old, fresh) {
  const response = await ask(`/difference?old=${old}&new=${fresh}`);
  return response.ok ? (await response.json()).changes : null;
}

look().catch(failed);
