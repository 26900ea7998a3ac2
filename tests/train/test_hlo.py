"""The reader of compiled programs counts what a hand counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from benchmarks.hlo import parse, read_work, totals

DEVICES = 4


def work_of(function, *arguments):
    return read_work(jax.jit(function).lower(*arguments).compile().as_text())


def test_a_loop_counts_as_often_as_it_runs():
    def layers(x, kernels):
        return jax.lax.scan(lambda x, kernel: (jnp.tanh(x @ kernel), None), x, kernels)

    work = work_of(layers, jnp.ones((4, 8)), jnp.ones((10, 8, 8)))
    assert work.flops == 10 * (2 * 4 * 8 * 8)
    assert work.loops == [(10, 1)]
    nested = work_of(
        lambda x, kernels: jax.lax.fori_loop(
            0, 3, lambda _, x: layers(x, kernels)[0], x
        ),
        *(jnp.ones((4, 8)), jnp.ones((10, 8, 8))),
    )
    assert nested.flops == 3 * work.flops
    assert nested.loops == [(3, 1), (10, 3)]


@pytest.mark.parametrize("stride", [1, 2])
def test_padding_of_a_convolution_is_no_work(stride):
    signal, kernel = jnp.ones((2, 9, 3)), jnp.ones((3, 3, 5))
    work = work_of(
        lambda x, w: jax.lax.conv_general_dilated(
            x, w, (stride,), [(1, 1)], dimension_numbers=("NWC", "WIO", "NWC")
        ),
        *(signal, kernel),
    )
    # Three taps at each place, but one of the first and one of the last lie outside.
    assert work.flops == 2 * (2 * 3 * 5) * (3 * (9 // stride + stride - 1) - 2)


def test_transfers_between_devices_are_named_and_counted():
    mesh = Mesh(np.array(jax.devices()[:DEVICES]), ("data",))

    def step(x, w):
        return jax.lax.psum(x @ w, "data"), jax.lax.all_gather(x, "data")

    split, whole = PartitionSpec("data"), PartitionSpec()
    sharded = jax.shard_map(
        step, mesh=mesh, in_specs=(split, whole), out_specs=whole, check_vma=False
    )
    work = work_of(sharded, jnp.ones((DEVICES * 2, 8)), jnp.ones((8, 16)))
    assert work.flops == 2 * 2 * 8 * 16  # of one device
    assert totals(work.collectives) == {
        "all-reduce": {"count": 1, "bytes": 4 * 2 * 16},
        "all-gather": {"count": 1, "bytes": 4 * DEVICES * 2 * 8},
    }
    (summed,) = (one for one in work.collectives if one.kind == "all-reduce")
    assert summed.shapes == ("f32[2,16]",)
    assert summed.source.endswith("psum")


# In the form of a TPU: no count beside the loop, arrays in tiles, some on the chip, and
# a product of eight pairs of matrices as a convolution with gaps.
TPU = """HloModule jit_step

%slice_of (p: f32[6,8,200], i: s32[]) -> f32[8,200] {
  %p = f32[6,8,200]{2,1,0:T(8,128)} parameter(0)
  %i = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %cut = f32[1,8,200]{2,1,0:T(8,128)} dynamic-slice(%p, %i, %zero, %zero)
  ROOT %flat = f32[8,200]{1,0:T(8,128)} bitcast(%cut)
}

%whole (q: f32[6,8,200]) -> f32[6,8,200] {
  %q = f32[6,8,200]{2,1,0:T(8,128)} parameter(0)
  ROOT %same = f32[6,8,200]{2,1,0:T(8,128)} bitcast(%q)
}

%sum_of (r: f32[6,8,200]) -> f32[] {
  %r = f32[6,8,200]{2,1,0:T(8,128)} parameter(0)
  %inner = f32[6,8,200]{2,1,0:T(8,128)} fusion(%r), kind=kLoop, calls=%whole
  %start = f32[] constant(0)
  ROOT %sum = f32[] reduce(%inner, %start), dimensions={0,1,2}, to_apply=%add
}

%body (c: (s32[], f32[6,8,200])) -> (s32[], f32[6,8,200]) {
  %c = (s32[]{:T(128)}, f32[6,8,200]{2,1,0:T(8,128)}) parameter(0)
  %n = s32[]{:T(128)S(1)} get-tuple-element(%c), index=0
  %x = f32[6,8,200]{2,1,0:T(8,128)} get-tuple-element(%c), index=1
  %one = f32[8,200]{1,0:T(8,128)S(1)} fusion(%x, %n), kind=kLoop, calls=%slice_of
  ROOT %out = (s32[]{:T(128)}, f32[6,8,200]{2,1,0:T(8,128)}) tuple(%n, %x)
}

%condition (c: (s32[], f32[6,8,200])) -> pred[] {
  %c = (s32[]{:T(128)}, f32[6,8,200]{2,1,0:T(8,128)}) parameter(0)
  %n = s32[]{:T(128)} get-tuple-element(%c), index=0
  %six = s32[]{:T(128)} constant(6)
  ROOT %less = pred[]{:T(512)} compare(%n, %six), direction=LT
}

ENTRY %main (a: f32[8,200,16], b: f32[8,16,32]) -> f32[8,200,32] {
  %a = f32[8,200,16]{2,1,0:T(8,128)S(1)} parameter(0)
  %b = f32[8,16,32]{2,1,0:T(8,128)S(1)} parameter(1)
  %s = (s32[]{:T(128)}, f32[6,8,200]{2,1,0:T(8,128)}) custom-call(), \
custom_call_target="AllocateBuffer"
  %w = (s32[]{:T(128)}, f32[6,8,200]{2,1,0:T(8,128)}) while(%s), \
condition=%condition, body=%body
  %v = f32[6,8,200]{2,1,0:T(8,128)} get-tuple-element(%w), index=1
  %t = f32[]{:T(128)S(1)} fusion(%v), kind=kInput, calls=%sum_of
  ROOT %y = f32[8,200,32]{2,1,0:T(8,128)} convolution(%a, %b), \
window={size=8 stride=7 lhs_dilate=8}, dim_labels=0bf_0io->0bf
}
"""


def test_a_program_of_a_tpu():
    work = read_work(TPU)
    assert parse(TPU)[1] == "main"
    assert work.loops == [(6, 1)]
    assert work.flops == 8 * (2 * 200 * 16 * 32)
    assert work.bytes_by_op == {
        # A slice of what is in main memory, six times, then all of it, in tiles of 128
        # columns; results stay on the chip.
        "fusion": 6 * 4 * 8 * 200 + 4 * 6 * 8 * 256,
        # 32 columns lie in a tile of 128.
        "convolution": 4 * 8 * 200 * 128,
    }
