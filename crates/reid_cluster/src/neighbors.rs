//! Exact nearest neighbours by squared Euclidean distance, `d(x, y) = max(0, |x|^2 + |y|^2 - 2 x.y)` in
//! float32.
//!
//! The distance matrix is made tile by tile and never kept. Within one set of rows only the upper triangle of
//! tiles is computed, each tile serves its rows and its columns. A row keeps its k best in a heap ordered by
//! (distance, index), a total order, so that the result depends neither on the order of the tiles nor on the
//! number of threads.
//!
//! Within one set most pairs need no more than bounds: `candidates`, with the same result bit for bit. What follows is
//! the search for all other cases, and for data where bounds do not pay.
//!
//! Cost: N^2 D / 2 multiply-adds (Q N D with queries) and O(N k) memory beside one tile of 1 MiB a thread.
//! Features with a large common offset lose digits in `|x|^2 + |y|^2 - 2 x.y`; centre them first.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::product::{Scratch, dots, dots_upper, squared_norms};
use crate::{Context, Error, Matrix, Result, candidates, memory};

/// The k nearest rows of every query, nearest first, ties by the smaller index.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    /// Neighbours per query.
    pub k: usize,
    /// Row numbers of the features, `(Q, k)` row-major.
    pub indices: Vec<i32>,
    /// Squared Euclidean distances, `(Q, k)` row-major.
    pub distances: Vec<f32>,
}

/// Rows and columns of a tile: 10 ms of work at D = 2048.
pub(crate) const TILE: usize = 512;

/// The `k` nearest rows of `features` for every query, or for every row of `features` itself.
///
/// Without queries a row is its own first neighbour at distance 0, before any exact copy of it.
///
/// ```
/// use reid_cluster::{Context, Matrix, knn};
///
/// let values = [0.0, 3.0, 1.0];
/// let features = Matrix::new(&values, 3, 1)?;
/// let pool = Context::pool(2)?;
/// let found = knn(features, None, 2, &Context::quiet(&pool))?;
/// assert_eq!(found.indices, [0, 2, 1, 2, 2, 0]); // two a row
/// assert_eq!(found.distances, [0.0, 1.0, 0.0, 4.0, 0.0, 1.0]);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] when k is 0 or above the number of rows; [`Error::Shape`] for empty or unequal shapes
/// and for norms beyond float32; [`Error::NotFinite`]; [`Error::TooLarge`] for 2^31 rows;
/// [`Error::Interrupted`].
pub fn knn(
    features: Matrix<'_>,
    queries: Option<Matrix<'_>>,
    k: usize,
    context: &Context<'_>,
) -> Result<Neighbors> {
    let n = features.rows();
    check_shape(features, "features")?;
    if k == 0 || k > n {
        return Err(Error::parameter(
            "k",
            k,
            format!("must be 1 to {n}, the number of rows of features"),
        ));
    }
    let rows = queries.map_or(n, |q| q.rows());
    // 8 bytes a key in the heaps and 8 in the result.
    memory::check(
        16 * rows as u128 * k as u128,
        &format!("k={k} neighbours of {rows} rows"),
        "take a smaller k, or fewer queries at a time",
    )?;
    features.check_finite("features", context)?;
    let norms = squared_norms(features, "features", context)?;
    let Some(queries) = queries else {
        return match candidates::within(features, &norms, k, context)? {
            Some(found) => Ok(found),
            None => within(features, &norms, k, context),
        };
    };
    check_shape(queries, "queries")?;
    if queries.cols() != features.cols() {
        return Err(Error::Shape(format!(
            "queries has {} columns and features {}: both need the same",
            queries.cols(),
            features.cols()
        )));
    }
    queries.check_finite("queries", context)?;
    let query_norms = squared_norms(queries, "queries", context)?;
    between(queries, &query_norms, features, &norms, k, context)
}

/// The full search within `features`, whatever the data: what [`knn`] is compared with.
///
/// # Errors
/// As [`knn`].
#[doc(hidden)]
pub fn knn_full(features: Matrix<'_>, k: usize, context: &Context<'_>) -> Result<Neighbors> {
    features.check_finite("features", context)?;
    let norms = squared_norms(features, "features", context)?;
    within(features, &norms, k, context)
}

/// The products of all pairs of rows and nothing else: the floor of a full search.
///
/// # Errors
/// [`Error::Interrupted`].
#[doc(hidden)]
pub fn product_floor(features: Matrix<'_>, context: &Context<'_>) -> Result<()> {
    let n = features.rows();
    let tiles = upper_tiles(n.div_ceil(TILE));
    let queue = context.queue(tiles.len(), "product", Worker::default, |worker, t| {
        let (r, s) = (block(tiles[t].0, TILE, n), block(tiles[t].1, TILE, n));
        let out = &mut worker.tile[..r.len() * s.len()];
        if r == s {
            dots_upper(features, r, &mut worker.scratch, out);
        } else {
            dots(features, r, features, s, &mut worker.scratch, out);
        }
    });
    queue.map(drop)
}

/// At least one row and one column, and row numbers that fit an i32.
pub(crate) fn check_shape(x: Matrix<'_>, name: &str) -> Result<()> {
    let (n, d) = (x.rows(), x.cols());
    if n == 0 || d == 0 {
        let what = if n == 0 { "0 samples" } else { "0 features" };
        return Err(Error::Shape(format!(
            "{name} has shape ({n}, {d}), {what}: at least one row and one column are needed"
        )));
    }
    if i32::try_from(n).is_err() {
        return Err(Error::Shape(format!(
            "{name} has {n} rows: at most 2^31 - 1 can be numbered"
        )));
    }
    Ok(())
}

/// Block pairs (b, c) with b <= c, nearest to the diagonal first: pairs that follow each other share no
/// block, so that workers seldom wait for one, and data sorted by identity meets its neighbours early.
pub(crate) fn upper_tiles(blocks: usize) -> Vec<(usize, usize)> {
    (0..blocks)
        .flat_map(|gap| (0..blocks - gap).map(move |b| (b, b + gap)))
        .collect()
}

/// Rows of block `b`.
pub(crate) fn block(b: usize, step: usize, n: usize) -> Range<usize> {
    b * step..n.min((b + 1) * step)
}

fn within(x: Matrix<'_>, norms: &[f32], k: usize, context: &Context<'_>) -> Result<Neighbors> {
    let n = x.rows();
    // The row itself is added at the end, the heaps hold the others.
    let best = heaps(n, k - 1);
    let tiles = if k == 1 {
        Vec::new()
    } else {
        upper_tiles(best.len())
    };
    context.queue(tiles.len(), "knn", Worker::default, |worker, t| {
        let (b, c) = tiles[t];
        let (r, s) = (block(b, TILE, n), block(c, TILE, n));
        let out = worker.tile.get_mut(..r.len() * s.len()).unwrap_or_default();
        if b == c {
            dots_upper(x, r.clone(), &mut worker.scratch, out);
            let mut rows = lock(&best[b]);
            for i in r.clone() {
                for j in i + 1..r.end {
                    let d = distance(
                        norms[i],
                        norms[j],
                        out[(i - r.start) * r.len() + j - r.start],
                    );
                    rows.offer(i - r.start, d, j);
                    rows.offer(j - r.start, d, i);
                }
            }
        } else {
            dots(x, r.clone(), x, s.clone(), &mut worker.scratch, out);
            // b < c: locks are always taken in ascending order.
            let (mut rows, mut cols) = (lock(&best[b]), lock(&best[c]));
            scan(out, norms, &r, norms, &s, &mut rows, Some(&mut cols));
        }
    })?;
    Ok(collect(best, n, k, true))
}

fn between(
    q: Matrix<'_>,
    q_norms: &[f32],
    x: Matrix<'_>,
    norms: &[f32],
    k: usize,
    context: &Context<'_>,
) -> Result<Neighbors> {
    let (m, n) = (q.rows(), x.rows());
    let best = heaps(m, k);
    let blocks = best.len();
    context.queue(
        blocks * n.div_ceil(TILE),
        "knn",
        Worker::default,
        |worker, t| {
            let (b, c) = (t % blocks, t / blocks);
            let (r, s) = (block(b, TILE, m), block(c, TILE, n));
            let out = worker.tile.get_mut(..r.len() * s.len()).unwrap_or_default();
            dots(q, r.clone(), x, s.clone(), &mut worker.scratch, out);
            scan(out, q_norms, &r, norms, &s, &mut lock(&best[b]), None);
        },
    )?;
    Ok(collect(best, m, k, false))
}

/// What one thread owns.
struct Worker {
    scratch: Scratch,
    tile: Vec<f32>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            scratch: Scratch::default(),
            tile: vec![0.0; TILE * TILE],
        }
    }
}

/// `max(0, a + b - 2 dot)`; never -0.
#[inline]
pub(crate) fn distance(a: f32, b: f32, dot: f32) -> f32 {
    let d = a + b - 2.0 * dot;
    if d > 0.0 { d } else { 0.0 }
}

/// Offer every distance of a tile to its row, and to its column when `cols` is there.
pub(crate) fn scan(
    dots: &mut [f32],
    r_norms: &[f32],
    r: &Range<usize>,
    s_norms: &[f32],
    s: &Range<usize>,
    rows: &mut Heaps,
    mut cols: Option<&mut Heaps>,
) {
    const CHUNK: usize = 32;
    let s_norms = &s_norms[s.clone()];
    let none = vec![-1.0; s.len()];
    for (i, line) in dots.chunks_exact_mut(s.len()).enumerate() {
        let norm = r_norms[r.start + i];
        for (value, &other) in line.iter_mut().zip(s_norms) {
            *value = distance(norm, other, *value);
        }
        for (c, chunk) in line.chunks(CHUNK).enumerate() {
            let limit = rows.limits[i];
            let lo = c * CHUNK;
            let limits = cols.as_ref().map_or(&none, |cols| &cols.limits);
            // Counted instead of `any`: that is two vector comparisons.
            let ends = chunk.iter().zip(&limits[lo..lo + chunk.len()]);
            let near = ends.map(|(&d, &other)| u32::from(d <= limit) | u32::from(d <= other));
            if near.sum::<u32>() == 0 {
                continue;
            }
            for (e, &d) in chunk.iter().enumerate() {
                rows.offer(i, d, s.start + lo + e);
                if let Some(cols) = &mut cols {
                    cols.offer(lo + e, d, r.start + i);
                }
            }
        }
    }
}

/// The best `k` of each row of one block: max-heaps of keys (distance bits, index), which order as (distance,
/// index) because distances are not negative.
pub(crate) struct Heaps {
    k: usize,
    keys: Vec<u64>,
    /// Largest distance that can still enter; infinite until the heap is full.
    limits: Vec<f32>,
}

/// A place not yet taken: above every key.
const FREE: u64 = u64::MAX;

impl Heaps {
    pub(crate) fn new(rows: usize, k: usize) -> Self {
        Self {
            k,
            keys: vec![FREE; rows * k],
            limits: vec![f32::INFINITY; rows],
        }
    }

    #[inline]
    pub(crate) fn offer(&mut self, row: usize, distance: f32, index: usize) {
        if distance <= self.limits[row] {
            self.insert(row, distance, index);
        }
    }

    fn insert(&mut self, row: usize, distance: f32, index: usize) {
        let key = u64::from(distance.to_bits()) << 32 | index as u64;
        let heap = &mut self.keys[row * self.k..(row + 1) * self.k];
        if heap.is_empty() || key >= heap[0] {
            return;
        }
        let mut hole = 0;
        loop {
            let (left, right) = (2 * hole + 1, 2 * hole + 2);
            let Some(&a) = heap.get(left) else { break };
            let (child, larger) = match heap.get(right) {
                Some(&b) if b > a => (right, b),
                _ => (left, a),
            };
            if larger <= key {
                break;
            }
            heap[hole] = larger;
            hole = child;
        }
        heap[hole] = key;
        if heap[0] != FREE {
            self.limits[row] = f32::from_bits((heap[0] >> 32) as u32);
        }
    }
}

fn heaps(rows: usize, k: usize) -> Vec<Mutex<Heaps>> {
    (0..rows.div_ceil(TILE))
        .map(|b| Mutex::new(Heaps::new(block(b, TILE, rows).len(), k)))
        .collect()
}

pub(crate) fn lock(heaps: &Mutex<Heaps>) -> std::sync::MutexGuard<'_, Heaps> {
    heaps.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sort the heaps and lay them out; `own` puts each row itself in front.
pub(crate) fn collect(best: Vec<Mutex<Heaps>>, rows: usize, k: usize, own: bool) -> Neighbors {
    let mut indices = Vec::with_capacity(rows * k);
    let mut distances = Vec::with_capacity(rows * k);
    for heaps in best {
        let mut heaps = heaps.into_inner().unwrap_or_else(PoisonError::into_inner);
        let width = heaps.k;
        for row in 0..heaps.limits.len() {
            if own {
                indices.push((indices.len() / k) as i32);
                distances.push(0.0);
            }
            let heap = &mut heaps.keys[row * width..(row + 1) * width];
            heap.sort_unstable();
            indices.extend(heap.iter().map(|&key| key as u32 as i32));
            distances.extend(heap.iter().map(|&key| f32::from_bits((key >> 32) as u32)));
        }
    }
    Neighbors {
        k,
        indices,
        distances,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: all distances of each query, sorted by (distance, index), itself first.
    fn naive(x: Matrix<'_>, q: Option<Matrix<'_>>, k: usize) -> Neighbors {
        let dot = |a: &[f32], b: &[f32]| {
            let mut out = [0.0];
            let (a, b) = (
                Matrix::new(a, 1, a.len()).unwrap(),
                Matrix::new(b, 1, b.len()).unwrap(),
            );
            dots(a, 0..1, b, 0..1, &mut Scratch::default(), &mut out);
            out[0]
        };
        let queries = q.unwrap_or(x);
        let mut found = Neighbors {
            k,
            indices: Vec::new(),
            distances: Vec::new(),
        };
        for i in 0..queries.rows() {
            let a = queries.row(i);
            let mut all: Vec<(f32, bool, usize)> = (0..x.rows())
                .map(|j| {
                    let b = x.row(j);
                    let own = q.is_none() && i == j;
                    let d = if own {
                        0.0
                    } else {
                        distance(dot(a, a), dot(b, b), dot(a, b))
                    };
                    (d, !own, j)
                })
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
            found
                .indices
                .extend(all.iter().take(k).map(|found| found.2 as i32));
            found
                .distances
                .extend(all.iter().take(k).map(|found| found.0));
        }
        found
    }

    /// Whole numbers: ties and exact copies are common.
    fn rows(n: std::ops::Range<usize>) -> impl Strategy<Value = (Vec<f32>, usize, usize)> {
        (n, 1_usize..5).prop_flat_map(|(n, d)| {
            let value = (-3_i8..4).prop_map(f32::from);
            (prop::collection::vec(value, n * d), Just(n), Just(d))
        })
    }

    proptest! {
        #[test]
        fn equals_naive((data, n, d) in rows(1..40), k in 1_usize..40, threads in 1_usize..4, queries in 0_usize..20) {
            let x = Matrix::new(&data, n, d).unwrap();
            let k = k.min(n);
            let pool = Context::pool(threads).unwrap();
            let context = Context::quiet(&pool);
            prop_assert_eq!(knn(x, None, k, &context).unwrap(), naive(x, None, k));
            let m = queries.min(n).max(1);
            let q = Matrix::new(&data[..m * d], m, d).unwrap();
            prop_assert_eq!(knn(x, Some(q), k, &context).unwrap(), naive(x, Some(q), k));
        }
    }

    #[test]
    fn several_tiles_and_threads_give_the_same_bits() {
        let (n, d) = (2 * TILE + 77, 3);
        let data: Vec<f32> = (0..n * d).map(|i| ((i * 7919) % 31) as f32).collect();
        let x = Matrix::new(&data, n, d).unwrap();
        let want = naive(x, None, 9);
        for threads in [1, 2, 3, 7] {
            let pool = Context::pool(threads).unwrap();
            assert_eq!(knn(x, None, 9, &Context::quiet(&pool)).unwrap(), want);
            let all = knn(x, Some(x), 9, &Context::quiet(&pool)).unwrap();
            assert_eq!(all, naive(x, Some(x), 9));
        }
    }

    #[test]
    fn arguments_are_checked() {
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let text = |x: Matrix<'_>, q, k| knn(x, q, k, &context).unwrap_err().to_string();
        let x = Matrix::new(&[0.0; 6], 3, 2).unwrap();
        assert!(text(x, None, 0).contains("k=0"));
        assert!(text(x, None, 4).contains("k=4"));
        let q = Matrix::new(&[0.0; 6], 2, 3).unwrap();
        assert!(text(x, Some(q), 1).contains("queries has 3 columns"));
        assert!(text(Matrix::new(&[], 0, 2).unwrap(), None, 1).contains("0 samples"));
        assert!(text(Matrix::new(&[], 2, 0).unwrap(), None, 1).contains("0 features"));
        assert!(text(x, Some(Matrix::new(&[], 0, 2).unwrap()), 1).contains("queries"));
    }
}
