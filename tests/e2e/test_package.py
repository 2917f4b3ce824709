"""Packages for other build systems: what their documents ask for, and no compiler's warning."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mcucompile.board import load_board
from mcucompile.compiler import Compilation, compile_model, write_files
from mcucompile.emit.constants import weight_bytes
from mcucompile.emulate.build import section_sizes
from mcucompile.ir import Element
from mcucompile.options import CompileOptions
from mcucompile.package import PACKAGE_KINDS, PackageKind, package_files
from tests.support import models
from tests.support.tools import needs
from tests.support.zoo import ROOT

WARNINGS = "-Wall -Wextra -Wconversion -Wshadow -pedantic -Werror".split()
SEMVER = r"\d+\.\d+\.\d+"

# What CMSIS, newlib and Arduino define as macros.
CLASHES = "".join(
    f"#define {macro}\n"
    for macro in (
        "A0 14", "A1 15", "B1 1", "F(x) (x)", "PI 3.14159", "abs(x) ((x) > 0 ? (x) : -(x))",
        "min(a, b) ((a) < (b) ? (a) : (b))", "max(a, b) ((a) > (b) ? (a) : (b))", "HIGH 1", "LOW 0",
        "INPUT 0", "OUTPUT 1", "bit(b) (1 << (b))", "round(x) (x)", "N 1", "Q 2", "C 3", "I 4",
        "_N 5", "__IO volatile", "__I const", "ROWS 3", "SIZE 4",
    )
)  # fmt: skip


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.fixture(scope="module")
def compilation(tmp_path_factory: pytest.TempPathFactory) -> Compilation:
    model = models.save(models.small_cnn(), tmp_path_factory.mktemp("package") / "my_net.onnx")
    return compile_model(model, CompileOptions(board="nano33ble"))


@pytest.fixture(scope="module")
def packages(
    compilation: Compilation, tmp_path_factory: pytest.TempPathFactory
) -> dict[PackageKind, Path]:
    folders = {kind: tmp_path_factory.mktemp(kind) / "my_net" for kind in PACKAGE_KINDS}
    for kind, folder in folders.items():
        write_files(package_files(kind, compilation), folder)
    return folders


COMPILERS = [
    *("gcc -std=c99", "gcc -std=c11", "clang -std=c99", "clang -std=c11"),
    *(f"arm-none-eabi-gcc -std=c99 {' '.join(load_board(b).cflags)}" for b in (
        "nano33ble", "stm32f746")),
]  # fmt: skip


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("kind", PACKAGE_KINDS)
def test_sources_compile_without_a_warning(
    kind: PackageKind, compiler: str, packages: dict[PackageKind, Path], tmp_path: Path
) -> None:
    command = compiler.split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    sources = sorted((packages[kind] / "src").glob("*.c"))
    assert [s.name for s in sources] == ["my_net.c", "my_net_weights.c"]
    run(*command, *WARNINGS, "-O2", "-c", *sources, cwd=tmp_path)


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("language", ["c99", "c11", "c++11", "c++17"])
def test_header_stands_the_macros_of_other_headers(
    language: str, compiler: str, packages: dict[PackageKind, Path], tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    source = tmp_path / ("use.cpp" if "++" in language else "use.c")
    source.write_text(f'{CLASHES}#include "my_net.h"\nextern my_net_context one;\n')
    include = packages["arduino"] / "src"
    run(compiler, f"-std={language}", *WARNINGS, "-fsyntax-only", f"-I{include}", source,
        cwd=tmp_path)  # fmt: skip


def test_arduino_library(packages: dict[PackageKind, Path]) -> None:
    """The fields and folders of the library specification, format 1.5."""
    folder = packages["arduino"]
    lines = (folder / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    required = "name version author maintainer sentence paragraph category url architectures"
    assert set(required.split()) <= fields.keys()
    assert all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][\w .-]{0,62}", fields["name"])
    assert re.fullmatch(SEMVER, fields["version"])
    categories = ("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control",
                  "Timing", "Data Storage", "Data Processing", "Other")  # fmt: skip
    assert fields["category"] in categories
    assert fields["architectures"] in ("*", "mbed_nano")
    assert (folder / "src" / fields["includes"]).is_file()
    for sketch in folder.glob("examples/*/*.ino"):
        assert sketch.stem == sketch.parent.name


@needs("g++")
@pytest.mark.parametrize(
    ("element", "stream"), [("int8", False), ("uint8", False), ("float32", False), ("int8", True)]
)
def test_arduino_sketch_compiles(element: Element, stream: bool, tmp_path: Path) -> None:
    """As the IDE does it: as C++ after Arduino.h, of which there is only what the sketch uses."""
    model = models.save(models.small_cnn(), tmp_path / "my_net.onnx")
    options = CompileOptions(
        board="nano33ble", input_type=element, output_type=element, stream_input=stream
    )
    write_files(package_files("arduino", compile_model(model, options)), tmp_path / "library")
    (tmp_path / "Arduino.h").write_text(
        f"{CLASHES}#include <stdint.h>\n"
        "int analogRead(int pin);\nunsigned long micros();\nvoid delay(unsigned long ms);\n"
        "struct Port { void begin(long); void print(float); void print(unsigned long);\n"
        "void print(char); void println(const char *); };\nextern Port Serial;\n"
    )
    (sketch,) = tmp_path.glob("library/examples/*/*.ino")
    run("g++", "-std=c++11", *WARNINGS, "-fsyntax-only", "-I.", "-Ilibrary/src",
        "-include", "Arduino.h", "-x", "c++", sketch, cwd=tmp_path)  # fmt: skip


def test_platformio_library(packages: dict[PackageKind, Path]) -> None:
    """The fields of the library.json manifest and their types."""
    manifest = json.loads((packages["platformio"] / "library.json").read_text())
    fields = {"name": str, "version": str, "description": str, "keywords": list, "frameworks": str,
              "platforms": str, "headers": str, "build": dict}  # fmt: skip
    assert {key: type(value) for key, value in manifest.items()} == fields
    assert re.fullmatch(r"[\w .-]{1,100}", manifest["name"])
    assert re.fullmatch(SEMVER, manifest["version"])
    assert manifest["build"].keys() <= {"flags", "srcDir", "includeDir", "srcFilter", "libArchive"}
    assert (packages["platformio"] / "src" / manifest["headers"]).is_file()
    assert (packages["platformio"] / manifest["build"]["srcDir"]).is_dir()


def test_zephyr_module(packages: dict[PackageKind, Path]) -> None:
    folder = packages["zephyr"]
    module = (folder / "zephyr" / "module.yml").read_text()
    content = "\n".join(line for line in module.splitlines() if not line.startswith("#"))
    assert content == "name: my_net\nbuild:\n  cmake: zephyr\n  kconfig: zephyr/Kconfig"
    kconfig = (folder / "zephyr" / "Kconfig").read_text().splitlines()
    assert re.fullmatch(r"config [A-Z][A-Z0-9_]*", kconfig[0])
    assert re.fullmatch(r'\tbool "[^"]+"', kconfig[1])
    assert kconfig[2] == "\thelp"
    assert all(line.startswith("\t  ") for line in kconfig[3:])


@needs("cmake")
@pytest.mark.parametrize("configured", [True, False])
def test_zephyr_module_builds(
    configured: bool, packages: dict[PackageKind, Path], tmp_path: Path
) -> None:
    """With the four functions of Zephyr that it calls, by their documentation."""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(zephyr C)\n"
        "macro(zephyr_library_named name)\n  set(lib ${name})\n  add_library(${name} STATIC)\n"
        "endmacro()\n"
        "macro(zephyr_library_sources)\n  target_sources(${lib} PRIVATE ${ARGN})\nendmacro()\n"
        "macro(zephyr_library_compile_options)\n  target_compile_options(${lib} PRIVATE ${ARGN})\n"
        "endmacro()\n"
        "macro(zephyr_include_directories)\n  include_directories(${ARGN})\nendmacro()\n"
        f"set(CONFIG_MY_NET {'y' if configured else ''})\n"
        f"add_subdirectory({packages['zephyr']}/zephyr module)\n"
    )
    run("cmake", "-S", ".", "-B", "build", cwd=tmp_path)
    run("cmake", "--build", "build", cwd=tmp_path)
    assert bool(list(tmp_path.rglob("libmy_net.a"))) == configured


def test_cmsis_pack(packages: dict[PackageKind, Path]) -> None:
    """The required elements of a pack description, in order; every file is there."""
    folder = packages["cmsis-pack"]
    (pdsc,) = folder.glob("*.pdsc")
    package = ET.fromstring(pdsc.read_text())
    order = [child.tag for child in package]
    assert order == ["vendor", "name", "description", "url", "releases", "conditions", "components"]
    assert pdsc.name == f"{package.findtext('vendor')}.{package.findtext('name')}.pdsc"
    (release,) = package.findall("releases/release")
    assert re.fullmatch(SEMVER, release.get("version", ""))
    (component,) = package.findall("components/component")
    assert {"Cclass", "Cgroup", "Cversion", "condition"} <= set(component.keys())
    assert component.get("condition") == package.find("conditions/condition").get("id")  # type: ignore[union-attr]
    files = [f.get("name", "") for f in component.findall("files/file")]
    assert all((folder / f).exists() for f in files)
    written = {str(p.relative_to(folder)) for p in (folder / "src").rglob("*.[ch]")}
    assert written == {f for f in files if not f.endswith("/")}


@needs("arm-none-eabi-gcc")
def test_weights_go_into_the_section_that_is_asked_for(
    compilation: Compilation, packages: dict[PackageKind, Path], tmp_path: Path
) -> None:
    source = packages["platformio"] / "src" / "my_net_weights.c"
    run("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", *WARNINGS, "-c", source,
        '-DMY_NET_WEIGHTS_SECTION=".qspi"', cwd=tmp_path)  # fmt: skip
    sizes = section_sizes(tmp_path / "my_net_weights.o")
    weights = sum(weight_bytes(compilation.plan))
    assert sizes[".qspi"] == weights > 0
    assert not {name for name in sizes if name.startswith(".rodata") and sizes[name]}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("standard", ["c99", "c11"])
def test_every_kernel_compiles_without_a_warning(
    standard: str, compiler: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    include = ROOT / "runtime_c" / "include"
    headers = sorted(p.relative_to(include) for p in include.glob("mcuc/*.h"))
    source = tmp_path / "all.c"
    source.write_text("".join(f'#include "{h}"\n' for h in headers))
    run(compiler, f"-std={standard}", *WARNINGS, "-O1", "-c", f"-I{include}", source, cwd=tmp_path)
