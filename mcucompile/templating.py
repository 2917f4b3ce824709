"""The one Jinja2 environment: strict, and with the spacing the templates are written for."""

from __future__ import annotations

import functools

import jinja2

from mcucompile import resources


@functools.cache
def environment() -> jinja2.Environment:
    """Loads from the templates folder; an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_dir()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, **context: object) -> str:
    """The text of `template` with the names in `context`."""
    return environment().get_template(template).render(context)
