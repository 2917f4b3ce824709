"""The original model in onnxruntime, all graph optimizations disabled: what users compare with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnxruntime

from mcucompile.errors import UnsupportedModelError
from mcucompile.ir import Array, Shape
from mcucompile.progress import track


class OnnxSession:
    """Runs an ONNX model sample by sample.

    extra_outputs: names of inner tensors to return after the model's own outputs.
    Raises UnsupportedModelError MC106 if onnxruntime cannot load the model.
    """

    def __init__(self, model: onnx.ModelProto, extra_outputs: Sequence[str] = ()) -> None:
        if extra_outputs:
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            have = {o.name for o in copy.graph.output}
            for name in extra_outputs:
                if name not in have:
                    copy.graph.output.append(onnx.ValueInfoProto(name=name))
            model = copy
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise _cannot_run(error) from error
        self.output_names = [o.name for o in self._session.get_outputs()]
        self._inputs = [(i.name, i.shape) for i in self._session.get_inputs()]

    def samples(self, arrays: Sequence[Array]) -> Iterator[list[Array]]:
        """For each sample the arrays of all outputs.

        arrays: one per input, samples on axis 0. Symbolic dimensions take the size that they have
        there, or 1. Raises UnsupportedModelError MC106 if onnxruntime fails.
        """
        for s in range(len(arrays[0])):
            feed = {
                name: array[s].reshape(_static(shape, array.shape))
                for (name, shape), array in zip(self._inputs, arrays, strict=True)
            }
            try:
                outputs = self._session.run(None, feed)
            except Exception as error:
                raise _cannot_run(error) from error
            yield [np.asarray(a) for a in outputs]

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """All outputs, samples stacked on axis 0."""
        runs = track(self.samples(arrays), "onnxruntime", len(arrays[0]))
        columns = zip(*runs, strict=True)
        return [np.stack([_without_batch(a) for a in column]) for column in columns]


def _without_batch(array: Array) -> Array:
    """`array` without its axis 0, if that is a batch of one; tensors with time first keep it."""
    return array.reshape(array.shape[1:] or (1,)) if array.shape[:1] in ((), (1,)) else array


def _static(shape: Sequence[int | str | None], samples: Shape) -> Shape:
    """The model input `shape` with sizes for its symbolic dimensions."""
    same_rank = len(shape) == len(samples)
    return tuple(
        d if isinstance(d, int) and d > 0 else samples[i] if i > 0 and same_rank else 1
        for i, d in enumerate(shape)
    )


def _cannot_run(error: Exception) -> UnsupportedModelError:
    return UnsupportedModelError(
        "MC106",
        "the model",
        "cannot be run by onnxruntime, which calibration and validation need",
        str(error).strip().splitlines()[0],
        "repair the model, or install a newer onnxruntime",
    )
