"""Sample files: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.errors import UsageError
from mcucompile.ir import Port, QParams
from mcucompile.options import SampleOptions
from mcucompile.quant.samples import (
    from_model_int8,
    load_samples,
    random_samples,
    to_model_int8,
    to_real,
)

FLOAT = Port("a/b;c:0", (1, 4, 5, 1), "float32", "NHWC")
INT8 = Port("image", (1, 4, 5, 1), "int8", "NHWC")
UINT8 = Port("image", (1, 4, 5, 1), "uint8", "NHWC")


def write(folder: Path, **arrays: np.ndarray) -> str:
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


def reals(n: int = 3) -> np.ndarray:
    return np.linspace(-2, 2, n * 20, dtype=np.float32).reshape(n, 4, 5, 1)


def load(spec: str, *ports: Port, labels: str | None = None, **how: float) -> list[np.ndarray]:
    return list(load_samples(SampleOptions(spec, **how), ports, labels).arrays)


def refusal(spec: str, *ports: Port, labels: str | None = None, **how: float) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load(spec, *ports, labels=labels, **how)
    assert caught.value.code == 2
    return caught.value


# -- finding the array ------------------------------------------------------------------------


def test_array_is_found_by_the_input_name_before_x(tmp_path: Path) -> None:
    spec = write(tmp_path, **{"a/b;c:0": reals(), "x": 0 * reals()})
    assert np.array_equal(load(spec, FLOAT)[0], reals())


def test_array_x_is_the_default(tmp_path: Path) -> None:
    assert np.array_equal(load(write(tmp_path, x=reals()), FLOAT)[0], reals())


@pytest.mark.parametrize("name", ["features", "odd:name"])
def test_array_named_by_the_user(tmp_path: Path, name: str) -> None:
    spec = write(tmp_path, **{"x": 0 * reals(), name: reals()})
    assert np.array_equal(load(f"{spec}:{name}", FLOAT)[0], reals())


def test_npy_file_holds_the_array_whatever_its_name(tmp_path: Path) -> None:
    np.save(tmp_path / "some.npy", reals())
    assert np.array_equal(load(str(tmp_path / "some.npy"), FLOAT)[0], reals())


def test_folder_with_an_array_named_x(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reals())
    np.save(tmp_path / "y.npy", np.arange(3))
    samples = load_samples(SampleOptions(str(tmp_path)), [FLOAT], "y")
    assert np.array_equal(samples.arrays[0], reals())
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("batch", [False, True])
def test_folder_with_one_sample_per_file_in_order_of_names(tmp_path: Path, batch: bool) -> None:
    for i, sample in enumerate(reals()):
        np.save(tmp_path / f"sample{i}.npy", sample[None] if batch else sample)
    assert np.array_equal(load(str(tmp_path), FLOAT)[0], reals())


def test_several_inputs_are_found_by_name(tmp_path: Path) -> None:
    spec = write(tmp_path, image=np.ones((3, 4, 5), np.int8), **{"a/b;c:0": reals()})
    first, second = load(spec, FLOAT, INT8)
    assert np.array_equal(first, reals())
    assert np.array_equal(second, np.ones((3, 4, 5, 1)))


def test_missing_file() -> None:
    error = refusal("no/such.npz:x", FLOAT)
    assert error.id == "MC010"
    assert "'no/such.npz'" in str(error)


@pytest.mark.parametrize("suffix", ["npz", "npy", "txt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"hello", b"\x93NUMPY\x01\x00"])
def test_file_of_another_format(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"f.{suffix}").write_bytes(content)
    assert refusal(str(tmp_path / f"f.{suffix}"), FLOAT).id == "MC011"


def test_truncated_npz(tmp_path: Path) -> None:
    path = Path(write(tmp_path, x=reals(50)))
    path.write_bytes(path.read_bytes()[:900])
    assert refusal(str(path), FLOAT).id == "MC011"


def test_missing_array_lists_those_that_are_there(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, y=np.arange(3), z=reals()), FLOAT)
    assert error.id == "MC012"
    assert "'a/b;c:0' or 'x'" in error.what
    assert error.why == "it holds: y, z"


def test_empty_folder(tmp_path: Path) -> None:
    assert refusal(str(tmp_path), FLOAT).id == "MC012"


def test_one_named_array_for_several_inputs(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, x=reals()) + ":x", FLOAT, INT8).id == "MC012"


# -- shape, type, contents --------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4, 5, 1), (3, 1, 4, 5, 1), (3, 4, 5), (3, 1, 1, 4, 5)])
def test_axes_of_length_one_may_differ(tmp_path: Path, shape: tuple[int, ...]) -> None:
    spec = write(tmp_path, x=reals().reshape(shape))
    assert np.array_equal(load(spec, FLOAT)[0], reals())


@pytest.mark.parametrize("shape", [(3, 20), (3, 5, 4, 1), (4, 5), (60,), ()])
def test_wrong_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    error = refusal(write(tmp_path, x=np.zeros(shape, np.float32)), FLOAT)
    assert error.id == "MC014"
    assert "(N, 4, 5, 1)" in error.why
    assert str(shape) in error.why


def test_other_layout_is_named(tmp_path: Path) -> None:
    port = Port("x", (1, 3, 8, 8), "float32", "NCHW")
    error = refusal(write(tmp_path, x=np.zeros((2, 8, 8, 3))), port)
    assert "transpose" in error.fix


def test_folder_with_different_shapes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    np.save(tmp_path / "b.npy", np.zeros((4, 6)))
    assert refusal(str(tmp_path), FLOAT).id == "MC014"


def test_empty_array(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, x=reals()[:0]), FLOAT).id == "MC016"


@pytest.mark.parametrize(
    "array",
    [
        np.full((3, 4, 5), "a"),
        np.full((3, 4, 5), 1j),
        np.full((3, 4, 5), None),
        np.zeros((3, 4, 5), "datetime64[s]"),
    ],
    ids=["text", "complex", "objects", "times"],
)
def test_array_without_numbers(tmp_path: Path, array: np.ndarray) -> None:
    assert refusal(write(tmp_path, x=array), FLOAT).id == "MC013"
    np.save(tmp_path / "one.npy", array)
    assert refusal(str(tmp_path / "one.npy"), FLOAT).id == "MC013"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_not_finite(tmp_path: Path, bad: float) -> None:
    x = reals().astype(np.float64)
    x[1, 2, 3] = bad
    error = refusal(write(tmp_path, x=x), FLOAT)
    assert error.id == "MC015"
    assert error.why == "1 numbers in 1 samples, the first in sample 1"
    if bad != 1e300:
        assert refusal(write(tmp_path, x=x), INT8).id == "MC015"


def test_integers_are_good_for_a_float_input(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.uint8).reshape(3, 4, 5, 1)
    (y,) = load(write(tmp_path, x=x), FLOAT)
    assert y.dtype == np.float32
    assert np.array_equal(y, x)


def test_scale_and_offset(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.uint8).reshape(3, 4, 5, 1)
    (y,) = load(write(tmp_path, x=x), FLOAT, scale=2 / 255, offset=-1.0)
    assert np.allclose(y, x.astype(float) * 2 / 255 - 1, atol=1e-7)


def test_whole_floats_are_good_for_an_integer_input(tmp_path: Path) -> None:
    x = np.arange(-30, 30, dtype=np.float64).reshape(3, 4, 5, 1)
    (y,) = load(write(tmp_path, x=x), INT8)
    assert y.dtype == np.int8
    assert np.array_equal(y, x)


def test_fractions_for_an_integer_input(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, x=reals()), INT8).id == "MC013"


def test_fractions_are_rounded_when_the_user_maps_them(tmp_path: Path) -> None:
    (y,) = load(write(tmp_path, x=reals()), INT8, scale=10.0, offset=3.0)
    assert np.array_equal(y, np.rint(reals().astype(np.float64) * 10 + 3))


@pytest.mark.parametrize(
    ("port", "numbers", "offset"), [(INT8, (0, 255), -128), (UINT8, (-128, 127), 128)]
)
def test_integers_of_the_other_sign(
    tmp_path: Path, port: Port, numbers: tuple[int, int], offset: int
) -> None:
    x = np.linspace(*numbers, 60).round().reshape(3, 4, 5, 1)
    spec = write(tmp_path, x=x)
    error = refusal(spec, port)
    assert error.id == "MC017"
    assert f"--data-offset {offset}" in error.fix
    assert np.array_equal(load(spec, port, offset=offset)[0], x + offset)


def test_number_of_samples_differs_between_inputs(tmp_path: Path) -> None:
    spec = write(tmp_path, image=np.ones((2, 4, 5)), **{"a/b;c:0": reals(3)})
    assert refusal(spec, FLOAT, INT8).id == "MC019"


def test_limit_takes_the_first_samples_and_labels(tmp_path: Path) -> None:
    spec = write(tmp_path, x=reals(5), y=np.arange(5)[:, None])
    samples = load_samples(SampleOptions(spec, limit=2), [FLOAT], "y")
    assert samples.count == 2
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "labels", [np.arange(2), np.zeros(3), np.zeros((3, 2), int), np.array(1), np.array(["a"] * 3)]
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray) -> None:
    assert refusal(write(tmp_path, x=reals(3), y=labels), FLOAT, labels="y").id == "MC018"


def test_missing_labels(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, x=reals(3)), FLOAT, labels="y").id == "MC012"
    assert refusal("random", FLOAT, labels="y").id == "MC018"


# -- random and conversions -------------------------------------------------------------------


def test_random_is_reproducible_and_in_the_domain() -> None:
    source = SampleOptions("random", limit=50)
    one, two = (load_samples(source, [FLOAT, INT8]).arrays for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)
    assert one[0].shape == (50, 4, 5, 1)
    assert one[0].dtype == np.float32
    assert -1 <= one[0].min() < -0.9
    assert 0.9 < one[0].max() <= 1
    assert one[1].dtype == np.int8
    assert one[1].min() == -128
    assert one[1].max() == 127


def test_random_within_bounds() -> None:
    (x,) = random_samples([FLOAT], 20, [(5.0, 7.0)]).arrays
    assert 5 <= x.min() < 5.2
    assert 6.8 < x.max() <= 7


def test_int8_of_each_domain_and_back() -> None:
    q = QParams((0.5,), 3)
    real = np.array([[[[0.0], [-1.5], [100.0], [0.24], [62.0]]]], np.float32)
    stored = to_model_int8(real, FLOAT, q)
    assert stored.reshape(-1).tolist() == [3, 0, 127, 3, 127]
    assert from_model_int8(stored, FLOAT, q).reshape(-1).tolist() == [0, -1.5, 62, 0, 62]
    for port, lowest in ((INT8, -128), (UINT8, 0)):
        every = np.arange(lowest, lowest + 256).astype(port.dtype).reshape(-1, 4, 4, 1)
        stored = to_model_int8(every, port, q)
        assert stored.reshape(-1).tolist() == list(range(-128, 128))
        back = from_model_int8(stored, port, q)
        assert back.dtype == port.dtype
        assert np.array_equal(back, every)
        assert np.array_equal(to_real(every, port, q), q.dequantize(stored))


@pytest.mark.parametrize(
    ("c_shape", "c_layout", "model_shape"),
    [
        ((1, 6, 7, 3), "NHWC", (1, 3, 6, 7)),
        ((1, 3, 6, 7), "NCHW", (1, 6, 7, 3)),
        ((1, 7, 3), "NHWC", (1, 3, 7)),
    ],
)
def test_samples_keep_the_layout_of_the_model(
    c_shape: tuple[int, ...], c_layout: str, model_shape: tuple[int, ...]
) -> None:
    old = "NCHW" if c_layout == "NHWC" else "NHWC"
    port = Port("x", c_shape, "float32", c_layout, model_layout=old)
    (x,) = random_samples([port], 2).arrays
    assert port.model_shape == model_shape
    assert x.shape == (2, *model_shape[1:])
    y = to_real(x, port, None)
    assert y.shape == (2, *c_shape[1:])
    moved = np.moveaxis(x, 1, -1) if c_layout == "NHWC" else np.moveaxis(x, -1, 1)
    assert np.array_equal(y, moved)
