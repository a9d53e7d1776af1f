# SPDX-License-Identifier: MIT
"""Values for statistics_test.cpp: scipy.stats.bootstrap (BCa) on the resamples that core::Random draws.

Made with Python 3.11, numpy 2.4.6 and scipy 1.17.1:  python3 tests/unit/evaluate/bca_golden.py
"""
import numpy as np
import scipy.stats
from scipy.stats import _resampling

MASK = np.uint64(0xFFFFFFFF)


def philox_words(seed, count):
    """The first `count` 64-bit words of core::Random(seed): Philox4x32-10, two words a block."""
    blocks = np.arange((count + 1) // 2, dtype=np.uint64)
    c = [blocks & MASK, blocks >> np.uint64(32), np.zeros_like(blocks), np.zeros_like(blocks)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c[0]
        p1 = np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & MASK,
             (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c[0] | c[1] << np.uint64(32), c[2] | c[3] << np.uint64(32)], axis=1).reshape(-1)[:count]


def interval(numerators, denominators, seed, resamples=10000):
    n = len(numerators)

    def draw(_rng, _low, high, size):
        assert high == n and size == (resamples, n)
        words = philox_words(seed, n * resamples)
        refused = (2**64 - n) % n  # Random::below draws these words again; none occurs here
        assert not (words < np.uint64(refused)).any()
        return (words % np.uint64(n)).astype(np.int64).reshape(size)

    _resampling.rng_integers = draw
    result = scipy.stats.bootstrap(
        (np.array(numerators), np.array(denominators)),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True, vectorized=True, n_resamples=resamples, method="BCa")
    return result.confidence_interval


NLL = [310.5, 1220.25, 95.0, 4033.125, 700.0, 812.5, 2650.75, 150.5, 433.25, 5100.0, 88.125, 1900.5]
TOKENS = [100, 410, 20, 1500, 210, 230, 900, 60, 140, 1450, 17, 640]
DIFFERENCE = [1.5, -4.25, 0.5, 30.0, 2.0, -1.0, 9.75, 0.125, -3.5, 41.0, 0.0625, 12.0]

if __name__ == "__main__":
    for name, numerators, seed in (("NLL", NLL, 0), ("NLL", NLL, 7), ("DIFFERENCE", DIFFERENCE, 0)):
        low, high = interval(numerators, TOKENS, seed)
        print(f"{name} seed {seed}: {low:.17g} {high:.17g}")
    for p in (0.025, 0.1, 0.5, 0.975, 0.9999, 1e-6, 1e-9):
        print(f"quantile {p}: {scipy.stats.norm.ppf(p):.17g}")
    for x in (-8.0, -3.0, -1.0, 0.25, 1.0, 2.0, 6.0):
        print(f"cdf {x}: {scipy.stats.norm.cdf(x):.17g}")
