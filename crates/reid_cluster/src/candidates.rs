//! Exact nearest neighbours within one set of rows, mostly without their distances.
//!
//! Every pair gets bounds from its sketch (`sketch`), few dimensions instead of all. A row keeps the pairs that
//! may be among its k best: those whose lower bound is not above its *limit*, the k-th smallest upper bound seen.
//! Pairs that pass the coarse bound get the fine one; what is left at the end gets its distance, by the same chain
//! of operations as in a full tile. So the result is that of the full search, bit for bit, whatever the bounds:
//! k pairs have distances up to the limit, hence no pair above it is among the k best. In words of keys (distance,
//! index), the total order of the result: a pair is dropped only when (lower, index) is above the k-th smallest
//! (upper, index).
//!
//! How much this saves depends on the spectrum. A few rows of a sample tell how many directions to take, or that
//! the full search is cheaper; and a tile where too many pairs pass is computed in full.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::neighbors::{Neighbors, TILE, block, distance, upper_tiles};
use crate::probe::{concentrated, dimensions};
use crate::product::{Scratch, dots, dots_listed};
use crate::sketch::{Refiner, Sketch};
use crate::subspace::Sample;
use crate::{Context, Matrix, Result, memory};

/// Fewer rows or columns are searched in full: finding directions costs as much as products of some thousand rows.
const MIN_ROWS: usize = if cfg!(test) { 2000 } else { 8000 };
const MIN_COLS: usize = if cfg!(test) { 128 } else { 768 };
/// Most directions of a sketch.
const MAX_DIMS: usize = 320;
/// Cost of a fine bound, in pairs of a full tile.
pub(crate) const FINE: f64 = 2.0;

/// As `neighbors::within`; `None` when the full search is likely cheaper.
pub(crate) fn within(
    x: Matrix<'_>,
    norms: &[f32],
    k: usize,
    context: &Context<'_>,
) -> Result<Option<Neighbors>> {
    match sketch(x, norms, k, context)? {
        Some((order, sketch)) => sketched(x, norms, k, &order, &sketch, context).map(Some),
        None => Ok(None),
    }
}

/// A sketch of the rows, and their order in it, for a search for the `k` best of each; `None` when the full search is
/// likely cheaper.
pub(crate) fn sketch(
    x: Matrix<'_>,
    norms: &[f32],
    k: usize,
    context: &Context<'_>,
) -> Result<Option<(Vec<u32>, Sketch)>> {
    let (n, d) = (x.rows(), x.cols());
    if n < MIN_ROWS || d < MIN_COLS || k < 2 {
        return Ok(None);
    }
    // What is kept of each row, while little is free.
    let bytes = (2 * d + 8 * k + 4 * MAX_DIMS + 2048) as u128 * n as u128;
    if memory::check(bytes, "sketches", "").is_err() {
        return Ok(None);
    }
    if !concentrated(x, context)? {
        return Ok(None);
    }
    let size = (n / 6).clamp(512, 2048);
    let most = MAX_DIMS.min(d / 4).min(size / 2);
    let Some(sample) = Sample::new(x, size, most, context)? else {
        return Ok(None);
    };
    let Some(dims) = dimensions(&sample, n, k, context)? else {
        return Ok(None);
    };
    let order = sample.order(x, TILE, context)?;
    let sketch = Sketch::new(x, norms, &order, sample.subspace(dims), context)?;
    Ok(sketch.map(|sketch| (order, sketch)))
}

/// The search with a sketch of the rows in `order`.
fn sketched(
    x: Matrix<'_>,
    norms: &[f32],
    k: usize,
    order: &[u32],
    sketch: &Sketch,
    context: &Context<'_>,
) -> Result<Neighbors> {
    let search = Search::new(x, norms, k, order, sketch);
    let (coarse, tiles) = (sketch.matrix()?, upper_tiles(search.rows.len()));
    context.queue(tiles.len(), "knn", Worker::default, |worker, t| {
        search.tile(worker, coarse, tiles[t]);
    })?;
    let tasks = order.len().div_ceil(ROWS);
    context.queue(tasks, "distances", Worker::default, |worker, t| {
        search.finish(worker, t);
    })?;
    Ok(search.collect(k))
}

/// A pair that may be among the k best of a row, seen from that row. Bounds that are equal are the distance.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    lower: f32,
    upper: f32,
    index: u32,
}

/// Orders as (value, index): values are not negative.
fn key(value: f32, index: u32) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(index)
}

/// The candidates of a row.
struct Row {
    list: Vec<Candidate>,
    /// The k-th smallest (upper, index) so far.
    limit: u64,
    /// Candidates added since it was brought up to date.
    new: usize,
}

impl Row {
    fn offer(&mut self, candidate: Candidate) {
        if key(candidate.lower, candidate.index) <= self.limit {
            self.list.push(candidate);
            self.new += 1;
        }
    }

    /// Bring the limit up to date for the best `wanted`, and drop what is above it.
    fn tighten(&mut self, wanted: usize) {
        self.new = 0;
        if self.list.len() < wanted {
            return;
        }
        let upper = |c: &Candidate| key(c.upper, c.index);
        let last = *self.list.select_nth_unstable_by_key(wanted - 1, upper).1;
        self.limit = self.limit.min(upper(&last));
        let limit = self.limit;
        self.list.retain(|c| key(c.lower, c.index) <= limit);
    }
}

/// What all workers share. Rows are numbered by their place in `order`, except in candidates.
struct Search<'a> {
    x: Matrix<'a>,
    norms: Vec<f32>,
    /// Neighbours beside the row itself.
    wanted: usize,
    order: &'a [u32],
    /// Place of each row of features.
    place: Vec<u32>,
    sketch: &'a Sketch,
    rows: Vec<Mutex<Vec<Row>>>,
    /// Upper bound of the k-th best distance of each row, bits.
    limits: Vec<AtomicU32>,
    /// Cost of the tiles so far, in thousandths of a full tile, and their number.
    cost: AtomicU64,
    tiles: AtomicU64,
    full: AtomicBool,
}

/// A pair and its bounds.
#[derive(Debug, Clone, Copy)]
struct Found {
    i: u32,
    j: u32,
    lower: f32,
    upper: f32,
}

/// What one worker owns.
#[derive(Default)]
struct Worker {
    scratch: Scratch,
    tile: Vec<f32>,
    refiner: Refiner,
    near: Vec<u32>,
    found: Vec<Found>,
    dots: Vec<f32>,
    listed: Vec<u32>,
}

/// Where each row is in `order`.
fn places(order: &[u32]) -> Vec<u32> {
    let mut place = vec![0; order.len()];
    for (p, &i) in order.iter().enumerate() {
        place[i as usize] = p as u32;
    }
    place
}

/// Rows finished by one task.
const ROWS: usize = 64;

fn lock(rows: &Mutex<Vec<Row>>) -> MutexGuard<'_, Vec<Row>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Search<'a> {
    fn new(x: Matrix<'a>, norms: &[f32], k: usize, order: &'a [u32], sketch: &'a Sketch) -> Self {
        let n = order.len();
        let new_row = |_| Row {
            list: Vec::new(),
            limit: u64::MAX,
            new: 0,
        };
        let infinite = |_| AtomicU32::new(f32::INFINITY.to_bits());
        Self {
            x,
            norms: order.iter().map(|&i| norms[i as usize]).collect(),
            wanted: k - 1,
            order,
            place: places(order),
            sketch,
            rows: (0..n.div_ceil(TILE))
                .map(|b| Mutex::new(block(b, TILE, n).map(new_row).collect()))
                .collect(),
            limits: (0..n).map(infinite).collect(),
            cost: AtomicU64::new(0),
            tiles: AtomicU64::new(0),
            full: AtomicBool::new(false),
        }
    }

    fn limit(&self, i: usize) -> f32 {
        f32::from_bits(self.limits[i].load(Ordering::Relaxed))
    }

    /// The row of features in place `i`.
    fn row(&self, i: usize) -> &[f32] {
        self.x.row(self.order[i] as usize)
    }

    fn tile(&self, worker: &mut Worker, coarse: Matrix<'_>, (b, c): (usize, usize)) {
        let n = self.order.len();
        let (r, s) = (block(b, TILE, n), block(c, TILE, n));
        worker.tile.resize(TILE * TILE, 0.0);
        worker.found.clear();
        let mut cost = 0.0;
        let mut full = self.full.load(Ordering::Relaxed);
        if !full {
            let out = &mut worker.tile[..r.len() * s.len()];
            let (scratch, rows, columns) = (&mut worker.scratch, r.clone(), s.clone());
            dots(coarse, rows, coarse, columns, scratch, out);
            if b == c {
                self.first_limits(worker, &r);
            }
            let near = self.near(worker, &r, &s, &self.sketch.lower);
            let fine = FINE * worker.near.len() as f64 / (r.len() * s.len()) as f64;
            cost += coarse.cols() as f64 / self.x.cols() as f64 + fine.min(1.0);
            full = fine > 1.0;
            if !full {
                self.refine(worker, &r, &near);
            }
        }
        if full {
            cost += 1.0;
            self.distances(worker, &r, &s);
        }
        self.offer(worker, b, c);
        // Too dear for too long: no more sketches. The first tiles are near the diagonal, and not like the rest.
        let all = (self.rows.len() * (self.rows.len() + 1) / 2) as u64;
        let cost = (1e3 * cost) as u64;
        let sum = self.cost.fetch_add(cost, Ordering::Relaxed) + cost;
        let tiles = self.tiles.fetch_add(1, Ordering::Relaxed) + 1;
        if 4 * tiles > all && sum > 900 * tiles {
            self.full.store(true, Ordering::Relaxed);
        }
    }

    /// Limits of the rows of a block from their own tile: the fine bounds of the pairs with the least coarse ones.
    fn first_limits(&self, worker: &mut Worker, rows: &Range<usize>) {
        if rows.len() <= self.wanted {
            return;
        }
        let mut bounds = Vec::with_capacity(rows.len());
        for (i, line) in rows.clone().zip(worker.tile.chunks_exact(rows.len())) {
            bounds.clear();
            for (j, &dot) in rows.clone().zip(line).filter(|&(j, _)| j != i) {
                let middle = self.sketch.lower[j] + 0.5 * self.sketch.width[j] - 2.0 * dot;
                bounds.push((middle, j as u32));
            }
            bounds.select_nth_unstable_by(self.wanted - 1, |a, b| a.0.total_cmp(&b.0));
            let best = bounds[..self.wanted].iter().map(|&(_, j)| j);
            worker.listed.clear();
            worker.listed.extend(best);
            let mut limit = 0.0_f32;
            let refiner = &mut worker.refiner;
            self.sketch
                .refine(self.row(i), i, &worker.listed, refiner, |_, _, upper| {
                    limit = limit.max(upper);
                });
            self.limits[i].fetch_min(limit.to_bits(), Ordering::Relaxed);
        }
    }

    /// Fine bounds of the pairs in `worker.near`, as many of each row as `near` says.
    fn refine(&self, worker: &mut Worker, r: &Range<usize>, near: &[usize]) {
        let mut lists = worker.near.as_slice();
        for (i, &len) in r.clone().zip(near) {
            let (list, rest) = lists.split_at(len);
            lists = rest;
            if list.is_empty() {
                continue;
            }
            let (limit, found) = (self.limit(i), &mut worker.found);
            let refiner = &mut worker.refiner;
            self.sketch
                .refine(self.row(i), i, list, refiner, |e, lower, upper| {
                    let (i, j) = (i as u32, list[e]);
                    if lower <= limit || lower <= self.limit(j as usize) {
                        found.push(Found { i, j, lower, upper });
                    }
                });
        }
    }

    /// The tile in full.
    fn distances(&self, worker: &mut Worker, r: &Range<usize>, s: &Range<usize>) {
        let d = self.x.cols();
        let copy = |rows: &Range<usize>| -> Vec<f32> {
            rows.clone().flat_map(|i| self.row(i)).copied().collect()
        };
        let (a, b) = (copy(r), copy(s));
        let (Ok(x), Ok(y)) = (Matrix::new(&a, r.len(), d), Matrix::new(&b, s.len(), d)) else {
            return;
        };
        let out = &mut worker.tile[..r.len() * s.len()];
        dots(x, 0..r.len(), y, 0..s.len(), &mut worker.scratch, out);
        let norms = &self.norms;
        let near = self.near(worker, r, s, norms);
        let mut lists = worker.near.iter();
        for ((i, &len), line) in (r.clone().zip(&near)).zip(worker.tile.chunks_exact(s.len())) {
            worker.found.extend(lists.by_ref().take(len).map(|&j| {
                let d = distance(norms[i], norms[j as usize], line[j as usize - s.start]);
                Found {
                    i: i as u32,
                    j,
                    lower: d,
                    upper: d,
                }
            }));
        }
    }

    /// Columns of the pairs of a tile of products with `share_i + share_j - 2 dot` within a limit, row after row, in
    /// `worker.near`; the number in each row.
    fn near(
        &self,
        worker: &mut Worker,
        r: &Range<usize>,
        s: &Range<usize>,
        shares: &[f32],
    ) -> Vec<usize> {
        const CHUNK: usize = 32;
        let limits: Vec<f32> = s.clone().map(|j| self.limit(j)).collect();
        worker.near.clear();
        let mut lengths = Vec::with_capacity(r.len());
        for (i, line) in r.clone().zip(worker.tile.chunks_exact(s.len())) {
            let (own, limit, before) = (shares[i], self.limit(i), worker.near.len());
            let first = if r == s { i + 1 } else { s.start };
            let ends = limits.chunks(CHUNK).zip(shares[s.clone()].chunks(CHUNK));
            for (c, (dots, (ends, others))) in line.chunks(CHUNK).zip(ends).enumerate() {
                let close = |((&dot, &end), &other): ((&f32, &f32), &f32)| {
                    let value = own + other - 2.0 * dot;
                    value <= limit || value <= end
                };
                // Counted instead of `any`: that is two vector comparisons.
                let values = dots.iter().zip(ends).zip(others);
                if values.clone().map(|v| u32::from(close(v))).sum::<u32>() == 0 {
                    continue;
                }
                let lo = s.start + c * CHUNK;
                let close = (lo..).zip(values).filter(|&(j, v)| close(v) && j >= first);
                worker.near.extend(close.map(|(j, _)| j as u32));
            }
            lengths.push(worker.near.len() - before);
        }
        lengths
    }

    /// Give what was found to the rows and, the other way round, to the columns.
    fn offer(&self, worker: &mut Worker, b: usize, c: usize) {
        let found = std::mem::take(&mut worker.found);
        for (b, turned) in [(b, false), (c, true)] {
            let mut rows = lock(&self.rows[b]);
            for pair in &found {
                let (i, j) = if turned {
                    (pair.j, pair.i)
                } else {
                    (pair.i, pair.j)
                };
                let row = &mut rows[i as usize - b * TILE];
                row.offer(Candidate {
                    lower: pair.lower,
                    upper: pair.upper,
                    index: self.order[j as usize],
                });
                if row.new > self.wanted + 64 {
                    self.tighten(worker, row, i as usize);
                }
            }
            for (i, row) in (b * TILE..).zip(rows.iter_mut()) {
                if row.new > 4 {
                    self.tighten(worker, row, i);
                }
            }
        }
        worker.found = found;
    }

    fn tighten(&self, worker: &mut Worker, row: &mut Row, i: usize) {
        row.tighten(self.wanted);
        // Bounds that cannot tell so many apart: distances can.
        if row.list.len() > 2 * self.wanted + 256 {
            self.score(worker, i, &mut row.list);
            row.tighten(self.wanted);
        }
        if row.limit < u64::MAX {
            self.limits[i].fetch_min((row.limit >> 32) as u32, Ordering::Relaxed);
        }
    }

    /// The distances of what is left for some rows; the best stay, in order.
    fn finish(&self, worker: &mut Worker, t: usize) {
        let (b, rows) = (t * ROWS / TILE, block(t, ROWS, self.order.len()));
        for i in rows {
            let mut list = std::mem::take(&mut lock(&self.rows[b])[i - b * TILE].list);
            let mut row = Row {
                list,
                limit: u64::MAX,
                new: 0,
            };
            row.tighten(self.wanted);
            list = row.list;
            self.score(worker, i, &mut list);
            list.sort_unstable_by_key(|c| key(c.lower, c.index));
            list.truncate(self.wanted);
            lock(&self.rows[b])[i - b * TILE].list = list;
        }
    }

    /// Put distances in the place of bounds.
    fn score(&self, worker: &mut Worker, i: usize, list: &mut [Candidate]) {
        worker.listed.clear();
        let open = list.iter().filter(|c| c.lower < c.upper);
        worker.listed.extend(open.map(|c| c.index));
        worker.dots.resize(worker.listed.len(), 0.0);
        dots_listed(self.row(i), self.x, &worker.listed, &mut worker.dots);
        let open = list.iter_mut().filter(|c| c.lower < c.upper);
        for (candidate, &dot) in open.zip(&worker.dots) {
            let j = self.place[candidate.index as usize] as usize;
            let d = distance(self.norms[i], self.norms[j], dot);
            (candidate.lower, candidate.upper) = (d, d);
        }
    }

    /// Each row itself and then its best.
    fn collect(self, k: usize) -> Neighbors {
        let n = self.order.len();
        let mut found = Neighbors {
            k,
            indices: vec![0; n * k],
            distances: vec![0.0; n * k],
        };
        let rows = self.rows.into_iter();
        let rows = rows.flat_map(|rows| rows.into_inner().unwrap_or_else(PoisonError::into_inner));
        for (&i, row) in self.order.iter().zip(rows) {
            let at = i as usize * k;
            found.indices[at] = i as i32;
            for (e, candidate) in (at + 1..).zip(&row.list) {
                found.indices[e] = candidate.index as i32;
                found.distances[e] = candidate.lower;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::neighbors::knn_full;
    use crate::product::squared_norms;
    use crate::sketch::tests::{KINDS, made};

    fn certified(x: Matrix<'_>, k: usize, dims: usize, threads: usize) -> Option<Neighbors> {
        let pool = Context::pool(threads).unwrap();
        let context = Context::quiet(&pool);
        let norms = squared_norms(x, "features", &context).unwrap();
        let sample = Sample::new(x, 300, dims, &context).unwrap()?;
        let dims = dims.min(sample.directions.len() / x.cols());
        let order = sample.order(x, TILE, &context).unwrap();
        let space = sample.subspace(dims);
        let sketch = Sketch::new(x, &norms, &order, space, &context).unwrap()?;
        Some(sketched(x, &norms, k, &order, &sketch, &context).unwrap())
    }

    fn full(x: Matrix<'_>, k: usize) -> Neighbors {
        let pool = Context::pool(2).unwrap();
        knn_full(x, k, &Context::quiet(&pool)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn equals_the_full_search(
            kind in 0..KINDS,
            n in 200_usize..1100,
            d in 8_usize..70,
            dims in 1_usize..8,
            k in prop_oneof![Just(2_usize), 3_usize..40, Just(usize::MAX)],
            threads in 1_usize..4,
            seed in 1_u64..1000,
        ) {
            let data = made(kind, n, d, seed);
            let x = Matrix::new(&data, n, d).unwrap();
            let k = k.min(n - 1);
            if let Some(found) = certified(x, k, dims, threads) {
                prop_assert!(found == full(x, k), "kind {} n {} d {} k {}", kind, n, d, k);
            }
        }
    }

    #[test]
    fn the_public_search_takes_it_and_gives_the_same_for_any_threads() {
        let (n, d, k) = (2200, 160, 30);
        for kind in 0..KINDS {
            let data = made(kind, n, d, 5);
            let x = Matrix::new(&data, n, d).unwrap();
            let want = full(x, k);
            let mut taken = false;
            for threads in [1, 2, 3, 7] {
                let pool = Context::pool(threads).unwrap();
                let context = Context::quiet(&pool);
                assert!(
                    crate::knn(x, None, k, &context).unwrap() == want,
                    "kind {kind}"
                );
                let norms = squared_norms(x, "features", &context).unwrap();
                taken = within(x, &norms, k, &context).unwrap().is_some();
            }
            // Low rank with noise, and the same far from the origin but not too far.
            assert!(taken || kind != 0, "kind {kind}");
            assert!(!taken || kind != 1, "isotropic noise has no subspace");
        }
    }
}
