"""A quantized graph as QDQ ONNX, for other tools; each operator's form stands in its own file."""

from mcucompile.export.model import qdq_model

__all__ = ["qdq_model"]
