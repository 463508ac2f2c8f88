"""Random orders from a seed, inside compiled code."""

import numpy as np

from xrt.jit import njit


@njit(nogil=True, cache=True)
def new_state(seed: np.uint64) -> np.uint64:
    """A generator's state, never 0, from any seed of 64 bits."""
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
    return state | np.uint64(1)


@njit(nogil=True, cache=True)
def shuffle(order: np.ndarray, state: np.uint64) -> np.uint64:
    """Bring `order` into a random order (Fisher and Yates; xorshift64*); returns the next state."""
    n = len(order)
    for s in range(n - 1):
        state ^= state >> np.uint64(12)
        state ^= state << np.uint64(25)
        state ^= state >> np.uint64(27)
        draw = (state * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(33)
        # a draw below 2^31 scaled to the places left: no division
        other = s + np.int64((draw * np.uint64(n - s)) >> np.uint64(31))
        order[s], order[other] = order[other], order[s]
    return state
