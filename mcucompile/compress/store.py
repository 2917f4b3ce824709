"""What --weights asks for: the forms of all layers, and the graph that has these weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from mcucompile.compress.choose import Choice
from mcucompile.compress.forms import Form, LayerForms, layer_forms
from mcucompile.compress.palettes import SIZES, Kind
from mcucompile.compress.requantize import Few, with_few_values
from mcucompile.errors import UsageError
from mcucompile.ir import Graph
from mcucompile.options import CompileOptions, WeightForm
from mcucompile.plan.program import Packing
from mcucompile.quant.post_training import Quantized
from mcucompile.quant.samples import Samples, is_random, load_samples, random_samples

AUTO_KINDS: tuple[Kind, ...] = ("palette16", "palette8", "palette4", "palette2")
LEAST_WEIGHTS = 512  # of a layer that a form for all layers changes
# A Huffman code is decoded once in a run of a layer; so many uses of a weight are worth it.
LEAST_USES = 48
RANDOM_SAMPLES = 8

UNKNOWN_LOSS = (
    "weights were given few values without calibration data: what that costs accuracy is unknown; "
    "give real samples with --calib"
)


@dataclass(frozen=True)
class Stored:
    """A quantized model with the forms of its weights.

    forms: of layers that are not int8, by the name of the weights. packing: for `Target.packed`.
    """

    quantized: Quantized
    forms: Mapping[str, Form] = field(default_factory=dict)
    packing: Mapping[str, Packing] = field(default_factory=dict)


class Store:
    """Stores the weights of `quantized` as `options.weights` says.

    pruned: makes its graph without channels that nobody needs. Raises UsageError MC047 if a layer
    that is named does not exist or cannot be packed, MC048 if rounding is to be TFLite's.
    """

    def __init__(
        self, quantized: Quantized, pruned: Callable[[], Graph], options: CompileOptions
    ) -> None:
        self.quantized, self.options, self._pruned = quantized, options, pruned
        self._named = {name: wish for name, wish in options.weights.items() if name}
        self._common: WeightForm | Literal["auto"] = options.weights.get("", "int8")
        lossy = any(w in ("auto", *SIZES) for w in options.weights.values())
        if lossy and options.requant == "tflite":
            raise UsageError(
                "MC048",
                "--weights",
                "does not go with --requant tflite",
                "weights that change do not give TFLite's results",
                "leave one of them out, or take --weights huffman",
            )

    @property
    def is_auto(self) -> bool:
        return self._common == "auto"

    @cached_property
    def layers(self) -> list[LayerForms]:
        """The forms between which `auto` chooses; those that are named have no choice."""
        wanted = AUTO_KINDS if self.is_auto else ()
        others = {w for w in (self._common, *self._named.values()) if w in SIZES}
        kinds = tuple(k for k in SIZES if k in wanted or k in others)
        found = layer_forms(self.quantized, self._pruned(), kinds, *self._samples)
        self._check_names(found)
        return [self._allowed(layer) for layer in found]

    @cached_property
    def _samples(self) -> tuple[Samples, bool]:
        """Calibration samples, or random ones, which are not real."""
        ports, given = self.quantized.graph.input_ports, self.options.calibration
        if given is None or is_random(given):
            return random_samples(ports, RANDOM_SAMPLES), False
        return load_samples(given, ports), True

    def _allowed(self, layer: LayerForms) -> LayerForms:
        """`layer` with the form that was asked for, or those that `auto` has."""
        names = [name for name in (*layer.origin, layer.op) if name in self._named]
        wish = self._named[names[0]] if names else self._common
        if wish == "auto":
            few = {"int8", *AUTO_KINDS, *(["huffman"] if layer.uses >= LEAST_USES else [])}
            return replace(layer, forms=tuple(f for f in layer.forms if f.name in few))
        is_small = not names and layer.forms[0].size < LEAST_WEIGHTS
        form = layer.forms[0] if is_small else layer.form(wish)
        return replace(layer, forms=(form,))

    def _check_names(self, layers: list[LayerForms]) -> None:
        known = {name for layer in layers for name in (*layer.origin, layer.op)}
        unknown = [name for name in self._named if name not in known]
        if unknown:
            names = ", ".join(f"'{layer.origin[0]}'" for layer in layers if layer.origin)
            raise UsageError(
                "MC047",
                f"--weights {unknown[0]}={self._named[unknown[0]]}",
                "names no layer whose weights can be packed",
                f"these can: {names}" if names else "the model has none",
                "give the name of one of their ONNX nodes",
            )

    def fixed(self) -> dict[str, Form]:
        """The forms that were asked for, without a choice; int8 where there is one."""
        if not self._named and self._common in ("int8", "auto"):
            return {}
        return {
            layer.op: layer.forms[0]
            for layer in self.layers
            if len(layer.forms) == 1 and layer.forms[0].name != "int8"
        }

    def stored(self, choice: Choice) -> Stored:
        """The model with the weights that `choice` says, by operator."""
        choice = {**self.fixed(), **choice}
        packing: dict[str, Packing] = {"": "palette"} if self.is_auto else {}
        if not choice:
            return Stored(self.quantized, {}, packing)
        weights = {layer.op: layer.weights for layer in self.layers}
        for op, form in choice.items():
            packing[weights[op]] = "huffman" if form.name == "huffman" else "palette"
        zero = {layer.op: layer.zero for layer in self.layers}
        kinds = {op: Few(k, zero[op]) for op, f in choice.items() for k in SIZES if k == f.name}
        samples, real = self._samples
        q = self.quantized
        graph = with_few_values(
            q.original,
            q.graph,
            kinds,
            samples if real else None,
            q.source == "samples" and self.options.bias_correction,
        )
        losses = q.losses if real or not kinds else (*q.losses, UNKNOWN_LOSS)
        forms = {weights[op]: form for op, form in choice.items()}
        return Stored(replace(q, graph=graph, losses=losses), forms, packing)
