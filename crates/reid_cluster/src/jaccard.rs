//! Jaccard distance of k-reciprocal neighbours (Zhong, Zheng, Cao, Li, *Re-ranking person re-identification with
//! k-reciprocal encoding*, CVPR 2017), as clustering methods use it: within one set, without the original distance.
//!
//! With `rank_i` the nearest points of `i`, itself first:
//!
//! 1. reciprocal sets `R(i, a) = { j in rank_i[..a] : i in rank_j[..a] }`: long ones `R_i` of depth k1, short ones `H_i` of
//!    depth k1/2 + 1;
//! 2. expansion: `E_i` = `R_i` and every `H_c`, `c` in `R_i`, of which more than two thirds lie in `R_i`;
//! 3. weights `V_ij = exp(-d_ij) / sum` over `E_i`;
//! 4. query expansion: `V'_i` = mean of `V_t` over `t` in `rank_i[..k2]`;
//! 5. `J_ij = 1 - s / (2 - s)` with `s = sum_l min(V'_il, V'_jl)`: rows sum to 1, so the sum of the maxima is `2 - s`.
//!
//! Everything is sparse. `s` is summed from a transposed copy of `V'`: row `i` visits, for each of its columns in ascending
//! order, the rows that share it. Both directions of a pair add the same terms in the same order: `J` is symmetric bit for bit.
//!
//! Cost after the neighbour search: about `N (S D + W)` with `S` = 30 to 60 entries in a row of `V` and `W` = 2,000 to 8,000
//! shared entries of a row of `V'` at k1 = 30, whatever `N` is; memory `O(N (k1 + S'))` and the pairs kept.

use rayon::prelude::*;

use crate::neighborhoods::neighborhoods;
use crate::sparse::SparseRows;
use crate::{Context, Error, Graph, Matrix, Result, memory};

/// Rows copied by one thread between two questions "go on?".
const TURNS: usize = 1 << 10;
/// Terms that a thread adds between two such questions: some 50 ms.
const ADDED: usize = 1 << 24;

/// Distance whose exponential weighs the neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// `2 - 2 x.y`: the squared distance of unit rows, and what the usual code computes for any rows.
    Inner,
    /// `|x|^2 + |y|^2 - 2 x.y`.
    SquaredEuclidean,
}

/// Parameters of the Jaccard distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JaccardParams {
    /// Reciprocal neighbours, at least 1; clipped to what there is.
    pub k1: usize,
    /// Rows averaged by query expansion, at least 1, which is none; clipped to the depth of the search.
    pub k2: usize,
    /// Does `k1` count the point itself?
    pub count_self: bool,
    /// Distance inside the weights.
    pub weights: Weights,
}

impl Default for JaccardParams {
    fn default() -> Self {
        Self {
            k1: 30,
            k2: 6,
            count_self: true,
            weights: Weights::Inner,
        }
    }
}

/// Neighbours found elsewhere, nearest first.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Row numbers (N, columns) row-major; -1 fills a list that is too short.
    pub indices: &'a [i32],
    /// Length of a list.
    pub columns: usize,
}

/// All distances, (N, N) row-major: the Jaccard distance of the neighbourhoods of two rows.
///
/// A neighbourhood is a distribution over the rows that are each other's neighbours, weighted by `exp(-d)` and averaged over the `k2`
/// nearest rows; the distance is 1 minus what two of them share over what they cover.
///
/// ```
/// use reid_cluster::{Context, JaccardParams, Matrix, jaccard};
///
/// let angles: [f32; 5] = [0.0, 0.1, 0.2, 3.0, 3.1];
/// let values: Vec<f32> = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
/// let pool = Context::pool(2)?;
/// let params = JaccardParams { k1: 3, k2: 1, ..JaccardParams::default() };
/// let d = jaccard(Matrix::new(&values, 5, 2)?, &params, None, &Context::quiet(&pool))?;
/// assert!(d[0] == 0.0 && d[1] < 0.02 && d[3] == 1.0); // from row 0 to itself, to 1, to 3
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for k1 or k2 of 0; [`Error::Shape`] for empty features, norms beyond float32, or neighbours that do not
/// fit; [`Error::NotFinite`]; [`Error::TooLarge`]; [`Error::Interrupted`].
pub fn jaccard(
    features: Matrix<'_>,
    params: &JaccardParams,
    neighbors: Option<Given<'_>>,
    context: &Context<'_>,
) -> Result<Vec<f32>> {
    let n = features.rows();
    memory::check(
        4 * n as u128 * n as u128,
        &format!("the Jaccard matrix of {n} x {n} float32"),
        "call jaccard_graph, which keeps close pairs only",
    )?;
    // First of all: what was free a moment ago is taken before the smaller arrays take their share.
    let mut distances = vec![0.0_f32; n * n];
    let vectors = neighborhoods(features, params, neighbors, context)?;
    let columns = vectors.transposed(context)?;
    let work = |i: usize| {
        let terms = vectors.row(i).iter();
        n + terms
            .map(|&(l, _)| columns.row(l as usize).len())
            .sum::<usize>()
    };
    let (mut first, mut rest) = (0, &mut distances[..]);
    while first < n {
        context.tick(first, n, "jaccard")?;
        let (mut last, mut sum) = (first, 0);
        while last < n && (sum < ADDED * context.threads() || last - first < context.threads()) {
            sum += work(last);
            last += 1;
        }
        let (rows, after) = rest.split_at_mut((last - first) * n);
        context.install(|| {
            rows.par_chunks_mut(n).enumerate().for_each(|(r, row)| {
                let i = first + r;
                for &(l, v) in vectors.row(i) {
                    for &(j, w) in columns.row(l as usize) {
                        row[j as usize] += v.min(w);
                    }
                }
                for s in row.iter_mut() {
                    *s = distance(*s);
                }
                row[i] = 0.0;
            });
        });
        (first, rest) = (last, after);
    }
    context.tick(n, n, "jaccard")?;
    Ok(distances)
}

/// The distances up to `max_distance`, both directions, with the diagonal and other zeros; at 1 every distance below 1.
///
/// The values have the bits of [`jaccard`]'s. After the neighbour search, time and memory grow with N alone.
///
/// ```
/// use reid_cluster::{Context, Given, JaccardParams, Matrix, jaccard_graph, knn};
///
/// let angles: [f32; 5] = [0.0, 0.1, 0.2, 3.0, 3.1];
/// let values: Vec<f32> = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
/// let features = Matrix::new(&values, 5, 2)?;
/// let pool = Context::pool(2)?;
/// let context = Context::quiet(&pool);
/// let params = JaccardParams { k1: 3, k2: 1, ..JaccardParams::default() };
/// let graph = jaccard_graph(features, &params, 0.5, None, &context)?;
/// assert_eq!(graph.row(0).0, [0, 1, 2]);
/// assert_eq!(graph.row(3).0, [3, 4]);
///
/// // The same from neighbours found before, or elsewhere.
/// let found = knn(features, None, 3, &context)?;
/// let given = Given { indices: &found.indices, columns: found.k };
/// assert_eq!(jaccard_graph(features, &params, 0.5, Some(given), &context)?, graph);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// As [`jaccard`]; [`Error::Parameter`] for a `max_distance` outside 0 to 1.
pub fn jaccard_graph(
    features: Matrix<'_>,
    params: &JaccardParams,
    max_distance: f32,
    neighbors: Option<Given<'_>>,
    context: &Context<'_>,
) -> Result<Graph<'static>> {
    if !(0.0..=1.0).contains(&max_distance) {
        return Err(Error::parameter(
            "max_distance",
            max_distance,
            "must be 0 to 1",
        ));
    }
    let vectors = neighborhoods(features, params, neighbors, context)?;
    let columns = vectors.transposed(context)?;
    let n = vectors.rows();
    let cut = f64::from(max_distance);
    let enough = ((2.0 - 2.0 * cut) / (2.0 - cut) - 1e-5) as f32; // a sum below it is beyond the cut
    // One sum a row of the whole set, and the rows whose sum is not 0.
    let sums = || (vec![0.0_f32; n], vec![0_i32; n + 1]);
    let upper = SparseRows::build(n, "jaccard", context, sums, |(sums, touched), i, out| {
        let mut count = 0;
        for &(l, v) in vectors.row(i) {
            let sharing = columns.row(l as usize);
            let after = sharing.partition_point(|&(j, _)| j as usize <= i);
            for &(j, w) in &sharing[after..] {
                let sum = &mut sums[j as usize];
                touched[count] = j; // without a branch: whether the row is new cannot be foreseen
                count += usize::from(*sum == 0.0);
                *sum += v.min(w);
            }
        }
        let start = out.len();
        for &j in &touched[..count] {
            let sum = std::mem::take(&mut sums[j as usize]);
            if sum < enough {
                continue;
            }
            let d = distance(sum);
            if d <= max_distance && d < 1.0 {
                out.push((j, d));
            }
        }
        out[start..].sort_unstable_by_key(|&(j, _)| j);
    })?;
    drop((vectors, columns));
    mirrored(&upper, context)
}

/// `1 - s / (2 - s)`, in float32 as published, not below 0.
pub(crate) fn distance(s: f32) -> f32 {
    let d = 1.0 - s / (2.0 - s);
    if d > 0.0 { d } else { 0.0 }
}

/// Both triangles and the diagonal from the upper one.
fn mirrored(upper: &SparseRows, context: &Context<'_>) -> Result<Graph<'static>> {
    let n = upper.rows();
    let entries = 2 * upper.len() + n;
    memory::check(
        8 * entries as u128,
        &format!("a graph of {entries} entries"),
        "lower max_distance",
    )?;
    let mut indptr = vec![1_i64; n + 1];
    indptr[0] = 0;
    for i in 0..n {
        if i % TURNS == 0 {
            context.tick(0, n, "graph")?;
        }
        indptr[i + 1] += upper.row(i).len() as i64;
        for &(j, _) in upper.row(i) {
            indptr[j as usize + 1] += 1;
        }
    }
    for i in 0..n {
        indptr[i + 1] += indptr[i];
    }
    let mut next = indptr.clone();
    let (mut indices, mut data) = (vec![0; entries], vec![0.0; entries]);
    let mut put = |i: usize, j: i32, d: f32| {
        let at = next[i] as usize;
        (indices[at], data[at]) = (j, d);
        next[i] += 1;
    };
    // Row i gets its smaller columns before its turn comes, so every row is ascending.
    for i in 0..n {
        if i % TURNS == 0 {
            context.tick(i, n, "graph")?;
        }
        put(i, i as i32, 0.0);
        for &(j, d) in upper.row(i) {
            put(i, j, d);
            put(j as usize, i as i32, d);
        }
    }
    context.tick(n, n, "graph")?;
    Ok(Graph {
        indptr: indptr.into(),
        indices: indices.into(),
        data: data.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Steps 1 to 5 on dense rows in f64, straight from the formulas.
    fn naive(x: Matrix<'_>, p: &JaccardParams) -> Vec<f64> {
        let n = x.rows();
        let product = |i: usize, j: usize| -> f64 {
            x.row(i)
                .iter()
                .zip(x.row(j))
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        let squared = |i, j| product(i, i) + product(j, j) - 2.0 * product(i, j);
        let k1 = p.k1.min(n - usize::from(!p.count_self));
        let long = k1 + usize::from(!p.count_self);
        let short = ((k1 as f64 / 2.0).round_ties_even() as usize + 1).min(long);
        let rank: Vec<Vec<usize>> = (0..n)
            .map(|i| {
                let mut list: Vec<usize> = (0..n).collect();
                let key = |j: usize| if i == j { -1.0 } else { squared(i, j) };
                list.sort_by(|&a, &b| key(a).total_cmp(&key(b)).then(a.cmp(&b)));
                list
            })
            .collect();
        let mutual = |i: usize, a: usize| -> Vec<usize> {
            rank[i][..a]
                .iter()
                .copied()
                .filter(|&j| rank[j][..a].contains(&i))
                .collect()
        };
        let mut v = vec![vec![0.0; n]; n];
        for (i, row) in v.iter_mut().enumerate() {
            let near = mutual(i, long);
            let mut set = near.clone();
            for &c in &near {
                let h = mutual(c, short);
                if 3 * h.iter().filter(|j| near.contains(j)).count() > 2 * h.len() {
                    set.extend(h);
                }
            }
            for &j in &set {
                row[j] = match p.weights {
                    Weights::Inner => (2.0 * product(i, j) - 2.0).exp(),
                    Weights::SquaredEuclidean => (-squared(i, j)).exp(),
                };
            }
            let sum: f64 = row.iter().sum();
            *row = row.iter().map(|w| w / sum).collect();
        }
        let rows = &rank;
        let k2 = p.k2.min(long);
        let v: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                (0..n)
                    .map(|l| rows[i][..k2].iter().map(|&t| v[t][l]).sum::<f64>() / k2 as f64)
                    .collect()
            })
            .collect();
        (0..n * n)
            .map(|at| {
                let (a, b) = (&v[at / n], &v[at % n]);
                let small: f64 = a.iter().zip(b).map(|(p, q)| p.min(*q)).sum();
                let large: f64 = a.iter().zip(b).map(|(p, q)| p.max(*q)).sum();
                1.0 - small / large
            })
            .collect()
    }

    /// Small integers: products are exact, so that ties are ties in every order of sums.
    fn lattice() -> impl Strategy<Value = (Vec<f32>, usize)> {
        (1_usize..24).prop_flat_map(|n| {
            let values = prop::collection::vec((-2_i8..3).prop_map(|v| f32::from(v) / 2.0), n * 3);
            (values, Just(n))
        })
    }

    proptest! {
        #[test]
        fn equals_the_formulas(
            (data, n) in lattice(),
            (k1, k2) in (1_usize..30, 1_usize..8),
            count_self: bool,
            inner: bool,
            cut in 0_u8..=10,
        ) {
            let x = Matrix::new(&data, n, 3).unwrap();
            let weights = if inner { Weights::Inner } else { Weights::SquaredEuclidean };
            let params = JaccardParams { k1, k2, count_self, weights };
            let pool = Context::pool(2).unwrap();
            let context = Context::quiet(&pool);
            let dense = jaccard(x, &params, None, &context).unwrap();
            for (found, wanted) in dense.iter().zip(naive(x, &params)) {
                prop_assert!((f64::from(*found) - wanted).abs() < 2e-6, "{found} {wanted}");
                prop_assert!((0.0..=1.0).contains(found));
            }
            let cut = f32::from(cut) / 10.0;
            let graph = jaccard_graph(x, &params, cut, None, &context).unwrap();
            for i in 0..n {
                let kept = |&j: &usize| dense[i * n + j] <= cut && (dense[i * n + j] < 1.0);
                let wanted: Vec<usize> = (0..n).filter(kept).collect();
                let (columns, values) = graph.row(i);
                let columns: Vec<usize> = columns.iter().map(|&j| j as usize).collect();
                prop_assert_eq!(&columns, &wanted);
                for (&j, v) in columns.iter().zip(values) {
                    prop_assert_eq!(v.to_bits(), dense[i * n + j].to_bits());
                    prop_assert_eq!(v.to_bits(), dense[j * n + i].to_bits());
                }
            }
        }
    }

    #[test]
    fn huge_products_neither_overflow_nor_become_nan() {
        let data = [1e18_f32, 0.0, 0.0, 1e18, -1e18, 0.0, 1e-30, 0.0];
        let x = Matrix::new(&data, 4, 2).unwrap();
        let pool = Context::pool(1).unwrap();
        for weights in [Weights::Inner, Weights::SquaredEuclidean] {
            let params = JaccardParams {
                k1: 3,
                k2: 2,
                count_self: true,
                weights,
            };
            let found = jaccard(x, &params, None, &Context::quiet(&pool)).unwrap();
            assert!(found.iter().all(|d| (0.0..=1.0).contains(d)), "{found:?}");
        }
    }
}
