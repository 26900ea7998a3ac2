// The page around worker.js: a recording in, stems out, players and meters.
const $ = (id) => document.getElementById(id);
const facts = await (await fetch("model.json")).json();
const seconds = (x) => `${Math.floor(x / 60)}:${String(Math.floor(x % 60)).padStart(2, "0")}`;
let worker, rows = [], context, name = "song", time = 0, began = 0, length = 0;

$("lead").textContent = `Into ${facts.sources.join(", ").replace(/, ([^,]*)$/, " and $1").replaceAll("_", " ")}, on this computer: nothing is uploaded.`;
const about = {
  Model: facts.model.split("/").pop(), Licence: facts.licence, Rate: `${facts.sample_rate} Hz`,
  Size: `${(facts.bytes / 1e6).toFixed(1)} MB`, Runtime: "onnxruntime-web, one thread",
  Parameters: `SHA-256 ${facts.parameters_sha256.slice(0, 12)}`,
};
for (const [term, text] of Object.entries(about)) {
  const pair = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
  dt.textContent = term; dd.textContent = text; pair.append(dt, dd); $("facts").append(pair);
}

function state(value) {
  document.body.dataset.state = value;
  $("file").disabled = value === "loading" || value === "separating";
}

function fail(text) {
  $("problem").hidden = false;
  $("problem").textContent = text;
  state("failed");
}

function load() {
  state("loading");
  worker = new Worker("worker.js", { type: "module" });
  worker.onerror = () => fail("The worker could not be started: are all files of the folder there?");
  worker.onmessage = ({ data }) => {
    if (data.ready) state("ready");
    else if (data.problem) fail(`The model failed: ${data.problem}`);
    else if (data.peaks) progress(data);
    else if (data.wav) stem(data);
    else if (data.done) finish();
  };
  worker.postMessage({ facts });
}

async function open(file) {
  stop();
  $("problem").hidden = true;
  $("work").hidden = false;
  $("song").textContent = file.name;
  $("status").textContent = "Decoding …";
  $("progress").value = 0;
  $("play").disabled = true;
  name = file.name.replace(/\.[^.]*$/, "");
  state("separating");
  let audio;
  try {
    const decoder = new OfflineAudioContext(2, 1, facts.sample_rate);
    audio = await decoder.decodeAudioData(await file.arrayBuffer());
  } catch {
    $("work").hidden = true;
    return fail(`${file.name} cannot be decoded: this browser does not know its format.`);
  }
  const channels = [...Array(Math.min(audio.numberOfChannels, 2))].map((_, n) => audio.getChannelData(n).slice());
  length = audio.length;
  time = began = performance.now();
  rows.forEach((row) => URL.revokeObjectURL(row.audio.src));
  $("stems").replaceChildren();
  rows = facts.sources.map(row);
  worker.postMessage({ channels }, channels.map((channel) => channel.buffer));
}

function row(source, number) {
  const item = document.createElement("li");
  item.className = `color-${number % 8}`;
  item.innerHTML = `<b class="stem"><span class="swatch"></span><span></span></b>
    <div><canvas></canvas><div class="meter"><i></i></div></div>
    <div class="controls"><input type="range" min="0" max="1" step="0.01" value="1">
    <button aria-pressed="false">Mute</button><button aria-pressed="false">Solo</button>
    <a hidden>Save WAV</a></div>`;
  const [mute, solo] = item.querySelectorAll("button"), label = source.replaceAll("_", " ");
  item.querySelector("b span + span").textContent = label;
  const one = { source, item, peaks: [], gain: 1, mute, solo, audio: new Audio(), volume: item.querySelector("input"),
    canvas: item.querySelector("canvas"), bar: item.querySelector("i"), link: item.querySelector("a") };
  one.volume.ariaLabel = `Volume of ${label}`;
  one.canvas.onclick = (event) => seek(event.offsetX / one.canvas.clientWidth);
  one.volume.oninput = mix;
  for (const button of [mute, solo]) {
    button.ariaLabel = `${button.textContent} ${label}`;
    button.onclick = () => { button.ariaPressed = button.ariaPressed !== "true"; mix(); };
  }
  $("stems").append(item);
  return one;
}

function progress({ peaks, place }) {
  rows.forEach((row, i) => { row.peaks = peaks[i]; });
  if (performance.now() - time < 100 && place < length) return;
  time = performance.now();
  const done = place / facts.sample_rate, speed = done / ((time - began) / 1000);
  $("progress").value = place / length;
  $("status").textContent = `${seconds(done)} of ${seconds(length / facts.sample_rate)}, ` +
    `${speed.toFixed(1)} times as fast as it sounds`;
  rows.forEach(draw);
}

function stem({ name: source, wav, gain }) {
  const row = rows.find((each) => each.source === source);
  row.gain = gain;
  row.audio.src = row.link.href = URL.createObjectURL(wav);
  row.link.download = `${name} - ${source}.wav`;
  row.link.hidden = false;
}

function finish() {
  const took = (performance.now() - began) / 1000;
  $("status").textContent = `${seconds(length / facts.sample_rate)} of music in ${took.toFixed(1)} s`;
  $("play").disabled = false;
  state("done");
  rows.forEach(draw);
}

function draw(row) {
  const { canvas } = row, ratio = devicePixelRatio || 1, style = getComputedStyle(row.item);
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const pen = canvas.getContext("2d"), { width, height } = canvas;
  const most = Math.max(...rows.map((each) => Math.max(...each.peaks) * each.gain), 1e-9);
  pen.fillStyle = style.getPropertyValue("--class-color");
  row.peaks.forEach((x, bar) => {
    const tall = (x * row.gain / most) * height * 0.94, wide = width / row.peaks.length;
    if (x) pen.fillRect(bar * wide, (height - tall) / 2, wide * 0.8, Math.max(tall, ratio));
  });
  const audio = rows[0].audio;
  if (audio.duration) {
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.fillRect((audio.currentTime / audio.duration) * width, 0, 1.5 * ratio, height);
  }
}

function mix() {
  const alone = rows.some((row) => row.solo.ariaPressed === "true");
  for (const row of rows) {
    const silent = row.mute.ariaPressed === "true" || (alone && row.solo.ariaPressed !== "true");
    if (row.fader) row.fader.gain.value = silent ? 0 : Number(row.volume.value);
  }
}

function connect() {
  context ??= new AudioContext();
  context.resume();
  for (const row of rows.filter((each) => !each.fader)) {
    row.fader = context.createGain();
    row.analyser = context.createAnalyser();
    row.analyser.fftSize = 2048;
    context.createMediaElementSource(row.audio).connect(row.fader).connect(row.analyser).connect(context.destination);
  }
  rows[0].audio.onended = stop;
  mix();
}

function seek(share) {
  for (const { audio } of rows) if (audio.duration) audio.currentTime = share * audio.duration;
  rows.forEach(draw);
}

function stop() {
  for (const row of rows) row.audio.pause();
  for (const row of rows) row.bar.style.transform = "scaleX(0)";
  $("play").textContent = "Play";
}

function meter() {
  const wave = new Float32Array(2048);
  for (const row of rows) {
    row.analyser.getFloatTimeDomainData(wave);
    const power = wave.reduce((sum, x) => sum + x * x, 0) / wave.length;
    const level = Math.min(Math.max((10 * Math.log10(power + 1e-9) + 60) / 60, 0), 1);
    row.bar.style.transform = `scaleX(${level.toFixed(3)})`;
    draw(row);
  }
  if (!rows[0].audio.paused) requestAnimationFrame(meter);
}

$("play").onclick = async () => {
  if (!rows[0].audio.paused) return stop();
  connect();
  const now = rows[0].audio.currentTime;
  for (const { audio } of rows) audio.currentTime = now;
  await Promise.all(rows.map(({ audio }) => audio.play()));
  $("play").textContent = "Pause";
  meter();
};
$("cancel").onclick = () => {
  worker.terminate();
  $("work").hidden = true;
  load();
};
$("file").onchange = () => $("file").files[0] && open($("file").files[0]);
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("zone").addEventListener(kind, (event) => {
    event.preventDefault();
    $("zone").classList.toggle("over", kind === "dragover");
    const file = event.dataTransfer?.files[0];
    if (kind === "drop" && file && !$("file").disabled) open(file);
  });
}
addEventListener("resize", () => rows.forEach(draw));
if (!("OfflineAudioContext" in window)) fail("This browser has no Web Audio.");
else load();
