"""mcucompile: an ahead-of-time compiler from ONNX models to plain C for microcontrollers."""

__version__ = "0.1.0"

from mcucompile.api import Estimate, Result, compile, estimate

__all__ = ["Estimate", "Result", "__version__", "compile", "estimate"]
