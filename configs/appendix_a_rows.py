"""Appendix A of the 2020 EPFL/Logitech thesis, as printed, in the thesis' own names.

Tables A.1 to A.6 (``sample_rate`` in kHz), prose where a cell cannot say it, and the
figures of chapter 5 that show a row.
"""

from typing import Any, NamedTuple

# Table A.1: what holds where neither the section nor the row says otherwise.
DEFAULTS: dict[str, Any] = {
    **dict(encoding="hybrid", filters=1, fb_type="pmpgtf", fb_ratio=0.5),
    **dict(N=440, L=20, W=20, init_type="mel", who_is_pinv=None, gammatone_init=False),
    **dict(B=160, H=160, kernel=3, layers=10, stack=4, causal=False, large_tcn=False),
    **dict(ideal_mask=False, sources=["drums", "bass", "other", "vocals"]),
    **dict(sample_rate=44.1, time_length=8, track_samples=64, threads=10),
    **dict(bs=4, lr=0.001, lr_decay_gamma=0.5, lr_decay_patience=3),
    **dict(weight_decay=0.0005, seed=42),
}

MASK = dict(ideal_mask=True, sample_rate=8)
TASNET = dict(sample_rate=8, stack=3, layers=6)
RATES = (0.003, 0.005, 0.007, 0.01, 0.03, 0.05)

# The kernel and stride of the sinc, convolutional and spectral runs.
LONG = dict(L=25, W=25)
WIDE = dict(L=100, W=100)
HYBRID_SINC = dict(fb_type="param_sinc", **LONG)
SINC = dict(HYBRID_SINC, encoding="filterbanks")
BANK = dict(encoding="filterbanks")
FREE = dict(SINC, bs=12, init_type="uniform")
PINV = dict(FREE, who_is_pinv="dec")
DEEP = dict(encoding="deep", filters=2, H=640)
RATIO = dict(bs=16, fb_type="param_sinc")


class Section(NamedTuple):
    """A section of the appendix: what its rows share, and the cells of each row."""

    title: str
    common: dict[str, Any]
    rows: dict[str, dict[str, Any]]


SECTIONS = {
    "A.1.1": Section(
        "One filterbank/convolution encoder, ideal ratio mask",
        MASK,
        {
            "irm_fb_sinc_free": dict(SINC, bs=12),
            "irm_fb_sinc_free_uniform": FREE,
            **{f"irm_fb_sinc_free_uniform_lr{lr}": dict(FREE, lr=lr) for lr in RATES},
            "irm_fb_sinc_pseudodec": dict(SINC, bs=12, who_is_pinv="dec"),
            "irm_fb_sinc_pseudodec_uniform": PINV,
            **{
                f"irm_fb_sinc_pseudodec_uniform_lr{lr}": dict(PINV, lr=lr)
                for lr in RATES
            },
            "irm_fb_sinc_enc_conv_dec": FREE,
            "irm_simple": dict(bs=12, encoding="simple", **LONG),
            "irm_fb_pmpgtf_free": dict(BANK, bs=12),
            "irm_fb_pmpgtf_pseudodec": dict(BANK, bs=12, who_is_pinv="dec"),
            "irm_fb_pmpgtf_L100_W50": dict(BANK, bs=12, L=100, W=50),
            "irm_fb_pmpgtf_L100_W25": dict(BANK, bs=12, L=100, W=25),
            "irm_fb_pmpgtf_L100_W10": dict(BANK, bs=12, L=100, W=10),
        },
    ),
    "A.1.2": Section(
        "One filterbank/convolution encoder, Conv-TasNet",
        TASNET,
        {
            "large_fb_sinc_free": dict(SINC, bs=8, H=640),
            "large_fb_sinc_free_uniform": dict(FREE, bs=8, H=640),
            "large_fb_sinc_pseudodec": dict(SINC, bs=8, H=640, who_is_pinv="dec"),
            "large_fb_sinc_pseudodec_uniform": dict(PINV, bs=8, H=640),
            "large_simple": dict(bs=8, encoding="simple", H=640, **LONG),
            "large_simple_L20_W20": dict(bs=8, encoding="simple", H=640),
            "large_fb_pmpgtf_free": dict(BANK, bs=7, H=640),
            "large_fb_pmpgtf_pseudodec": dict(BANK, bs=7, H=640, who_is_pinv="dec"),
        },
    ),
    "A.2.1": Section(
        "Hybrid encoder, ideal ratio mask",
        MASK,
        {
            "irm_hybrid_sinc_free": dict(HYBRID_SINC, bs=12),
            "irm_hybrid_sinc_pseudodec": dict(HYBRID_SINC, bs=12, who_is_pinv="dec"),
            "irm_hybrid_conv": dict(bs=12, fb_type="conv", **LONG),
            "irm_hybrid_sinc": dict(HYBRID_SINC, bs=12),
            "irm_hybrid_pmpgtf": dict(bs=12),
            "irm_hybrid_stft": dict(bs=12, fb_type="stft", **LONG),
            "irm_hybrid_pmpgtf_stft_capacity": dict(bs=12),
        },
    ),
    "A.2.2": Section(
        "Hybrid encoder, Conv-TasNet",
        TASNET,
        {
            "large_hybrid_sinc_free": dict(HYBRID_SINC, bs=8, H=640),
            "large_hybrid_conv": dict(bs=8, fb_type="conv", H=640, **LONG),
            "large_hybrid_sinc": dict(HYBRID_SINC, bs=8, H=640),
            "large_hybrid_pmpgtf": dict(bs=7, H=640),
            "large_hybrid_stft": dict(bs=8, fb_type="stft", H=640, **LONG),
            "large_hybrid_pmpgtf_stft_capacity": dict(bs=8, H=640),
            "large_hybrid_pmpgtf_L100_W20": dict(bs=7, H=640, L=100, W=20),
            "large_hybrid_pmpgtf_filters2": dict(bs=7, filters=2, H=640),
            "large_hybrid_stft_filters2": dict(bs=8, fb_type="stft", filters=2, H=640),
            "large_hybrid_pmpgtf_N256": dict(bs=7, H=640, N=256),
            "large_hybrid_stft_N256": dict(bs=8, fb_type="stft", H=640, N=256),
            "large_hybrid_pmpgtf_pretrained_encoder": dict(bs=7, H=640),
            "large_hybrid_pmpgtf_large_tcn": dict(bs=8, H=640, large_tcn=True),
        },
    ),
    "A.3.1": Section(
        "Deep encoder, ideal ratio mask",
        MASK,
        {"irm_stacked2_fb_pmpgtf_conv": {}, "irm_stacked3_fb_pmpgtf_conv": {}},
    ),
    "A.3.2": Section(
        "Deep encoder, Conv-TasNet",
        TASNET,
        {
            "large_deep2_pmpgtf_L20_bs8": dict(DEEP, bs=8),
            "large_deep2_pmpgtf_L20_bs16": dict(DEEP, bs=16),
            "large_deep2_pmpgtf_L16_bs8": dict(DEEP, bs=8, L=16, W=16),
            "large_deep2_pmpgtf_L16_bs16": dict(DEEP, bs=16, L=16, W=16),
            "large_deep2_pmpgtf_L10_bs8": dict(DEEP, bs=8, L=10, W=10),
        },
    ),
    "A.4": Section(
        "Gammatone channel ratio (Conv-TasNet)",
        TASNET,
        {
            "large_hybrid_pmpgtf_fratio0.0_H160": dict(bs=16, fb_ratio=0.0),
            "large_hybrid_pmpgtf_fratio0.5_H160": dict(bs=16),
            "large_hybrid_pmpgtf_fratio0.75_H160": dict(bs=16, fb_ratio=0.75),
            "large_hybrid_pmpgtf_fratio1.0_H160": dict(bs=16, fb_ratio=1.0),
            "large_hybrid_pmpgtf_fratio0.0_H640": dict(bs=7, fb_ratio=0.0, H=640),
            "large_hybrid_pmpgtf_fratio0.5_H640": dict(bs=7, H=640),
            "large_hybrid_pmpgtf_fratio0.75_H640": dict(bs=7, fb_ratio=0.75, H=640),
            "large_hybrid_pmpgtf_fratio1.0_H640": dict(bs=7, fb_ratio=1.0, H=640),
        },
    ),
    "A.5": Section(
        "Sinc channel ratio (Conv-TasNet)",
        TASNET,
        {
            "large_hybrid_sinc_fratio0.0_H160": dict(RATIO, fb_ratio=0.0),
            "large_hybrid_sinc_fratio0.5_H160": RATIO,
            "large_hybrid_sinc_fratio0.75_H160": dict(RATIO, fb_ratio=0.75),
            "large_hybrid_sinc_fratio1.0_H160": dict(RATIO, fb_ratio=1.0),
        },
    ),
    "A.6": Section(
        "Large models, 44.1 kHz",
        {},
        {
            "full_data_large_hybrid_pmpgtf_large_tcn": dict(
                WIDE, large_tcn=True, layers=6, stack=3
            ),
            "full_data_huge_hybrid_pmpgtf_large_tcn": dict(WIDE, large_tcn=True),
            "full_data_huge_hybrid_pmpgtf_L100_W100": WIDE,
            "full_data_huge_hybrid_pmpgtf_L50_W50": dict(L=50, W=50),
        },
    ),
}

# What the prose says and no parameter of Table A.1 can: decoders of their own, the
# convolution after a filterbank, the start from another run, stacks of mixed banks.
EXTRA: dict[str, dict[str, Any]] = {
    "irm_fb_sinc_enc_conv_dec": dict(decoder="conv"),
    "irm_hybrid_sinc_free": dict(decoder="hybrid"),
    "irm_hybrid_sinc_pseudodec": dict(decoder="hybrid"),
    "irm_hybrid_pmpgtf_stft_capacity": dict(fb_post_conv=True),
    "large_hybrid_sinc_free": dict(decoder="hybrid"),
    "large_hybrid_pmpgtf_stft_capacity": dict(fb_post_conv=True),
    "large_hybrid_pmpgtf_pretrained_encoder": dict(
        pretrained_from="irm_hybrid_pmpgtf", freeze=["encoder", "decoder"]
    ),
    "irm_stacked2_fb_pmpgtf_conv": dict(stack_layers=["pmpgtf", "conv"]),
    "irm_stacked3_fb_pmpgtf_conv": dict(stack_layers=["pmpgtf", "conv", "conv"]),
    "demucs_8k": dict(model="demucs"),
}

# In the prose of these sections, without a name or a row of their own.
UNLISTED: dict[str, tuple[str, dict[str, Any]]] = {
    "irm_simple_gammatone_init": (
        "A.1.1",
        dict(MASK, bs=12, encoding="simple", gammatone_init=True),
    ),
    "demucs_8k": ("A.1.2", dict(sample_rate=8)),
}


def _shown(rows: str) -> dict[str, str]:
    """Rows of a figure -> how certain that is: ~ likely, ? one of several."""
    kinds = {"~": "likely", "?": "alternative"}
    return {row.rstrip("~?"): kinds.get(row[-1], "certain") for row in rows.split()}


# Which rows a figure shows, in the order of its text. "certain": the text says so;
# "likely": it fits best; "alternative": the text does not decide between this row and
# one of the others.
FIGURES = {
    "5.6": _shown("irm_simple~ irm_fb_sinc_pseudodec~ irm_fb_sinc_free~"),
    "5.7": _shown("irm_simple~ irm_fb_sinc_pseudodec~ irm_fb_pmpgtf_pseudodec~"),
    "5.8": _shown(
        "large_simple~ large_fb_sinc_pseudodec~ large_fb_pmpgtf_pseudodec~ "
        "large_simple_L20_W20?"
    ),
    "5.9": _shown("irm_simple irm_hybrid_sinc irm_hybrid_pmpgtf"),
    "5.10": _shown(
        "large_hybrid_conv large_hybrid_sinc large_hybrid_pmpgtf large_hybrid_stft"
    ),
    "5.11": _shown(
        "large_hybrid_pmpgtf large_hybrid_pmpgtf_filters2 large_hybrid_pmpgtf_L100_W20"
    ),
    "5.12": _shown(
        "large_hybrid_pmpgtf_fratio0.0_H160~ large_hybrid_pmpgtf_fratio0.5_H160~ "
        "large_hybrid_pmpgtf_fratio0.75_H160~ large_hybrid_pmpgtf_fratio1.0_H160~ "
        "large_hybrid_pmpgtf_fratio0.0_H640? large_hybrid_pmpgtf_fratio0.5_H640? "
        "large_hybrid_pmpgtf_fratio0.75_H640? large_hybrid_pmpgtf_fratio1.0_H640?"
    ),
    "5.13": _shown(
        "large_hybrid_sinc_fratio0.0_H160 large_hybrid_sinc_fratio0.5_H160 "
        "large_hybrid_sinc_fratio0.75_H160 large_hybrid_sinc_fratio1.0_H160"
    ),
    "5.14": _shown("large_hybrid_pmpgtf large_hybrid_pmpgtf_pretrained_encoder"),
    "5.15": _shown(
        "large_fb_pmpgtf_pseudodec~ large_deep2_pmpgtf_L10_bs8 "
        "large_deep2_pmpgtf_L20_bs8~ large_deep2_pmpgtf_L16_bs8~ "
        "large_deep2_pmpgtf_L20_bs16? large_deep2_pmpgtf_L16_bs16? "
        "large_fb_pmpgtf_free?"
    ),
    "table_5.1": _shown(
        "full_data_huge_hybrid_pmpgtf_L100_W100? full_data_huge_hybrid_pmpgtf_L50_W50?"
    ),
}

# The thesis says of these that its last code cannot make them again.
NOT_REPRODUCIBLE = ("irm_stacked2_fb_pmpgtf_conv", "irm_stacked3_fb_pmpgtf_conv")

_EVEN = "even sinc length 20, the other sinc runs have 25; 3x6 is inferred from A.4"
_HOP = "stride W in both layers is assumed: a hop of W squared"
_TABLE_5_1 = "one of two candidates for table 5.1"
NOTES = {
    "irm_fb_sinc_enc_conv_dec": "as irm_fb_sinc_free_uniform, with a free decoder",
    "irm_simple": "L=W=25, the gammatone runs have 20: figures compare both at once",
    "irm_fb_pmpgtf_free": "5.3.1: worse than the pseudo-inverse, no figure",
    "irm_fb_pmpgtf_L100_W25": "L-W is odd: padded by one sample more on one side",
    "large_simple": "large_simple_L20_W20 has the kernel of the gammatone runs",
    "irm_hybrid_sinc_free": "as irm_hybrid_sinc, with another decoder",
    "irm_hybrid_pmpgtf": "its encoder and decoder are the pretrained ones of fig. 5.14",
    "irm_hybrid_pmpgtf_stft_capacity": "as irm_hybrid_pmpgtf, with fb_post_conv",
    "large_hybrid_sinc_free": "as large_hybrid_sinc, with another decoder",
    "large_hybrid_pmpgtf_stft_capacity": "5.3.1: does not beat the STFT branch",
    "large_hybrid_pmpgtf_L100_W20": "chapter 5 says stride 100; name and row say 20",
    "large_hybrid_stft_filters2": "L=W=20 against 25 in large_hybrid_stft; one STFT",
    "large_hybrid_stft_N256": "L=W=20 against 25 in large_hybrid_stft",
    "large_hybrid_pmpgtf_pretrained_encoder": "run irm_hybrid_pmpgtf first",
    "large_hybrid_pmpgtf_large_tcn": "four times the channels, a group per source",
    "irm_stacked2_fb_pmpgtf_conv": "no row printed: bs, L and W are unknown",
    "irm_stacked3_fb_pmpgtf_conv": "no row printed; weights are said to collapse",
    **dict.fromkeys(SECTIONS["A.3.2"].rows, _HOP),
    "large_hybrid_pmpgtf_fratio0.5_H160": "all defaults but rate, separator and batch",
    "large_hybrid_pmpgtf_fratio0.5_H640": "the same as large_hybrid_pmpgtf",
    **dict.fromkeys(SECTIONS["A.5"].rows, _EVEN),
    "large_hybrid_sinc_fratio0.0_H160": "the same as the gammatone row: no filterbank",
    "full_data_huge_hybrid_pmpgtf_L100_W100": _TABLE_5_1,
    "full_data_huge_hybrid_pmpgtf_L50_W50": _TABLE_5_1,
    "irm_simple_gammatone_init": "prose only: worse than Xavier; L and W not stated",
    "demucs_8k": "prose only: worse than large_simple_L20_W20; size not stated",
}
