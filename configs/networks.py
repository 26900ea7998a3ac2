"""Networks beside Conv-TasNet: as published, and small on the embedded demo music.

    python run_experiment.py --config=configs/networks.py:wave_u_net \
        --workdir=runs/wave_u_net --config.data.dataset=folder \
        --config.data.root=/path/to/musdb18hq
    python run_experiment.py --config=configs/networks.py:demo_wave_u_net \
        --workdir=runs/demo_wave_u_net

Each ``demo_`` row takes minutes on two CPU cores. ``docs/networks.md`` says what the
papers fix, and what is a guess.
"""

import dataclasses

from sepjax.config import Config, ModelConfig
from sepjax.configs.chapter4 import CLASSES
from sepjax.models.htdemucs.config import HDemucsConfig, HTDemucsConfig
from sepjax.models.mm_dense_lstm.config import MmDenseLstmConfig
from sepjax.models.roformer.config import BANDS, RoformerConfig
from sepjax.models.scnet.config import ScnetConfig
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.wave_u_net.config import WaveUNetConfig
from sepjax.models.wavenet.config import WavenetConfig
from sepjax.registry import nearest

NAMES = {
    "blstm_tasnet": "TasNet with four recurrent layers in both directions, 8 kHz",
    "lstm_tasnet": "the same of the past alone, 1000 states",
    "wave_u_net": "Wave-U-Net of four stereo sources, 22.05 kHz",
    "wavenet": "the Wavenet of Lluís, Pons and Serra, mono, 16 kHz",
    "mm_dense_lstm": "MMDenseLSTM, stereo, 44.1 kHz",
    "bs_roformer": "BS-RoFormer of the size of public checkpoints, stereo, 44.1 kHz",
    "mel_roformer": "Mel-Band RoFormer, likewise",
    "htdemucs": "Hybrid Transformer Demucs, stereo, 44.1 kHz",
    "hdemucs": "Hybrid Demucs, stereo, 44.1 kHz",
    "scnet": "SCNet, stereo, 44.1 kHz",
    **dict.fromkeys(
        (
            *("demo_blstm_tasnet", "demo_wave_u_net", "demo_wavenet"),
            *("demo_mm_dense_lstm", "demo_mel_roformer"),
        ),
        "a small one on the six classes of the demo music",
    ),
    "demo_htdemucs": "a small Hybrid Transformer Demucs on the same music",
    "demo_scnet": "a small SCNet on the same music",
}
TASNET = TasNetConfig(
    **dict(encoding="simple", encoder_act="gated", N=500, L=40, W=40),
    **dict(separator="lstm", input_norm="frame", mask_act="softmax"),
)
MODELS: dict[str, ModelConfig] = {
    "blstm_tasnet": TASNET,
    "lstm_tasnet": dataclasses.replace(TASNET, causal=True, lstm_hidden=1000),
    "wave_u_net": WaveUNetConfig(audio_channels=2),
    "wavenet": WavenetConfig(),
    "mm_dense_lstm": MmDenseLstmConfig(audio_channels=2),
    "bs_roformer": RoformerConfig(
        bands=BANDS, norms="network", mask_layers=2, blocks=12, hop=512
    ),
    "mel_roformer": RoformerConfig(),
    "htdemucs": HTDemucsConfig(bottom_channels=512, dconv_mode=3),
    "hdemucs": HDemucsConfig(),
    "scnet": ScnetConfig(),
    "demo_blstm_tasnet": dataclasses.replace(
        TASNET, N=128, L=64, W=64, lstm_hidden=64, lstm_layers=4
    ),
    "demo_wave_u_net": WaveUNetConfig(levels=6, filters=10),
    "demo_wavenet": WavenetConfig(stack=1, channels=16, skip=24, hidden=48, last=24),
    "demo_mm_dense_lstm": MmDenseLstmConfig(
        **dict(n_fft=512, hop=256, first=8, final="6: 1", bands=(1500.0,)),
        networks=("6: 2 2+32 2", "3: 1 1+16 1", "4: 1 2+32 1"),
    ),
    "demo_mel_roformer": RoformerConfig(
        **dict(audio_channels=1, n_fft=512, hop=256, mel_bands=24, channels=48),
        **dict(blocks=2, heads=4, head_channels=12, mask_layers=2, mask_expansion=2),
    ),
    "demo_htdemucs": HTDemucsConfig(
        **dict(audio_channels=1, channels=16, depth=3, n_fft=512, dconv_comp=4),
        **dict(t_layers=2, t_heads=4, t_hidden_scale=2.0),
    ),
    "demo_scnet": ScnetConfig(
        **dict(audio_channels=1, n_fft=512, hop=256, channels=(16, 32)),
        **dict(depths=(2, 1, 1), dual_paths=4),
    ),
}
RATES = {"wave_u_net": 22050, "wavenet": 16000, "mm_dense_lstm": 44100}
RATES |= {"bs_roformer": 44100, "mel_roformer": 44100}
RATES |= {"htdemucs": 44100, "hdemucs": 44100, "scnet": 44100}
# Batch, seconds and learning rate of the papers; steps in which a demo learns.
SIZES: dict[str, tuple[int, float, float, int]] = {
    "blstm_tasnet": (8, 4.0, 3e-4, 200_000),
    "lstm_tasnet": (8, 4.0, 3e-4, 200_000),
    "wave_u_net": (16, 16389 / 22050, 1e-4, 200_000),
    "wavenet": (10, 9785 / 16000, 1e-3, 500_000),
    "mm_dense_lstm": (8, 6.0, 1e-3, 200_000),
    "bs_roformer": (8, 8.0, 5e-4, 400_000),
    "mel_roformer": (8, 8.0, 5e-4, 400_000),
    "htdemucs": (32, 7.8, 3e-4, 200_000),
    "hdemucs": (32, 10.0, 3e-4, 200_000),
    "scnet": (4, 11.0, 5e-4, 200_000),
    "demo_blstm_tasnet": (8, 2.0, 2e-3, 600),
    "demo_wave_u_net": (8, 2.0, 2e-3, 600),
    "demo_wavenet": (4, 1.0, 3e-3, 400),
    "demo_mm_dense_lstm": (4, 2.0, 5e-3, 100),
    "demo_mel_roformer": (4, 2.0, 2e-3, 300),
    "demo_htdemucs": (4, 2.0, 1e-3, 300),
    "demo_scnet": (4, 2.0, 3e-3, 300),
}


def get_config(name: str = "demo_wave_u_net") -> Config:
    """A network of its paper's size, or a small one."""
    if name not in NAMES:
        raise ValueError(f"configs/networks.py has no {name!r}: {nearest(name, NAMES)}")
    config = Config(name=name, model=dataclasses.replace(MODELS[name]))
    data, train, demo = config.data, config.train, name.startswith("demo_")
    data.sample_rate = RATES.get(name, 8000)
    train.batch_size, data.chunk_seconds, config.optim.lr, train.steps = SIZES[name]
    train.eval_every = train.checkpoint_every = 100 if demo else 1000
    if demo:
        data.sources, config.optim.lr_decay_patience = CLASSES, 2
        train.statistics_excerpts = 200
    if name == "demo_mel_roformer":  # that of public training wants far more steps
        config.loss.name, config.optim.warmup_steps = "si_sdr", 30
    elif config.model.objective != "si_sdr":  # levels count
        data.normalize = config.eval.rescale = False
        config.optim.weight_decay = 0.0
    if config.model.name == "roformer":
        config.optim.ema = 0.98 if demo else 0.999
    return config
