"""Containers of several audio streams, written as those of MUSDB18."""

import av
import numpy as np

PACKET = 1024  # samples of AAC
FORMS = {"aac": "fltp", "mp3": "fltp", "mp2": "s16", "alac": "s16p", "flac": "s16"}
FORMS |= {"libopus": "flt", "pcm_f32le": "flt", "wmav2": "fltp"}


def write_streams(path, waves, rate=44100, codec="aac", **options):
    """A container with a stream per wave, each (time, channels) of int16."""
    with av.open(str(path), "w", **options) as container:
        streams = [container.add_stream(codec, rate=rate) for _ in waves]
        for stream, wave in zip(streams, waves):
            stream.layout = "stereo" if wave.shape[1] == 2 else "mono"
            stream.bit_rate = 256000
            stream.codec_context.format = FORMS[codec]
        for stream, wave in zip(streams, waves):
            form = FORMS[codec]
            floats = form.startswith("flt")
            samples = wave.astype(np.float32) / 32768 if floats else wave
            for start in range(0, len(wave), PACKET):
                block = samples[start : start + PACKET]
                block = block.T if form.endswith("p") else block.reshape(1, -1)
                block = np.ascontiguousarray(block)
                frame = av.AudioFrame.from_ndarray(block, form, stream.layout.name)
                frame.sample_rate, frame.pts = rate, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def tone(hertz, frames, rate=44100, channels=2, level=8000):
    """A sine, int16 (time, channels); channels differ in level."""
    wave = level * np.sin(2 * np.pi * hertz * np.arange(frames) / rate)
    return (wave[:, None] / np.arange(1, channels + 1)).astype(np.int16)
