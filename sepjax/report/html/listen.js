// A blind listening test. ABX trials come first, then MUSHRA trials, in an order drawn
// from the test and the listener's name; signals are known by numbers alone.
const test = JSON.parse(document.getElementById("test").textContent);
const $ = (id) => document.getElementById(id);
const PLACE = `sepjax-listening-${test.test}`;
const FADE = 0.005; // s of raised cosine out, then in: no cross-fade (BS.1534-3, 5.3)
const WORDS = ["bad", "poor", "fair", "good", "excellent"];
const RISE = Float32Array.from({ length: 33 }, (_, i) => 0.5 - 0.5 * Math.cos((Math.PI * i) / 32));
const FALL = RISE.slice().reverse();
let state = null; // what is kept: listener, times, answers
let plan = [], view = null, clips = null, loaded = null;

// Elements: properties that begin with "on" are listeners, the others attributes.
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function save() {
  try { localStorage.setItem(PLACE, JSON.stringify(state)); }
  catch { problem("This browser keeps nothing: do not close or reload the page before you have saved your answers."); }
}

function problem(text) { $("problem").textContent = text; $("problem").hidden = !text; }

// Numbers in [0, 1): xorshift (Marsaglia 2003) from the FNV-1a hash of a text.
function numbers(text) {
  let x = 2166136261;
  for (const byte of new TextEncoder().encode(text)) x = Math.imul(x ^ byte, 16777619);
  x ||= 1;
  const next = () => { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return (x >>> 0) / 2 ** 32; };
  for (let i = 0; i < 16; i++) next();
  return next;
}

function shuffled(list, next) {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// The trials of a listener: order, letters and X are new for each.
function planned(listener) {
  const seed = `${test.test}/${listener}`, next = numbers(seed), steps = [];
  for (const kind of ["abx", "mushra"]) {
    const own = shuffled(test.trials.filter((trial) => trial.kind === kind), next);
    if (own.length) own.unshift({ ...own[0], id: `practice ${kind}`, practice: true });
    for (const trial of own) {
      const draw = numbers(`${seed}/${trial.id}`), order = shuffled(trial.clips, draw);
      steps.push({ ...trial, clips: order, x: order[draw() < 0.5 ? 0 : 1] });
    }
  }
  return steps;
}

// Sound: all signals of a trial run at once, and one is let through.
const sound = {
  context: null, buffers: {}, nodes: {}, current: null, playing: false, place: 0, began: 0,
  length() { return Object.values(this.buffers)[0]?.duration ?? 1; },
  position() {
    const passed = this.playing ? Math.max(this.context.currentTime - this.began, 0) : 0;
    return (this.place + passed) % this.length();
  },
  async load(item) {
    this.stop();
    this.place = 0;
    this.context ??= new AudioContext();
    const texts = await new Promise((resolve, reject) => {
      clips = resolve;
      const file = h("script", { src: `audio/${item}.js`, onerror: () => reject(new Error(`audio/${item}.js is missing`)) });
      file.onload = () => file.remove();
      document.head.append(file);
    });
    const decoded = Object.entries(texts).map(async ([clip, text]) => {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      return [clip, await this.context.decodeAudioData(bytes.buffer)];
    });
    this.buffers = Object.fromEntries(await Promise.all(decoded));
  },
  play() {
    this.context.resume();
    const time = this.context.currentTime + 0.02;
    for (const [clip, buffer] of Object.entries(this.buffers)) {
      const source = this.context.createBufferSource(), gain = this.context.createGain();
      Object.assign(source, { buffer, loop: true });
      gain.gain.value = 0;
      source.connect(gain).connect(this.context.destination);
      source.start(time, this.place);
      this.nodes[clip] = { source, gain: gain.gain };
    }
    this.began = time;
    this.playing = true;
    this.fade(this.current, [RISE], time);
  },
  stop() {
    if (!this.playing) return;
    this.place = this.position();
    this.playing = false;
    this.fade(this.current, [FALL]);
    for (const { source } of Object.values(this.nodes)) source.stop(this.context.currentTime + FADE);
    this.nodes = {};
  },
  // A signal that is chosen again is faded out and in, too: else X would betray itself.
  choose(clip) {
    if (this.playing && clip === this.current) this.fade(clip, [FALL, RISE]);
    else if (this.playing) {
      this.fade(this.current, [FALL, null]);
      this.fade(clip, [null, RISE]);
    }
    this.current = clip;
  },
  fade(clip, curves, time = this.context.currentTime) {
    const { gain } = this.nodes[clip];
    gain.cancelScheduledValues(time);
    curves.forEach((curve, i) => curve && gain.setValueCurveAtTime(curve, time + 1.02 * i * FADE, FADE));
  },
  seek(place) {
    const playing = this.playing;
    this.stop();
    this.place = place;
    if (playing) this.play();
  },
};
window.sepjaxClips = (item, texts) => clips(texts);

function answer() { return state.answers[view.trial.id]; }

function select(index) {
  const choice = view.choices[index];
  if (!choice) return;
  const again = sound.playing && choice.clip === sound.current && view.at === index;
  view.at = index;
  if (again) return toggle();
  sound.choose(choice.clip);
  view.heard.add(choice.name);
  if (!sound.playing) sound.play();
  refresh();
  if (choice.slider) choice.slider.focus({ preventScroll: true });
}

function toggle() {
  if (sound.playing) sound.stop();
  else return view.at < 0 ? select(0) : (sound.play(), refresh());
  refresh();
}

function rate(value) {
  const { clip } = view.choices[view.at];
  answer()[clip] = Math.min(Math.max(Math.round(value), 0), 100);
  save();
  refresh();
}

function decide(clip) {
  Object.assign(answer(), { x: view.trial.x, answer: clip });
  save();
  refresh();
}

// What is still missing before the next trial, in words.
function missing() {
  const unheard = view.choices.filter((choice) => !view.heard.has(choice.name)).map((choice) => choice.name);
  const open = view.choices.filter((choice) => choice.slider && !(choice.clip in answer())).map((choice) => choice.name);
  const parts = [];
  if (unheard.length) parts.push(`listen to ${unheard.join(", ")}`);
  if (open.length) parts.push(`rate ${open.join(", ")}`);
  if (view.trial.kind === "abx" && !answer().answer) parts.push("say what X is");
  return parts.join(" and ");
}

function refresh() {
  const lacking = missing(), { choices, at } = view;
  choices.forEach((choice, index) => {
    choice.button.setAttribute("aria-pressed", index === at);
    choice.row?.classList.toggle("current", index === at);
    if (!choice.slider) return;
    const rating = answer()[choice.clip];
    choice.slider.disabled = index !== at; // only what is heard is rated (BS.1534-3, 5.4)
    choice.slider.value = rating ?? 50;
    choice.slider.classList.toggle("open", rating === undefined);
    choice.output.textContent = rating ?? "\u2013";
    const word = rating === undefined ? "not rated" : `${rating}, ${WORDS[Math.min(Math.floor(rating / 20), 4)]}`;
    choice.slider.setAttribute("aria-valuetext", word);
  });
  for (const radio of view.radios) radio.checked = radio.value === answer().answer;
  view.play.textContent = sound.playing ? "Pause" : "Play";
  view.next.disabled = Boolean(lacking);
  view.hint.textContent = lacking ? `To go on, ${lacking}.` : "";
  $("status").textContent = at < 0 ? "" : `${choices[at].name} ${sound.playing ? "plays" : "is paused"}`;
}

function next() {
  if (missing()) return;
  sound.stop();
  state.done = plan.indexOf(view.trial) + 1;
  save();
  show();
}

function choiceButton(name, keys, clip, index, title) {
  const button = h("button", { type: "button", "aria-pressed": false, class: "choice", title: keys[0].length === 1 && `Key ${keys[0]}`, onclick: () => select(index) }, title ?? name);
  return { name, keys, clip, button };
}

function ratingRow(choice) {
  choice.slider = h("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": `Rating of ${choice.name}`, oninput: (event) => rate(event.target.valueAsNumber), onclick: (event) => rate(event.target.valueAsNumber) });
  choice.output = h("output");
  const index = view.choices.indexOf(choice);
  const click = (event) => { if (index !== view.at && event.target !== choice.button) select(index); };
  choice.row = h("li", { onclick: click }, choice.button, choice.slider, choice.output);
  return choice.row;
}

function mushra(trial) {
  view.choices = [choiceButton("the reference", ["0"], trial.reference, 0, "Reference")];
  trial.clips.forEach((clip, i) => view.choices.push(choiceButton(`${i + 1}`, [`${i + 1}`], clip, i + 1)));
  const scale = h("div", { class: "scale", "aria-hidden": "true" }, ...WORDS.map((word) => h("span", {}, word)));
  return [
    h("p", {}, "How close does each come to the reference? One of them is the reference itself: give it 100."),
    h("div", { class: "reference" }, view.choices[0].button, scale),
    h("ol", { class: "ratings" }, ...view.choices.slice(1).map(ratingRow)),
  ];
}

function abx(trial) {
  const [a, b] = trial.clips;
  view.choices = [["A", a], ["B", b], ["X", trial.x]].map(([name, clip], i) => choiceButton(name, [`${i + 1}`, name.toLowerCase()], clip, i));
  view.radios = [a, b].map((clip) => h("input", { type: "radio", name: "x", value: clip, onchange: () => decide(clip) }));
  const options = view.radios.map((radio, i) => h("label", {}, radio, ` ${"AB"[i]}`));
  return [
    h("p", {}, "Is X the same as A, or the same as B?"),
    h("div", { class: "letters" }, ...view.choices.map((choice) => choice.button)),
    h("fieldset", {}, h("legend", {}, "X is"), ...options),
  ];
}

async function show() {
  const trial = plan[state.done];
  $("welcome").hidden = $("trial").hidden = $("end").hidden = true;
  document.body.classList.add("running");
  view = null;
  if (!trial) return finish();
  if (trial.item !== loaded) {
    $("status").textContent = "Loading";
    try { await sound.load(trial.item); }
    catch (error) { return problem(`The sound cannot be loaded (${error.message}): is the folder whole?`); }
    loaded = trial.item;
  }
  sound.place = 0;
  state.answers[trial.id] ??= {};
  view = { trial, heard: new Set(), at: -1, choices: [], radios: [] };
  const parts = trial.kind === "abx" ? abx(trial) : mushra(trial);
  view.play = h("button", { type: "button", class: "main", onclick: toggle }, "Play");
  view.time = h("input", { type: "range", min: 0, max: sound.length(), step: 0.01, value: 0, "aria-label": "Second of the excerpt", oninput: (event) => sound.seek(event.target.valueAsNumber) });
  view.next = h("button", { type: "button", class: "main", onclick: next }, "Next");
  view.hint = h("p", { class: "note" });
  const real = plan.filter((each) => !each.practice);
  const count = trial.practice ? "A first try that does not count" : `Trial ${real.indexOf(trial) + 1} of ${real.length}`;
  const heading = h("h2", { tabindex: -1 }, count, h("small", {}, ` ${test.classes[trial.item].replaceAll("_", " ")}`));
  $("trial").replaceChildren(heading, ...parts,
    h("div", { class: "transport" }, view.play, view.time), h("div", { class: "onward" }, view.next, view.hint));
  $("trial").hidden = false;
  refresh();
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

// The file of answers: what counts of them.
function ratings() {
  const tree = { kind: "sepjax listening ratings", test: test.test, listener: state.listener, started: state.started, finished: state.finished, mushra: {}, abx: {} };
  for (const trial of test.trials) tree[trial.kind][trial.id] = state.answers[trial.id];
  return tree;
}

// Probability that guessing gives so many right answers or more: sum of C(n, i) / 2^n.
function byChance(right, trials) {
  let sum = 0, term = 2 ** -trials;
  for (let i = 0; i <= trials; i++) {
    if (i >= right) sum += term;
    term *= (trials - i) / (i + 1);
  }
  return sum;
}

function finish() {
  state.finished ??= new Date().toISOString();
  save();
  const pairs = new Set(test.trials.map((trial) => trial.pair).filter(Boolean));
  const lines = [...pairs].map((pair, i) => {
    const trials = test.trials.filter((trial) => trial.pair === pair);
    const right = trials.filter(({ id }) => state.answers[id].x === state.answers[id].answer).length;
    const p = byChance(right, trials.length).toFixed(3);
    return h("li", {}, `Pair ${i + 1}: you were right about X in ${right} of ${trials.length} trials. Guessing does as well with probability ${p}.`);
  });
  const file = new Blob([JSON.stringify(ratings(), null, 1)], { type: "application/json" });
  const name = `ratings-${state.listener.replace(/[^\p{L}\p{N}]+/gu, "_")}.json`;
  const again = h("button", { type: "button", hidden: true, onclick: () => { localStorage.removeItem(PLACE); location.reload(); } }, "Begin for another listener");
  const link = h("a", { href: URL.createObjectURL(file), download: name, class: "save", onclick: () => { again.hidden = false; } }, "Save my answers");
  $("end").replaceChildren(h("h2", { tabindex: -1 }, `Thank you, ${state.listener}`),
    h("p", {}, "Save your answers as a file, and send it to whoever gave you this test."),
    h("p", { class: "onward" }, link, again), h("ul", {}, ...lines));
  $("end").hidden = false;
  $("end").firstChild.focus();
}

function resume() {
  plan = planned(state.listener.trim().toLowerCase());
  show();
}

addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (!view || event.ctrlKey || event.altKey || event.metaKey) return;
  const index = view.choices.findIndex((choice) => choice.keys.includes(key.toLowerCase()));
  const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[key];
  if (index >= 0) select(index);
  else if (key === " " && !target.matches("button, [type=radio]:not(:checked)")) { if (!event.repeat) toggle(); }
  else if (key === "Enter" && !target.matches(".choice[aria-pressed=false]")) { if (!event.repeat) next(); }
  else if (step && target !== view.time && view.choices[view.at]?.slider) {
    const { slider } = view.choices[view.at];
    slider.focus();
    rate(slider.valueAsNumber + step * (event.shiftKey ? 10 : 1));
  } else if (step && target !== view.time && view.radios.length) {
    const radio = view.radios[step > 0 ? 1 : 0];
    radio.focus();
    decide(radio.value);
  } else return;
  event.preventDefault();
});

$("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  const listener = $("name").value.trim();
  if (!listener) return;
  state = { listener, started: new Date().toISOString(), finished: null, done: 0, answers: {} };
  save();
  resume();
});

function tick() {
  if (view && sound.playing && document.activeElement !== view.time) view.time.value = sound.position();
  requestAnimationFrame(tick);
}
tick();

const kinds = new Set(test.trials.map((trial) => trial.kind));
for (const part of document.querySelectorAll("[data-kind]")) part.hidden = !kinds.has(part.dataset.kind);
$("count").textContent = `${test.trials.length} trial${test.trials.length > 1 ? "s" : ""}`;
$("ranking").textContent = test.ranked_by;
try { state = JSON.parse(localStorage.getItem(PLACE)); } catch { state = null; }
if (state) resume();
