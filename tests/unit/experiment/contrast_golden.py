# SPDX-License-Identifier: MIT
"""Values for contrast_test.cpp, verdict_test.cpp and evaluate/student_t_test.cpp: the two-way analysis from its mean
squares, Fieller's interval by root finding, power by simulation-free noncentral t.

Made with Python 3.11, numpy 2.4.6 and scipy 1.17.1:  python3 tests/unit/experiment/contrast_golden.py
"""
import numpy as np
from scipy import optimize, stats

np.set_printoptions(legacy="1.25")

B, S, N = 5, 2, 9
TOKENS = np.array([100.0, 410, 220, 700, 210, 330, 600, 160, 140])


def nll(treatment):
    """[B, S, N], as nll_of in contrast_test.cpp; treatment 0 is the baseline."""
    out = np.empty((B, S, N))
    for b in range(B):
        for s in range(S):
            for d in range(N):
                rate = 3.0 + (d * 5 % 7) / 8.0 + b / 16.0 + (s * 3 + b + d) % 4 / 64.0
                effect = treatment * ((b * 3 % 5) / 64.0 + (d * 4 % 9) / 256.0 + (b * d + s) % 5 / 512.0 - 3.0 / 16.0)
                bend = (treatment - 1) * (b * 2 % 5) / 128.0 if treatment else 0.0
                out[b, s, d] = TOKENS[d] * (rate + effect + bend)
    return out.mean(1)


def parts(treatment):
    k = nll(0)
    w = k / 100.0
    x = nll(treatment) - k
    theta = x.sum(1) / w.sum(1)
    u = N * (x - theta[:, None] * w) / w.sum(1)[:, None]
    p = (w / w.sum(1)[:, None]).mean(0)
    return theta, u, (p @ p) ** 2 / (p ** 4).sum() - 1


def mean_squares(t1, u1):
    ms_b = N * ((t1 - t1.mean()) ** 2).sum() / (B - 1)
    ms_d = B * (u1.mean(0) ** 2).sum() / (N - 1)
    ms_bd = ((u1 - u1.mean(0)) ** 2).sum() / ((B - 1) * (N - 1))
    return ms_b, ms_d, ms_bd


def spread(theta, u, dd):
    ms_b, ms_d, ms_bd = mean_squares(theta, u)
    ms = max(ms_b, ms_b + ms_d - ms_bd)
    df = ms ** 2 / (ms_b ** 2 / (B - 1) + ms_d ** 2 / dd + ms_bd ** 2 / ((B - 1) * dd))
    return ms / (B * N), max(B - 1, df)


for treatment in (1, 2):
    theta, u, dd = parts(treatment)
    v, df = spread(theta, u, dd)
    reach = stats.t.ppf(0.975, df) * np.sqrt(v)
    base = stats.t.ppf(0.975, B - 1) * np.sqrt(theta.var(ddof=1) / B)
    m = theta.mean()
    print(f"arm {treatment}: by base {theta.tolist()}")
    print(f"  estimate {m!r} se {np.sqrt(v)!r} df {df!r} dd {dd!r}")
    print(f"  interval {m - reach!r} {m + reach!r} same text {m - base!r} {m + base!r}")
    print(f"  p {2 * stats.t.sf(abs(m) / np.sqrt(v), df)!r}")
    for margin in (4.0, 5.0, 9.0):
        print(f"  p of equivalence within {margin}: {min(1.0, 2 * stats.t.sf((margin - abs(m)) / np.sqrt(v), df))!r}")

t1, u1, dd = parts(1)
t2, u2, _ = parts(2)
share = t1.mean() / t2.mean()
_, df = spread(t1 - share * t2, u1 - share * u2, dd)


def outside(rho):
    """Below 0 where the share rho cannot be excluded; with the two-way variance."""
    ms_b, ms_d, ms_bd = mean_squares(t1 - rho * t2, u1 - rho * u2)
    v = (ms_b + max(0.0, ms_d - ms_bd) if two_way else ms_b) / (B * N)
    return (t1 - rho * t2).mean() ** 2 - stats.t.ppf(0.975, df) ** 2 * v


at = mean_squares(t1 - share * t2, u1 - share * u2)
two_way = at[1] > at[2]
low = optimize.brentq(outside, share - 2, share, xtol=1e-15)
high = optimize.brentq(outside, share, share + 2, xtol=1e-15)
print(f"share {share!r} in {low!r} {high!r}, two-way {two_way}, df {df!r}")

print("t:", [(t, v, float(stats.t.cdf(t, v))) for t, v in
             [(-3.5, 1), (-40, 1), (-2.5, 4), (-0.3, 4), (-12, 4), (-1.7, 7.25), (-2, 61), (-6, 61), (-1.9, 1e4)]])
print("quantiles:", [(p, v, float(stats.t.ppf(p, v))) for p, v in
                     [(0.975, 4), (0.025, 1), (0.995, 6.5), (0.9, 61), (1e-6, 4), (0.975, 1e6)]])


def power(shift, df):
    c = stats.t.ppf(0.975, df)
    return float(stats.nct.sf(c, df, shift) + stats.nct.cdf(-c, df, shift))


print("power:", [(s, v, power(s, v)) for s, v in [(0, 4), (1, 4), (4, 4), (3, 12.5), (2.5, 60)]])
chi = lambda df, f: float(stats.chi(df, scale=1 / np.sqrt(df)).expect(f, epsabs=1e-11, limit=500))
print("equivalence:", [(m, v, chi(v, lambda s: max(0.0, 2 * stats.norm.cdf(m - stats.t.ppf(0.975, v) * s) - 1)))
                       for m, v in [(2, 4), (4, 4), (4, 30)]])
print("detectable 80 %:", [(v, float(optimize.brentq(lambda s: power(s, v) - 0.8, 0.1, 6))) for v in (4, 20)])
