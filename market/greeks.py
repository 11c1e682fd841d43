"""What Black and Scholes (1973) say with r = 0 and no dividend, which within one day move nothing by a tick. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

YEAR_S = 365 * 86_400.0

Floats = NDArray[np.float64]


def gamma(spots: Floats | float, strikes: Floats | float, ivs: Floats | float, years: float) -> Floats:
    """Change of an option's delta for $1 of the underlying, the same for call and put; all arguments above 0, IVs as fractions."""
    wide = np.asarray(ivs * np.sqrt(years))
    d1 = np.log(np.asarray(spots) / strikes) / wide + wide / 2
    density: Floats = np.exp(-d1 * d1 / 2) / (np.sqrt(2 * np.pi) * spots * wide)
    return density
