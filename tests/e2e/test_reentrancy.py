"""Contexts are independent: a run that is preempted by runs of another context is not disturbed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mcucompile.compiler import compile_model, write_sources
from mcucompile.options import CompileOptions
from tests.support import models
from tests.support.tools import needs

PROGRAM = """\
#include <stdio.h>
#include <string.h>
#include "net.h"

static _Alignas(8) int8_t arenas[2][NET_ARENA_SIZE];
static net_context contexts[2];
static int preempting, runs;

static void run(int which, int8_t *result) {
    int8_t *input = net_input(&contexts[which], 0);
    for (int32_t i = 0; i < NET_INPUT0_SIZE; i++) {
        input[i] = (int8_t)(i * (which ? 29 : 83) + which);
    }
    net_run(&contexts[which]);
    memcpy(result, net_output(&contexts[which], 0), NET_OUTPUT0_SIZE);
}

/* Between any two parts of a run of context 0, as an interrupt would: a whole run of context 1. */
void mcuc_step_hook(int step, int32_t y0, int32_t y1, int done);
void mcuc_step_hook(int step, int32_t y0, int32_t y1, int done) {
    static int8_t result[NET_OUTPUT0_SIZE];
    (void)step, (void)y0, (void)y1, (void)done;
    if (preempting) {
        preempting = 0;
        run(1, result);
        runs++;
        preempting = 1;
    }
}

int main(void) {
    int8_t alone[NET_OUTPUT0_SIZE], other[NET_OUTPUT0_SIZE], preempted[NET_OUTPUT0_SIZE];
    for (int k = 0; k < 2; k++) {
        net_init(&contexts[k], arenas[k]);
    }
    run(0, alone);
    run(1, other);
    preempting = 1;
    run(0, preempted);
    preempting = 0;
    printf("%d runs in between, %s, %s\\n", runs,
           memcmp(alone, preempted, sizeof alone) ? "disturbed" : "undisturbed",
           memcmp(alone, other, sizeof alone) ? "different inputs" : "the same outputs");
    return 0;
}
"""


@needs("gcc")
def test_a_run_is_not_disturbed_by_runs_of_another_context(tmp_path: Path) -> None:
    model = models.save(models.small_cnn(), tmp_path / "net.onnx")
    compilation = compile_model(model, CompileOptions(board="nano33ble", optimize="ram"))
    write_sources(compilation, tmp_path / "net")
    (tmp_path / "main.c").write_text(PROGRAM)
    command = "gcc -std=c11 -DMCUC_STEP_HOOK -fsanitize=address,undefined -Inet -o main main.c"
    sources = sorted((tmp_path / "net").glob("*.c"))
    subprocess.run([*command.split(), *sources], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    events = 2 * sum(1 for _ in compilation.plan.events())
    assert done.stdout == f"{events} runs in between, undisturbed, different inputs\n"
