//! k-means++ on given distances (Arthur and Vassilvitskii, SODA 2007): `K` samples far from each other, drawn with the
//! distance itself as weight, the best of a few candidates a step.
//!
//! The first sample is given. A step draws candidates by the least distance of each sample to what is chosen: a number
//! `u` in [0, 1) stands for the first sample at which the running sum reaches `u` times the whole. The candidate that leaves the
//! smallest sum is kept, the first on ties. The numbers are arguments, so that the same numbers give the same samples; sums are
//! float64 in the order of the samples.
//!
//! Cost: `K L` rows of distances, `L` of them at a time.

use rayon::prelude::*;

use crate::{Context, Distances, Error, Result};

/// The chosen samples in the order of their choice. A pair that a graph does not hold is 1 apart.
///
/// `uniforms` is `(n_clusters - 1, L)` row-major: `L` candidates a step.
///
/// ```
/// use reid_cluster::{Context, Distances, Matrix, kmeans_plusplus};
///
/// let x = [0.0_f32, 0.1, 5.0, 5.1, 9.0];
/// let d: Vec<f32> = x.iter().flat_map(|a| x.map(|b| (a - b).abs())).collect();
/// let distances = Distances::Dense(Matrix::new(&d, 5, 5)?);
/// let pool = Context::pool(2)?;
/// let uniforms = [0.5, 0.9, 0.2, 0.6]; // two candidates a step
/// let chosen = kmeans_plusplus(&distances, 3, 0, &uniforms, &Context::quiet(&pool))?;
/// assert_eq!(chosen, [0, 3, 4]);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for `n_clusters` 0 or above the number of samples, and `first` beyond them; [`Error::Shape`] for
/// `uniforms` of another size or outside [0, 1), and distances that are none; [`Error::Interrupted`].
pub fn kmeans_plusplus(
    distances: &Distances<'_>,
    n_clusters: usize,
    first: usize,
    uniforms: &[f64],
    context: &Context<'_>,
) -> Result<Vec<i32>> {
    distances.check(context)?;
    let n = distances.rows();
    let draws = Draws::new(n, n_clusters, first, uniforms)?;
    choose(n, &draws, context, |samples, rows| {
        context.install(|| {
            let work = rows.par_chunks_mut(n.max(1)).zip(samples);
            work.for_each(|(row, &i)| fill_row(distances, i, row));
        });
        Ok(())
    })
}

/// The random numbers of one choice, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws<'a> {
    n_clusters: usize,
    first: usize,
    uniforms: &'a [f64],
}

impl<'a> Draws<'a> {
    pub(crate) fn new(
        n: usize,
        n_clusters: usize,
        first: usize,
        uniforms: &'a [f64],
    ) -> Result<Self> {
        check_n_clusters(n_clusters, n)?;
        if first >= n {
            let remedy = format!("must be below {n}, the number of samples");
            return Err(Error::parameter("first", first, remedy));
        }
        let steps = n_clusters - 1;
        if uniforms.len().checked_rem(steps).unwrap_or(0) != 0 || (steps > 0 && uniforms.is_empty())
        {
            return Err(Error::Shape(format!(
                "uniforms has {} numbers: {steps} steps need as many rows of one or more candidates",
                uniforms.len()
            )));
        }
        match uniforms.iter().find(|u| !(0.0..1.0).contains(*u)) {
            Some(u) => Err(Error::Shape(format!(
                "uniforms has {u}: must be 0 or more and below 1"
            ))),
            None => Ok(Self {
                n_clusters,
                first,
                uniforms,
            }),
        }
    }
}

/// At least one cluster, and at most one a sample.
pub(crate) fn check_n_clusters(n_clusters: usize, n: usize) -> Result<()> {
    if n_clusters == 0 || n_clusters > n {
        let remedy = format!("must be 1 to {n}, the number of samples");
        return Err(Error::parameter("n_clusters", n_clusters, remedy));
    }
    Ok(())
}

/// The choice itself; `fill` writes the distances of some samples to all `n`, a row each.
pub(crate) fn choose(
    n: usize,
    draws: &Draws<'_>,
    context: &Context<'_>,
    mut fill: impl FnMut(&[usize], &mut [f32]) -> Result<()>,
) -> Result<Vec<i32>> {
    let steps = draws.n_clusters - 1;
    let trials = draws.uniforms.len().checked_div(steps).unwrap_or(0);
    let mut chosen = vec![draws.first as i32];
    let mut closest = vec![0.0_f32; n];
    fill(&[draws.first], &mut closest)?;
    let mut rows = vec![0.0_f32; trials * n];
    let mut sums = vec![0.0_f64; n];
    for (step, uniforms) in draws.uniforms.chunks(trials.max(1)).take(steps).enumerate() {
        context.tick(step, steps, "k-means++")?;
        let mut sum = 0.0;
        for (s, &d) in sums.iter_mut().zip(&closest) {
            sum += f64::from(d);
            *s = sum;
        }
        let candidates: Vec<usize> = uniforms
            .iter()
            .map(|u| sums.partition_point(|&s| s < u * sum).min(n - 1))
            .collect();
        fill(&candidates, &mut rows)?;
        let left: Vec<f64> = context.install(|| {
            let rows = rows.par_chunks_mut(n);
            rows.map(|row| {
                let mut sum = 0.0;
                for (d, &c) in row.iter_mut().zip(&closest) {
                    *d = d.min(c);
                    sum += f64::from(*d);
                }
                sum
            })
            .collect()
        });
        let best = (1..trials).fold(0, |b, c| if left[c] < left[b] { c } else { b });
        chosen.push(candidates[best] as i32);
        closest.copy_from_slice(&rows[best * n..(best + 1) * n]);
    }
    context.tick(steps, steps, "k-means++")?;
    Ok(chosen)
}

/// The distances of sample `i` to all.
pub(crate) fn fill_row(distances: &Distances<'_>, i: usize, row: &mut [f32]) {
    match distances {
        Distances::Dense(matrix) => row.copy_from_slice(matrix.row(i)),
        Distances::Sparse(graph) => {
            row.fill(1.0);
            row[i] = 0.0;
            let (columns, values) = graph.row(i);
            for (&j, &d) in columns.iter().zip(values) {
                row[j as usize] = d;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Graph, Matrix};

    /// The rule word by word.
    fn naive(d: &[f32], n: usize, k: usize, first: usize, uniforms: &[f64]) -> Vec<i32> {
        let (mut chosen, trials) = (vec![first], uniforms.len() / (k - 1).max(1));
        for u in uniforms.chunks(trials.max(1)).take(k - 1) {
            let closest = |chosen: &[usize], j: usize| {
                let all = chosen.iter().map(|&i| d[i * n + j]);
                f64::from(all.fold(f32::INFINITY, f32::min))
            };
            let sum =
                |chosen: &[usize], upto: usize| (0..upto).map(|j| closest(chosen, j)).sum::<f64>();
            let candidate = |u: f64| {
                let reached = |&j: &usize| sum(&chosen, j + 1) >= u * sum(&chosen, n);
                (0..n).find(reached).unwrap_or(n - 1)
            };
            let with = |c: usize| [chosen.clone(), vec![c]].concat();
            let mut best = candidate(u[0]);
            for &u in &u[1..] {
                if sum(&with(candidate(u)), n) < sum(&with(best), n) {
                    best = candidate(u);
                }
            }
            chosen.push(best);
        }
        chosen.iter().map(|&i| i as i32).collect()
    }

    proptest! {
        #[test]
        fn equals_the_rule(
            (n, values) in (1_usize..12).prop_flat_map(|n| (Just(n), prop::collection::vec(0_u8..9, n * n))),
            part in 0.0..1.0_f64,
            trials in 1_usize..4,
            numbers in prop::collection::vec(0.0..1.0_f64, 36),
        ) {
            // Eighths: every sum is exact, and many are equal.
            let d: Vec<f32> = values.iter().enumerate().map(|(p, &v)| if p / n == p % n { 0.0 } else { f32::from(v) / 8.0 }).collect();
            let k = 1 + (part * n as f64) as usize;
            let uniforms = &numbers[..(k - 1) * trials];
            let first = values[0] as usize % n;
            let wanted = naive(&d, n, k, first, uniforms);
            let mut parts = (vec![0_i64], vec![], vec![]);
            for i in 0..n {
                for j in (0..n).filter(|&j| j != i && d[i * n + j] < 1.0) {
                    parts.1.push(j as i32);
                    parts.2.push(d[i * n + j]);
                }
                parts.0.push(parts.1.len() as i64);
            }
            for threads in [1, 2, 3, 7] {
                let pool = Context::pool(threads).unwrap();
                let context = Context::quiet(&pool);
                let dense = Distances::Dense(Matrix::new(&d, n, n).unwrap());
                let graph = Distances::Sparse(Graph::new(&parts.0, &parts.1, &parts.2, &context).unwrap());
                for distances in [dense, graph] {
                    let found = kmeans_plusplus(&distances, k, first, uniforms, &context).unwrap();
                    prop_assert_eq!(&found, &wanted);
                }
            }
        }
    }

    #[test]
    fn refuses_numbers_that_do_not_fit() {
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let d = [0.0; 9];
        let d = Distances::Dense(Matrix::new(&d, 3, 3).unwrap());
        let text = |k, first, u: &[f64]| {
            let refused = kmeans_plusplus(&d, k, first, u, &context).unwrap_err();
            refused.to_string()
        };
        assert!(text(0, 0, &[]).contains("n_clusters=0"));
        assert!(text(4, 0, &[0.5; 3]).contains("n_clusters=4: must be 1 to 3"));
        assert!(text(2, 3, &[0.5]).contains("first=3"));
        assert!(text(3, 0, &[0.5; 3]).contains("uniforms has 3 numbers: 2 steps"));
        assert!(text(3, 0, &[]).contains("uniforms has 0 numbers"));
        assert!(text(2, 0, &[1.0]).contains("uniforms has 1:"));
        assert!(text(2, 0, &[f64::NAN]).contains("uniforms has NaN"));
    }
}
