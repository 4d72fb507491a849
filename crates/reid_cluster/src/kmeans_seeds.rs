//! Rows to start k-means from: k-means++ with trials, or rows drawn evenly.
//!
//! k-means++ (Arthur, Vassilvitskii, SODA 2007) draws each next centre with probability proportional to the squared
//! distance to the nearest centre so far; of `2 + floor(ln K)` rows drawn so, the one that leaves the smallest sum
//! of squared distances is taken (the greedy variant of section 5 of that paper, as in scikit-learn).
//!
//! One draw at a time would read all features for a handful of products. Here candidates are drawn many at a time,
//! and their distances to all rows come from one product. A candidate drawn when its distance was w, and looked at
//! when it is v <= w, is accepted with probability v / w: accepted ones are distributed as if drawn now.
//!
//! Cost: about `K (2 + ln K) N D` multiply-adds at the rate of the product, and at most 64 MB unless a single
//! step's trials need more.

use rayon::prelude::*;

use crate::neighbors::distance;
use crate::product::{Scratch, dots};
use crate::{Context, Matrix, Result};

/// Rows of one product.
const TILE: usize = 512;
/// Distances held at a time.
const VALUES: usize = 1 << 24;

/// `k` different rows, each set of rows as likely as any other.
pub(crate) fn random(n: usize, k: usize, seed: u64) -> Vec<usize> {
    let mut random = Random(seed);
    let mut rows: Vec<usize> = (0..n).collect();
    for i in 0..k {
        let j = i + random.below(n - i);
        rows.swap(i, j);
    }
    rows.truncate(k);
    rows
}

/// `k` different rows by k-means++. `norms` are the squared norms of the rows.
pub(crate) fn plus_plus(
    x: Matrix<'_>,
    norms: &[f32],
    k: usize,
    seed: u64,
    context: &Context<'_>,
) -> Result<Vec<usize>> {
    // The more centres there are, the less the next few change.
    draw(
        x,
        norms,
        k,
        seed,
        |chosen| (chosen / 8).clamp(1, 24),
        context,
    )
}

/// As `plus_plus`, with candidates for the next `steps(chosen)` centres at a time.
fn draw(
    x: Matrix<'_>,
    norms: &[f32],
    k: usize,
    seed: u64,
    steps: impl Fn(usize) -> usize,
    context: &Context<'_>,
) -> Result<Vec<usize>> {
    let n = x.rows();
    let trials = 2 + (k as f64).ln() as usize;
    let mut random = Random(seed);
    let mut chosen = vec![random.below(n)];
    let mut closest = vec![f32::INFINITY; n];
    context.tick(0, k, "seeds")?;
    let first = chosen.clone();
    Candidates::new(
        x,
        norms,
        first,
        &closest,
        || context.tick(0, k, "seeds"),
        context,
    )?
    .take(0, &mut closest);

    let mut candidates = Candidates::none();
    let mut accepted = Vec::new();
    let mut next = 0;
    while chosen.len() < k {
        context.tick(chosen.len(), k, "seeds")?;
        while accepted.len() < trials && next < candidates.rows.len() {
            let now = closest[candidates.rows[next]];
            if random.unit() * f64::from(candidates.drawn_at[next]) < f64::from(now) {
                accepted.push(next);
            }
            next += 1;
        }
        if accepted.len() == trials {
            let sums = context.install(|| {
                let sum = accepted.par_iter().map(|&c| candidates.sum(c, &closest));
                sum.collect::<Vec<f64>>()
            });
            let best = (1..trials).fold(0, |a, b| if sums[b] < sums[a] { b } else { a });
            chosen.push(candidates.rows[accepted[best]]);
            candidates.take(accepted[best], &mut closest);
            accepted.clear();
            continue;
        }
        let Some(weighted) = Weighted::new(&closest) else {
            // Every row is a copy of a chosen one.
            let mut taken = vec![false; n];
            for &row in &chosen {
                taken[row] = true;
            }
            chosen.extend((0..n).filter(|&row| !taken[row]).take(k - chosen.len()));
            break;
        };
        let steps = steps(chosen.len()).min(k - chosen.len());
        let wanted = (trials * steps).min((VALUES / n).max(trials));
        let mut rows: Vec<usize> = accepted.iter().map(|&c| candidates.rows[c]).collect();
        rows.extend((accepted.len()..wanted).map(|_| weighted.row(random.unit())));
        let ask = || context.tick(chosen.len(), k, "seeds");
        candidates = Candidates::new(x, norms, rows, &closest, ask, context)?;
        next = 0;
        accepted.clear();
    }
    context.tick(k, k, "seeds")?;
    Ok(chosen)
}

/// Rows that may become centres, with their squared distances to all rows.
struct Candidates {
    rows: Vec<usize>,
    /// Squared distance of each to the nearest centre when it was drawn.
    drawn_at: Vec<f32>,
    /// Tile after tile of rows, each (candidates, up to [`TILE`]).
    distances: Vec<f32>,
}

impl Candidates {
    fn none() -> Self {
        Self {
            rows: Vec::new(),
            drawn_at: Vec::new(),
            distances: Vec::new(),
        }
    }

    fn new(
        x: Matrix<'_>,
        norms: &[f32],
        rows: Vec<usize>,
        closest: &[f32],
        ask: impl Fn() -> Result<()>,
        context: &Context<'_>,
    ) -> Result<Self> {
        let (n, m) = (x.rows(), rows.len());
        let gathered: Vec<f32> = rows.iter().flat_map(|&i| x.row(i)).copied().collect();
        let gathered = Matrix::new(&gathered, m, x.cols())?;
        let mut distances = vec![0.0; m * n];
        let fill = |scratch: &mut Scratch, (t, out): (usize, &mut [f32])| {
            let s = t * TILE..n.min((t + 1) * TILE);
            dots(gathered, 0..m, x, s.clone(), scratch, out);
            for (line, &row) in out.chunks_exact_mut(s.len()).zip(&rows) {
                for (value, &norm) in line.iter_mut().zip(&norms[s.clone()]) {
                    *value = distance(norms[row], norm, *value);
                }
            }
        };
        // 100 ms of products a worker at 50 GFLOP/s.
        let group = context.threads() * (2_500_000_000 / (m * TILE * x.cols())).max(1);
        for (g, part) in distances.chunks_mut(group * TILE * m).enumerate() {
            if g > 0 {
                ask()?;
            }
            let tiles = part.par_chunks_mut(TILE * m).enumerate();
            let tiles = tiles.map(|(t, out)| (g * group + t, out));
            context.install(|| tiles.for_each_init(Scratch::default, fill));
        }
        Ok(Self {
            drawn_at: rows.iter().map(|&row| closest[row]).collect(),
            rows,
            distances,
        })
    }

    /// Distances of candidate `c` to all rows, in parts.
    fn tiles(&self, c: usize) -> impl Iterator<Item = &[f32]> {
        let m = self.rows.len();
        self.distances.chunks(m * TILE).map(move |tile| {
            let width = tile.len() / m;
            &tile[c * width..][..width]
        })
    }

    /// What would be left of `closest` in sum with candidate `c` as a centre.
    fn sum(&self, c: usize, closest: &[f32]) -> f64 {
        const LANES: usize = 8;
        let mut sums = [0.0_f64; LANES];
        for (tile, closest) in self.tiles(c).zip(closest.chunks(TILE)) {
            for (a, b) in tile.chunks(LANES).zip(closest.chunks(LANES)) {
                for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += f64::from(if a < b { a } else { b });
                }
            }
        }
        sums.iter().sum()
    }

    /// Make candidate `c` a centre.
    fn take(&self, c: usize, closest: &mut [f32]) {
        for (tile, closest) in self.tiles(c).zip(closest.chunks_mut(TILE)) {
            for (a, b) in tile.iter().zip(closest) {
                *b = if *a < *b { *a } else { *b };
            }
        }
    }
}

/// Draws rows with probability proportional to their weight.
struct Weighted(Vec<f64>);

impl Weighted {
    /// None when all weights are 0.
    fn new(weights: &[f32]) -> Option<Self> {
        let mut sum = 0.0;
        let sums = weights.iter().map(|&w| {
            sum += f64::from(w);
            sum
        });
        let sums: Vec<f64> = sums.collect();
        (sum > 0.0).then_some(Self(sums))
    }

    /// The row for a number in [0, 1).
    fn row(&self, unit: f64) -> usize {
        let total = self.0[self.0.len() - 1];
        let row = self.0.partition_point(|&sum| sum <= unit * total);
        // The product may round up to the total: the last row with a weight.
        row.min(self.0.partition_point(|&sum| sum < total))
    }
}

/// The generator `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// In 0..n.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::product::squared_norms;

    const POINTS: [f32; 5] = [0.0, 1.0, 3.5, 7.25, 9.5];

    /// Probability of every outcome of three centres, from the definition: three trials a step.
    fn exact() -> BTreeMap<Vec<usize>, f64> {
        let closest = |chosen: &[usize], i: usize| {
            let squares = chosen.iter().map(|&c| (POINTS[c] - POINTS[i]).powi(2));
            f64::from(squares.fold(f32::INFINITY, f32::min))
        };
        let sum = |chosen: &[usize]| (0..5).map(|i| closest(chosen, i)).sum::<f64>();
        let mut now: BTreeMap<Vec<usize>, f64> = (0..5).map(|i| (vec![i], 0.2)).collect();
        for _ in 0..2 {
            let mut next = BTreeMap::new();
            for (chosen, p) in &now {
                let share = |i: usize| closest(chosen, i) / sum(chosen);
                for trials in 0..125 {
                    let trials = [trials % 5, trials / 5 % 5, trials / 25];
                    let q = trials.iter().map(|&i| share(i)).product::<f64>();
                    let with = trials.map(|i| [chosen.as_slice(), &[i]].concat());
                    let best = with.into_iter().min_by(|a, b| sum(a).total_cmp(&sum(b)));
                    *next.entry(best.unwrap()).or_insert(0.0) += p * q;
                }
            }
            now = next;
        }
        now
    }

    #[test]
    fn drawing_ahead_changes_no_probability() {
        let x = Matrix::new(&POINTS, 5, 1).unwrap();
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let norms = squared_norms(x, "features", &context).unwrap();
        let mut counts = BTreeMap::new();
        let runs = 20_000;
        for seed in 0..runs {
            let rows = draw(x, &norms, 3, seed, |_| 4, &context).unwrap();
            *counts.entry(rows).or_insert(0.0) += 1.0;
        }
        let exact = exact();
        assert!(counts.keys().all(|rows| exact[rows] > 0.0));
        for (rows, p) in exact {
            let wanted = p * runs as f64;
            let found = counts.get(&rows).copied().unwrap_or(0.0);
            let error = f64::sqrt(wanted * (1.0 - p));
            assert!(
                f64::abs(found - wanted) < 4.5 * error + 1.0,
                "{rows:?}: {found} for {wanted}"
            );
        }
    }

    #[test]
    fn copies_are_drawn_only_when_nothing_else_is_left() {
        let data = [5.0, 5.0, 5.0, 7.0, 5.0, 9.0];
        let x = Matrix::new(&data, 6, 1).unwrap();
        let pool = Context::pool(2).unwrap();
        let context = Context::quiet(&pool);
        let norms = squared_norms(x, "features", &context).unwrap();
        for seed in 0..50 {
            let rows = plus_plus(x, &norms, 5, seed, &context).unwrap();
            assert!([3, 5].iter().all(|row| rows[..3].contains(row)), "{rows:?}");
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), 5, "{rows:?}");
        }
    }

    #[test]
    fn random_rows_are_even() {
        let mut counts = [0.0_f64; 6];
        for seed in 0..6000 {
            let rows = random(6, 3, seed);
            assert!(rows[0] != rows[1] && rows[0] != rows[2] && rows[1] != rows[2]);
            for row in rows {
                counts[row] += 1.0;
            }
        }
        assert!(
            counts
                .iter()
                .all(|c| (c - 3000.0).abs() < 4.5 * 1500.0_f64.sqrt()),
            "{counts:?}"
        );
    }
}
