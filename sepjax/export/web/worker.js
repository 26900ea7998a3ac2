// Separates a song block by block; the model's state, or the overlap of chunks, is all
// that is kept of the past. Stems are collected as blobs, which a browser may put aside.
import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };

const BARS = 360; // of a picture
let session, facts;

self.onmessage = async ({ data }) => {
  try {
    if (data.facts) {
      facts = data.facts;
      session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
      self.postMessage({ ready: true });
    } else {
      await separate(data.channels);
    }
  } catch (error) {
    self.postMessage({ problem: String(error?.message ?? error) });
  }
};

async function separate(channels) {
  const width = facts.audio_channels, time = channels[0].length;
  const mono = channels.length === 1;
  const groups = width > 1 ? [mono ? [channels[0], channels[0]] : channels.slice(0, 2)]
    : channels.map((channel) => [channel]);
  const levels = groups.map((group) => (facts.normalize ? level(group) : 1));
  const made = groups.map((group, i) => (facts.program === "step" ? steps : chunks)(group, levels[i]));
  const fits = facts.rescale ? [...Array(groups.length * width)].map(() => new Fit(facts.sources.length)) : [];
  const parts = facts.sources.map(() => []);
  const peaks = facts.sources.map(() => new Float32Array(BARS));
  for (let place = 0; place < time;) {
    // (groups, sources, channels) of samples, of one length
    const pieces = [];
    for (const one of made) pieces.push((await one.next()).value);
    const size = pieces[0][0][0].length;
    facts.sources.forEach((_, source) => {
      const stems = pieces.flatMap((piece) => piece[source]);
      parts[source].push(interleaved(stems, mono));
      peak(peaks[source], stems, place / time, 1 / time);
    });
    fits.forEach((fit, i) => {
      const piece = pieces[Math.floor(i / width)];
      fit.add(piece.map((stem) => stem[i % width]), groups.flat()[i], place);
    });
    place += size;
    self.postMessage({ peaks, place });
  }
  const scales = fits.map((fit) => fit.solved());
  const count = mono ? 1 : groups.length * width;
  for (const [source, name] of facts.sources.entries()) {
    const gains = scales.length ? scales.map((each) => each[source]) : null;
    const body = gains ? await scaled(parts[source], gains, count) : parts[source];
    const wav = new Blob([header(time, count, facts.sample_rate), ...body], { type: "audio/wav" });
    parts[source] = null;
    self.postMessage({ name, wav, gain: gains ? Math.max(...gains.map(Math.abs)) : 1 });
  }
  self.postMessage({ done: true });
}

function first(input) {
  const size = input.shape.reduce((a, b) => a * b, 1);
  const kind = { float32: Float32Array, int32: Int32Array, bool: Uint8Array }[input.type];
  const data = Array.isArray(input.first) ? kind.from(input.first) : new kind(size).fill(input.first);
  return new ort.Tensor(input.type, data, input.shape);
}

function heard(waves, place, size, level) {
  const data = new Float32Array(waves.length * size);
  waves.forEach((wave, channel) => {
    const from = Math.max(place, 0), to = Math.min(place + size, wave.length);
    for (let n = from; n < to; n++) data[channel * size + n - place] = wave[n] / level;
  });
  return data;
}

// The samples [from, to) of estimates (sources, channels, size), as loud as the song.
function cut(data, size, width, from, to, level) {
  return facts.sources.map((_, source) => [...Array(width)].map((_, channel) => {
    const start = (source * width + channel) * size;
    return data.slice(start + from, start + to).map((x) => x * level);
  }));
}

async function* steps(waves, level) {
  const { block, lead, delay } = facts, time = waves[0].length, width = waves.length;
  let state = facts.inputs.filter((each) => each.name.startsWith("state.")).map((each) => [each.name, first(each)]);
  let skip = lead + delay, given = 0;
  for (let place = -lead; given < time; place += block) {
    const samples = Math.max(Math.min(time - place, block), 0);
    const made = await session.run({
      block: new ort.Tensor("float32", heard(waves, place, block, level), facts.inputs[0].shape),
      samples: new ort.Tensor("int32", Int32Array.of(samples), []),
      ...Object.fromEntries(state),
    });
    state = state.map(([name]) => [name, made[name.replace("state.", "next.")]]);
    const from = Math.min(skip, block), to = Math.min(block, from + time - given);
    skip -= from;
    given += to - from;
    if (to > from) yield cut(made.estimates.data, block, width, from, to, level);
  }
}

async function* chunks(waves, level) {
  const { length, hop, before } = facts, added = facts.joined === "added";
  const time = waves[0].length, width = waves.length, rows = facts.sources.length * width;
  const total = new Float32Array(rows * length), weight = new Float32Array(length), fade = length - hop;
  const window = Float32Array.from(weight, (_, n) =>
    added ? 1 : Math.min((n + 0.5) / Math.max(fade, 0.5), (length - n - 0.5) / Math.max(fade, 0.5), 1));
  for (let place = -before; ; place += hop) {
    const input = new ort.Tensor("float32", heard(waves, place, length, level), facts.inputs[0].shape);
    const made = (await session.run({ mixture: input })).estimates.data;
    for (let i = 0; i < total.length; i++) total[i] += made[i] * window[i % length];
    for (let n = 0; n < length; n++) weight[n] = added ? 1 : weight[n] + window[n];
    const last = added ? place + hop >= time : place + length >= time;
    const from = Math.max(-place, 0), to = Math.min(last ? length : hop, time - place);
    const known = total.map((x, i) => x / weight[i % length]);
    if (to > from) yield cut(known, length, width, from, to, level);
    if (last) return;
    for (let row = 0; row < rows; row++) {
      total.copyWithin(row * length, row * length + hop, (row + 1) * length);
      total.fill(0, (row + 1) * length - hop, (row + 1) * length);
    }
    weight.copyWithin(0, hop);
    weight.fill(0, fade);
  }
}

// The standard deviation of channels together; 1 where they are silent.
function level(waves) {
  const count = waves.length * waves[0].length;
  let sum = 0, squares = 0, most = 0;
  for (const wave of waves) for (const x of wave) sum += x;
  for (const wave of waves) {
    for (const x of wave) {
      squares += (x - sum / count) ** 2;
      most = Math.max(most, Math.abs(x));
    }
  }
  return Math.max(Math.sqrt(squares / count), 1e-4 * most) || 1;
}

// Least-squares scales with which the estimates sum to the mixture.
class Fit {
  constructor(size) {
    this.gram = [...Array(size)].map(() => new Float64Array(size));
    this.target = new Float64Array(size);
  }
  add(stems, mixture, place) {
    for (let i = 0; i < stems.length; i++) {
      for (let n = 0; n < stems[i].length; n++) this.target[i] += stems[i][n] * mixture[place + n];
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let n = 0; n < stems[i].length; n++) sum += stems[i][n] * stems[j][n];
        this.gram[i][j] += sum;
        if (i !== j) this.gram[j][i] += sum;
      }
    }
  }
  solved() {
    // Stems of norm one; what is nearly the same shares its scale.
    const size = this.target.length, norms = this.gram.map((row, i) => Math.sqrt(row[i]) || 1);
    const rows = this.gram.map((row, i) => [...row].map((x, j) => x / norms[i] / norms[j] + (i === j ? 1e-12 : 0)));
    const right = [...this.target].map((x, i) => x / norms[i]);
    for (let i = 0; i < size; i++) {
      for (let k = i + 1; k < size; k++) {
        const ratio = rows[k][i] / rows[i][i];
        for (let j = i; j < size; j++) rows[k][j] -= ratio * rows[i][j];
        right[k] -= ratio * right[i];
      }
    }
    for (let i = size - 1; i >= 0; i--) {
      for (let j = i + 1; j < size; j++) right[i] -= rows[i][j] * right[j];
      right[i] /= rows[i][i];
    }
    return right.map((x, i) => x / norms[i]);
  }
}

// Put the largest samples into the bars of the whole song.
function peak(bars, waves, start, step) {
  for (const wave of waves) {
    wave.forEach((x, n) => {
      const bar = Math.floor((start + n * step) * BARS);
      bars[bar] = Math.max(bars[bar], Math.abs(x));
    });
  }
}

function interleaved(waves, mono) {
  const count = mono ? 1 : waves.length, size = waves[0].length;
  const data = new Float32Array(size * count);
  const share = mono ? 1 / waves.length : 1;
  waves.forEach((wave, channel) => {
    for (let n = 0; n < size; n++) data[mono ? n : n * count + channel] += wave[n] * share;
  });
  return new Blob([data]);
}

async function scaled(parts, gains, count) {
  const made = [];
  for (const part of parts) {
    const data = new Float32Array(await part.arrayBuffer());
    made.push(new Blob([data.map((x, i) => x * gains[i % count])]));
  }
  return made;
}

// Of a WAVE file of 32-bit floats.
function header(time, count, rate) {
  const view = new DataView(new ArrayBuffer(44)), bytes = time * count * 4;
  const text = (place, letters) => [...letters].forEach((c, i) => view.setUint8(place + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + bytes, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 3, true); view.setUint16(22, count, true);
  view.setUint32(24, rate, true); view.setUint32(28, rate * count * 4, true);
  view.setUint16(32, count * 4, true); view.setUint16(34, 32, true);
  text(36, "data"); view.setUint32(40, bytes, true);
  return view.buffer;
}
