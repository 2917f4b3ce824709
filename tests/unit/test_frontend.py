"""The frontend: files, shapes, names, ports, constants, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mcucompile.errors import ErrorGroup, UnsupportedModelError, UsageError
from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.layout import set_input_layout
from mcucompile.frontend.names import c_identifier, unique
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir.verify import verify
from mcucompile.passes import run_passes
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support import zoo
from tests.support.models import model_of, save, small_cnn, unsupported_cnn

node = helper.make_node


def assert_same_numbers(model: onnx.ModelProto, **dims: int) -> None:
    """The imported graph computes what onnxruntime computes, on two random samples."""
    graph = import_model(model, "model", dims)
    verify(graph)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(2, *p.shape[1:])).astype(np.float32) for p in graph.input_ports]
    wanted = OnnxSession(model).run(inputs)
    for got, want in zip(run_float(graph, inputs), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


# -- files ------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"MC001: file '.*nothing.onnx' does not exist"):
        load_model(tmp_path / "nothing.onnx")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"MC001: .* cannot be read\n  why: it is a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello world, this is no model", b"\x08\x07", b"PK\x03\x04" + bytes(200)]
)
def test_no_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=r"MC102: .* is not a valid ONNX model"):
        load_model(path)


@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
def test_truncated(tmp_path: Path, percent: int) -> None:
    content = small_cnn().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: len(content) * percent // 100])
    with pytest.raises(UnsupportedModelError, match=r"MC102"):
        load_model(path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    """Cutting at any byte before the operator set, the last field, gives MC102 and nothing else."""
    content = model_of([node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {})
    data = content.SerializeToString()
    path = tmp_path / "model.onnx"
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(UnsupportedModelError, match=r"MC102"):
            load_model(path)


def test_opset_too_old(tmp_path: Path) -> None:
    model = model_of([node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {}, opset=6)
    with pytest.raises(UnsupportedModelError, match=r"MC103.*\n  why: .* opset 6; the oldest"):
        load_model(save(model, tmp_path / "model.onnx"))


def test_opset_too_new(tmp_path: Path) -> None:
    model = model_of([node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {}, opset=9999)
    with pytest.raises(UnsupportedModelError, match=r"MC103.*\n  why: .* opset 9999; the inst"):
        load_model(save(model, tmp_path / "model.onnx"))


def test_checker_message_is_passed_on(tmp_path: Path) -> None:
    model = model_of([node("Relu", ["nobody"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {})
    with pytest.raises(UnsupportedModelError, match=r"MC102.*\n  why: .*nobody"):
        load_model(save(model, tmp_path / "model.onnx"))


def external_model() -> onnx.ModelProto:
    model = model_of(
        [node("Add", ["x", "w"], ["y"])], {"x": (1, 400)}, {"y": (1, 400)}, {"w": np.ones((1, 400))}
    )
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin")
    return model


def test_external_data(tmp_path: Path) -> None:
    onnx.save(external_model(), tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), 1.0)


def test_external_data_missing(tmp_path: Path) -> None:
    onnx.save(external_model(), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UnsupportedModelError, match=r"MC102.*\n  why: its external data"):
        load_model(tmp_path / "model.onnx")


@pytest.mark.parametrize("location", ["../weights.bin", "{0}/weights.bin", "link.bin"])
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    onnx.save(external_model(), folder / "model.onnx")
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location.format(tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"MC102.*\n  why: its external data"):
        load_model(save(model, folder / "model.onnx"))


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    twice = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    model = model_of(
        [node("Twice", ["x"], ["y"], "twice", domain="mine")], {"x": (1, 4)}, {"y": (1, 4)}, {}
    )
    model.functions.append(twice)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    assert_same_numbers(load_model(save(model, tmp_path / "model.onnx")))


# -- shapes -----------------------------------------------------------------------------------


def dynamic_model(shape: tuple[int | str | None, ...]) -> onnx.ModelProto:
    model = model_of([node("Add", ["x", "x"], ["y"], "add")], {"x": (1,)}, {"y": (1,)}, {})
    for info in (model.graph.input[0], model.graph.output[0]):
        info.CopyFrom(helper.make_tensor_value_info(info.name, TensorProto.FLOAT, shape))
    return model


@pytest.mark.parametrize("batch", ["N", None, 0, -1, 1])
def test_open_batch_is_one(batch: int | str | None) -> None:
    assert import_model(dynamic_model((batch, 3, 4))).input_ports[0].shape == (1, 3, 4)


def test_named_dimensions() -> None:
    model = dynamic_model(("N", "time", 4, None))
    with pytest.raises(UnsupportedModelError, match=r"MC104: input 'x' has no static") as error:
        import_model(model)
    assert "the model gives no size for time, x:3" in error.value.why
    assert error.value.fix == "--dim time=SIZE --dim x:3=SIZE"
    graph = import_model(model, dims={"time": 7, "x:3": 2})
    assert graph.input_ports[0].shape == (1, 7, 4, 2)


def test_unknown_dimension() -> None:
    with pytest.raises(UsageError, match=r"MC002: dimension 'tine' is unknown\n.*: N, time"):
        import_model(dynamic_model(("N", "time")), dims={"tine": 7})


def test_bad_size() -> None:
    with pytest.raises(UsageError, match="MC002: dimension 'time' is wrong"):
        import_model(dynamic_model(("N", "time")), dims={"time": 0})


@pytest.mark.parametrize("shape", [(8, 3), (640,), ()])
def test_static_batch_must_be_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedModelError, match=r"MC105: input 'x' .*\n.*batch dimension of 1"):
        import_model(dynamic_model(shape))


def test_integer_input_is_refused() -> None:
    model = dynamic_model((1, 4))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(UnsupportedModelError, match=r"MC105: input 'x' .*\n.*its type is int64"):
        import_model(model)


def constant_output_model(*outputs: str) -> onnx.ModelProto:
    constant = {"c": np.array([[1.0, 2.0, 3.0]])}
    shapes = dict.fromkeys(outputs)
    return model_of([node("Add", ["x", "x"], ["y"])], {"x": (1, 4)}, shapes, constant)


@pytest.mark.parametrize("where", ["input 'x'", "output 'y'"])
def test_ports_of_many_axes_are_refused(where: str) -> None:
    long, short = (1, 2, 1, 2, 1, 2, 3), (1, 24)
    x, y = (long, short) if where.startswith("input") else (short, long)
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    model = model_of([node], {"x": x}, {"y": y}, {"shape": np.array(y)})
    with pytest.raises(UnsupportedModelError, match="it has 7 axes; 6 are possible") as caught:
        import_model(model)
    assert (caught.value.id, caught.value.where) == ("MC105", where)


def test_constant_output() -> None:
    graph = import_model(constant_output_model("c", "y"))
    c, y = run_float(graph, [np.ones((2, 4))])
    np.testing.assert_array_equal(c, [[1.0, 2.0, 3.0]] * 2)
    np.testing.assert_array_equal(y, np.full((2, 4), 2.0))
    assert [op.kind for op in run_passes(graph).ops()] == ["Formula", "Constant"]


def test_nothing_but_constant_outputs_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"MC105: output 'c' .*\n.* no output depends"):
        import_model(constant_output_model("c"))


# -- names ------------------------------------------------------------------------------------


def test_c_identifier() -> None:
    assert c_identifier("a/b;c:0") == "a_b_c_0"
    assert c_identifier("1422") == "n1422"
    assert c_identifier("") == "n"
    assert c_identifier("__x__") == "x"
    assert c_identifier("größe") == "gr_e"
    assert c_identifier("layer;" * 100) == "_".join(["layer"] * 6)
    assert c_identifier("x" * 100) == "x" * 40


def test_unique() -> None:
    assert unique(["a/b", "a:b", "A_b", "a_b_1"]) == ["a_b", "a_b_1", "A_b_2", "a_b_1_1"]


def test_odd_names() -> None:
    """Tensor names of converters, no node names, and the same node name twice."""
    model = model_of(
        [
            node("Add", ["a/b;c:0", "a/b;c:0"], ["a/b;c:1"], "same"),
            node("Add", ["a/b;c:1", "a.b.c.0"], ["7"], "same"),
            node("Add", ["7", "7"], ["a b c"]),
        ],
        {"a/b;c:0": (1, 4), "a.b.c.0": (1, 4)},
        {"a b c": (1, 4)},
        {},
    )
    graph = import_model(model)
    verify(graph)
    assert [p.name for p in graph.input_ports] == ["a/b;c:0", "a.b.c.0"]
    assert graph.inputs == ("a_b_c_0", "a_b_c_0_1")
    assert [op.origin for op in graph.ops()] == [("same",), ("same",), ("a b c",)]
    assert graph.value(graph.outputs[0]).onnx_name == "a b c"
    x = np.ones((1, 4))
    np.testing.assert_array_equal(run_float(graph, [x, 3 * x])[0], 2 * (2 * x + 3 * x))


# -- constants --------------------------------------------------------------------------------


def test_shape_arithmetic_is_folded() -> None:
    """Shape -> Gather -> Concat -> Reshape, as PyTorch writes `x.view(x.size(0), -1)`."""
    model = model_of(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Unsqueeze", ["n", "axis"], ["n1"]),
            node("Concat", ["n1", "rest"], ["wish"], axis=0),
            node("Reshape", ["x", "wish"], ["y"]),
        ],
        {"x": (1, 3, 4)},
        {"y": (1, 12)},
        {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])},
    )
    graph = import_model(model)
    assert [op.kind for op in graph.ops()] == ["Reshape"]
    assert not any(v.is_constant for v in graph.values())
    assert_same_numbers(model)


def test_shape_arithmetic_with_given_dimensions() -> None:
    """Positions and masks of a sequence whose length the command line says."""
    model = model_of(
        [
            node("Shape", ["x"], ["s"]),
            node("Size", ["x"], ["size"]),
            node("Gather", ["s", "one"], ["time"]),
            node("Range", ["zero", "time", "one"], ["positions"]),
            node("Cast", ["positions"], ["p"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["p", "last"], ["column"]),
            node("Add", ["x", "column"], ["a"]),
            node("ConstantOfShape", ["s"], ["zeros"]),
            node("Concat", ["a", "zeros"], ["b"], axis=2),
            node("Div", ["size", "time"], ["width"]),
            node("Mul", ["width", "two"], ["double"]),
            node("Unsqueeze", ["double", "last"], ["d"]),
            node("Concat", ["minus", "d"], ["wish"], axis=0),
            node("Reshape", ["b", "wish"], ["c"]),
            node("Unsqueeze", ["c", "first"], ["y"]),
        ],
        {"x": ("N", "T", 4)},  # type: ignore[dict-item]
        {"y": None},  # type: ignore[dict-item]
        {
            "zero": np.array(0),
            "one": np.array(1),
            "two": np.array(2),
            "last": np.array([-1]),
            "first": np.array([0]),
            "minus": np.array([-1]),
        },
    )
    graph = import_model(model, dims={"T": 5})
    assert graph.output_ports[0].shape == (1, 5, 8)
    x = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    (want,) = OnnxSession(model).run([x])
    np.testing.assert_allclose(run_float(graph, [x])[0].reshape(want.shape), want, rtol=1e-6)


def test_old_opset_attributes_are_folded() -> None:
    """Unsqueeze before opset 13 has its axes as attribute."""
    model = model_of(
        [
            node("Unsqueeze", ["c"], ["c4"], axes=[0, 2]),
            node("Add", ["x", "c4"], ["y"]),
        ],
        {"x": (1, 3, 4)},
        {"y": (1, 3, 4)},
        {"c": np.array([1.0, 2.0, 3.0])},
        opset=11,
    )
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), "c"))
    model.graph.node[0].attribute[0].ints[:] = [0, 2]
    assert_same_numbers(model)


def test_constant_nodes() -> None:
    model = model_of(
        [
            node("Constant", [], ["c"], value_float=2.0),
            node("Constant", [], ["wish"], value_ints=[1, 2, 2]),
            node("Add", ["x", "c"], ["z"]),
            node("Reshape", ["z", "wish"], ["y"]),
        ],
        {"x": (1, 4)},
        {"y": (1, 2, 2)},
        {},
    )
    assert_same_numbers(model)


def test_initializers_that_are_also_inputs() -> None:
    """Before IR version 4 every initializer was an input as well."""
    model = model_of(
        [node("Add", ["x", "w"], ["y"])],
        {"x": (1, 4), "w": (1, 4)},
        {"y": (1, 4)},
        {"w": np.arange(4.0).reshape(1, 4)},
    )
    graph = import_model(model)
    assert len(graph.inputs) == len(graph.input_ports) == 1
    assert graph.value("w").is_constant


def test_half_precision_constants_become_float32() -> None:
    model = model_of([node("Add", ["x", "w"], ["y"])], {"x": (1, 2)}, {"y": (1, 2)}, {})
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float16), "w"))
    assert import_model(model).value("w").dtype == "float32"


# -- nodes that stand for others ----------------------------------------------------------------


def if_node(condition: str, x: str, y: str, factor: float) -> onnx.NodeProto:
    """y = factor * x if `condition`, else x / factor; its tensors are always called the same."""
    result = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    constant = numpy_helper.from_array(np.array([factor], np.float32), "factor")
    branches = {
        name: helper.make_graph(
            [node(op, [x, "factor"], ["inner"])], name, [], [result], [constant]
        )
        for name, op in [("then_branch", "Mul"), ("else_branch", "Div")]
    }
    return node("If", [condition], [y], f"if_{y}", **branches)


def test_branches_that_are_known() -> None:
    """`if x.shape[1] > 3`, as PyTorch's tracer leaves it."""
    model = model_of(
        [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "one"], ["channels"]),
            node("Greater", ["channels", "three"], ["yes"]),
            node("Not", ["yes"], ["no"]),
            if_node("yes", "x", "a", 3.0),
            if_node("no", "a", "y", 5.0),
        ],
        {"x": (1, 4)},
        {"y": (1, 4)},
        {"one": np.array(1), "three": np.array(3)},
    )
    assert_same_numbers(model)
    assert [op.origin for op in import_model(model).ops()] == [("if_a",), ("if_y",)]


def test_branch_that_is_not_known() -> None:
    model = model_of([if_node("c", "x", "y", 3.0)], {"x": (1, 4), "c": (1,)}, {"y": (1, 4)}, {})
    with pytest.raises(UnsupportedModelError, match=r"MC101: node 'if_y' \(If\)"):
        import_model(model)


def test_operators_that_onnx_defines_by_functions() -> None:
    model = model_of(
        [
            node("CenterCropPad", ["x", "size"], ["a"], "crop", axes=[1, 2]),
            node("CenterCropPad", ["a", "other"], ["y"], "pad", axes=[1, 2]),
        ],
        {"x": (1, 6, 5)},
        {"y": (1, 7, 2)},
        {"size": np.array([3, 8]), "other": np.array([7, 2])},
        opset=18,
    )
    assert_same_numbers(model)
    assert {op.origin for op in import_model(model).ops()} == {("crop",), ("pad",)}


def test_outputs_that_nobody_reads() -> None:
    model = model_of([node("Dropout", ["x"], ["y", "mask"])], {"x": (1, 4)}, {"y": (1, 4)}, {})
    assert_same_numbers(model)


# -- refusals ---------------------------------------------------------------------------------


def test_all_refused_nodes_are_reported() -> None:
    with pytest.raises(ErrorGroup) as error:
        import_model(unsupported_cnn())
    named = [e.where for e in error.value.errors]
    assert named[0] == "node 'first/Det' (Det)"
    assert named[-2:] == ["node 'second/NonZero' (NonZero)", "node 'third/Bernoulli' (Bernoulli)"]
    assert all("mcucompile ops" in e.fix for e in (error.value.errors[0], error.value.errors[-1]))
    assert error.value.code == 3


def test_unknown_operators_are_reported_by_the_import(tmp_path: Path) -> None:
    """Not by the ONNX checker, which would stop at the first of them."""
    model = model_of(
        [node("Fancy", ["x"], ["a"], "one"), node("Fancier", ["a"], ["y"], "two")],
        {"x": (1, 4)},
        {"y": (1, 4)},
        {},
    )
    with pytest.raises(ErrorGroup) as error:
        import_model(load_model(save(model, tmp_path / "model.onnx")))
    assert [e.where for e in error.value.errors] == ["node 'one' (Fancy)", "node 'two' (Fancier)"]


def test_the_walk_goes_on_after_a_refused_node() -> None:
    """Nodes behind a refused one are imported if its shape is known; else only their operators
    are looked at. Neither causes errors of its own."""
    model = model_of(
        [
            node("Det", ["x"], ["d"], "det"),  # shape known
            node("Add", ["d", "d"], ["e"], "add"),
            node("NonZero", ["x"], ["n"], "nonzero"),  # shape unknown
            node("Transpose", ["n"], ["t"], "transpose"),
            node("Unique", ["t"], ["y"], "last"),
        ],
        {"x": (1, 4, 4)},
        {"e": (1,), "y": (1,)},
        {},
    )
    with pytest.raises(ErrorGroup) as error:
        import_model(model)
    assert [e.where.split("'")[1] for e in error.value.errors] == ["det", "nonzero", "last"]


def test_custom_domain() -> None:
    model = model_of(
        [node("Relu", ["x"], ["y"], "n", domain="com.acme")], {"x": (1, 4)}, {"y": (1, 4)}, {}
    )
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    with pytest.raises(UnsupportedModelError, match=r"MC101: node 'n' \(com.acme Relu\)"):
        import_model(model)


def test_shape_errors_are_refusals() -> None:
    model = model_of(
        [node("Add", ["x", "z"], ["y"], "n")], {"x": (1, 4), "z": (1, 3)}, {"y": ()}, {}
    )
    with pytest.raises(UnsupportedModelError, match=r"MC101: node 'n' \(Add\)"):
        import_model(model)


@zoo.needs_zoo
def test_svm_classifier() -> None:
    with pytest.raises(UnsupportedModelError) as error:
        import_model(load_model(zoo.model("unsupported_st_har_svc")))
    assert str(error.value).startswith("error MC101: node 'SVMc' (ai.onnx.ml SVMClassifier)")


# -- ports ------------------------------------------------------------------------------------


def transposed_model(perm: list[int], shape: tuple[int, ...]) -> onnx.ModelProto:
    out = tuple(shape[p] for p in perm)
    return model_of(
        [node("Add", ["x", "x"], ["a"]), node("Transpose", ["a"], ["y"], perm=perm)],
        {"x": shape},
        {"y": out},
        {},
    )


@pytest.mark.parametrize(
    ("perm", "shape", "layout"),
    [
        ([0, 2, 3, 1], (1, 3, 4, 5), "NCHW"),
        ([0, 3, 1, 2], (1, 4, 5, 3), "NHWC"),
        ([0, 1], (1, 4), ""),
    ],
)
def test_input_layout(perm: list[int], shape: tuple[int, ...], layout: str) -> None:
    graph = import_model(transposed_model(perm, shape))
    assert graph.input_ports[0].layout == layout
    assert graph.input_ports[0].shape == shape


def test_output_layout() -> None:
    graph = import_model(transposed_model([0, 3, 1, 2], (1, 4, 5, 3)))
    assert graph.output_ports[0].layout == "NCHW"


def test_identity_model_has_an_operator() -> None:
    """An output is never an input, nor twice the same value: each needs bytes of its own name."""
    model = model_of(
        [node("Identity", ["x"], ["y"]), node("Identity", ["x"], ["z"])],
        {"x": (1, 4)},
        {"y": (1, 4), "z": (1, 4)},
        {},
    )
    assert_same_numbers(model)


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("own", ["NHWC", "NCHW"])
def test_set_input_layout(own: str, layout: str) -> None:
    """The numbers stay; the input is permuted if the layout is another one."""
    perm, shape = ([0, 2, 3, 1], (1, 3, 4, 5)) if own == "NCHW" else ([0, 3, 1, 2], (1, 4, 5, 3))
    graph = import_model(transposed_model(perm, shape))
    changed = set_input_layout(graph, layout)  # type: ignore[arg-type]
    verify(changed)
    assert changed.input_ports[0].layout == layout.upper()
    assert changed.input_ports[0].model_shape == shape
    assert changed.inputs == graph.inputs
    assert graph.input_ports[0].layout == own
    x = np.random.default_rng(0).normal(size=(2, *shape[1:])).astype(np.float32)
    given = x if layout.upper() == own else x.transpose(perm)
    np.testing.assert_array_equal(run_float(changed, [given])[0], run_float(graph, [x])[0])


def test_set_input_layout_without_images() -> None:
    graph = import_model(transposed_model([0, 1], (1, 4)))
    assert set_input_layout(graph, "") is graph
    with pytest.raises(UsageError, match=r"MC003: --input-layout nhwc does not apply"):
        set_input_layout(graph, "nhwc")
