"""The passes on the float graph, a file each, and their order; and one on the quantized graph.

A pass is a plain function Graph -> Graph, which leaves its argument alone. Its docstring is the
rule `before => after` and the reason for it. Passes keep the numbers of the model's outputs up to
float rounding, and exactly what is known of them: names, quantization parameters, and the integers
of pre-quantized constants where they only move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mcucompile.ir import Graph
from mcucompile.ir.verify import Stage
from mcucompile.ir.verify import verify as verify_graph
from mcucompile.passes.fold_affine import fold_affine
from mcucompile.passes.fold_constants import fold_constants
from mcucompile.passes.fuse_clamps import fuse_clamps
from mcucompile.passes.fuse_pads import fuse_pads
from mcucompile.passes.fuse_tables import fuse_tables
from mcucompile.passes.hoist_affine import hoist_affine
from mcucompile.passes.hoist_transposes import hoist_transposes
from mcucompile.passes.join_transposes import join_transposes
from mcucompile.passes.lead_with_batch import lead_with_batch
from mcucompile.passes.lower_affine import lower_affine
from mcucompile.passes.merge_duplicates import merge_duplicates
from mcucompile.passes.merge_linear import merge_linear
from mcucompile.passes.merge_moves import merge_moves
from mcucompile.passes.permute_dense import permute_dense
from mcucompile.passes.recognize_binary import recognize_binary
from mcucompile.passes.recognize_normalization import recognize_normalization
from mcucompile.passes.recognize_signs import recognize_signs
from mcucompile.passes.remove_dead import remove_dead
from mcucompile.passes.remove_identities import remove_identities
from mcucompile.passes.require_batch import require_batch
from mcucompile.passes.simplify_views import simplify_views
from mcucompile.passes.sink_transposes import sink_transposes
from mcucompile.passes.trim_recurrent import trim_recurrent

__all__ = ["FLOAT_PASSES", "Pass", "run_passes"]

Pass = Callable[[Graph], Graph]

FLOAT_PASSES: tuple[Pass, ...] = (
    remove_dead,  # first: dead readers would keep others from being fused
    lead_with_batch,  # the others take the first axis for the batch
    fold_constants,  # weights are constants from here on, not Transposes of constants
    remove_identities,  # nothing should stand between two operators that belong together
    merge_duplicates,  # one Transpose per branching point, so that it can cancel as a whole
    recognize_signs,  # its parts as exporters write them
    recognize_normalization,  # its parts as exporters write them, and equal ones merged
    sink_transposes,  # before Transposes become Reshapes, which do not cancel like this
    simplify_views,  # only Transposes that really move bytes are left
    sink_transposes,  # what a Reshape was in the way of
    join_transposes,  # those that a Reshape still keeps apart
    merge_moves,  # also where it splits or joins axes
    hoist_transposes,  # what sink_transposes could not move, as nothing is before it
    trim_recurrent,  # what a Slice asks for, once no Reshape is in between
    permute_dense,  # needs the one Reshape between Transpose and Dense
    hoist_affine,  # before fold_affine: what it moves is next to a layer then
    fold_affine,  # channels are the last axis now, and no Reshape hides the layer before
    lower_affine,  # what could not be folded
    simplify_views,  # the Reshapes around what lower_affine made
    fuse_clamps,  # after fold_affine: between a layer and its Relu stands the normalization
    merge_linear,  # after fold_affine and fuse_clamps: nothing is left between two layers
    recognize_binary,  # after fold_affine: a threshold needs scale and bias of the sum; after
    # fuse_clamps: a sign does not see a clamp around zero; before fuse_pads: some pad with ones
    fuse_pads,  # after fold_affine, as an offset cannot be folded across padding; after
    # fuse_clamps, as a maximum may take zeros over if what it sees is clamped
    fuse_tables,  # after lower_affine and fuse_clamps: what they leave of Add, Mul, Relu, Clip
    require_batch,
)


def run_passes(
    graph: Graph,
    passes: Sequence[Pass] = FLOAT_PASSES,
    verify: Callable[[Graph, Stage, str], None] = verify_graph,
) -> Graph:
    """The graph after `passes`, normalized.

    verify: called after each pass with the graph, its stage and the pass's name. Raises
    InternalError if a pass breaks an invariant, UnsupportedModelError as `require_batch` does.
    """
    for run in passes:
        graph = run(graph)
        verify(graph, "float", run.__name__)
    verify(graph, "normalized", "the last pass")
    return graph
