"""ONNX's own backend tests of single operators, run through the compiler.

`python -m tests.conformance` runs them all and writes docs/operators.md.
"""
