"""Nodes that are refused, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper

from mcucompile.errors import ErrorGroup, UnsupportedModelError
from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.onnx_model import load_model
from tests.support import zoo
from tests.support.imports import node
from tests.support.models import model_of, save, unsupported_cnn


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
