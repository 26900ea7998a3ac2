"""Which devices the members of a sweep get."""

import pytest

from sepjax.configs.sweeps import SWEEPS
from sepjax.experiment.devices import (
    Devices,
    environment,
    find_devices,
    share_devices,
)
from sepjax.experiment.members import configuration

ROWS = {name: configuration(m) for name, m in SWEEPS["appendix_a"].items()}


def machine(kind, count):
    return Devices(kind, tuple(map(str, range(count))))


@pytest.mark.parametrize("kind", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_all_rows_run_with_their_printed_batches(kind, count):
    assert len(ROWS) == 74
    devices = machine(kind, count)
    plan = share_devices(ROWS, devices)
    assert plan.refused == {}
    assert plan.counts == dict.fromkeys(ROWS, 1)
    assert plan.groups == [(name,) for name in devices.names]
    # One alone has the most devices that its batch allows, and never more.
    for name, config in ROWS.items():
        ((group,), counts, refused) = share_devices({name: config}, devices)
        assert not refused
        assert config.train.batch_size % counts[name] == 0
        assert counts[name] <= len(group) == count
        assert len(environment(devices, group[: counts[name]])) in (0, 1, 6)


def test_a_group_is_of_one_run_and_groups_share_nothing():
    some = {name: ROWS[name] for name in list(ROWS)[:3]}
    plan = share_devices(some, machine("gpu", 8))
    assert plan.groups == [("0", "1"), ("2", "3"), ("4", "5"), ("6", "7")]
    # The plan does not ask which members have ended: going on is bit for bit the same.
    assert set(plan.counts) == set(some)


def test_numbers_that_do_not_divide_name_the_nearest_that_do():
    batches = {name: config.train.batch_size for name, config in ROWS.items()}
    plan = share_devices(ROWS, machine("gpu", 8), per_run=4)
    assert {batches[n] for n in plan.counts} == {
        b for b in batches.values() if not b % 4
    }
    assert set(plan.refused) == {n for n, batch in batches.items() if batch % 4}
    seven = next(n for n, batch in batches.items() if batch == 7)
    assert plan.refused[seven] == (
        "its batch of 7 does not divide over 4 devices: --devices_per_run=1 or 7"
    )


@pytest.mark.parametrize(
    ("kind", "per_run", "known"), [("cpu", 9, "1, 2, 3, 4"), ("tpu", 3, "1, 2, 4, 8")]
)
def test_numbers_that_a_machine_cannot_give_are_errors(kind, per_run, known):
    with pytest.raises(
        ValueError, match=f"per_run={per_run}: this machine can give {known}"
    ):
        share_devices(ROWS, machine(kind, 8), per_run)


def test_an_accumulated_batch_divides_by_its_parts():
    (name, config) = next((n, c) for n, c in ROWS.items() if c.train.batch_size == 8)
    assert share_devices({name: config}, machine("gpu", 8)).counts == {name: 8}
    config = configuration(SWEEPS["appendix_a"][name])
    config.train.__dict__["accumulate"] = 4
    assert share_devices({name: config}, machine("gpu", 8)).counts == {name: 2}


def test_a_process_sees_its_devices_only():
    gpus = Devices("gpu", ("2", "3", "GPU-5a"))
    assert environment(gpus, ["GPU-5a"]) == {"CUDA_VISIBLE_DEVICES": "GPU-5a"}
    assert environment(None, []) == {}
    one, two = (environment(machine("tpu", 4), [chip]) for chip in "12")
    assert one["TPU_VISIBLE_CHIPS"] == "1"
    assert one["TPU_CHIPS_PER_PROCESS_BOUNDS"] == one["TPU_PROCESS_BOUNDS"] == "1,1,1"
    assert one["TPU_MESH_CONTROLLER_PORT"] != two["TPU_MESH_CONTROLLER_PORT"]
    pair = environment(machine("tpu", 4), ["2", "3"])
    assert pair["TPU_VISIBLE_CHIPS"] == "2,3"
    assert pair["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,2,1"
    assert pair["TPU_PROCESS_BOUNDS"] == "1,1,1"
    assert environment(machine("tpu", 4), ["0", "1", "2", "3"]) == {}


def test_devices_are_counted_in_another_process(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "3")
    assert find_devices() == machine("cpu", 3)
    monkeypatch.setenv("JAX_PLATFORMS", "nonsense")
    with pytest.raises(OSError, match=r"cannot be counted: .*nonsense"):
        find_devices()
