//! Bottom-up clustering (Lin et al., "A Bottom-Up Clustering Approach to Unsupervised Person
//! Re-Identification", AAAI 2019): merge the closest clusters, where large clusters cost extra.
//!
//! Two clusters A, B are `w(A, B) = D(A, B) + size_penalty * (|A| + |B|)` apart. D is the least distance
//! between a row of A and a row of B (single linkage, as in the paper's code), or the mean over all pairs of
//! rows (average linkage, ours). The m lightest acceptable pairs are merged in the total order (w, i, j) of
//! the rows reported for them.
//!
//! * Sizes **frozen** for the call, as in the authors' code: Kruskal's algorithm on the cluster graph,
//!   `bottom_up_frozen`. Distances are squared by default like the code's; the paper writes them unsquared.
//! * Sizes **live**: sequential agglomeration, distances and sizes follow each merge, `bottom_up_live`.
//! * **Groups** (cameras of one moment, frames of one video): clusters that share a group never merge.
//! * **Links** (pairs that cannot be one identity): as if each pair were a group of its own.
//!
//! The mean over pairs of the squared distance needs no pairs: it is `m2_A + m2_B - 2 mu_A . mu_B` with the
//! mean row mu and the mean squared norm m2, so average linkage runs the same product on C rows instead of N.
//!
//! Cost: N^2 D / 2 multiply-adds (C^2 D / 2 for average linkage); memory O(N + m), live sizes 2 C^2 bytes. It
//! does badly where one step should merge far more or fewer clusters than `n_merges`: single linkage chains,
//! and nothing stops it but `min_clusters`.

use crate::clusters::{Clusters, Points};
use crate::constraints::CannotLink;
use crate::neighbors::check_shape;
use crate::product::squared_norms;
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
    /// Rows (i, j), i < j, of each merge in order: the closest two, or for average linkage each cluster's
    /// smallest row.
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

/// Merge clusters; `labels` are contiguous from 0 (`None`: every row is its own), `groups` has one entry a
/// row, negative for none: clusters with rows of a common group never merge, nor do clusters with linked rows.
///
/// Clusters A and B are `D(A, B) + size_penalty * (|A| + |B|)` apart; the lightest acceptable merges are done, one after
/// the other.
///
/// ```
/// use reid_cluster::{BottomUpParams, CannotLink, Context, Matrix, bottom_up};
///
/// let values = [0.0, 1.0, 5.0, 5.5];
/// let features = Matrix::new(&values, 4, 1)?;
/// let pool = Context::pool(2)?;
/// let context = Context::quiet(&pool);
/// let params = BottomUpParams { n_merges: 2, size_penalty: 0.0, ..BottomUpParams::default() };
/// let merged = bottom_up(features, None, None, None, &params, &context)?;
/// assert_eq!(merged.labels, [0, 0, 1, 1]);
/// assert_eq!(merged.pairs, [[2, 3], [0, 1]]);
///
/// // The same camera saw rows 2 and 3: they stay apart.
/// let cameras = [0, 1, 2, 2];
/// let merged = bottom_up(features, None, Some(&cameras), None, &params, &context)?;
/// assert_eq!(merged.labels, [0, 0, 0, 1]);
///
/// // Rows 0 and 1 are two people.
/// let links = CannotLink::new(&[[0, 1]], 4, &context)?;
/// let merged = bottom_up(features, None, None, Some(&links), &params, &context)?;
/// assert_eq!(merged.labels, [0, 1, 1, 1]);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] or [`Error::Shape`] for parameters, labels or shapes that are not as said, or linked rows that share a
/// class of the start;
/// [`Error::NotFinite`];
/// [`Error::TooLarge`] for live sizes with too many clusters; [`Error::Interrupted`].
pub fn bottom_up(
    features: Matrix<'_>,
    labels: Option<&[i64]>,
    groups: Option<&[i64]>,
    cannot_link: Option<&CannotLink>,
    params: &BottomUpParams,
    context: &Context<'_>,
) -> Result<BottomUp> {
    check_shape(features, "features")?;
    params.check()?;
    let clusters = Clusters::new(features.rows(), labels, groups, cannot_link)?;
    features.check_finite("features", context)?;
    let norms = squared_norms(features, "features", context)?;
    let points = match params.linkage {
        Linkage::Single => Points::rows(features, norms, &clusters),
        Linkage::Average => Points::means(features, &norms, &clusters, context)?,
    };
    let m = params
        .n_merges
        .min(clusters.len().saturating_sub(params.min_clusters));
    let merges = match params.sizes {
        Sizes::Frozen => bottom_up_frozen::merge(&points, &clusters, params, m, context)?,
        Sizes::Live => bottom_up_live::merge(points, &clusters, params, m, context)?,
    };
    Ok(clusters.merged(&merges))
}

impl BottomUpParams {
    fn check(&self) -> Result<()> {
        if !(self.size_penalty.is_finite() && self.size_penalty >= 0.0) {
            return Err(Error::parameter(
                "size_penalty",
                self.size_penalty,
                "must be finite and at least 0",
            ));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::neighbors::distance;
    use crate::product::{Scratch, dots};

    /// All products of rows.
    fn gram(x: Matrix<'_>) -> Vec<f32> {
        let n = x.rows();
        let mut out = vec![0.0; n * n];
        dots(x, 0..n, x, 0..n, &mut Scratch::default(), &mut out);
        out
    }

    /// Kruskal over all pairs of points, straight from the definition.
    fn naive_frozen(
        points: &Points<'_>,
        clusters: &Clusters,
        params: &BottomUpParams,
        m: usize,
    ) -> BottomUp {
        let (n, out) = (points.len(), gram(points.matrix().unwrap()));
        let size = |i: usize| params.penalty(clusters.members[points.cluster[i] as usize].len());
        let mut edges = Vec::new();
        for i in 0..n {
            for j in i + 1..n {
                let d = distance(points.norms[i], points.norms[j], out[i * n + j]);
                let d = if params.distance == Distance::Euclidean {
                    d.sqrt()
                } else {
                    d
                };
                edges.push((d + (size(i) + size(j)), i, j));
            }
        }
        edges.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut name: Vec<usize> = (0..clusters.len()).collect();
        let mut groups = clusters.groups.clone();
        let mut done = Vec::new();
        for (weight, i, j) in edges {
            let (a, b) = (points.cluster[i] as usize, points.cluster[j] as usize);
            let (low, high) = (name[a].min(name[b]), name[a].max(name[b]));
            let barred = !groups.is_empty() && groups[low].iter().any(|g| groups[high].contains(g));
            if low == high || barred {
                continue;
            }
            name.iter_mut()
                .filter(|name| **name == high)
                .for_each(|name| *name = low);
            if !groups.is_empty() {
                let moved = groups[high].clone();
                groups[low].extend(moved);
            }
            let rows = (points.row[i] as usize, points.row[j] as usize);
            done.push(Merge {
                clusters: (a, b),
                rows,
                weight,
            });
        }
        let next = done.get(m).map_or(f32::INFINITY, |merge| merge.weight);
        done.truncate(m);
        clusters.merged(&Merges { done, next })
    }

    /// All pairs of clusters anew after each merge.
    fn naive_live(
        points: &Points<'_>,
        clusters: &Clusters,
        params: &BottomUpParams,
        m: usize,
    ) -> BottomUp {
        let (n, out) = (points.len(), gram(points.matrix().unwrap()));
        let mut sets: Vec<(Vec<u32>, Vec<i64>)> = (0..clusters.len())
            .map(|c| {
                (
                    vec![c as u32],
                    clusters.groups.get(c).cloned().unwrap_or_default(),
                )
            })
            .collect();
        let size = |set: &[u32]| {
            set.iter()
                .map(|&c| clusters.members[c as usize].len())
                .sum::<usize>()
        };
        let (mut done, mut next) = (Vec::new(), f32::INFINITY);
        loop {
            let mut best = (f32::INFINITY, 0, 0, (0, 0));
            for a in 0..sets.len() {
                for b in a + 1..sets.len() {
                    if sets[a].1.iter().any(|g| sets[b].1.contains(g)) {
                        continue;
                    }
                    let mut least = (f32::INFINITY, 0, 0);
                    let mut sum = 0.0;
                    for i in (0..n).filter(|&i| sets[a].0.contains(&points.cluster[i])) {
                        for j in (0..n).filter(|&j| sets[b].0.contains(&points.cluster[j])) {
                            let d = distance(points.norms[i], points.norms[j], out[i * n + j]);
                            let d = if params.distance == Distance::Euclidean {
                                d.sqrt()
                            } else {
                                d
                            };
                            let found = (
                                d,
                                points.row[i].min(points.row[j]),
                                points.row[i].max(points.row[j]),
                            );
                            if found
                                .0
                                .total_cmp(&least.0)
                                .then((found.1, found.2).cmp(&(least.1, least.2)))
                                .is_lt()
                            {
                                least = found;
                            }
                            let pairs = clusters.members[points.cluster[i] as usize].len()
                                * clusters.members[points.cluster[j] as usize].len();
                            sum += f64::from(d) * pairs as f64;
                        }
                    }
                    let (size_a, size_b) = (size(&sets[a].0), size(&sets[b].0));
                    let average = params.linkage == Linkage::Average;
                    let d = if average {
                        (sum / (size_a * size_b) as f64) as f32
                    } else {
                        least.0
                    };
                    let weight = d + (params.penalty(size_a) + params.penalty(size_b));
                    if weight < best.0 {
                        let first = |set: &[u32]| clusters.members[set[0] as usize][0] as usize;
                        let rows = (first(&sets[a].0), first(&sets[b].0));
                        let rows = if average {
                            rows
                        } else {
                            (least.1 as usize, least.2 as usize)
                        };
                        best = (weight, a, b, rows);
                    }
                }
            }
            let (weight, a, b, rows) = best;
            if done.len() == m || weight.is_infinite() {
                next = next.min(weight);
                break;
            }
            done.push(Merge {
                clusters: (sets[a].0[0] as usize, sets[b].0[0] as usize),
                rows,
                weight,
            });
            let moved = sets.remove(b);
            sets[a].0.extend(moved.0);
            sets[a].0.sort_unstable();
            sets[a].1.extend(moved.1);
        }
        clusters.merged(&Merges { done, next })
    }

    #[derive(Debug)]
    struct Case {
        data: Vec<f32>,
        cols: usize,
        labels: Vec<i64>,
        groups: Option<Vec<i64>>,
        links: Vec<[i32; 2]>,
        params: BottomUpParams,
    }

    /// Whole numbers: ties and copies are common.
    fn cases(sizes: Sizes) -> impl Strategy<Value = Case> {
        (1_usize..28, 1_usize..5).prop_flat_map(move |(n, cols)| {
            let value = (-3_i8..4).prop_map(f32::from);
            let linkage = if sizes == Sizes::Live {
                Just(Linkage::Single).boxed()
            } else {
                prop_oneof![Just(Linkage::Single), Just(Linkage::Average)].boxed()
            };
            (
                prop::collection::vec(value, n * cols),
                prop::collection::vec(0_i64..20, n),
                prop::option::of(prop::collection::vec(-1_i64..6, n)),
                prop::collection::vec([0..n as i32, 0..n as i32], 0..8),
                (
                    0..n + 2,
                    prop::sample::select(vec![0.0, 0.003, 0.1]),
                    linkage,
                    any::<bool>(),
                    1_usize..4,
                ),
            )
                .prop_map(
                    move |(
                        data,
                        raw,
                        groups,
                        mut links,
                        (n_merges, size_penalty, linkage, root, min_clusters),
                    )| {
                        let mut names = raw.clone();
                        names.sort_unstable();
                        names.dedup();
                        let name = |label: &i64| names.binary_search(label).unwrap() as i64;
                        let root = root && linkage == Linkage::Single;
                        let distance = if root {
                            Distance::Euclidean
                        } else {
                            Distance::SquaredEuclidean
                        };
                        let params = BottomUpParams {
                            n_merges,
                            size_penalty,
                            distance,
                            linkage,
                            sizes,
                            min_clusters,
                        };
                        links.retain(|&[i, j]| raw[i as usize] != raw[j as usize]);
                        Case {
                            data,
                            cols,
                            labels: raw.iter().map(name).collect(),
                            groups,
                            links,
                            params,
                        }
                    },
                )
        })
    }

    fn both(case: &Case, threads: usize) -> (BottomUp, BottomUp) {
        let x = Matrix::new(&case.data, case.labels.len(), case.cols).unwrap();
        let pool = Context::pool(threads).unwrap();
        let context = Context::quiet(&pool);
        let (labels, groups) = (Some(&case.labels[..]), case.groups.as_deref());
        let links = CannotLink::new(&case.links, x.rows(), &context).unwrap();
        let fast = bottom_up(x, labels, groups, Some(&links), &case.params, &context).unwrap();
        for &[i, j] in &case.links {
            assert_ne!(fast.labels[i as usize], fast.labels[j as usize]);
        }
        let clusters = Clusters::new(x.rows(), labels, groups, Some(&links)).unwrap();
        let norms = squared_norms(x, "features", &context).unwrap();
        let points = match case.params.linkage {
            Linkage::Single => Points::rows(x, norms, &clusters),
            Linkage::Average => Points::means(x, &norms, &clusters, &context).unwrap(),
        };
        let m = case
            .params
            .n_merges
            .min(clusters.len().saturating_sub(case.params.min_clusters));
        let slow = match case.params.sizes {
            Sizes::Frozen => naive_frozen(&points, &clusters, &case.params, m),
            Sizes::Live => naive_live(&points, &clusters, &case.params, m),
        };
        (fast, slow)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn frozen_equals_naive(case in cases(Sizes::Frozen), threads in 1_usize..4) {
            let (fast, slow) = both(&case, threads);
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn live_equals_naive(case in cases(Sizes::Live), threads in 1_usize..4) {
            let (fast, slow) = both(&case, threads);
            prop_assert_eq!(fast, slow);
        }
    }

    #[test]
    fn means_are_means_over_pairs() {
        let data: Vec<f32> = (0..60).map(|i| ((i * 37) % 23) as f32 / 7.0).collect();
        let x = Matrix::new(&data, 20, 3).unwrap();
        let labels: Vec<i64> = (0..20).map(|i| (i * i) % 5 % 3).collect();
        let pool = Context::pool(2).unwrap();
        let context = Context::quiet(&pool);
        let clusters = Clusters::new(20, Some(&labels), None, None);
        let clusters = clusters.unwrap();
        let norms = squared_norms(x, "features", &context).unwrap();
        let means = Points::means(x, &norms, &clusters, &context).unwrap();
        let out = gram(means.matrix().unwrap());
        for a in 0..clusters.len() {
            for b in a + 1..clusters.len() {
                let pair = |i: u32, j: u32| -> f64 {
                    let ends = x.row(i as usize).iter().zip(x.row(j as usize));
                    ends.map(|(p, q)| f64::from(p - q).powi(2)).sum()
                };
                let (left, right) = (&clusters.members[a], &clusters.members[b]);
                let sum: f64 = left
                    .iter()
                    .flat_map(|&i| right.iter().map(move |&j| pair(i, j)))
                    .sum();
                let want = sum / (left.len() * right.len()) as f64;
                let got = distance(means.norms[a], means.norms[b], out[a * means.len() + b]);
                assert!((f64::from(got) - want).abs() < 1e-4, "{got} {want}");
            }
        }
    }

    /// Rounding of updated means decides nothing here, for no two weights are close.
    #[test]
    fn live_average_equals_naive() {
        let (n, cols) = (70, 6);
        let data: Vec<f32> = (0..n * cols)
            .map(|i| ((i * 7919 + i * i) % 1009) as f32 / 300.0)
            .collect();
        for grouped in [false, true] {
            let case = Case {
                data: data.clone(),
                cols,
                labels: (0..n as i64).map(|i| i % 50).collect(),
                groups: grouped.then(|| (0..n as i64).map(|i| (i * i) % 7 - 1).collect()),
                links: if grouped {
                    vec![[3, 9], [4, 40]]
                } else {
                    Vec::new()
                },
                params: BottomUpParams {
                    n_merges: 45,
                    size_penalty: 0.1,
                    linkage: Linkage::Average,
                    sizes: Sizes::Live,
                    ..BottomUpParams::default()
                },
            };
            let (fast, slow) = both(&case, 2);
            assert_eq!((&fast.labels, &fast.pairs), (&slow.labels, &slow.pairs));
            for (a, b) in fast.weights.iter().zip(&slow.weights) {
                assert!((a - b).abs() < 1e-3, "{a} {b}");
            }
        }
    }

    /// Enough rows and columns that bounds are asked first.
    #[test]
    fn sketched_edges_equal_naive() {
        let (n, cols) = (2050, 130);
        for (kind, n_merges) in [(0, 100), (0, 1), (2, 1000), (3, 60), (7, 100), (9, 300)] {
            for (linkage, distance) in [
                (Linkage::Single, Distance::SquaredEuclidean),
                (Linkage::Single, Distance::Euclidean),
                (Linkage::Average, Distance::SquaredEuclidean),
            ] {
                let case = Case {
                    data: crate::sketch::tests::made(kind, n, cols, 11),
                    cols,
                    labels: (0..n as i64)
                        .map(|i| if i < 2030 { i } else { i - 20 })
                        .collect(),
                    groups: None,
                    links: Vec::new(),
                    params: BottomUpParams {
                        n_merges,
                        distance,
                        linkage,
                        ..BottomUpParams::default()
                    },
                };
                if kind == 0 {
                    let (pool, x) = (
                        Context::pool(2).unwrap(),
                        Matrix::new(&case.data, n, cols).unwrap(),
                    );
                    let context = Context::quiet(&pool);
                    let norms = squared_norms(x, "features", &context).unwrap();
                    let sketch = crate::candidates::sketch(x, &norms, 2, &context).unwrap();
                    assert!(sketch.is_some(), "the full search is tested elsewhere");
                }
                let (fast, slow) = both(&case, 2);
                assert!(fast == slow, "kind {kind} {linkage:?} {distance:?}");
            }
        }
    }

    /// Enough edges that buffers are thinned, and with groups several passes.
    #[test]
    fn many_edges_equal_naive() {
        let (n, cols) = (900, 4);
        let data: Vec<f32> = (0..n * cols)
            .map(|i| ((i * 7919 + i * i) % 1009) as f32 / 100.0)
            .collect();
        for grouped in [false, true] {
            for n_merges in [40, 899] {
                let case = Case {
                    data: data.clone(),
                    cols,
                    labels: (0..n as i64).collect(),
                    groups: grouped.then(|| (0..n as i64).map(|i| (i * i) % 7 - 1).collect()),
                    links: Vec::new(),
                    params: BottomUpParams {
                        n_merges,
                        ..BottomUpParams::default()
                    },
                };
                let (fast, slow) = both(&case, 3);
                assert!(fast == slow, "grouped {grouped}, {n_merges} merges");
            }
        }
    }

    #[test]
    fn nothing_but_clean_labels() {
        let x = Matrix::new(&[0.0; 4], 4, 1).unwrap();
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let params = BottomUpParams::default();
        let text = |labels: &[i64]| {
            bottom_up(x, Some(labels), None, None, &params, &context)
                .unwrap_err()
                .to_string()
        };
        assert!(text(&[0, 1, -1, 2]).contains("labels[2]=-1"));
        assert!(text(&[0, 1, 3, 3]).contains("no 2"));
        assert!(text(&[0, 1, 2, 9]).contains("no 3"));
        assert!(text(&[0, 1, 2]).contains("3 entries"));
    }

    /// Links alone, so many that the first buffers do not hold enough merges.
    #[test]
    fn many_links_equal_naive() {
        let (n, cols) = (900, 4);
        let data: Vec<f32> = (0..n * cols)
            .map(|i| ((i * 7919 + i * i) % 1009) as f32 / 100.0)
            .collect();
        let pairs =
            (0..n as i32).flat_map(|i| (1..12).map(move |k| [i, (i + k * k * 7) % n as i32]));
        for n_merges in [40, 899] {
            let case = Case {
                data: data.clone(),
                cols,
                labels: (0..n as i64).collect(),
                groups: None,
                links: pairs.clone().filter(|pair| pair[0] != pair[1]).collect(),
                params: BottomUpParams {
                    n_merges,
                    ..BottomUpParams::default()
                },
            };
            let (fast, slow) = both(&case, 3);
            assert!(fast == slow, "{n_merges} merges");
        }
    }

    #[test]
    fn linked_rows_of_one_class_are_refused() {
        let x = Matrix::new(&[0.0; 4], 4, 1).unwrap();
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let params = BottomUpParams::default();
        let text = |n: usize| {
            let links = CannotLink::new(&[[3, 1]], n, &context).unwrap();
            bottom_up(
                x,
                Some(&[0, 1, 2, 1]),
                None,
                Some(&links),
                &params,
                &context,
            )
            .unwrap_err()
            .to_string()
        };
        assert!(text(4).contains("(1, 3), which labels put into one class 1"));
        assert!(text(5).contains("made for 5 samples"));
    }
}
