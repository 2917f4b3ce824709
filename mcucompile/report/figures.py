"""Figures as people read them."""

from __future__ import annotations


def whole(value: float) -> str:
    """With commas between thousands: 1,234,567."""
    return f"{value:,}"


def significant(value: float, digits: int = 3) -> str:
    """With so many significant digits and no exponent: 0.0305, 12.3, 1,230."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:g}"
