//! The nearest of given candidates: distances of `neighbors`, bit for bit, to the rows named for each query only.
//!
//! An approximate search (a GPU, an index) names a few more rows than wanted, quickly and in any order; these are
//! measured again here. Queries that follow each other often share candidates, so a few queries and the union of
//! their candidates, gathered into one block, are one call of `product`.
//!
//! Cost: .6 ns (shared candidates) to 1 ns per candidate and column on one core, some thirty times what a pair costs
//! in a full search; memory O(Q k) beside the candidates and a few MB a thread.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::jaccard::Given;
use crate::neighbors::{check_shape, distance};
use crate::product::{Scratch, dots, squared_norms};
use crate::{Context, Error, Matrix, Neighbors, Result, memory};

/// Queries per call of `product`: its panel of heads.
const GROUP: usize = 12;
/// Candidates gathered at a time: 1 MiB at D = 2048.
const GATHER: usize = 128;
/// Candidates of a group, so that a group takes some 100 ms at most.
const SHARE: usize = 1 << 16;

/// The `k` nearest of its candidates for every query, or for every row of `features` itself.
///
/// List i of `candidates` belongs to query i; order and repeats do not matter, -1 is none. As in [`crate::knn`], without
/// queries a row is its own first neighbour, whether it is among its candidates or not.
///
/// # Errors
/// [`Error::Parameter`] when k is 0; [`Error::Shape`] for empty or unequal shapes, norms beyond float32, candidates out of
/// range, or a list of fewer than k rows; [`Error::NotFinite`]; [`Error::TooLarge`]; [`Error::Interrupted`].
pub fn knn_among(
    features: Matrix<'_>,
    queries: Option<Matrix<'_>>,
    candidates: Given<'_>,
    k: usize,
    context: &Context<'_>,
) -> Result<Neighbors> {
    check_shape(features, "features")?;
    let q = queries.unwrap_or(features);
    check_shape(q, "queries")?;
    if q.cols() != features.cols() {
        return Err(Error::Shape(format!(
            "queries has {} columns and features {}: both need the same",
            q.cols(),
            features.cols()
        )));
    }
    if k == 0 {
        return Err(Error::parameter("k", k, "must be at least 1"));
    }
    context.install(|| check_lists(candidates, q.rows(), features.rows()))?;
    memory::check(
        8 * q.rows() as u128 * k as u128,
        &format!("k={k} neighbours of {} rows", q.rows()),
        "take a smaller k, or fewer queries at a time",
    )?;
    features.check_finite("features", context)?;
    let norms = squared_norms(features, "features", context)?;
    let q_norms = match queries {
        None => None,
        Some(q) => {
            q.check_finite("queries", context)?;
            Some(squared_norms(q, "queries", context)?)
        }
    };
    let search = Search {
        x: features,
        norms: &norms,
        q,
        q_norms: q_norms.as_deref().unwrap_or(&norms),
        own: queries.is_none(),
        candidates,
        k,
    };
    search.run(context)
}

/// One list a query, of row numbers or -1.
fn check_lists(lists: Given<'_>, rows: usize, n: usize) -> Result<()> {
    let columns = lists.columns;
    if rows.checked_mul(columns) != Some(lists.indices.len()) {
        return Err(Error::Shape(format!(
            "candidates has {} entries in {columns} columns for {rows} queries: give one list a query",
            lists.indices.len()
        )));
    }
    let wrong = |j: &i32| *j < -1 || *j >= n as i32;
    match lists.indices.par_iter().position_first(wrong) {
        None => Ok(()),
        Some(at) => Err(Error::Shape(format!(
            "candidates[{}, {}] is {}: must be 0 to {}, or -1 for none",
            at / columns,
            at % columns,
            lists.indices[at],
            n - 1
        ))),
    }
}

struct Search<'a> {
    x: Matrix<'a>,
    norms: &'a [f32],
    q: Matrix<'a>,
    q_norms: &'a [f32],
    /// Queries are the rows of `x`.
    own: bool,
    candidates: Given<'a>,
    k: usize,
}

/// What one thread owns.
#[derive(Default)]
struct Worker {
    scratch: Scratch,
    /// Candidates of a group, ascending.
    union: Vec<i32>,
    /// Their rows, some at a time.
    rows: Vec<f32>,
    tile: Vec<f32>,
    /// Products of each query of the group with the whole union.
    dots: Vec<f32>,
    /// (distance bits, index) of one query, which order as (distance, index).
    keys: Vec<u64>,
    /// A list with fewer than k rows: the query and how many there are.
    short: Option<(usize, usize)>,
}

impl Search<'_> {
    fn run(&self, context: &Context<'_>) -> Result<Neighbors> {
        let (rows, k) = (self.q.rows(), self.k);
        let (mut indices, mut distances) = (vec![0; rows * k], vec![0.0; rows * k]);
        let group = (SHARE / self.candidates.columns.max(1)).clamp(1, GROUP);
        let outs = indices
            .chunks_mut(group * k)
            .zip(distances.chunks_mut(group * k));
        let outs: Vec<_> = outs.map(Mutex::new).collect();
        let workers = context.queue(outs.len(), "knn", Worker::default, |worker, g| {
            let r = g * group..rows.min((g + 1) * group);
            let mut out = outs[g].lock().unwrap_or_else(PoisonError::into_inner);
            self.measure(worker, &r);
            for i in r.clone() {
                self.sort(worker, i, i - r.start);
                let at = (i - r.start) * k;
                for (e, &key) in worker.keys.iter().take(k).enumerate() {
                    out.0[at + e] = key as u32 as i32;
                    out.1[at + e] = f32::from_bits((key >> 32) as u32);
                }
            }
        })?;
        drop(outs);
        if let Some((row, found)) = workers.iter().filter_map(|worker| worker.short).min() {
            return Err(Error::Shape(format!(
                "candidates[{row}] names {found} rows: k={k} needs at least {k}"
            )));
        }
        Ok(Neighbors {
            k,
            indices,
            distances,
        })
    }

    fn list(&self, i: usize) -> &[i32] {
        &self.candidates.indices[i * self.candidates.columns..][..self.candidates.columns]
    }

    /// Fill `union` and `dots` for the queries `r`.
    fn measure(&self, worker: &mut Worker, r: &Range<usize>) {
        let Worker {
            scratch,
            union,
            rows,
            tile,
            dots: all,
            ..
        } = worker;
        union.clear();
        for i in r.clone() {
            union.extend(self.list(i).iter().filter(|&&j| j >= 0));
        }
        union.sort_unstable();
        union.dedup();
        all.clear();
        all.resize(r.len() * union.len(), 0.0);
        for (c, ids) in union.chunks(GATHER).enumerate() {
            rows.clear();
            for &j in ids {
                rows.extend_from_slice(self.x.row(j as usize));
            }
            let Ok(gathered) = Matrix::new(rows, ids.len(), self.x.cols()) else {
                continue; // cannot be: as many rows were copied
            };
            tile.resize(r.len() * ids.len(), 0.0);
            dots(self.q, r.clone(), gathered, 0..ids.len(), scratch, tile);
            for (line, part) in all
                .chunks_exact_mut(union.len())
                .zip(tile.chunks_exact(ids.len()))
            {
                line[c * GATHER..][..ids.len()].copy_from_slice(part);
            }
        }
    }

    /// Fill `keys` for query `i`, line `line` of the group.
    fn sort(&self, worker: &mut Worker, i: usize, line: usize) {
        let Worker {
            union, dots, keys, ..
        } = worker;
        keys.clear();
        for &j in self.list(i) {
            let own = self.own && j as usize == i;
            if let Ok(at) = union.binary_search(&j)
                && !own
            {
                let dot = dots[line * union.len() + at];
                let d = distance(self.q_norms[i], self.norms[j as usize], dot);
                keys.push(u64::from(d.to_bits()) << 32 | j as u64);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        if self.own {
            keys.insert(0, i as u64);
        }
        if keys.len() < self.k {
            let found = (i, keys.len());
            worker.short = Some(worker.short.map_or(found, |other| other.min(found)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::knn;

    /// Whole numbers: ties and exact copies are common.
    fn rows() -> impl Strategy<Value = (Vec<f32>, usize, usize)> {
        (1_usize..60, 1_usize..5).prop_flat_map(|(n, d)| {
            let value = (-3_i8..4).prop_map(f32::from);
            (prop::collection::vec(value, n * d), Just(n), Just(d))
        })
    }

    proptest! {
        #[test]
        fn among_all_rows_it_is_knn((data, n, d) in rows(), k in 1_usize..60, threads in 1_usize..4, shift in 0_usize..60) {
            let x = Matrix::new(&data, n, d).unwrap();
            let k = k.min(n);
            let pool = Context::pool(threads).unwrap();
            let context = Context::quiet(&pool);
            // every row, from another start on in each list, the first one twice
            let lists: Vec<i32> = (0..n)
                .flat_map(|i| (0..=n).map(move |c| ((c + i * shift) % n) as i32))
                .collect();
            let all = Given { indices: &lists, columns: n + 1 };
            prop_assert_eq!(knn_among(x, None, all, k, &context).unwrap(), knn(x, None, k, &context).unwrap());
            prop_assert_eq!(knn_among(x, Some(x), all, k, &context).unwrap(), knn(x, Some(x), k, &context).unwrap());
        }
    }

    #[test]
    fn looks_at_the_candidates_only() {
        let pool = Context::pool(3).unwrap();
        let context = Context::quiet(&pool);
        let x = Matrix::new(&[0.0, 1.0, 2.0, 3.0, 3.0], 5, 1).unwrap();
        let lists = [3, 2, 0, 2, 2, -1, 0, 4, 3, 4, 3, 0, 0, 1, 2];
        let lists = Given {
            indices: &lists,
            columns: 3,
        };
        let found = knn_among(x, None, lists, 2, &context).unwrap();
        assert_eq!(found.indices, [0, 2, 1, 2, 2, 3, 3, 4, 4, 2]);
        assert_eq!(
            found.distances,
            [0.0, 4.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        );
        let q = Matrix::new(&[1.2], 1, 1).unwrap();
        let one = Given {
            indices: &[4, 3, 0],
            columns: 3,
        };
        assert_eq!(
            knn_among(x, Some(q), one, 2, &context).unwrap().indices,
            [0, 3]
        );
    }

    #[test]
    fn long_lists_and_threads_give_the_same_bits() {
        let (n, d, k) = (700, 33, 9);
        let data: Vec<f32> = (0..n * d)
            .map(|i| ((i * 7919) % 61) as f32 * 0.37)
            .collect();
        let x = Matrix::new(&data, n, d).unwrap();
        let lists: Vec<i32> = (0..n).flat_map(|_| 0..n as i32).collect();
        let all = Given {
            indices: &lists,
            columns: n,
        };
        let pool = Context::pool(1).unwrap();
        let want = knn(x, None, k, &Context::quiet(&pool)).unwrap();
        for threads in [1, 2, 3, 7] {
            let pool = Context::pool(threads).unwrap();
            let found = knn_among(x, None, all, k, &Context::quiet(&pool)).unwrap();
            assert_eq!(found, want);
        }
    }

    #[test]
    fn arguments_are_checked() {
        let pool = Context::pool(2).unwrap();
        let context = Context::quiet(&pool);
        let x = Matrix::new(&[0.0, 1.0, 2.0], 3, 1).unwrap();
        let text = |q, indices: &[i32], columns, k| {
            let lists = Given { indices, columns };
            knn_among(x, q, lists, k, &context).unwrap_err().to_string()
        };
        let lists = [0, 1, 1, 2, 2, 0];
        assert!(text(None, &lists, 2, 0).contains("k=0"));
        assert!(text(None, &lists, 2, 3).contains("candidates[0] names 2 rows: k=3"));
        assert!(text(None, &[0, 1, 1, -1, 2, 0], 2, 2).contains("candidates[1] names 1 rows"));
        assert!(text(None, &[0, 1, 1, 2, 3, 0], 2, 1).contains("candidates[2, 0] is 3"));
        assert!(text(None, &[0, -2, 1, 2, 2, 0], 2, 1).contains("candidates[0, 1] is -2"));
        assert!(text(None, &lists, 3, 1).contains("6 entries in 3 columns for 3 queries"));
        assert!(text(None, &[], 0, 2).contains("candidates[0] names 1 rows: k=2"));
        let q = Matrix::new(&[0.0; 2], 1, 2).unwrap();
        assert!(text(Some(q), &[0], 1, 1).contains("queries has 2 columns"));
        let bad = Matrix::new(&[f32::NAN], 1, 1).unwrap();
        assert!(text(Some(bad), &[0], 1, 1).contains("queries has NaN"));
    }
}
