"""The command line of the benchmark; see the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bench import budgets, costs
from bench.cost_check import case_errors, check_models, model_errors
from bench.figures import BOARDS, Figures
from bench.layers import LAYERS, Layer
from bench.models import MODELS, Model
from bench.placement import placed_models, placement_table
from bench.table import layer_table, model_table
from mcucompile.errors import McuCompileError


@click.command(help="Instructions, cycles and bytes of layers and models, under QEMU.")
@click.argument("names", nargs=-1)
@click.option("--core", "cores", multiple=True, type=click.Choice(list(BOARDS)))
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write them there, too.")
@click.option("--update-budgets", is_flag=True, help="Measure the models and keep the figures.")
@click.option(
    "--fit-costs",
    is_flag=True,
    help="Fit the estimate of instructions to all kernels, or to those of the headers NAMES.",
)
@click.option("--check-costs", is_flag=True, help="Compare it with profiles of models.")
@click.option("--placement", is_flag=True, help="Arenas, their bounds, and how long plans take.")
def main(
    names: tuple[str, ...],
    cores: tuple[str, ...],
    json_file: Path | None,
    update_budgets: bool,
    fit_costs: bool,
    check_costs: bool,
    placement: bool,
) -> None:
    if update_budgets:
        budgets.save(figures for _, figures in _models(names, budgets.CORE))
    if fit_costs:
        click.echo(case_errors(costs.refit(_progress, names)))
    if check_costs:
        for core in cores or (costs.CORE,):
            click.echo(model_errors(check_models(names, core, _progress)))
    if placement:
        click.echo(placement_table(list(placed_models(names))))
    if not (update_budgets or fit_costs or check_costs or placement):
        _compare(names, cores, json_file)


def _compare(names: Sequence[str], cores: Sequence[str], json_file: Path | None) -> None:
    """Layers and models against their goals."""
    content: dict[str, list[dict[str, object]]] = {"layers": [], "models": []}
    for core in cores or tuple(BOARDS):
        layers, models = list(_layers(names, core)), list(_models(names, core))
        content["layers"] += [f.as_json() | {"reached": 1000 * x.reached} for x, f in layers]
        content["models"] += [f.as_json() | _goals(model) for model, f in models]
        if layers:
            click.echo(f"\nLayers on {core} ({BOARDS[core]})\n\n{layer_table(layers)}")
        if models:
            click.echo(f"\nModels on {core} ({BOARDS[core]})\n\n{model_table(models)}")
    if json_file:
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _layers(names: Sequence[str], core: str) -> Iterator[tuple[Layer, Figures]]:
    for layer in LAYERS:
        if _is_wanted(layer.name, names):
            _progress(f"{core}: {layer.name}")
            yield layer, layer.figures(core)


def _models(names: Sequence[str], core: str) -> Iterator[tuple[Model, Figures]]:
    for model in MODELS:
        if not _is_wanted(model.name, names):
            continue
        if not model.is_there:
            _progress(f"{core}: {model.name} is left out: no {model.file}")
            continue
        _progress(f"{core}: {model.name}")
        try:
            yield model, model.figures(core)
        except McuCompileError as error:
            _progress(str(error))


def _is_wanted(name: str, names: Sequence[str]) -> bool:
    return not names or any(part in name for part in names)


def _goals(model: Model) -> dict[str, object]:
    return {"goal": {kind: getattr(model, kind) for kind in budgets.KINDS}}


def _progress(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main(prog_name="python -m bench")
