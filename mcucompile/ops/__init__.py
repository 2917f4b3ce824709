"""The operators: one file per family, holding import, shape rule, float and integer reference,
quantization rule, kernel choice, packing and scratch need.

Importing this package imports every family, so that a new file is all a new operator takes.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
