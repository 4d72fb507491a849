//! The largest distance of a sample to a centroid, by which HDC divides all of them.
//!
//! Only the largest of the `N x K` distances is needed, and most pairs are far from it. The Euler distance is `|z|` with
//! `z = (A.A - S.S) / 2 - i S.A` (see `hdc_distance`), at most `rho^2 / 2` with `rho^2 = S.S + A.A`. It is bounded by the product of the
//! sines, and all products over a *head*, the few columns in which `1 - cos` varies most (`hdc_head`). Tiles whose bound
//! reaches the best distance so far are computed in full. `rho` is a metric: a centroid that moved by `m` since
//! a sample was at most `rho` from it is now at most `rho + m` from any, and is left out while that is below the best; one that
//! did not move is left out when the farthest pair did not either.
//!
//! The result does not depend on what was left out: it is the largest float32 value of `tile`.
//!
//! Cost: little more than one real product `N K D` in the first round instead of four, less in later ones.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::hdc_distance::{Planes, Similarity, Tiles, View, squared_difference, tile};
use crate::hdc_head::{Columns, Head, HeadView};
use crate::product::dots;
use crate::{Context, Result};

/// Rows and columns of a tile.
const TILE: usize = 256;

/// What is known from the round before.
#[derive(Default)]
pub(crate) struct Largest {
    /// At least the `rho` of every sample to each centroid.
    reach: Vec<f64>,
    centers: Option<Planes<'static>>,
    /// Sample and centroid that were farthest apart, and how far.
    farthest: Option<(usize, usize)>,
    value: f32,
}

/// The samples, with what bounds their distances.
pub(crate) struct Samples<'a> {
    pub(crate) view: View<'a>,
    columns: Columns,
    head: Head,
}

impl<'a> Samples<'a> {
    pub(crate) fn new(view: View<'a>, context: &Context<'_>) -> Result<Self> {
        let columns = Columns::new(view, context)?;
        let head = Head::new(view, &columns, context)?;
        Ok(Self {
            view,
            columns,
            head,
        })
    }
}

/// The distance that `rho` allows at most.
fn allowed(similarity: Similarity, rho: f64) -> f64 {
    match similarity {
        Similarity::Euler => 0.5 * rho * rho,
        _ => rho,
    }
}

/// The `rho^2` from which on a pair may be at the distance `best`.
fn enough(similarity: Similarity, best: f64) -> f32 {
    let square = match similarity {
        Similarity::Euler => 2.0 * best,
        _ => best * best,
    };
    (square * 0.999_9) as f32
}

/// At most the Euler distance, from all `S.S`, the products of the head, and `|A|` beyond the head.
///
/// With `r = A.A` beyond the head, `0 <= r <= rest^2`, and `s = S.S` there, `z = -Q + r / 2 - i (l + x)` with `Q` and `l` of what is known
/// and `x^2 <= s r`: so `|z|^2 <= Q^2 + l^2 + (s - Q) r + r^2 / 4 + 2 |l| sqrt(s r)`.
fn with_head(ss: f32, (head_ss, aa, sa): (f32, f32, f32), rest: f32, slack: f32) -> f32 {
    let s = (ss - head_ss).max(0.0) + slack;
    let q = 0.5 * (s + head_ss - aa);
    let (most, l) = (q.abs() + slack, sa.abs() + slack);
    let linear = (s - q + slack).max(0.0) * rest * rest;
    let square = most * most + l * l + linear + 0.25 * rest.powi(4) + 2.0 * l * s.sqrt() * rest;
    square.sqrt()
}

/// One round: all samples against some of the centroids.
struct Round<'a> {
    samples: &'a Samples<'a>,
    centers: View<'a>,
    sample_head: HeadView<'a>,
    center_head: HeadView<'a>,
    /// Bits of the best distance so far; distances are not negative, so bits are ordered as distances are.
    best: AtomicU32,
}

/// What one worker knows.
#[derive(Default)]
struct Worker {
    tiles: Tiles,
    values: Vec<f32>,
    /// Products of the heads: a.a, s.s, s.a, a.s.
    heads: [Vec<f32>; 4],
    /// Largest `rho^2` allowed for each centroid.
    reach: Vec<f32>,
    /// The farthest pair: bits of the distance, sample and centroid.
    farthest: Option<(u32, usize, usize)>,
}

impl Largest {
    /// The largest distance of `samples` to `centers`.
    pub(crate) fn update(
        &mut self,
        samples: &Samples<'_>,
        centers: Planes<'static>,
        context: &Context<'_>,
    ) -> Result<f32> {
        let view = centers.view()?;
        let similarity = view.similarity;
        let still = self.move_centers(view, context)?;
        let mut best = 0.0;
        if let Some((i, c)) = self.farthest {
            let mut value = [0.0];
            let (x, y) = (samples.view, view);
            tile(x, i..i + 1, y, c..c + 1, &mut Tiles::default(), &mut value);
            best = value[0];
        }
        // A centroid at rest is no farther from any sample than the farthest pair was.
        let same = best >= self.value;
        let reach = |&c: &usize| {
            !(same && still[c]) && allowed(similarity, self.reach[c]) * 1.000_01 >= f64::from(best)
        };
        let open: Vec<usize> = (0..view.rows()).filter(reach).collect();
        let picked = view.pick(&open);
        let picked = picked.view()?;
        let head = Head::new(picked, &samples.columns, context)?;
        let round = Round {
            samples,
            centers: picked,
            sample_head: samples.head.view()?,
            center_head: head.view()?,
            best: AtomicU32::new(best.to_bits()),
        };
        let workers = round.run(context)?;
        for (position, &c) in open.iter().enumerate() {
            let squares = workers.iter().map(|worker| worker.reach[position]);
            self.reach[c] = f64::from(squares.fold(0.0, f32::max)).sqrt();
        }
        // Any farthest pair will do: it is where the next round begins to look.
        for (bits, i, position) in workers.iter().filter_map(|worker| worker.farthest) {
            let pair = (i, open[position]);
            let value = f32::from_bits(bits);
            if value > best || self.farthest.is_none() {
                (best, self.farthest) = (value, Some(pair));
            }
        }
        (self.centers, self.value) = (Some(centers), best);
        Ok(best)
    }

    /// Add to each reach how far its centroid went; whether it rests.
    fn move_centers(&mut self, view: View<'_>, context: &Context<'_>) -> Result<Vec<bool>> {
        let Some(old) = &self.centers else {
            self.reach = vec![f64::INFINITY; view.rows()];
            return Ok(vec![false; view.rows()]);
        };
        let old = old.view()?;
        let moves: Vec<f64> = context.install(|| {
            let rows = (0..view.rows()).into_par_iter();
            let step = |c: usize| {
                let mut square = squared_difference(view.main.row(c), old.main.row(c));
                if view.similarity == Similarity::Euler {
                    square += squared_difference(view.side.row(c), old.side.row(c));
                }
                square.sqrt()
            };
            rows.map(step).collect()
        });
        for (reach, step) in self.reach.iter_mut().zip(&moves) {
            *reach += step;
        }
        let rests =
            |c: usize| view.main.row(c) == old.main.row(c) && view.side.row(c) == old.side.row(c);
        Ok((0..view.rows()).map(rests).collect())
    }
}

/// The largest distance of two samples.
pub(crate) fn largest_pair(samples: &Samples<'_>, context: &Context<'_>) -> Result<f32> {
    let round = Round {
        samples,
        centers: samples.view,
        sample_head: samples.head.view()?,
        center_head: samples.head.view()?,
        best: AtomicU32::new(0),
    };
    round.run(context)?;
    Ok(f32::from_bits(round.best.into_inner()))
}

impl Round<'_> {
    fn run(&self, context: &Context<'_>) -> Result<Vec<Worker>> {
        let blocks = self.samples.view.rows().div_ceil(TILE);
        let new = || Worker {
            reach: vec![0.0; self.centers.rows()],
            ..Worker::default()
        };
        context.queue(blocks, "largest distance", new, |worker, block| {
            self.block(worker, block);
        })
    }

    /// A block of samples against all open centroids.
    fn block(&self, worker: &mut Worker, block: usize) {
        let rows = crate::neighbors::block(block, TILE, self.samples.view.rows());
        for start in (0..self.centers.rows()).step_by(TILE) {
            let columns = start..self.centers.rows().min(start + TILE);
            worker.values.resize(rows.len() * columns.len(), 0.0);
            if self.bound(worker, rows.clone(), columns.clone()) {
                self.exact(worker, rows.clone(), columns);
            }
        }
    }

    /// Whether a pair may be farther apart than the best so far; raises the worker's reach to the bounds.
    fn bound(&self, worker: &mut Worker, rows: Range<usize>, columns: Range<usize>) -> bool {
        let (x, y, width) = (self.samples.view, self.centers, columns.len());
        let (u, v) = (self.sample_head, self.center_head);
        let (scratch, values) = (&mut worker.tiles.scratch, &mut worker.values);
        dots(
            x.main,
            rows.clone(),
            y.main,
            columns.clone(),
            scratch,
            values,
        );
        for part in &mut worker.heads {
            part.resize(values.len(), 0.0);
        }
        let [aa, ss, sa, as_] = &mut worker.heads;
        dots(u.side, rows.clone(), v.side, columns.clone(), scratch, aa);
        let centers: Vec<(f32, f32)> = columns
            .clone()
            .map(|c| {
                let bound = v.bounds[c];
                (y.norms(c).0 + bound.side + bound.slack, bound.spread)
            })
            .collect();
        let reach = &mut worker.reach[columns.clone()];
        let best = f64::from(f32::from_bits(self.best.load(Ordering::Relaxed)));
        let enough = enough(x.similarity, best);
        let mut some = false;
        let lines = aa.chunks_exact_mut(width).zip(values.chunks_exact(width));
        for (i, (aa, dots)) in rows.clone().zip(lines) {
            let bound = u.bounds[i];
            let norm = x.norms(i).0 + bound.side + bound.slack;
            let pairs = aa.iter_mut().zip(dots).zip(centers.iter().zip(&mut *reach));
            for ((aa, dot), ((center, spread), reach)) in pairs {
                let rest = bound.spread + spread;
                let square = norm + center - 2.0 * (dot + *aa) + rest * rest;
                // From here on rho^2, at most.
                *aa = square;
                *reach = if square > *reach { square } else { *reach };
                some |= square >= enough;
            }
        }
        if !some || x.similarity != Similarity::Euler {
            return some;
        }
        dots(u.main, rows.clone(), v.main, columns.clone(), scratch, ss);
        dots(u.main, rows.clone(), v.side, columns.clone(), scratch, sa);
        dots(u.side, rows.clone(), v.main, columns.clone(), scratch, as_);
        let far = |(p, _): &(usize, &f32)| aa[*p] >= enough;
        values.iter().enumerate().filter(far).any(|(p, dot)| {
            let (i, c) = (rows.start + p / width, columns.start + p % width);
            let (a, b) = (u.bounds[i], v.bounds[c]);
            let (rest, slack) = (a.spread + b.spread, a.slack + b.slack);
            let all_ss = x.norms(i).0 + y.norms(c).0 - 2.0 * dot;
            let head_aa = aa[p] - all_ss - rest * rest - slack;
            let head_ss = a.main + b.main - 2.0 * ss[p];
            let head_sa = a.mixed + b.mixed - (sa[p] + as_[p]);
            let upper = with_head(all_ss, (head_ss, head_aa, head_sa), rest, slack);
            f64::from(upper) * 1.000_1 >= best
        })
    }

    /// All distances of a tile.
    fn exact(&self, worker: &mut Worker, rows: Range<usize>, columns: Range<usize>) {
        let (x, y, values) = (self.samples.view, self.centers, &mut worker.values);
        tile(
            x,
            rows.clone(),
            y,
            columns.clone(),
            &mut worker.tiles,
            values,
        );
        for (i, row) in rows.zip(values.chunks_exact(columns.len())) {
            for (c, d) in columns.clone().zip(row) {
                let bits = d.to_bits();
                if worker.farthest.is_none_or(|(best, ..)| bits > best) {
                    worker.farthest = Some((bits, i, c));
                }
            }
        }
        if let Some((bits, ..)) = worker.farthest {
            self.best.fetch_max(bits, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Matrix;

    fn all(x: View<'_>, y: View<'_>) -> f32 {
        let mut values = vec![0.0; x.rows() * y.rows()];
        let (r, s) = (0..x.rows(), 0..y.rows());
        tile(x, r, y, s, &mut Tiles::default(), &mut values);
        values.into_iter().fold(0.0, f32::max)
    }

    proptest! {
        #[test]
        fn equals_the_largest_of_all_over_rounds(
            n in 1_usize..600,
            k in 1_usize..300,
            d in 1_usize..20,
            scale in prop::sample::select(vec![0.01_f32, 0.1, 1.0]),
            threads in prop::sample::select(vec![1_usize, 2, 3, 7]),
            euler in any::<bool>(),
            seed in any::<u32>(),
        ) {
            let mut state = u64::from(seed);
            let mut noise = |count: usize, scale: f32| -> Vec<f32> {
                let mut next = || {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    ((state >> 33) as f32 / (1_u64 << 31) as f32 - 0.5) * scale
                };
                (0..count).map(|_| next()).collect()
            };
            let similarity = if euler { Similarity::Euler } else { Similarity::Euclidean };
            let (x, mut centers) = (noise(n * d, scale), noise(k * d, scale));
            let pool = Context::pool(threads).unwrap();
            let context = Context::quiet(&pool);
            let planes = |data: &[f32], rows| {
                let matrix = Matrix::new(data, rows, d).unwrap();
                Planes::new(matrix, "x", similarity, &context).unwrap().into_owned()
            };
            let x = planes(&x, n);
            let samples = Samples::new(x.view().unwrap(), &context).unwrap();
            prop_assert_eq!(largest_pair(&samples, &context).unwrap(), all(samples.view, samples.view));
            let mut largest = Largest::default();
            for round in 0..4 {
                let y = planes(&centers, k);
                let wanted = all(samples.view, y.view().unwrap());
                prop_assert_eq!(largest.update(&samples, y, &context).unwrap(), wanted);
                // Some centers move, all of them once.
                let moved = if round == 1 { k } else { k / 3 };
                let step = noise(moved * d, 0.3 * scale);
                centers.iter_mut().zip(step).for_each(|(c, s)| *c += s);
            }
        }
    }
}
