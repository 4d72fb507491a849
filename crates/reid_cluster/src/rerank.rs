//! Re-ranking with k-reciprocal encoding (Zhong, Zheng, Cao, Li, *Re-ranking person re-identification with k-reciprocal
//! encoding*, CVPR 2017), as the authors published it.
//!
//! Queries and gallery are joined to n = Q + G points with squared distances `D`. With `d_ij = D_ji / max_l D_li`, the
//! squared distance as a share of the farthest from `i` (a column is divided by its largest entry), and `rank_i` the
//! points by ascending `d_i`, itself first:
//!
//! 1. the sets, weights and means of `jaccard` from these ranks, where k1 does not count the point, and with
//!    `V_ij = exp(-d_ij) / sum`;
//! 2. `J_ij = 1 - s / (2 - s)` with `s = sum_l min(V'_il, V'_jl)` over all n columns, for queries i and gallery items j;
//! 3. the result `(1 - lambda) J + lambda d`.
//!
//! `D` is never held. From features it is made in tiles, the upper triangle only: each tile serves the nearest and the
//! farthest of its rows and of its columns, and a tile of queries and gallery is kept where the result will be. The
//! published code sorts n x n values and holds about five such matrices; for one that is given, the order of a column is
//! all that is needed of it.
//!
//! Cost: n^2 D / 2 multiply-adds from features, n^2 comparisons of given distances; memory 4 Q G bytes, the result, and
//! O(n (k1 + k2)).
//!
//! Other than the published code: `J` of rounding below 0 is 0; where all distances of a point are 0, `d` is 0 (not
//! 0 / 0).

use crate::jaccard::{self, JaccardParams, Weights};
use crate::neighborhoods::{Depths, averaged, expanded, products, squares, weights};
use crate::neighbors::check_shape;
use crate::product::squared_norms;
use crate::rerank_search::{Found, Given, Joined, exclusive, hold};
use crate::sparse::SparseRows;
use crate::{Context, Error, Matrix, Result, memory};

/// Parameters of re-ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RerankParams {
    /// Reciprocal neighbours, the point itself not counted, at least 1; clipped to what there is.
    pub k1: usize,
    /// Rows averaged by query expansion, at least 1, which is none; clipped to what there is.
    pub k2: usize,
    /// Share of the original distance in the result, 0 to 1.
    pub lambda: f32,
}

impl Default for RerankParams {
    fn default() -> Self {
        Self {
            k1: 20,
            k2: 6,
            lambda: 0.3,
        }
    }
}

/// Re-ranked Euclidean distances of features, (Q, G) row-major.
///
/// ```
/// use reid_cluster::{Context, Matrix, RerankParams, rerank};
///
/// let unit = |angles: &[f32]| -> Vec<f32> { angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect() };
/// let (query, gallery) = (unit(&[0.0, 3.0]), unit(&[3.1, 0.1, 0.2, 3.2]));
/// let params = RerankParams { k1: 2, k2: 1, lambda: 0.3 };
/// let pool = Context::pool(2)?;
/// let d = rerank(Matrix::new(&query, 2, 2)?, Matrix::new(&gallery, 4, 2)?, &params, &Context::quiet(&pool))?;
/// assert!(d[1] < 0.1 && d[0] > 0.7); // from query 0 to gallery 1 and 0
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for parameters out of range; [`Error::Shape`] for empty or unequal shapes and for norms beyond
/// float32; [`Error::NotFinite`]; [`Error::TooLarge`]; [`Error::Interrupted`].
pub fn rerank(
    query: Matrix<'_>,
    gallery: Matrix<'_>,
    params: &RerankParams,
    context: &Context<'_>,
) -> Result<Vec<f32>> {
    check_shape(query, "query")?;
    check_shape(gallery, "gallery")?;
    if query.cols() != gallery.cols() {
        return Err(Error::Shape(format!(
            "query has {} columns, gallery has {}: both must come from the same model",
            query.cols(),
            gallery.cols()
        )));
    }
    let size = Size::new(query.rows(), gallery.rows(), params)?;
    query.check_finite("query", context)?;
    gallery.check_finite("gallery", context)?;
    let joined = Joined { query, gallery };
    let mut norms = squared_norms(query, "query", context)?;
    norms.extend(squared_norms(gallery, "gallery", context)?);
    let found = joined.search(&norms, &size, context)?;
    let sets = expanded(&found.ranks(&size), &size.depth, context)?;
    let products = products(|i| joined.row(i), &sets, context)?;
    drop(sets);
    let squares = squares(|i| joined.row(i), size.n, context);
    let near = |i: usize, j: usize, product: f32| {
        let d = squares[i] + squares[j] - 2.0 * f64::from(product);
        f64::from(share(d.max(0.0) as f32, found.farthest[i]))
    };
    let weights = weights(&products, near, context)?;
    drop(products);
    mixed(found, weights, &size, params.lambda, context)
}

/// Re-ranked distances from those given, which are squared first: `query_gallery` (Q, G), `query_query` (Q, Q),
/// `gallery_gallery` (G, G). The result is (Q, G) row-major.
///
/// # Errors
/// As [`rerank`].
pub fn rerank_distances(
    query_gallery: Matrix<'_>,
    query_query: Matrix<'_>,
    gallery_gallery: Matrix<'_>,
    params: &RerankParams,
    context: &Context<'_>,
) -> Result<Vec<f32>> {
    let (q, g) = (query_gallery.rows(), query_gallery.cols());
    let given = [
        ("query_gallery", query_gallery, q, g),
        ("query_query", query_query, q, q),
        ("gallery_gallery", gallery_gallery, g, g),
    ];
    for (name, matrix, rows, cols) in given {
        check_shape(matrix, name)?;
        if (matrix.rows(), matrix.cols()) != (rows, cols) {
            return Err(Error::Shape(format!(
                "{name} has shape ({}, {}): must be ({rows}, {cols}) beside query_gallery of shape ({q}, {g})",
                matrix.rows(),
                matrix.cols()
            )));
        }
    }
    let size = Size::new(q, g, params)?;
    for (name, matrix, ..) in given {
        matrix.check_finite(name, context)?;
    }
    let given = Given {
        cross: query_gallery,
        query: query_query,
        gallery: gallery_gallery,
    };
    let found = given.search(&size, context)?;
    let sets = expanded(&found.ranks(&size), &size.depth, context)?;
    let near = |i: usize, j: usize, _| f64::from(share(given.squared(i, j), found.farthest[i]));
    let weights = weights(&sets, near, context)?;
    drop(sets);
    mixed(found, weights, &size, params.lambda, context)
}

/// How many points there are, and how many neighbours are looked at.
pub(crate) struct Size {
    pub(crate) queries: usize,
    pub(crate) gallery: usize,
    pub(crate) n: usize,
    depth: Depths,
    pub(crate) search: usize,
}

impl Size {
    fn new(queries: usize, gallery: usize, params: &RerankParams) -> Result<Self> {
        if !(0.0..=1.0).contains(&params.lambda) {
            let remedy = "must be 0 to 1";
            return Err(Error::parameter("lambda_value", params.lambda, remedy));
        }
        let n = queries + gallery;
        if i32::try_from(n).is_err() {
            return Err(Error::Shape(format!(
                "query and gallery have {n} rows: at most 2^31 - 1 can be numbered"
            )));
        }
        let (k1, k2) = (params.k1, params.k2);
        let depth = JaccardParams {
            k1,
            k2,
            count_self: false,
            weights: Weights::SquaredEuclidean,
        };
        // The published code sorts everything, so that k2 may look farther than k1.
        let depth = Depths {
            mean: k2.min(n),
            ..Depths::new(&depth, n)?
        };
        let search = depth.long.max(depth.mean);
        memory::check(
            4 * queries as u128 * gallery as u128 + 16 * n as u128 * search as u128,
            &format!("re-ranking {queries} queries in a gallery of {gallery}"),
            "give fewer queries at a time, or a smaller k1 and k2",
        )?;
        Ok(Self {
            queries,
            gallery,
            n,
            depth,
            search,
        })
    }
}

/// `d` of the largest distance `of`.
fn share(d: f32, of: f32) -> f32 {
    if of > 0.0 { d / of } else { 0.0 }
}

/// Query expansion, and the Jaccard distance mixed with the original one.
fn mixed(
    found: Found,
    weights: SparseRows,
    size: &Size,
    lambda: f32,
    context: &Context<'_>,
) -> Result<Vec<f32>> {
    let vectors = averaged(weights, &found.ranks(size), size.depth.mean, context)?;
    let columns = vectors.transposed(context)?;
    let (q, g) = (size.queries, size.gallery);
    let mut result = found.squared;
    let rows = exclusive(result.chunks_mut(g));
    let sums = || vec![0.0_f32; g];
    context.queue(q, "rerank", sums, |sums, i| {
        for &(l, v) in vectors.row(i) {
            let sharing = columns.row(l as usize);
            let gallery = sharing.partition_point(|&(j, _)| (j as usize) < q);
            for &(j, w) in &sharing[gallery..] {
                sums[j as usize - q] += v.min(w);
            }
        }
        for (value, sum) in hold(&rows[i]).iter_mut().zip(sums) {
            let jaccard = jaccard::distance(std::mem::take(sum));
            *value = (1.0 - lambda) * jaccard + lambda * share(*value, found.farthest[i]);
        }
    })?;
    drop(rows);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;
    use crate::neighbors::TILE;

    /// The formulas on a dense matrix of squared distances (n, n) in f64.
    fn naive(squared: &[f64], n: usize, q: usize, params: &RerankParams) -> Vec<f64> {
        let largest = |i: usize| (0..n).map(|l| squared[l * n + i]).fold(0.0, f64::max);
        let d = |i: usize, j: usize| {
            let most = largest(i);
            if most > 0.0 {
                squared[j * n + i] / most
            } else {
                0.0
            }
        };
        let rank: Vec<Vec<usize>> = (0..n)
            .map(|i| {
                let mut list: Vec<usize> = (0..n).collect();
                let key = |j: usize| if i == j { -1.0 } else { d(i, j) };
                list.sort_by(|&a, &b| key(a).total_cmp(&key(b)).then(a.cmp(&b)));
                list
            })
            .collect();
        let k1 = params.k1.min(n - 1);
        let half = ((k1 as f64 / 2.0).round_ties_even() as usize + 1).min(k1 + 1);
        let mutual = |i: usize, a: usize| -> Vec<usize> {
            let near = rank[i][..a].iter().copied();
            near.filter(|&j| rank[j][..a].contains(&i)).collect()
        };
        let mut v = vec![vec![0.0; n]; n];
        for (i, row) in v.iter_mut().enumerate() {
            let near = mutual(i, k1 + 1);
            let mut set = near.clone();
            for &c in &near {
                let h = mutual(c, half);
                if 3 * h.iter().filter(|j| near.contains(j)).count() > 2 * h.len() {
                    set.extend(h);
                }
            }
            for &j in &set {
                row[j] = (-d(i, j)).exp();
            }
            let sum: f64 = row.iter().sum();
            for w in row.iter_mut() {
                *w /= sum;
            }
        }
        let k2 = params.k2.min(n);
        let mean =
            |i: usize, l: usize| rank[i][..k2].iter().map(|&t| v[t][l]).sum::<f64>() / k2 as f64;
        let v: Vec<Vec<f64>> = (0..n)
            .map(|i| (0..n).map(|l| mean(i, l)).collect())
            .collect();
        let lambda = f64::from(params.lambda);
        let mut result = Vec::new();
        for i in 0..q {
            for j in q..n {
                let pairs = || v[i].iter().zip(&v[j]);
                let small: f64 = pairs().map(|(a, b)| a.min(*b)).sum();
                let large: f64 = pairs().map(|(a, b)| a.max(*b)).sum();
                result.push((1.0 - lambda) * (1.0 - small / large) + lambda * d(i, j));
            }
        }
        result
    }

    fn close(found: &[f32], wanted: &[f64]) -> bool {
        let near = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() < 2e-6;
        found.len() == wanted.len() && found.iter().zip(wanted).all(near)
    }

    fn parameters() -> impl Strategy<Value = RerankParams> {
        (1_usize..40, 1_usize..40, 0_u8..=4).prop_map(|(k1, k2, lambda)| RerankParams {
            k1,
            k2,
            lambda: f32::from(lambda) / 4.0,
        })
    }

    proptest! {
        /// Small whole numbers: ties are common and exact.
        #[test]
        fn features_equal_the_formulas(
            (q, g) in (1_usize..12, 1_usize..20),
            values in prop::collection::vec(-2_i8..3, 32 * 3),
            params in parameters(),
            threads in 1_usize..4,
        ) {
            let n = q + g;
            let x: Vec<f32> = values[..n * 3].iter().map(|&v| f32::from(v)).collect();
            let row = |i: usize| &x[i * 3..(i + 1) * 3];
            let square = |i, j| row(i).iter().zip(row(j)).map(|(a, b)| f64::from((a - b) * (a - b))).sum();
            let squared: Vec<f64> = (0..n * n).map(|at| square(at / n, at % n)).collect();
            let pool = Context::pool(threads).unwrap();
            let query = Matrix::new(&x[..q * 3], q, 3).unwrap();
            let gallery = Matrix::new(&x[q * 3..], g, 3).unwrap();
            let found = rerank(query, gallery, &params, &Context::quiet(&pool)).unwrap();
            prop_assert!(close(&found, &naive(&squared, n, q, &params)), "{:?}", found);
        }

        /// Neither symmetric nor zero on the diagonal.
        #[test]
        fn distances_equal_the_formulas(
            (q, g) in (1_usize..12, 1_usize..20),
            values in prop::collection::vec(-3_i8..9, 32 * 32),
            params in parameters(),
            threads in 1_usize..4,
        ) {
            let n = q + g;
            let part = |rows: Range<usize>, cols: Range<usize>| -> Vec<f32> {
                rows.flat_map(|i| cols.clone().map(move |j| (i, j)))
                    .map(|(i, j)| f32::from(values[i * n + j]))
                    .collect()
            };
            let (qg, qq, gg) = (part(0..q, q..n), part(0..q, 0..q), part(q..n, q..n));
            let given = |i: usize, j: usize| match (i < q, j < q) {
                (false, true) => values[j * n + i],
                _ => values[i * n + j],
            };
            let squared: Vec<f64> = (0..n * n).map(|at| f64::from(given(at / n, at % n)).powi(2)).collect();
            let pool = Context::pool(threads).unwrap();
            let matrices = [
                Matrix::new(&qg, q, g).unwrap(),
                Matrix::new(&qq, q, q).unwrap(),
                Matrix::new(&gg, g, g).unwrap(),
            ];
            let [qg, qq, gg] = matrices;
            let found = rerank_distances(qg, qq, gg, &params, &Context::quiet(&pool)).unwrap();
            prop_assert!(close(&found, &naive(&squared, n, q, &params)), "{:?}", found);
        }
    }

    #[test]
    fn several_blocks_and_threads_give_the_same_bits() {
        let (q, g, d) = (TILE + 9, 2 * TILE + 77, 5);
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let x: Vec<f32> = (0..(q + g) * d).map(value).collect();
        let query = Matrix::new(&x[..q * d], q, d).unwrap();
        let gallery = Matrix::new(&x[q * d..], g, d).unwrap();
        let run = |threads| {
            let pool = Context::pool(threads).unwrap();
            let context = Context::quiet(&pool);
            rerank(query, gallery, &RerankParams::default(), &context).unwrap()
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert_eq!(one, run(threads));
        }
    }

    #[test]
    fn arguments_are_checked() {
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let x = Matrix::new(&[0.0, 1.0, 2.0, 3.0], 2, 2).unwrap();
        let wide = Matrix::new(&[0.0, 1.0, 2.0], 1, 3).unwrap();
        let good = RerankParams::default();
        let text = |q, g, params| rerank(q, g, &params, &context).unwrap_err().to_string();
        assert!(text(x, wide, good).contains("query has 2 columns, gallery has 3"));
        assert!(text(x, x, RerankParams { k1: 0, ..good }).contains("k1=0"));
        assert!(text(x, x, RerankParams { k2: 0, ..good }).contains("k2=0"));
        let lambda = f32::NAN;
        assert!(text(x, x, RerankParams { lambda, ..good }).contains("lambda_value=NaN"));
        let error = rerank_distances(x, x, wide, &good, &context).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("gallery_gallery has shape (1, 3)")
        );
    }
}
