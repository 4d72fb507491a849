//! HDC, clustering by the harmonic discrepancy of the method 3C (arXiv 2408.09464; Neurocomputing 641, 2025, 130368), as
//! its authors' code does it.
//!
//! A round, from the labels and centroids of the last one:
//! 1. the confidence of each sample in its own cluster, `q = exp(-5 d / d_max)`, with `d` its distance to its centroid and `d_max` the
//!    largest distance of any sample to any centroid (`hdc_distance`, `hdc_largest`);
//! 2. each sample goes to the cluster with the least harmonic discrepancy, its score (`hdc_assign`);
//! 3. empty clusters get the samples with the weakest membership (`relocation`);
//! 4. members whose score is above mean + `n_sigma` standard deviations of their cluster, or above a fixed threshold, are outliers;
//! 5. centroids are the means of the others; outliers stay members in the next round.
//!
//! The rounds end when the centroids rest (squared shift 0), when the shift has not fallen below its best for some rounds, or at
//! `max_iter`; the last round counts. **A round depends on the labels and outliers of the round before only**, and these seldom
//! rest but often return: once they have been seen before, the shifts to come are known, and the rule of stopping is played on
//! them without work.
//!
//! Where we leave the authors' code: relocation goes by (membership, index) and ends for any `K <= N`; a cluster whose members are all
//! above the threshold keeps its centroid; `d_max = 0` gives `q = 1`; the shift to beat starts at infinity.
//!
//! Cost of a round: the stored pairs, `N D`, and at most one product `N K D` for `d_max`. Memory: two more copies of the features
//! (Euler) and 8 bytes a sample and round. Without given distances `4 N^2 D` a round.

use rayon::prelude::*;

use crate::hdc_assign::{Choice, Members, ONE, Pairs, assign};
use crate::hdc_centroids::{means, outliers};
use crate::hdc_distance::{Planes, Similarity, between, squared_difference};
use crate::hdc_largest::{Largest, Samples, largest_pair};
use crate::hdc_start::{HdcInit, start};
use crate::hdc_stop::{Round, Stop, replay};
use crate::kmeans_plusplus::check_n_clusters;
use crate::neighbors::check_shape;
use crate::product::squared_norms;
use crate::relocation::relocate;
use crate::{Context, Distances, Error, Matrix, Result, memory};

/// How fast confidence falls with the distance to the centroid.
const FALL: f32 = 5.0;

/// What becomes of a sample that is as far from every cluster as from strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolated {
    /// It joins the first cluster, as in the authors' code.
    #[default]
    Cluster,
    /// It is in no cluster, and no member of one in the next round.
    Outlier,
}

/// The settings of [`hdc`].
#[derive(Debug, Clone, PartialEq)]
pub struct HdcParams {
    /// Number of clusters, 1 to N.
    pub n_clusters: usize,
    /// Rounds at most, at least 1.
    pub max_iter: usize,
    /// The first round, counted from 0, whose shift is compared.
    pub min_iter: usize,
    /// Rounds without a smaller shift that are waited for.
    pub patience: usize,
    /// Standard deviations above the mean score of a cluster that make an outlier.
    pub n_sigma: f32,
    /// Score above which a sample is an outlier, in place of the rule with `n_sigma`.
    pub threshold: Option<f32>,
    /// Whether outliers get the label -1 in the result.
    pub outliers: bool,
    /// Distance of samples and centroids.
    pub similarity: Similarity,
    /// Whether centroids are scaled to unit length.
    pub normalize_centroids: bool,
    /// What becomes of a sample that no cluster is near to.
    pub isolated: Isolated,
    /// Whether the trace is wanted.
    pub trace: bool,
}

impl Default for HdcParams {
    fn default() -> Self {
        Self {
            n_clusters: 1,
            max_iter: 80,
            min_iter: 10,
            patience: 4,
            n_sigma: 1.0,
            threshold: None,
            outliers: true,
            similarity: Similarity::Euler,
            normalize_centroids: false,
            isolated: Isolated::default(),
            trace: false,
        }
    }
}

/// Clusters of the last round; -1 is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Hdc {
    /// A label per sample, -1 for outliers if they are wanted.
    pub labels: Vec<i64>,
    /// The same with outliers in their clusters.
    pub labels_all: Vec<i64>,
    /// `(K, D)` row-major.
    pub centroids: Vec<f32>,
    /// Discrepancy of each sample to its cluster.
    pub scores: Vec<f32>,
    /// Squared shift of the centroids in each round.
    pub shifts: Vec<f64>,
    /// All rounds, if wanted.
    pub trace: Option<HdcTrace>,
}

/// Rounds of [`hdc`], `(T, N)` row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HdcTrace {
    /// Labels, -1 for outliers.
    pub labels: Vec<i64>,
    /// Labels with outliers in their clusters.
    pub labels_all: Vec<i64>,
    /// Discrepancy of each sample to its cluster.
    pub scores: Vec<f32>,
}

/// Clusters of `features` by given distances (a pair that a graph does not hold is 1 apart), or by the features' own.
///
/// ```
/// use reid_cluster::{
///     Context, Distances, HdcInit, HdcParams, JaccardParams, Matrix, hdc, jaccard_graph,
/// };
///
/// let angles: [f32; 6] = [0.0, 0.1, 0.2, 3.0, 3.1, 3.2];
/// let values: Vec<f32> = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
/// let features = Matrix::new(&values, 6, 2)?;
/// let pool = Context::pool(2)?;
/// let context = Context::quiet(&pool);
/// let neighborhood = JaccardParams { k1: 3, k2: 1, ..JaccardParams::default() };
/// let graph = jaccard_graph(features, &neighborhood, 1.0, None, &context)?;
///
/// let params = HdcParams { n_clusters: 2, ..HdcParams::default() };
/// let found = hdc(
///     features,
///     Some(&Distances::Sparse(graph)),
///     &HdcInit::Indices(&[0, 3]),
///     &params,
///     &context,
/// )?;
/// assert_eq!(found.labels_all, [0, 0, 0, 1, 1, 1]);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] and [`Error::Shape`] naming the argument; [`Error::NotFinite`]; [`Error::TooLarge`]; [`Error::Interrupted`].
pub fn hdc(
    features: Matrix<'_>,
    distances: Option<&Distances<'_>>,
    init: &HdcInit<'_>,
    params: &HdcParams,
    context: &Context<'_>,
) -> Result<Hdc> {
    check(features, distances, params, context)?;
    let planes = Planes::new(features, "features", params.similarity, context)?;
    let samples = Samples::new(planes.view()?, context)?;
    let (mut labels, mut centroids) =
        start(features, distances, samples.view, init, params, context)?;
    let pairs = match distances {
        Some(distances) => Pairs::given(distances, context),
        None => own_pairs(&samples, context)?,
    };
    let mut job = Job {
        features,
        samples,
        pairs,
        params,
        context,
        largest: Largest::default(),
    };
    let (mut rounds, mut shifts) = (Vec::<Round>::new(), Vec::new());
    let mut stop = Stop::default();
    loop {
        let t = rounds.len();
        context.tick(t, params.max_iter, "hdc")?;
        let (round, next) = job.round(&labels, &centroids)?;
        shifts.push(job.shift(&centroids, &next));
        (labels, centroids) = (round.labels_all().collect(), next);
        let seen = rounds.iter().position(|old| old.same_as(&round));
        rounds.push(round);
        if stop.after(t, shifts[t], params) {
            break;
        }
        if let Some(seen) = seen {
            replay(seen, &mut rounds, &mut shifts, &mut stop, params);
            centroids = job.centroids(&rounds[rounds.len() - 1], &centroids)?;
            break;
        }
    }
    context.tick(params.max_iter, params.max_iter, "hdc")?;
    Ok(result(rounds, centroids, shifts, params))
}

fn check(
    features: Matrix<'_>,
    distances: Option<&Distances<'_>>,
    params: &HdcParams,
    context: &Context<'_>,
) -> Result<()> {
    check_shape(features, "features")?;
    let n = features.rows();
    check_n_clusters(params.n_clusters, n)?;
    if params.max_iter == 0 {
        return Err(Error::parameter("max_iter", 0, "must be at least 1"));
    }
    let numbers = [
        ("n_sigma", Some(params.n_sigma)),
        ("threshold", params.threshold),
    ];
    for (name, value) in numbers {
        if let Some(value) = value.filter(|v| !(0.0..f32::INFINITY).contains(v)) {
            return Err(Error::parameter(
                name,
                value,
                "must be 0 or more and finite",
            ));
        }
    }
    let planes = if params.similarity == Similarity::Euler {
        8 * n as u128 * features.cols() as u128
    } else {
        0
    };
    memory::check(
        planes + 8 * n as u128 * params.max_iter as u128,
        &format!(
            "hdc of {n} rows and {} columns, max_iter={},",
            features.cols(),
            params.max_iter
        ),
        "give fewer columns, a smaller max_iter, or similarity=\"cosine\"",
    )?;
    features.check_finite("features", context)?;
    squared_norms(features, "features", context)?;
    match distances {
        Some(given) if given.rows() != n => Err(Error::Shape(format!(
            "distances has {} rows and features {n}: both need the same",
            given.rows()
        ))),
        Some(given) => given.check(context),
        None => Ok(()),
    }
}

/// The features' own distances, divided by the largest one; the cosine is in [0, 1] as it is.
fn own_pairs<'a>(samples: &Samples<'a>, context: &Context<'_>) -> Result<Pairs<'a>> {
    let largest = match samples.view.similarity {
        Similarity::Cosine => 1.0,
        _ => largest_pair(samples, context)?,
    };
    let divisor = if largest > 0.0 { largest } else { 1.0 };
    Ok(Pairs::Own(samples.view, divisor))
}

/// One call: what does not change between rounds, and what is remembered of the centroids.
struct Job<'a> {
    features: Matrix<'a>,
    samples: Samples<'a>,
    pairs: Pairs<'a>,
    params: &'a HdcParams,
    context: &'a Context<'a>,
    largest: Largest,
}

impl Job<'_> {
    /// A round and its centroids.
    fn round(&mut self, labels: &[i32], centroids: &[f32]) -> Result<(Round, Vec<f32>)> {
        let k = self.params.n_clusters;
        let confidence = self.confidence(labels, centroids)?;
        let members = Members::new(labels, &confidence, k);
        let choices = assign(&self.pairs, &members, self.context)?;
        let apart = self.params.isolated == Isolated::Outlier;
        let label = |choice: &Choice| {
            if apart && choice.isolated() {
                -1
            } else {
                choice.label
            }
        };
        let mut labels: Vec<i32> = choices.iter().map(label).collect();
        let mut scores: Vec<f32> = choices.iter().map(|choice| choice.score).collect();
        let membership: Vec<i64> = choices.iter().map(|choice| choice.membership).collect();
        let last = ONE * (k as i64 - 1);
        relocate(&mut labels, &mut scores, &membership, last, k, |i, c| {
            members.discrepancy(&self.pairs, i, c)
        });
        let outliers = outliers(&labels, &scores, self.params);
        let code = |(&label, out)| if out && label >= 0 { -2 - label } else { label };
        let mut round = Round {
            code: labels.iter().zip(outliers).map(code).collect(),
            scores,
            kept: Vec::new(),
        };
        let next = self.centroids(&round, centroids)?;
        let mut inliers = vec![false; k];
        for label in round.labels().filter(|&label| label >= 0) {
            inliers[label as usize] = true;
        }
        let d = self.features.cols();
        let rows = next.chunks(d).map(<[f32]>::to_vec).enumerate();
        round.kept = rows.filter(|(c, _)| !inliers[*c]).collect();
        Ok((round, next))
    }

    /// Of every sample in its cluster; 0 in none.
    fn confidence(&mut self, labels: &[i32], centroids: &[f32]) -> Result<Vec<f32>> {
        let (params, context, d) = (self.params, self.context, self.features.cols());
        let centers = Matrix::new(centroids, params.n_clusters, d)?;
        let centers = Planes::new(centers, "centroids", params.similarity, context)?;
        let (x, y) = (self.samples.view, centers.view()?);
        let step = (1_usize << 23).div_ceil(d);
        let own = context.blocks(labels.len(), step, "confidence", |rows| {
            let distance = |i: usize| match usize::try_from(labels[i]) {
                Ok(cluster) => between(x, i, y, cluster),
                Err(_) => f32::INFINITY,
            };
            let rows = rows.into_par_iter().with_min_len(16);
            rows.map(distance).collect::<Vec<f32>>()
        })?;
        let largest = match params.similarity {
            Similarity::Cosine => 1.0,
            _ => self
                .largest
                .update(&self.samples, centers.into_owned(), context)?,
        };
        let confidence = |d: f32| match d {
            f32::INFINITY => 0.0,
            _ if largest > 0.0 => (-FALL * (d / largest)).exp(),
            _ => 1.0,
        };
        Ok(own.into_iter().flatten().map(confidence).collect())
    }

    /// Means of the inliers; a cluster without keeps what it had.
    fn centroids(&self, round: &Round, before: &[f32]) -> Result<Vec<f32>> {
        let mut centroids = before.to_vec();
        for (cluster, row) in &round.kept {
            let d = row.len();
            centroids[cluster * d..(cluster + 1) * d].copy_from_slice(row);
        }
        let labels: Vec<i32> = round.labels().collect();
        means(
            self.features,
            &labels,
            self.params.normalize_centroids,
            &mut centroids,
            self.context,
        )?;
        Ok(centroids)
    }

    fn shift(&self, from: &[f32], to: &[f32]) -> f64 {
        let d = self.features.cols();
        let rows = from.par_chunks(d).zip(to.par_chunks(d));
        let rows = rows.map(|(a, b)| squared_difference(a, b));
        let rows: Vec<f64> = self.context.install(|| rows.collect());
        rows.iter().sum()
    }
}

fn result(rounds: Vec<Round>, centroids: Vec<f32>, shifts: Vec<f64>, params: &HdcParams) -> Hdc {
    let trace = params.trace.then(|| HdcTrace {
        labels: rounds
            .iter()
            .flat_map(Round::labels)
            .map(i64::from)
            .collect(),
        labels_all: rounds
            .iter()
            .flat_map(Round::labels_all)
            .map(i64::from)
            .collect(),
        scores: rounds
            .iter()
            .flat_map(|round| round.scores.iter().copied())
            .collect(),
    });
    let mut hdc = Hdc {
        labels: Vec::new(),
        labels_all: Vec::new(),
        centroids,
        scores: Vec::new(),
        shifts,
        trace,
    };
    if let Some(last) = rounds.into_iter().next_back() {
        hdc.labels_all = last.labels_all().map(i64::from).collect();
        hdc.labels = if params.outliers {
            last.labels().map(i64::from).collect()
        } else {
            hdc.labels_all.clone()
        };
        hdc.scores = last.scores;
    }
    hdc
}
