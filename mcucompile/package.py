"""Generated sources in the form that another build system takes them in.

Arduino: https://arduino.github.io/arduino-cli/latest/library-specification/
PlatformIO: https://docs.platformio.org/en/latest/manifests/library-json/
Zephyr: https://docs.zephyrproject.org/latest/develop/modules.html
CMSIS-Pack: https://open-cmsis-pack.github.io/Open-CMSIS-Pack-Spec/main/html/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from mcucompile import __version__
from mcucompile.compiler import Compilation
from mcucompile.emit import ctext
from mcucompile.templating import render

PackageKind = Literal["arduino", "platformio", "zephyr", "cmsis-pack"]
PACKAGE_KINDS: tuple[PackageKind, ...] = get_args(PackageKind)

# A reading of ten bits as a number of the model's input, in C.
_READINGS = {
    "int8": "analogRead(A0) / 4 - 128",
    "uint8": "analogRead(A0) / 4",
    "float32": "(float)analogRead(A0) / 1023.0f",
}
_VERSION = "1.0.0"  # of the package; a model has none of its own
_SKETCH = "examples/{name}_demo/{name}_demo.ino"
_TEMPLATES: Mapping[PackageKind, Mapping[str, str]] = {
    "arduino": {"library.properties": "library.properties.j2", _SKETCH: "sketch.ino.j2"},
    "platformio": {"library.json": "library.json.j2"},
    "zephyr": {
        "zephyr/module.yml": "module.yml.j2",
        "zephyr/Kconfig": "Kconfig.j2",
        "zephyr/CMakeLists.txt": "zephyr.cmake.j2",
    },
    "cmsis-pack": {"mcucompile.{name}.pdsc": "pack.pdsc.j2"},
}


def package_files(kind: PackageKind, compilation: Compilation) -> dict[str, str]:
    """{path: text}: the sources of `compilation` in `src`, and what makes them a package."""
    name = compilation.name
    files = {
        f"src/{path}": text for path, text in compilation.files.items() if path != "CMakeLists.txt"
    }
    context = {
        "name": name,
        "NAME": name.upper(),
        "version": _VERSION,
        "mcucompile": __version__,
        "source": ctext.comment(compilation.source),
        "arena": compilation.plan.arena_size,
        "reading": _READINGS[compilation.options.input_type],
        "pushed": compilation.plan.pushed is not None,
        "sources": sorted(files),
    }
    for path, template in _TEMPLATES[kind].items():
        files[path.format(name=name)] = render(f"package/{template}", **context)
    return files
