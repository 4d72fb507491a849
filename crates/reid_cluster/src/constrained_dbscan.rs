//! DBSCAN under cannot-link pairs, with the pairs kept apart in every cluster (Xu et al., arXiv 2205.03124).
//!
//! A large distance between two linked samples would not keep them apart: a chain of others leads from one to the other. Here a
//! cluster forbids every partner of its members. It grows from each free sample in ascending order: the smallest
//! member not yet looked at takes its free neighbours, ascending, if `min_samples` of its neighbours, itself included, are not
//! forbidden. A neighbour that becomes forbidden meanwhile is passed over. A cluster that ends with fewer than `min_samples`
//! members is dissolved: they are free again.
//!
//! Without links these are the labels of [`dbscan`](crate::dbscan), but for clusters of fewer than `min_samples` members, which it
//! keeps: their core points count neighbours that an earlier cluster has taken.
//!
//! Where the published code visits samples in the order of a hash table and lets links pile up from cluster to cluster and call to
//! call, here the order is by number, and every call begins anew.
//!
//! Cost: a row is read once to count and once or, in clusters that are dissolved, fewer than `min_samples` times to grow: linear in
//! the pairs within eps and the links, plus `N log N` for the order. Growing is one thread's work.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::constraints::{CannotLink, Forbidden};
use crate::dbscan::{DENSE_BLOCK, Distances, NOISE, core_points};
use crate::{Context, Error, Result};

/// Parameters of [`constrained_dbscan`].
#[derive(Debug, Clone, Copy)]
pub struct ConstrainedParams {
    /// Largest distance of neighbours; compared in f32.
    pub eps: f64,
    /// Neighbours that let a sample take others in, itself counted, and least size of a cluster.
    pub min_samples: usize,
    /// `r >= 0` drops links of pairs up to `eps * r` apart, `r < 0` those of pairs farther than `eps * |r|`.
    pub relaxed: Option<f64>,
}

impl Default for ConstrainedParams {
    fn default() -> Self {
        Self {
            eps: 0.6,
            min_samples: 4,
            relaxed: None,
        }
    }
}

/// A label per sample, -1 for noise; no two samples of a cluster are linked.
///
/// ```
/// use reid_cluster::{CannotLink, ConstrainedParams, Context, Distances, Matrix, constrained_dbscan};
///
/// let x = [0.0_f32, 0.1, 0.2, 0.3];
/// let d: Vec<f32> = x.iter().flat_map(|a| x.map(|b| (a - b).abs())).collect();
/// let pool = Context::pool(2)?;
/// let context = Context::quiet(&pool);
/// let links = CannotLink::new(&[[0, 3]], 4, &context)?;
/// let params = ConstrainedParams { eps: 0.15, min_samples: 2, relaxed: None };
/// let distances = Distances::Dense(Matrix::new(&d, 4, 4)?);
/// assert_eq!(constrained_dbscan(&distances, &links, &params, &context)?, [0, 0, 0, -1]);
/// # Ok::<(), reid_cluster::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for an `eps` that is not above 0 and finite, `min_samples` 0, or a `relaxed` that is not finite;
/// [`Error::Shape`] for links of another number of samples, a dense matrix that is not square or holds NaN or a negative value;
/// [`Error::TooLarge`]; [`Error::Interrupted`].
pub fn constrained_dbscan(
    distances: &Distances<'_>,
    links: &CannotLink,
    params: &ConstrainedParams,
    context: &Context<'_>,
) -> Result<Vec<i64>> {
    let eps = params.eps as f32;
    if !(eps > 0.0 && eps.is_finite()) {
        let remedy = "must be above 0 and finite";
        return Err(Error::parameter("eps", params.eps, remedy));
    }
    if params.min_samples == 0 {
        return Err(Error::parameter("min_samples", 0, "must be at least 1"));
    }
    distances.check(context)?;
    let n = distances.rows();
    if links.samples() != n {
        return Err(Error::Shape(format!(
            "cannot_link is made for {} samples and distances has {n}: both need the same",
            links.samples()
        )));
    }
    let core = core_points(distances, eps, params.min_samples, context)?;
    if let Some(relaxed) = params.relaxed {
        let links = relax(distances, links, params.eps, relaxed, context)?;
        Growth::new(distances, eps, params.min_samples, &links).labels(&core, context)
    } else {
        Growth::new(distances, eps, params.min_samples, links).labels(&core, context)
    }
}

/// The links that the distances leave.
fn relax(
    distances: &Distances<'_>,
    links: &CannotLink,
    eps: f64,
    relaxed: f64,
    context: &Context<'_>,
) -> Result<CannotLink> {
    if !relaxed.is_finite() {
        let remedy = "must be finite, or None to keep all links";
        return Err(Error::parameter("relaxed", relaxed, remedy));
    }
    let reach = (eps * relaxed.abs()) as f32;
    let near = |i, j| between(distances, i, j) <= reach;
    links.filtered(context, |i, j| near(i, j) == (relaxed < 0.0))
}

/// The smaller of both directions, which are the same in a symmetric matrix; NaN, which is never near, for a pair that no row holds.
fn between(distances: &Distances<'_>, i: usize, j: usize) -> f32 {
    let one = |i: usize, j: usize| match distances {
        Distances::Dense(matrix) => matrix.row(i)[j],
        Distances::Sparse(graph) => {
            let (columns, values) = graph.row(i);
            let at = columns.binary_search(&(j as i32));
            at.map_or(f32::NAN, |at| values[at])
        }
    };
    one(i, j).min(one(j, i))
}

/// The cluster that grows, and the labels so far.
struct Growth<'a> {
    distances: &'a Distances<'a>,
    eps: f32,
    min_samples: usize,
    labels: Vec<i64>,
    forbidden: Forbidden<'a>,
    members: Vec<usize>,
    /// Members whose neighbours were not looked at.
    pending: BinaryHeap<Reverse<usize>>,
    /// Neighbours of one member that are not forbidden.
    near: Vec<usize>,
}

impl<'a> Growth<'a> {
    fn new(
        distances: &'a Distances<'a>,
        eps: f32,
        min_samples: usize,
        links: &'a CannotLink,
    ) -> Self {
        Self {
            distances,
            eps,
            min_samples,
            labels: vec![NOISE; distances.rows()],
            forbidden: Forbidden::new(links),
            members: Vec::new(),
            pending: BinaryHeap::new(),
            near: Vec::new(),
        }
    }

    /// Grow clusters from the free samples in order; one that is no core point even without links would stay alone.
    fn labels(mut self, core: &[bool], context: &Context<'_>) -> Result<Vec<i64>> {
        let n = core.len();
        let step = match self.distances {
            Distances::Dense(_) => (DENSE_BLOCK / n.max(1)).max(1),
            Distances::Sparse(_) => 1 << 10,
        };
        let (mut label, mut read) = (0, 0_usize);
        for seed in 0..n {
            if !core[seed] || self.labels[seed] != NOISE {
                continue;
            }
            self.members.clear();
            self.forbidden.start();
            self.join(seed, label);
            while let Some(Reverse(member)) = self.pending.pop() {
                if core[member] {
                    self.expand(member, label);
                    read += 1;
                    if read % step == 0 {
                        context.tick(seed, n, "clusters")?;
                    }
                }
            }
            if self.members.len() < self.min_samples {
                self.members.iter().for_each(|&i| self.labels[i] = NOISE);
            } else {
                label += 1;
            }
        }
        context.tick(n, n, "clusters")?;
        Ok(self.labels)
    }

    fn join(&mut self, sample: usize, label: i64) {
        self.labels[sample] = label;
        self.forbidden.join(sample);
        self.members.push(sample);
        self.pending.push(Reverse(sample));
    }

    /// Take the free neighbours of `member`, if enough of all its neighbours are not forbidden.
    fn expand(&mut self, member: usize, label: i64) {
        let mut near = std::mem::take(&mut self.near);
        near.clear();
        self.distances.for_neighbors(member, self.eps, |i| {
            if !self.forbidden.refuses(i) {
                near.push(i);
            }
        });
        if near.len() + 1 >= self.min_samples {
            for &i in &near {
                // Those that joined since `near` was made may forbid it.
                if self.labels[i] == NOISE && !self.forbidden.refuses(i) {
                    self.join(i, label);
                }
            }
        }
        self.near = near;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{Graph, Matrix, dbscan};

    const EPS: f64 = 0.5;

    /// The definition, with sets.
    fn naive(d: &[f32], n: usize, pairs: &[[i32; 2]], m: usize, relaxed: Option<f64>) -> Vec<i64> {
        let eps = EPS as f32;
        let mut links = vec![BTreeSet::new(); n];
        for pair in pairs {
            let [i, j] = pair.map(|i| i as usize);
            let drop = relaxed.is_some_and(|r| {
                let near = d[i * n + j].min(d[j * n + i]) <= (EPS * r.abs()) as f32;
                near == (r >= 0.0)
            });
            if i != j && !drop {
                links[i].insert(j);
                links[j].insert(i);
            }
        }
        let mut labels = vec![NOISE; n];
        let mut k = 0;
        for p in 0..n {
            if labels[p] != NOISE {
                continue;
            }
            labels[p] = k;
            let mut members = vec![p];
            let mut pending = BTreeSet::from([p]);
            let mut forbidden = links[p].clone();
            while let Some(u) = pending.pop_first() {
                let near: Vec<usize> = (0..n)
                    .filter(|&j| j == u || d[u * n + j] <= eps)
                    .filter(|j| !links[u].contains(j) && !forbidden.contains(j))
                    .collect();
                if near.len() < m {
                    continue;
                }
                for q in near {
                    if labels[q] == NOISE && !forbidden.contains(&q) {
                        labels[q] = k;
                        members.push(q);
                        pending.insert(q);
                        forbidden.extend(&links[q]);
                    }
                }
            }
            if members.len() < m {
                for i in members {
                    labels[i] = NOISE;
                }
            } else {
                k += 1;
            }
        }
        labels
    }

    /// Values up to 1 in eighths, the diagonal too; `symmetric` mirrors the upper half.
    fn distances(values: &[u8], n: usize, symmetric: bool) -> Vec<f32> {
        let at = |i: usize, j: usize| f32::from(values[i * n + j] % 9) / 8.0;
        (0..n * n)
            .map(|p| (p / n, p % n))
            .map(|(i, j)| {
                if symmetric {
                    at(i.min(j), i.max(j))
                } else {
                    at(i, j)
                }
            })
            .collect()
    }

    /// All pairs up to `cut`.
    fn graph(d: &[f32], n: usize, cut: f32) -> (Vec<i64>, Vec<i32>, Vec<f32>) {
        let mut parts = (vec![0_i64], vec![], vec![]);
        for i in 0..n {
            for j in (0..n).filter(|&j| d[i * n + j] <= cut) {
                parts.1.push(j as i32);
                parts.2.push(d[i * n + j]);
            }
            parts.0.push(parts.1.len() as i64);
        }
        parts
    }

    fn square() -> impl Strategy<Value = (usize, Vec<u8>)> {
        (1_usize..18).prop_flat_map(|n| (Just(n), prop::collection::vec(0_u8..=255, n * n)))
    }

    proptest! {
        #[test]
        fn equals_the_definition_and_keeps_links_apart(
            (n, values) in square(),
            symmetric in any::<bool>(),
            pairs in prop::collection::vec([0_i32..18, 0..18], 0..30),
            min_samples in 1_usize..6,
            relaxed in prop::sample::select(vec![None, Some(0.0), Some(0.5), Some(1.0), Some(-0.5), Some(-1.0)]),
        ) {
            let d = distances(&values, n, symmetric);
            let pairs: Vec<[i32; 2]> = pairs.iter().map(|p| p.map(|i| i % n as i32)).collect();
            let wanted = naive(&d, n, &pairs, min_samples, relaxed);
            let params = ConstrainedParams { eps: EPS, min_samples, relaxed };
            let pool = Context::pool(2).unwrap();
            let context = Context::quiet(&pool);
            let links = CannotLink::new(&pairs, n, &context).unwrap();
            let dense = Distances::Dense(Matrix::new(&d, n, n).unwrap());
            let found = constrained_dbscan(&dense, &links, &params, &context).unwrap();
            prop_assert_eq!(&found, &wanted);
            let (indptr, indices, data) = graph(&d, n, 0.6);
            let sparse = Distances::Sparse(Graph::new(&indptr, &indices, &data, &context).unwrap());
            prop_assert_eq!(&constrained_dbscan(&sparse, &links, &params, &context).unwrap(), &wanted);

            let mut sizes = BTreeMap::new();
            for &label in found.iter().filter(|&&label| label != NOISE) {
                *sizes.entry(label).or_insert(0) += 1;
            }
            prop_assert!(sizes.values().all(|&size| size >= min_samples));
            prop_assert!(sizes.keys().copied().eq(0..sizes.len() as i64));
            if relaxed.is_none() {
                for pair in &pairs {
                    let [i, j] = pair.map(|i| i as usize);
                    prop_assert!(i == j || found[i] == NOISE || found[i] != found[j]);
                }
            }
        }

        #[test]
        fn without_links_it_is_dbscan_less_the_small_clusters((n, values) in square(), min_samples in 1_usize..6) {
            let d = distances(&values, n, true);
            let pool = Context::pool(1).unwrap();
            let context = Context::quiet(&pool);
            let dense = Distances::Dense(Matrix::new(&d, n, n).unwrap());
            let plain = dbscan(&dense, EPS as f32, min_samples, &context).unwrap();
            let params = ConstrainedParams { eps: EPS, min_samples, relaxed: None };
            let links = CannotLink::new(&[], n, &context).unwrap();
            let found = constrained_dbscan(&dense, &links, &params, &context).unwrap();
            let small = |label: i64| plain.iter().filter(|&&l| l == label).count() < min_samples;
            if (0..=plain.iter().copied().max().unwrap_or(NOISE)).any(small) {
                prop_assert!(found.iter().max() < plain.iter().max());
            } else {
                prop_assert_eq!(found, plain);
            }
        }
    }

    #[test]
    fn refuses_by_name() {
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let zeros = [0.0; 4];
        let dense = Distances::Dense(Matrix::new(&zeros, 2, 2).unwrap());
        let text = |links: usize, params| {
            let links = CannotLink::new(&[], links, &context).unwrap();
            let error = constrained_dbscan(&dense, &links, &params, &context).unwrap_err();
            error.to_string()
        };
        let params = ConstrainedParams::default();
        assert!(text(3, params).contains("for 3 samples and distances has 2"));
        for eps in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60] {
            assert!(text(2, ConstrainedParams { eps, ..params }).contains("eps="));
        }
        let min_samples = 0;
        assert!(
            text(
                2,
                ConstrainedParams {
                    min_samples,
                    ..params
                }
            )
            .contains("min_samples=0")
        );
        let relaxed = Some(f64::NAN);
        assert!(text(2, ConstrainedParams { relaxed, ..params }).contains("relaxed=NaN"));
    }
}
