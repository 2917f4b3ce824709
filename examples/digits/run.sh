#!/usr/bin/env bash
# On a fresh Debian or Ubuntu machine: installs mcucompile, compiles the digits model, checks it on the
# 400 test images under QEMU, and runs the example's firmware there.
set -euo pipefail
cd "$(dirname "$0")/../.."

.ci/setup .venv
PATH="$PWD/.venv/bin:$PATH"

step() {
    echo
    echo "\$ $*"
    "$@"
}

digits=examples/digits
model=("$digits/digits.onnx" --board stm32f746 --calib "$digits/calib.npz" --quiet)
step mcucompile "${model[@]}" -o build/digits
step mcucompile validate "${model[@]}" --data "$digits/test.npz" --labels y --on qemu
step cmake -S "$digits" -B build/digits_demo -G Ninja \
    --toolchain "$(mcucompile cmake-dir)/arm-none-eabi-m7.cmake"
step cmake --build build/digits_demo --target run
