//! k-means: K centres, each the mean of the rows nearest to it (Lloyd, IEEE Trans. Inform. Theory 1982).
//!
//! Repeated: every row goes to its nearest centre (the lowest among equals), every centre to the mean of its rows.
//! It ends when no row changes its centre, when the squared shifts of all centres sum to at most `tol` times the
//! mean variance of the columns, or after `max_iter` rounds. The labels are always those of the returned centres.
//!
//! * A centre without rows takes over the row that is farthest from its own centre (the lowest among equals), among
//!   clusters of two and more; several such centres do so one after another, in ascending order.
//! * A mean is summed in float64 in the order of the rows, and only where rows came or went; see `kmeans_assign` for
//!   what is not compared again. So threads change no bit, and a round costs what has changed.
//!
//! Cost: `N K D` multiply-adds for the first round, a small part of it for late ones; memory for the features,
//! four times the centres and 12 bytes a row.

use rayon::prelude::*;

use crate::kmeans_assign::{Nearest, assign_all, assign_moved};
use crate::kmeans_centers::{Centers, means};
use crate::kmeans_seeds::{plus_plus, random};
use crate::neighbors::check_shape;
use crate::product::squared_norms;
use crate::{Context, Error, Matrix, Result, memory};

/// Where to start.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// From these centres.
    Centers(Matrix<'a>),
    /// From rows drawn by k-means++, once for each of these seeds of a generator.
    PlusPlus(&'a [u64]),
    /// From rows drawn evenly, once for each of these seeds.
    Random(&'a [u64]),
}

/// How many clusters, and when to end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeansParams {
    /// Clusters, 1 to N.
    pub n_clusters: usize,
    /// Most rounds, at least 1.
    pub max_iter: usize,
    /// End when the squared shifts of the centres sum to this part of the mean variance of the columns; 0 or more.
    pub tol: f64,
}

/// The clusters of the best run.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// The nearest of `centers` for each row.
    pub labels: Vec<i64>,
    /// `(K, D)` row-major.
    pub centers: Vec<f32>,
    /// Sum of the squared distances of the rows to their centres.
    pub inertia: f64,
    /// Rounds, the one that changed nothing included.
    pub n_iter: usize,
}

/// Cluster the rows; of several starts the one with the smallest inertia counts.
///
/// ```
/// use reid_cluster::{Context, KMeansParams, Matrix, Start, kmeans};
///
/// let values = [0.0, 1.0, 9.0, 11.0];
/// let centers = [0.0, 1.0];
/// let params = KMeansParams { n_clusters: 2, max_iter: 300, tol: 1e-4 };
/// let pool = Context::pool(2)?;
/// let found = kmeans(
///     Matrix::new(&values, 4, 1)?,
///     Start::Centers(Matrix::new(&centers, 2, 1)?),
///     &params,
///     &Context::quiet(&pool),
/// )?;
/// assert_eq!(found.labels, [0, 0, 1, 1]);
/// assert_eq!(found.centers, [0.5, 10.0]);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] when K is 0 or above the number of rows, or of different rows, or a parameter is out of its
/// range; [`Error::Shape`], [`Error::NotFinite`], [`Error::TooLarge`], [`Error::Interrupted`].
pub fn kmeans(
    features: Matrix<'_>,
    start: Start<'_>,
    params: &KMeansParams,
    context: &Context<'_>,
) -> Result<KMeans> {
    let (n, d, k) = (features.rows(), features.cols(), params.n_clusters);
    check_shape(features, "features")?;
    params.check(n)?;
    memory::check(
        28 * k as u128 * d as u128 + 48 * n as u128,
        &format!("n_clusters={k} centres of {d} columns"),
        "lower n_clusters",
    )?;
    if let Start::Centers(centers) = start {
        let report = |_, _, _| context.tick(0, n, "check").is_ok();
        check_centers(centers, k, d, &context.reporting(&report))?;
    }
    features.check_finite("features", context)?;
    let norms = squared_norms(features, "features", context)?;
    let data = Data::new(features, params, context)?;
    let starts: Vec<Vec<usize>> = match start {
        Start::Centers(centers) => {
            return data.run(centers.data().to_vec(), 0, 1, context);
        }
        Start::Random(seeds) => seeds.iter().map(|&seed| random(n, k, seed)).collect(),
        Start::PlusPlus(seeds) => {
            let draw = |(run, &seed): (usize, &u64)| {
                let report = |done, _, stage| {
                    let (done, total) = (run * k + done, seeds.len() * k);
                    context.tick(done, total, stage).is_ok()
                };
                plus_plus(features, &norms, k, seed, &context.reporting(&report))
            };
            seeds.iter().enumerate().map(draw).collect::<Result<_>>()?
        }
    };
    let mut best: Option<KMeans> = None;
    for (run, rows) in starts.iter().enumerate() {
        let centers = rows.iter().flat_map(|&i| features.row(i)).copied();
        let found = data.run(centers.collect(), run, starts.len(), context)?;
        if best.as_ref().is_none_or(|b| found.inertia < b.inertia) {
            best = Some(found);
        }
    }
    best.ok_or_else(|| Error::parameter("n_init", 0, "must be at least 1"))
}

impl KMeansParams {
    fn check(&self, n: usize) -> Result<()> {
        if self.n_clusters == 0 || self.n_clusters > n {
            let remedy = format!("must be 1 to {n}, the number of rows of features");
            return Err(Error::parameter("n_clusters", self.n_clusters, remedy));
        }
        if self.max_iter == 0 {
            return Err(Error::parameter("max_iter", 0, "must be at least 1"));
        }
        if !(self.tol.is_finite() && self.tol >= 0.0) {
            return Err(Error::parameter(
                "tol",
                self.tol,
                "must be finite and at least 0",
            ));
        }
        Ok(())
    }
}

fn check_centers(centers: Matrix<'_>, k: usize, d: usize, context: &Context<'_>) -> Result<()> {
    if (centers.rows(), centers.cols()) != (k, d) {
        return Err(Error::Shape(format!(
            "init has shape ({}, {}): must be ({k}, {d}), a centre for each of n_clusters",
            centers.rows(),
            centers.cols()
        )));
    }
    centers.check_finite("init", context)?;
    squared_norms(centers, "init", context)?;
    Ok(())
}

/// What all runs share.
struct Data<'a> {
    x: Matrix<'a>,
    params: &'a KMeansParams,
    mean: Vec<f64>,
    /// Squared shifts that end a run.
    enough: f64,
}

impl<'a> Data<'a> {
    fn new(x: Matrix<'a>, params: &'a KMeansParams, context: &Context<'_>) -> Result<Self> {
        let rows: Vec<u32> = (0..x.rows() as u32).collect();
        let mean = means(x, &[&rows], context)?;
        let deviations = squared_distances(x, |_| &mean, context)?;
        let variance = deviations.iter().sum::<f64>() / (x.rows() * x.cols()) as f64;
        Ok(Self {
            x,
            params,
            mean,
            enough: params.tol * variance,
        })
    }

    /// Lloyd's rounds from these centres, as run `run` of `runs`.
    fn run(
        &self,
        start: Vec<f32>,
        run: usize,
        runs: usize,
        context: &Context<'_>,
    ) -> Result<KMeans> {
        let (k, limit) = (self.params.n_clusters, self.params.max_iter);
        let total = runs.saturating_mul(limit);
        let round = std::cell::Cell::new(run * limit);
        let report = |_, _, _| {
            context
                .tick(round.get().min(total - 1), total, "kmeans")
                .is_ok()
        };
        let quiet = context.reporting(&report);

        let mut centers = Centers::new(start, self.mean.clone());
        let mut nearest = vec![Nearest::NONE; self.x.rows()];
        assign_all(self.x, centers.targets()?, &mut nearest, &quiet)?;
        let mut labels: Vec<u32> = nearest.iter().map(|n| n.label).collect();
        let mut changed = vec![true; k];
        let mut n_iter = 0;
        loop {
            n_iter += 1;
            self.fill_empty(&mut labels, &centers, &mut changed, &quiet)?;
            let moved = centers.update(self.x, &labels, &changed, &quiet)?;
            assign_moved(
                self.x,
                centers.targets()?,
                moved.targets()?,
                &moved.flags,
                &mut nearest,
                &quiet,
            )?;
            changed.fill(false);
            for (old, new) in labels.iter_mut().zip(&nearest) {
                if *old != new.label {
                    changed[*old as usize] = true;
                    changed[new.label as usize] = true;
                    *old = new.label;
                }
            }
            round.set(run * limit + n_iter);
            let stable = !changed.contains(&true);
            let empty = sizes(&labels, k).contains(&0);
            if empty && moved.shift == 0.0 {
                return Err(self.too_alike(&labels));
            }
            if stable || (moved.shift <= self.enough && !empty) || n_iter == limit {
                n_iter = (n_iter + usize::from(stable)).min(limit);
                break;
            }
        }
        let distances = squared_distances(self.x, |i| centers.row(labels[i] as usize), &quiet)?;
        if run + 1 == runs {
            context.tick(total, total, "kmeans")?;
        }
        Ok(KMeans {
            labels: labels.into_iter().map(i64::from).collect(),
            inertia: distances.iter().sum(),
            centers: centers.values,
            n_iter,
        })
    }

    /// Give every cluster without rows the row farthest from its own centre, of clusters of two and more.
    fn fill_empty(
        &self,
        labels: &mut [u32],
        centers: &Centers,
        changed: &mut [bool],
        context: &Context<'_>,
    ) -> Result<()> {
        let mut sizes = sizes(labels, changed.len());
        let mut empty = (0..sizes.len())
            .filter(|&c| sizes[c] == 0)
            .collect::<Vec<_>>()
            .into_iter();
        if empty.len() == 0 {
            return Ok(());
        }
        let distances = squared_distances(self.x, |i| centers.row(labels[i] as usize), context)?;
        let mut rows: Vec<usize> = (0..labels.len()).collect();
        rows.sort_unstable_by(|&a, &b| distances[b].total_cmp(&distances[a]).then(a.cmp(&b)));
        for row in rows {
            let own = labels[row] as usize;
            if sizes[own] < 2 {
                continue;
            }
            let Some(cluster) = empty.next() else { break };
            sizes[own] -= 1;
            labels[row] = cluster as u32;
            changed[own] = true;
            changed[cluster] = true;
        }
        Ok(())
    }

    /// No row can be told from its own centre, and there are centres left.
    fn too_alike(&self, labels: &[u32]) -> Error {
        let k = self.params.n_clusters;
        let used = sizes(labels, k).iter().filter(|&&size| size > 0).count();
        Error::parameter(
            "n_clusters",
            k,
            format!("features has only {used} rows that can be told apart: must be at most {used}"),
        )
    }
}

/// Rows of each cluster.
fn sizes(labels: &[u32], k: usize) -> Vec<usize> {
    let mut sizes = vec![0; k];
    for &label in labels {
        sizes[label as usize] += 1;
    }
    sizes
}

/// Squared distance of every row to `point(row)`, in float64.
fn squared_distances<'b, T: Into<f64> + Copy + Sync + 'b>(
    x: Matrix<'_>,
    point: impl Fn(usize) -> &'b [T] + Sync,
    context: &Context<'_>,
) -> Result<Vec<f64>> {
    const LANES: usize = 8;
    let distance = |i: usize| {
        let mut sums = [0.0; LANES];
        for (a, b) in x.row(i).chunks(LANES).zip(point(i).chunks(LANES)) {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                let difference = f64::from(a) - b.into();
                *sum += difference * difference;
            }
        }
        sums.iter().sum::<f64>()
    };
    let step = ((1 << 25) / x.cols()).max(1) * context.threads();
    let blocks = context.blocks(x.rows(), step, "distances", |rows| {
        rows.into_par_iter().map(distance).collect::<Vec<f64>>()
    })?;
    Ok(blocks.concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::product::{Scratch, dots};

    const PARAMS: KMeansParams = KMeansParams {
        n_clusters: 0,
        max_iter: 300,
        tol: 0.0,
    };

    /// The definition: everything compared and summed again in every round.
    fn naive(x: Matrix<'_>, start: Matrix<'_>, params: &KMeansParams) -> Option<KMeans> {
        let (n, d, k) = (x.rows(), x.cols(), start.rows());
        let average = |rows: &[usize]| -> Vec<f64> {
            let sum = |j| {
                rows.iter()
                    .map(|&i| f64::from(x.row(i)[j]))
                    .fold(0.0, |a, b| a + b)
            };
            (0..d).map(|j| sum(j) / rows.len() as f64).collect()
        };
        let square = |i: usize, point: &[f64]| -> f64 {
            let pairs = x.row(i).iter().zip(point);
            pairs.map(|(&a, b)| (f64::from(a) - b).powi(2)).sum()
        };
        let mean = average(&(0..n).collect::<Vec<_>>());
        let variance = (0..n).map(|i| square(i, &mean)).sum::<f64>() / (n * d) as f64;
        let wide = |row: &[f32]| row.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let rounded = |row: &[f64]| row.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let mut exact: Vec<Vec<f64>> = (0..k).map(|c| wide(start.row(c))).collect();
        let assign = |exact: &[Vec<f64>]| -> Vec<usize> {
            let score = |i: usize, c: &Vec<f64>| -> f32 {
                let shifted = rounded(&c.iter().zip(&mean).map(|(c, m)| c - m).collect::<Vec<_>>());
                let terms = shifted.iter().zip(&mean);
                let bias: f64 = terms.fold(0.0, |sum, (&s, m)| {
                    sum + f64::from(s) * (f64::from(s) / 2.0 + m)
                });
                let mut dot = [0.0];
                let y = Matrix::new(&shifted, 1, d).unwrap();
                dots(x, i..i + 1, y, 0..1, &mut Scratch::default(), &mut dot);
                bias as f32 - dot[0]
            };
            let nearest = |i| {
                let scores: Vec<f32> = exact.iter().map(|c| score(i, c)).collect();
                (0..k).fold(0, |a, b| if scores[b] < scores[a] { b } else { a })
            };
            (0..n).map(nearest).collect()
        };
        let mut labels = assign(&exact);
        let mut n_iter = 0;
        loop {
            n_iter += 1;
            let old: Vec<Vec<f64>> = exact.iter().map(|c| wide(&rounded(c))).collect();
            let own: Vec<f64> = (0..n).map(|i| square(i, &old[labels[i]])).collect();
            let size = |labels: &[usize], c| labels.iter().filter(|&&l| l == c).count();
            let empty: Vec<usize> = (0..k).filter(|&c| size(&labels, c) == 0).collect();
            let mut used = vec![false; n];
            for c in empty {
                let free = (0..n).filter(|&i| !used[i] && size(&labels, labels[i]) > 1);
                let far = free
                    .reduce(|a, b| if own[b] > own[a] { b } else { a })
                    .unwrap();
                used[far] = true;
                labels[far] = c;
            }
            for (c, center) in exact.iter_mut().enumerate() {
                *center = average(&(0..n).filter(|&i| labels[i] == c).collect::<Vec<_>>());
            }
            let pairs = exact.iter().flat_map(|c| rounded(c)).zip(old.concat());
            let shift: f64 = pairs.map(|(a, b)| (f64::from(a) - b).powi(2)).sum();
            let next = assign(&exact);
            let stable = next == labels;
            labels = next;
            let empty = (0..k).any(|c| size(&labels, c) == 0);
            if empty && shift == 0.0 {
                return None;
            }
            if stable || (shift <= params.tol * variance && !empty) || n_iter == params.max_iter {
                let centers: Vec<f32> = exact.iter().flat_map(|c| rounded(c)).collect();
                return Some(KMeans {
                    inertia: (0..n)
                        .map(|i| square(i, &wide(&rounded(&exact[labels[i]]))))
                        .sum(),
                    labels: labels.iter().map(|&l| l as i64).collect(),
                    centers,
                    n_iter: (n_iter + usize::from(stable)).min(params.max_iter),
                });
            }
        }
    }

    fn check(x: Matrix<'_>, start: Matrix<'_>, params: &KMeansParams) {
        let wanted = naive(x, start, params);
        for threads in [1, 2, 3, 7] {
            let pool = Context::pool(threads).unwrap();
            let found = kmeans(x, Start::Centers(start), params, &Context::quiet(&pool));
            let Some(wanted) = &wanted else {
                let text = found.unwrap_err().to_string();
                assert!(
                    text.contains("n_clusters=") && text.contains("told apart"),
                    "{text}"
                );
                continue;
            };
            let found = found.unwrap();
            assert!((found.inertia - wanted.inertia).abs() <= 1e-9 * (1.0 + wanted.inertia));
            let inertia = wanted.inertia;
            assert_eq!(&KMeans { inertia, ..found }, wanted, "{threads} threads");
        }
    }

    proptest! {
        #[test]
        fn equals_plain_lloyd(
            n in 1_usize..60,
            d in 1_usize..6,
            share in 0.0..1.0,
            levels in prop::sample::select(vec![2, 4, 1000]),
            offset in prop::sample::select(vec![0.0_f32, 3.0, 1000.0]),
            max_iter in prop::sample::select(vec![1, 2, 300]),
            tol in prop::sample::select(vec![0.0, 1e-4, 0.3]),
            values in prop::collection::vec(0_i32..1000, 600),
        ) {
            let k = ((n as f64 * share) as usize).max(1);
            let value = |v: &i32| (v % levels) as f32 / levels as f32 + offset;
            let data: Vec<f32> = values[..n * d].iter().map(value).collect();
            let start: Vec<f32> = values[values.len() - k * d..].iter().map(value).collect();
            let params = KMeansParams { n_clusters: k, max_iter, tol };
            check(Matrix::new(&data, n, d).unwrap(), Matrix::new(&start, k, d).unwrap(), &params);
        }
    }

    #[test]
    fn many_rounds_equal_plain_lloyd() {
        // Long enough for rows that have to be compared with all centres again.
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f32 / (1 << 24) as f32
        };
        let data: Vec<f32> = (0..1500 * 3).map(|_| next()).collect();
        let x = Matrix::new(&data, 1500, 3).unwrap();
        let start = Matrix::new(&data[..60 * 3], 60, 3).unwrap();
        check(
            x,
            start,
            &KMeansParams {
                n_clusters: 60,
                ..PARAMS
            },
        );
    }

    #[test]
    fn the_best_of_several_runs_counts() {
        let data: Vec<f32> = (0..40).map(|i| (i * i % 97) as f32).collect();
        let x = Matrix::new(&data, 40, 1).unwrap();
        let pool = Context::pool(2).unwrap();
        let params = KMeansParams {
            n_clusters: 6,
            ..PARAMS
        };
        let run = |seeds: &[u64]| {
            kmeans(x, Start::Random(seeds), &params, &Context::quiet(&pool)).unwrap()
        };
        let alone: Vec<KMeans> = (0..9).map(|seed| run(&[seed])).collect();
        let best = alone
            .iter()
            .fold(&alone[0], |a, b| if b.inertia < a.inertia { b } else { a });
        assert!(alone.iter().any(|r| r.inertia > best.inertia));
        assert_eq!(&run(&[0, 1, 2, 3, 4, 5, 6, 7, 8]), best);
    }

    #[test]
    fn refuses_what_cannot_be() {
        let data = [1.0, 1.0, 2.0];
        let x = Matrix::new(&data, 3, 1).unwrap();
        let pool = Context::pool(1).unwrap();
        let text = |start, params: KMeansParams| {
            kmeans(x, start, &params, &Context::quiet(&pool))
                .unwrap_err()
                .to_string()
        };
        let with = |n_clusters| KMeansParams {
            n_clusters,
            ..PARAMS
        };
        assert!(text(Start::PlusPlus(&[1]), with(4)).contains("n_clusters=4: must be 1 to 3"));
        assert!(text(Start::PlusPlus(&[1]), with(0)).contains("n_clusters=0"));
        assert!(
            text(Start::PlusPlus(&[1]), with(3)).contains("only 2 rows that can be told apart")
        );
        assert!(text(Start::Centers(x), with(2)).contains("init has shape (3, 1): must be (2, 1)"));
        assert!(
            text(
                Start::Random(&[1]),
                KMeansParams {
                    max_iter: 0,
                    ..with(1)
                }
            )
            .contains("max_iter=0")
        );
        assert!(
            text(
                Start::Random(&[1]),
                KMeansParams {
                    tol: f64::NAN,
                    ..with(1)
                }
            )
            .contains("tol=NaN")
        );
        assert!(text(Start::Random(&[]), with(1)).contains("n_init=0"));
    }
}
