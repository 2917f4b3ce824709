"""Reproducible figures of layers and models under QEMU, and the budgets that gate them.

    python -m bench                      everything, on both cores
    python -m bench --core cortex-m4 1x1 kws     what has one of these in its name
    python -m bench --update-budgets     today's figures become the budgets
    python -m bench --fit-costs          fit the estimate of instructions to all kernels
    python -m bench --check-costs kws    compare it with profiles of models

Layers and models go through the ordinary pipeline; nothing here measures by other means than
`mcucompile profile` does. Models that lie in a zoo beside the project are left out without it.
"""
