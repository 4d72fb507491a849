//! Bottom-up clustering (Lin et al., "A Bottom-Up Clustering Approach to Unsupervised Person Re-Identification", AAAI 2019): merge the closest
//! clusters, where large clusters cost extra.
//!
//! Two clusters A, B are `w(A, B) = D(A, B) + size_penalty * (|A| + |B|)` apart. D is the least distance between a row of A and a row of B
//! (single linkage, as in the paper's code), or the mean over all pairs of rows (average linkage, ours). The m lightest acceptable pairs are
//! merged in the total order (w, i, j) of the rows reported for them.
//!
//! * Sizes **frozen** for the call, as in the authors' code: Kruskal's algorithm on the cluster graph, `bottom_up_frozen`. Distances are squared
//!   by default like the code's; the paper writes them unsquared.
//! * Sizes **live**: sequential agglomeration, distances and sizes follow each merge, `bottom_up_live`.
//! * **Groups** (cameras of one moment, frames of one video): clusters that share a group never merge.
//!
//! The mean over pairs of the squared distance needs no pairs: it is `m2_A + m2_B - 2 mu_A . mu_B` with the mean row mu and
//! the mean squared norm m2, so average linkage runs the same product on C rows instead of N.
//!
//! Cost: N^2 D / 2 multiply-adds (C^2 D / 2 for average linkage); memory O(N + m), live sizes 2 C^2 bytes. It does badly where one step should
//! merge far more or fewer clusters than `n_merges`: single linkage chains, and nothing stops it but `min_clusters`.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::neighbors::check_shape;
use crate::product::squared_norms;
use crate::union_find::UnionFind;
use crate::{Context, Error, Matrix, Result, bottom_up_frozen, bottom_up_live};

/// What D(A, B) is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// The least distance between two rows.
    Single,
    /// The mean distance over all pairs of rows.
    Average,
}

/// Distance of two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// Squared Euclidean, `max(0, |x|^2 + |y|^2 - 2 x.y)`.
    SquaredEuclidean,
    /// Its square root.
    Euclidean,
}

/// Which sizes the penalty uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// Those at the start of the call.
    Frozen,
    /// Those after the merges so far.
    Live,
}

/// How to merge.
#[derive(Debug, Clone, Copy)]
pub struct BottomUpParams {
    /// Merges to do, 0 or more; fewer are done when no more are acceptable.
    pub n_merges: usize,
    /// Added to the distance per row of the two clusters; finite, 0 or more.
    pub size_penalty: f32,
    /// Distance of two rows.
    pub distance: Distance,
    /// Linkage; average needs squared distances.
    pub linkage: Linkage,
    /// Frozen or live sizes.
    pub sizes: Sizes,
    /// Stop at this many clusters, 1 or more.
    pub min_clusters: usize,
}

impl Default for BottomUpParams {
    fn default() -> Self {
        Self {
            n_merges: 0,
            size_penalty: 0.003,
            distance: Distance::SquaredEuclidean,
            linkage: Linkage::Single,
            sizes: Sizes::Frozen,
            min_clusters: 1,
        }
    }
}

/// The clusters after merging.
#[derive(Debug, Clone, PartialEq)]
pub struct BottomUp {
    /// New label of each row; classes are numbered by the smallest old label in them.
    pub labels: Vec<i64>,
    /// Number of clusters.
    pub n_clusters: usize,
    /// Rows (i, j), i < j, of each merge in order: the closest two, or for average linkage each cluster's smallest row.
    pub pairs: Vec<[i32; 2]>,
    /// `w` of each merge.
    pub weights: Vec<f32>,
    /// `w` of the merge that would come next; infinite when there is none.
    pub next_weight: f32,
}

/// One accepted merge: two clusters (of those at the start), two rows, the weight.
pub(crate) struct Merge {
    pub(crate) clusters: (usize, usize),
    pub(crate) rows: (usize, usize),
    pub(crate) weight: f32,
}

/// Accepted merges in order, and the weight of the next one.
pub(crate) struct Merges {
    pub(crate) done: Vec<Merge>,
    pub(crate) next: f32,
}

/// Merge clusters; `labels` are contiguous from 0 (`None`: every row is its own), `groups` has one entry a row, negative for none.
///
/// # Errors
/// [`Error::Parameter`] or [`Error::Shape`] for parameters, labels or shapes that are not as said; [`Error::NotFinite`];
/// [`Error::TooLarge`] for live sizes with too many clusters; [`Error::Interrupted`].
pub fn bottom_up(
    features: Matrix<'_>,
    labels: Option<&[i64]>,
    groups: Option<&[i64]>,
    params: &BottomUpParams,
    context: &Context<'_>,
) -> Result<BottomUp> {
    check_shape(features, "features")?;
    params.check()?;
    let clusters = Clusters::new(features.rows(), labels, groups)?;
    features.check_finite("features", context)?;
    let norms = squared_norms(features, "features", context)?;
    let points = match params.linkage {
        Linkage::Single => Points::rows(features, norms, &clusters),
        Linkage::Average => Points::means(features, &norms, &clusters, context)?,
    };
    let m = params.n_merges.min(clusters.len().saturating_sub(params.min_clusters));
    let merges = match params.sizes {
        Sizes::Frozen => bottom_up_frozen::merge(&points, &clusters, params, m, context)?,
        Sizes::Live => bottom_up_live::merge(points, &clusters, params, m, context)?,
    };
    Ok(clusters.merged(&merges))
}

impl BottomUpParams {
    fn check(&self) -> Result<()> {
        if !(self.size_penalty.is_finite() && self.size_penalty >= 0.0) {
            return Err(Error::parameter("size_penalty", self.size_penalty, "must be finite and at least 0"));
        }
        if self.min_clusters == 0 {
            return Err(Error::parameter("min_clusters", 0, "must be at least 1"));
        }
        if self.linkage == Linkage::Average && self.distance == Distance::Euclidean {
            return Err(Error::parameter(
                "linkage",
                "average",
                "is the mean of squared distances, take distance='sqeuclidean'",
            ));
        }
        Ok(())
    }

    /// What a cluster of `size` rows adds to the weight.
    pub(crate) fn penalty(&self, size: usize) -> f32 {
        (f64::from(self.size_penalty) * size as f64) as f32
    }
}

/// The clusters at the start, numbered by their smallest row.
pub(crate) struct Clusters {
    /// Cluster of each row.
    pub(crate) of: Vec<u32>,
    /// Rows of each cluster, ascending.
    pub(crate) members: Vec<Vec<u32>>,
    /// Sorted groups of each cluster; empty without groups.
    pub(crate) groups: Vec<Vec<i64>>,
    /// The caller's name of each cluster.
    names: Vec<i64>,
}

impl Clusters {
    fn new(n: usize, labels: Option<&[i64]>, groups: Option<&[i64]>) -> Result<Self> {
        for (name, given) in [("labels", labels), ("groups", groups)] {
            if let Some(given) = given.filter(|g| g.len() != n) {
                return Err(Error::Shape(format!("{name} has {} entries and features {n} rows", given.len())));
            }
        }
        let range: Vec<i64>;
        let labels = if let Some(labels) = labels {
            labels
        } else {
            range = (0..n as i64).collect();
            &range
        };
        check_contiguous(labels)?;
        let mut number = vec![u32::MAX; n];
        let (mut of, mut members, mut names) = (Vec::with_capacity(n), Vec::<Vec<u32>>::new(), Vec::new());
        for (row, &label) in labels.iter().enumerate() {
            let cluster = &mut number[label as usize];
            if *cluster == u32::MAX {
                *cluster = members.len() as u32;
                members.push(Vec::new());
                names.push(label);
            }
            of.push(*cluster);
            members[*cluster as usize].push(row as u32);
        }
        let groups = groups.map_or_else(Vec::new, |groups| {
            members.iter().map(|rows| group_set(rows, groups)).collect()
        });
        Ok(Self { of, members, groups, names })
    }

    /// Number of clusters.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Carry out the merges and name what results.
    fn merged(&self, merges: &Merges) -> BottomUp {
        // Over names: the root of a set is its smallest name, and new names follow in that order.
        let mut sets = UnionFind::new(self.len());
        for merge in &merges.done {
            let (a, b) = merge.clusters;
            sets.union(self.names[a] as usize, self.names[b] as usize);
        }
        let mut renamed = vec![0_i64; self.len()];
        let mut n_clusters = 0;
        for name in 0..self.len() {
            let root = sets.find(name);
            renamed[name] = if root == name { n_clusters } else { renamed[root] };
            n_clusters += i64::from(root == name);
        }
        let rows = |merge: &Merge| {
            let (i, j) = merge.rows;
            [i.min(j) as i32, i.max(j) as i32]
        };
        BottomUp {
            labels: self.of.iter().map(|&c| renamed[self.names[c as usize] as usize]).collect(),
            n_clusters: n_clusters as usize,
            pairs: merges.done.iter().map(rows).collect(),
            weights: merges.done.iter().map(|merge| merge.weight).collect(),
            next_weight: merges.next,
        }
    }
}

fn check_contiguous(labels: &[i64]) -> Result<()> {
    if let Some(row) = labels.iter().position(|&label| label < 0) {
        return Err(Error::Shape(format!(
            "labels[{row}]={}: negative labels cannot be merged, give each such row a class of its own",
            labels[row]
        )));
    }
    let largest = labels.iter().copied().max().unwrap_or(0);
    let mut seen = vec![false; labels.len()];
    for &label in labels {
        if let Some(seen) = seen.get_mut(label as usize) {
            *seen = true;
        }
    }
    match seen.iter().take(largest as usize + 1).position(|&seen| !seen) {
        None if (largest as usize) < labels.len() => Ok(()),
        missing => Err(Error::Shape(format!(
            "labels has no {} but goes up to {largest}: number the classes 0, 1, 2, ... without gaps",
            missing.unwrap_or(labels.len())
        ))),
    }
}

fn group_set(rows: &[u32], groups: &[i64]) -> Vec<i64> {
    let mut set: Vec<i64> = rows.iter().map(|&row| groups[row as usize]).filter(|&g| g >= 0).collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// Whether two sorted sets have a common element.
pub(crate) fn share(a: &[i64], b: &[i64]) -> bool {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => _ = a.next(),
            std::cmp::Ordering::Greater => _ = b.next(),
            std::cmp::Ordering::Equal => return true,
        }
    }
    false
}

/// The vectors whose distances are taken: all rows, or one mean a cluster.
pub(crate) struct Points<'a> {
    pub(crate) data: Cow<'a, [f32]>,
    pub(crate) cols: usize,
    /// Squared norms, or mean squared norms.
    pub(crate) norms: Vec<f32>,
    /// Cluster of each point.
    pub(crate) cluster: Vec<u32>,
    /// Row reported for each point.
    pub(crate) row: Vec<u32>,
}

impl<'a> Points<'a> {
    fn rows(features: Matrix<'a>, norms: Vec<f32>, clusters: &Clusters) -> Self {
        Self {
            data: Cow::Borrowed(features.data()),
            cols: features.cols(),
            norms,
            cluster: clusters.of.clone(),
            row: (0..features.rows() as u32).collect(),
        }
    }

    /// Means summed in float64 in the order of the rows, rounded once.
    fn means(
        features: Matrix<'a>,
        norms: &[f32],
        clusters: &Clusters,
        context: &Context<'_>,
    ) -> Result<Self> {
        let (c, d) = (clusters.len(), features.cols());
        if c == features.rows() {
            return Ok(Self::rows(features, norms.to_vec(), clusters));
        }
        let mut data = vec![0.0_f32; c * d];
        let mut mean_norms = vec![0.0_f32; c];
        let step = 1024;
        for (block, (means, norms_out)) in data.chunks_mut(step * d).zip(mean_norms.chunks_mut(step)).enumerate() {
            context.tick(block * step, c, "means")?;
            context.install(|| {
                let out = means.par_chunks_mut(d).zip(norms_out.par_iter_mut());
                out.enumerate().for_each_init(
                    || vec![0.0_f64; d],
                    |sum, (i, (mean, norm))| {
                        let rows = &clusters.members[block * step + i];
                        sum.fill(0.0);
                        let mut norm_sum = 0.0;
                        for &row in rows {
                            let values = features.row(row as usize);
                            sum.iter_mut().zip(values).for_each(|(s, &v)| *s += f64::from(v));
                            norm_sum += f64::from(norms[row as usize]);
                        }
                        let size = rows.len() as f64;
                        mean.iter_mut().zip(sum).for_each(|(m, s)| *m = (*s / size) as f32);
                        *norm = (norm_sum / size) as f32;
                    },
                );
            });
        }
        Ok(Self {
            data: Cow::Owned(data),
            cols: d,
            norms: mean_norms,
            cluster: (0..c as u32).collect(),
            row: clusters.members.iter().map(|rows| rows[0]).collect(),
        })
    }

    /// Number of points.
    pub(crate) fn len(&self) -> usize {
        self.norms.len()
    }

    /// The points as the product wants them.
    pub(crate) fn matrix(&self) -> Result<Matrix<'_>> {
        Matrix::new(&self.data, self.len(), self.cols)
    }
}
