"""Packaging of sepjax: the core, and extras for data, clusters and tests."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"', (HERE / "sepjax/__init__.py").read_text(), re.MULTILINE
).group(1)

EXTRAS = {
    "beam": ["apache-beam>=2.77"],
    "data": ["tensorflow-cpu>=2.21", "tensorflow-datasets>=4.9.10"],
    "live": ["sounddevice>=0.5"],
    "media": [],  # part of the core; old commands name it
    "onnx": ["onnx>=1.17", "onnxruntime>=1.20"],
    "slurm": ["submitit>=1.5"],
    "test": [
        "beartype>=0.20",
        "hypothesis>=6.100",
        "mir_eval>=0.8,<0.9",
        "mypy>=1.18",
        "pytest>=8",
        "pytest-xdist>=3.6",
        "ruff>=0.9",
        "selenium>=4.20",
        "submitit>=1.5",
    ],
}

setup(
    name="sepjax",
    version=VERSION,
    description="A functional JAX laboratory for music source separation",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["sepjax*", "data_pipelines*"]),
    package_data={
        "sepjax": ["py.typed"],
        "sepjax.report.html": ["*.css", "*.js"],
        "sepjax.weights": ["shipped/*/*"],
        "sepjax.export": ["web/*"],
        "data_pipelines.songs.demo": ["takes/*.flac", "takes/*.json", "NOTICE"],
    },
    install_requires=[
        "absl-py>=2.1",
        "av>=14",
        "flax>=0.12",
        "jax>=0.10",
        "jaxtyping>=0.3",
        "matplotlib>=3.9",
        "ml_collections>=1.0",
        "numpy>=2.0",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11.30",
        "pillow>=10",
        "pyyaml>=6",
        "safetensors>=0.5",
        "scipy>=1.13",
        "soundfile>=0.13",
        "soxr>=0.5",
        "tensorboardX>=2.6",
        "tqdm>=4.66",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["sepjax = sepjax.commands.cli:main"]},
)
