//! DBSCAN on given distances (Ester, Kriegel, Sander, Xu, KDD 1996), with the labels of scikit-learn.
//!
//! The neighbours of a point are those at most `eps` away, itself included; a point with `min_samples` neighbours is a *core*
//! point. Core points that are neighbours share a cluster, other points join the first cluster that reaches them, the
//! rest is noise (-1). Clusters are numbered by their smallest core point.
//!
//! Cost: every row is read once to count and every core row once to flood; linear in the stored pairs of a graph, `N^2` for a
//! dense matrix, which is read as it is. Rows are taken as they are, also when the matrix is not symmetric:
//! row `i` says who the neighbours of `i` are.

use rayon::prelude::*;

use crate::{Context, Error, Graph, Matrix, Result};

/// Label of points in no cluster.
pub(crate) const NOISE: i64 = -1;
/// Values of a dense matrix read between two questions "go on?".
pub(crate) const DENSE_BLOCK: usize = 1 << 25;

/// Distances between all points, or only the small ones.
#[derive(Debug, Clone)]
pub enum Distances<'a> {
    /// Square matrix.
    Dense(Matrix<'a>),
    /// Missing pairs are farther than eps.
    Sparse(Graph<'a>),
}

impl Distances<'_> {
    /// Number of points.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(matrix) => matrix.rows(),
            Self::Sparse(graph) => graph.rows(),
        }
    }

    /// Neighbours of `i` but itself.
    pub(crate) fn for_neighbors(&self, i: usize, eps: f32, mut f: impl FnMut(usize)) {
        match self {
            Self::Dense(matrix) => {
                for (j, &d) in matrix.row(i).iter().enumerate() {
                    if d <= eps && j != i {
                        f(j);
                    }
                }
            }
            Self::Sparse(graph) => {
                let (columns, distances) = graph.row(i);
                for (&j, &d) in columns.iter().zip(distances) {
                    if d <= eps && j as usize != i {
                        f(j as usize);
                    }
                }
            }
        }
    }

    /// A dense matrix is square and without NaN or negative values; a graph was checked when it was made.
    pub(crate) fn check(&self, context: &Context<'_>) -> Result<()> {
        let Self::Dense(matrix) = self else {
            return Ok(());
        };
        let (n, columns) = (matrix.rows(), matrix.cols());
        if n != columns {
            return Err(Error::Shape(format!(
                "distances has shape ({n}, {columns}): must be square"
            )));
        }
        let bad = context.blocks(n, (DENSE_BLOCK / n.max(1)).max(1), "check", |rows| {
            rows.into_par_iter().find_first(|&i| {
                let wrong = |&d: &f32| u32::from(d.is_nan()) | u32::from(d < 0.0);
                matrix.row(i).iter().map(wrong).sum::<u32>() > 0
            })
        })?;
        let Some(i) = bad.into_iter().flatten().next() else {
            return Ok(());
        };
        let row = matrix.row(i);
        let j = row.iter().position(|d| d.is_nan() || *d < 0.0).unwrap_or(0);
        Err(Error::Shape(format!(
            "distances[{i}, {j}] is {}: a distance must be 0 or more",
            row[j]
        )))
    }
}

/// A label per point, -1 for noise: those of scikit-learn's DBSCAN on the same distances.
///
/// A point with `min_samples` neighbours at most `eps` away, itself counted, is a core point. Core points that are neighbours
/// share a cluster, numbered by its smallest core point; other points join the first cluster that reaches them.
///
/// ```
/// use reid_cluster::{Context, Distances, Matrix, dbscan};
///
/// let x = [0.0_f32, 0.1, 0.2, 5.0, 5.1, 9.0];
/// let d: Vec<f32> = x.iter().flat_map(|a| x.map(|b| (a - b).abs())).collect();
/// let pool = Context::pool(2)?;
/// let distances = Distances::Dense(Matrix::new(&d, 6, 6)?);
/// assert_eq!(dbscan(&distances, 0.3, 2, &Context::quiet(&pool))?, [0, 0, 0, 1, 1, -1]);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for an `eps` that is not above 0 and finite, or `min_samples` 0; [`Error::Shape`] for a dense matrix that is not
/// square or holds NaN or a negative value; [`Error::Interrupted`].
pub fn dbscan(
    distances: &Distances<'_>,
    eps: f32,
    min_samples: usize,
    context: &Context<'_>,
) -> Result<Vec<i64>> {
    if !(eps > 0.0 && eps.is_finite()) {
        return Err(Error::parameter("eps", eps, "must be above 0 and finite"));
    }
    if min_samples == 0 {
        return Err(Error::parameter("min_samples", 0, "must be at least 1"));
    }
    distances.check(context)?;
    let core = core_points(distances, eps, min_samples, context)?;
    flood(distances, eps, &core, context)
}

pub(crate) fn core_points(
    distances: &Distances<'_>,
    eps: f32,
    min_samples: usize,
    context: &Context<'_>,
) -> Result<Vec<bool>> {
    let n = distances.rows();
    let step = match distances {
        Distances::Dense(_) => (DENSE_BLOCK / n.max(1)).max(1),
        Distances::Sparse(_) => 1 << 16,
    };
    let blocks = context.blocks(n, step, "core points", |rows| {
        rows.into_par_iter()
            .with_min_len(16)
            .map(|i| {
                let mut neighbors = 1_usize;
                distances.for_neighbors(i, eps, |_| neighbors += 1);
                neighbors >= min_samples
            })
            .collect::<Vec<bool>>()
    })?;
    Ok(blocks.concat())
}

/// Give each core point that has no label the next one, and all that it reaches through core points.
fn flood(
    distances: &Distances<'_>,
    eps: f32,
    core: &[bool],
    context: &Context<'_>,
) -> Result<Vec<i64>> {
    let n = core.len();
    let step = match distances {
        Distances::Dense(_) => (DENSE_BLOCK / n.max(1)).max(1),
        Distances::Sparse(_) => 1 << 16,
    };
    let mut labels = vec![NOISE; n];
    let (mut stack, mut label, mut read) = (Vec::new(), 0, 0);
    for start in 0..n {
        if !core[start] || labels[start] != NOISE {
            continue;
        }
        labels[start] = label;
        stack.push(start);
        while let Some(i) = stack.pop() {
            distances.for_neighbors(i, eps, |j| {
                if labels[j] == NOISE {
                    labels[j] = label;
                    if core[j] {
                        stack.push(j);
                    }
                }
            });
            read += 1;
            if read % step == 0 {
                context.tick(read, n, "clusters")?;
            }
        }
        label += 1;
    }
    context.tick(n, n, "clusters")?;
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From the definition: components of the core graph by relabelling until nothing changes, then border points.
    fn naive(d: &[f32], n: usize, eps: f32, min_samples: usize) -> Vec<i64> {
        let near = |i: usize, j: usize| i == j || d[i * n + j] <= eps;
        let core: Vec<bool> = (0..n)
            .map(|i| (0..n).filter(|&j| near(i, j)).count() >= min_samples)
            .collect();
        let mut root: Vec<usize> = (0..n).collect();
        for _ in 0..n {
            for i in 0..n {
                for j in 0..n {
                    if core[i] && core[j] && near(i, j) {
                        root[i] = root[i].min(root[j]);
                    }
                }
            }
        }
        let roots: Vec<usize> = (0..n).filter(|&i| core[i] && root[i] == i).collect();
        let number = |i: usize| roots.iter().position(|&r| r == root[i]).unwrap() as i64;
        (0..n)
            .map(|i| {
                if core[i] {
                    return number(i);
                }
                let labels = (0..n).filter(|&j| core[j] && near(i, j)).map(number);
                labels.min().unwrap_or(NOISE)
            })
            .collect()
    }

    fn symmetric(values: &[u8], n: usize) -> Vec<f32> {
        let at = |i: usize, j: usize| f32::from(values[i.min(j) * n + i.max(j)]) / 8.0;
        (0..n * n)
            .map(|p| {
                if p / n == p % n {
                    0.0
                } else {
                    at(p / n, p % n)
                }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            (n, values) in (1_usize..16).prop_flat_map(|n| (Just(n), prop::collection::vec(0_u8..40, n * n))),
            eps in 1_u8..16,
            min_samples in 1_usize..6,
        ) {
            let d = symmetric(&values, n);
            let eps = f32::from(eps) / 8.0;
            let pool = Context::pool(2).unwrap();
            let context = Context::quiet(&pool);
            let dense = Distances::Dense(Matrix::new(&d, n, n).unwrap());
            let wanted = naive(&d, n, eps, min_samples);
            prop_assert_eq!(&dbscan(&dense, eps, min_samples, &context).unwrap(), &wanted);

            // A graph cut above eps, without its diagonal.
            let mut parts = (vec![0_i64], vec![], vec![]);
            for i in 0..n {
                for j in 0..n {
                    if i != j && d[i * n + j] <= eps + 0.5 {
                        parts.1.push(j as i32);
                        parts.2.push(d[i * n + j]);
                    }
                }
                parts.0.push(parts.1.len() as i64);
            }
            let graph = Graph::new(&parts.0, &parts.1, &parts.2, &context).unwrap();
            prop_assert_eq!(dbscan(&Distances::Sparse(graph), eps, min_samples, &context).unwrap(), wanted);
        }
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let n = 300_000_i32;
        let indices: Vec<i32> = (0..n)
            .flat_map(|i| [(i - 1).max(0), (i + 1).min(n - 1)])
            .collect();
        let indptr: Vec<i64> = (0..=i64::from(n)).map(|i| 2 * i).collect();
        let data = vec![0.5; indices.len()];
        let pool = Context::pool(2).unwrap();
        let context = Context::quiet(&pool);
        let graph = Distances::Sparse(Graph::new(&indptr, &indices, &data, &context).unwrap());
        assert!(
            dbscan(&graph, 0.5, 2, &context)
                .unwrap()
                .iter()
                .all(|&l| l == 0)
        );
        assert!(
            dbscan(&graph, 0.4, 2, &context)
                .unwrap()
                .iter()
                .all(|&l| l == NOISE)
        );
    }

    #[test]
    fn refuses_what_is_no_distance() {
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let data = [0.0, 1.0, f32::NAN, 0.0];
        let square = Distances::Dense(Matrix::new(&data, 2, 2).unwrap());
        let text = |d: &Distances<'_>, eps| dbscan(d, eps, 2, &context).unwrap_err().to_string();
        assert!(text(&square, 0.5).contains("distances[1, 0] is NaN"));
        let flat = Distances::Dense(Matrix::new(&data[..2], 1, 2).unwrap());
        assert!(text(&flat, 0.5).contains("must be square"));
        for eps in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(text(&square, eps).contains("eps="));
        }
    }
}
