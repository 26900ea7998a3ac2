"""Public sets in miniature: their layouts with real files of a fraction of a second."""

import json

import numpy as np
import soundfile
import yaml

RATE = 8000


def write_audio(path, frames=RATE // 5, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(path.name)))
    audio = np.random.default_rng(seed).uniform(-0.1, 0.1, (frames, channels))
    soundfile.write(path, audio, RATE)
    return path


def touch(path):
    """What passes for audio where nobody opens it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"audio")
    return path


def write_yaml(path, tree):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree))
    return path


MOISES_TRACKS = {
    "vocals": ["lead male singer", "background vocals"],
    "drums": ["full_acoustic_drumkit"],
    "bass": ["bass_guitar"],
    "guitar": ["clean_electric_guitar", "acoustic_guitar", "lap steel or slide guitar"],
    "wind": ["brass"],
    "piano": ["grand_piano"],
}


def write_moisesdb(root, songs=2, bleed=("bass",), stems=MOISES_TRACKS):
    """Songs with these stems; of some every track has bleed."""
    for index in range(songs):
        folder = root / "moisesdb_v0.1" / f"0000-{index}"
        tree = {"song": f"Song {index}", "artist": f"Artist {index // 2}"}
        tree |= {"genre": "rock", "stems": []}
        for stem, kinds in stems.items():
            tracks = []
            for number, kind in enumerate(kinds):
                track = {"id": f"{stem}{number}", "trackType": kind}
                track |= {"extension": "wav", "has_bleed": stem in bleed}
                write_audio(folder / stem / f"{stem}{number}.wav", channels=2)
                tracks.append(track)
            tree["stems"].append({"stemName": stem, "tracks": tracks})
        (folder / "data.json").write_text(json.dumps(tree))
    return root


MEDLEY_STEMS = {
    "S01": ("male singer", ["male singer"]),
    "S02": ("drum set", ["kick drum", "snare drum", "tambourine"]),
    "S03": (["acoustic guitar", "distorted electric guitar"], ["Unlabeled"]),
    "S04": ("tenor saxophone", []),
    "S05": ("Main System", ["Main System"]),
}


def write_medleydb(root, name="Band_Song", bleed="no", stems=MEDLEY_STEMS):
    folder, tree = root / name, {"has_bleed": bleed, "artist": name.split("_")[0]}
    tree |= {"genre": "Rock", "title": "Song", "stems": {}}
    for key, (instrument, raw) in stems.items():
        number = key[1:]
        file = f"{name}_STEM_{number}.wav"
        write_audio(folder / f"{name}_STEMS" / file, channels=2)
        tracks = {}
        for index, one in enumerate(raw, start=1):
            inner = f"{name}_RAW_{number}_{index:02}.wav"
            write_audio(folder / f"{name}_RAW" / inner)
            tracks[f"R{index:02}"] = {"filename": inner, "instrument": one}
        tree["stems"][key] = {"instrument": instrument, "component": ""}
        tree["stems"][key] |= {"filename": file, "raw": tracks}
    write_audio(folder / f"{name}_MIX.wav", channels=2)
    write_yaml(folder / f"{name}_METADATA.yaml", tree)
    return root


def slakh_stem(instrument, program, drums=False, rendered=True):
    stem = {"inst_class": instrument, "program_num": program, "is_drum": drums}
    return stem | {
        "audio_rendered": rendered,
        "midi_program_name": "a",
        "plugin_name": "",
    }


SLAKH_STEMS = {
    "S00": slakh_stem("Guitar", 27),
    "S01": slakh_stem("Guitar", 24),
    "S02": slakh_stem("Bass", 33),
    "S03": slakh_stem("Drums", 128, drums=True),
    "S04": slakh_stem("Pipe", 73),
    "S05": slakh_stem("Strings (continued)", 48, rendered=False),
}


def write_slakh(
    root,
    split="train",
    name="Track00001",
    stems=SLAKH_STEMS,
    suffix="flac",
    write=write_audio,
):
    folder = root / split / name
    write_yaml(folder / "metadata.yaml", {"UUID": f"midi of {name}", "stems": stems})
    for stem, entry in stems.items():
        if entry.get("audio_rendered"):
            write(folder / "stems" / f"{stem}.{suffix}")
    write(folder / f"mix.{suffix}")
    return root


def write_songs(root, songs=("one", "two"), stems=("vocals", "drums"), suffix="wav"):
    for song in songs:
        for stem in stems:
            write_audio(root / song / f"{stem}.{suffix}")
    return root
