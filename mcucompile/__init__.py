"""mcucompile: an ahead-of-time compiler from ONNX models to plain C for microcontrollers."""

__version__ = "0.1.0"
