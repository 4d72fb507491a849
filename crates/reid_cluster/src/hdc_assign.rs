//! The harmonic discrepancy of samples to clusters, and the cluster where it is least.
//!
//! With `a_ik = 1 - exp(-d_ik)` and the confidence `q_k` of a sample in its own cluster, sample `i` meets in cluster `c` the member that
//! is both far from `i` and sure of `c`: the first `k` with the largest
//!
//! `t_ik = a_ik q_k / (a_ik + q_k)`, and the discrepancy is `H_ic = a_ik` of that `k`.
//!
//! **Only near pairs are looked at.** Pairs at distance 1 (missing in a graph) have `a = h = 1 - 1/e`; among them the
//! surest member has the largest `t`, and it is found first with the members sorted by `q`. A cluster without any near sample
//! has `H = h`. So the work of a row is its stored pairs, and the sums over all clusters are counted, not added up.
//!
//! Cost: linear in the stored pairs (`N^2` for a dense matrix); memory O(N + K) a thread.

use std::ops::Range;

use rayon::prelude::*;

use crate::hdc_distance::{Tiles, View, between, tile};
use crate::{Context, Distances, Graph, Matrix, Result};

/// `1 - 1/e`, the discrepancy of pairs at distance 1.
const FAR: f32 = 0.632_120_56;
/// Sums of discrepancies are counted in 2^-40, so that they do not depend on the order.
pub(crate) const ONE: i64 = 1 << 40;
/// Values of the features' own distances that one worker holds.
const OWN: usize = 1 << 20;

/// `1 - exp(-d)`.
pub(crate) fn discrepancy(d: f32) -> f32 {
    (-(-f64::from(d)).exp_m1()) as f32
}

/// Whether a pair is not at distance 1, which is that of strangers.
fn is_near(d: f32) -> bool {
    (d - 1.0).abs() > 0.0
}

/// The discrepancies of all pairs of samples.
pub(crate) enum Pairs<'a> {
    /// Of a matrix of distances.
    Dense(Matrix<'a>),
    /// Of a graph, which is given, and the values beside its distances.
    Sparse(&'a Graph<'a>, Vec<f32>),
    /// Of the features' own distances, divided by the largest one (1 if that is 0).
    Own(View<'a>, f32),
}

impl<'a> Pairs<'a> {
    pub(crate) fn given(distances: &'a Distances<'a>, context: &Context<'_>) -> Self {
        match distances {
            Distances::Dense(matrix) => Self::Dense(*matrix),
            Distances::Sparse(graph) => {
                let values = || graph.data.par_iter().map(|&d| discrepancy(d)).collect();
                Self::Sparse(graph, context.install(values))
            }
        }
    }

    /// The discrepancy of `i` and `k`.
    fn at(&self, i: usize, k: usize) -> f32 {
        match self {
            Self::Dense(matrix) => discrepancy(matrix.row(i)[k]),
            Self::Sparse(graph, values) => match graph.row(i).0.binary_search(&(k as i32)) {
                Ok(at) => values[graph.indptr[i] as usize + at],
                Err(_) if i == k => 0.0,
                Err(_) => FAR,
            },
            Self::Own(view, largest) => discrepancy(between(*view, i, *view, k) / largest),
        }
    }

    /// Rows that are worked on together.
    fn block(&self, n: usize) -> usize {
        match self {
            Self::Own(..) => (OWN / n).clamp(16, 256),
            _ => 64,
        }
    }
}

/// The clusters of the last round and the confidence of their members.
pub(crate) struct Members<'a> {
    labels: &'a [i32],
    confidence: &'a [f32],
    /// Members of cluster c are `order[ptr[c]..ptr[c + 1]]`, by falling confidence, ties by index.
    order: Vec<u32>,
    ptr: Vec<usize>,
    empty: Vec<u32>,
}

impl<'a> Members<'a> {
    pub(crate) fn new(labels: &'a [i32], confidence: &'a [f32], n_clusters: usize) -> Self {
        let mut lists = vec![Vec::new(); n_clusters];
        for (i, &label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
            lists[label as usize].push(i as u32);
        }
        let mut ptr = vec![0];
        for list in &mut lists {
            let q = |&i: &u32| confidence[i as usize];
            list.sort_by(|a, b| q(b).total_cmp(&q(a)));
            ptr.push(ptr[ptr.len() - 1] + list.len());
        }
        let empty = (0..n_clusters as u32).filter(|&c| lists[c as usize].is_empty());
        Self {
            labels,
            confidence,
            empty: empty.collect(),
            order: lists.concat(),
            ptr,
        }
    }

    fn of(&self, cluster: usize) -> &[u32] {
        &self.order[self.ptr[cluster]..self.ptr[cluster + 1]]
    }

    fn n_clusters(&self) -> usize {
        self.ptr.len() - 1
    }

    /// `H` of sample `i` to one cluster. A cluster that never had a member counts as sample 0.
    pub(crate) fn discrepancy(&self, pairs: &Pairs<'_>, i: usize, cluster: usize) -> f32 {
        let mut best = Best::NONE;
        for &k in self.of(cluster) {
            best.offer(pairs.at(i, k as usize), self.confidence[k as usize], k);
        }
        if best.k == u32::MAX {
            pairs.at(i, 0)
        } else {
            best.a
        }
    }
}

/// The member with the largest `t` so far, the first on ties.
#[derive(Clone, Copy)]
struct Best {
    t: f64,
    a: f32,
    k: u32,
}

impl Best {
    const NONE: Self = Self {
        t: -1.0,
        a: 0.0,
        k: u32::MAX,
    };

    fn offer(&mut self, a: f32, q: f32, k: u32) {
        let (x, y) = (f64::from(a), f64::from(q));
        let t = if a + q > 0.0 { x * y / (x + y) } else { 0.0 };
        if t > self.t || (t >= self.t && k < self.k) {
            *self = Self { t, a, k };
        }
    }
}

/// What one sample gets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choice {
    /// The cluster with the least discrepancy, the first on ties.
    pub(crate) label: i32,
    /// That discrepancy.
    pub(crate) score: f32,
    /// Membership `u (K - 1)`: the discrepancies to all other clusters, summed, in 1 / [`ONE`].
    pub(crate) membership: i64,
}

impl Choice {
    /// Whether no cluster is nearer than a stranger.
    pub(crate) fn isolated(&self) -> bool {
        self.score >= FAR
    }
}

/// The choice of every sample.
pub(crate) fn assign(
    pairs: &Pairs<'_>,
    members: &Members<'_>,
    context: &Context<'_>,
) -> Result<Vec<Choice>> {
    let n = members.labels.len();
    let step = pairs.block(n);
    let new = || (Desk::new(members), Vec::new());
    let workers = context.queue(
        n.div_ceil(step),
        "assignment",
        new,
        |(desk, parts): &mut (Desk<'_>, Vec<_>), block| {
            let rows = crate::neighbors::block(block, step, n);
            parts.push((block, desk.choices(pairs, rows)));
        },
    )?;
    let mut parts: Vec<(usize, Vec<Choice>)> =
        workers.into_iter().flat_map(|(_, parts)| parts).collect();
    parts.sort_unstable_by_key(|&(block, _)| block);
    Ok(parts.into_iter().flat_map(|(_, part)| part).collect())
}

/// A sample as a member of its cluster.
#[derive(Clone, Copy)]
struct Mate {
    /// -1 for none.
    cluster: i32,
    confidence: f32,
    /// The row that the sample was last near to, plus one.
    near: u32,
}

/// What one worker needs for a row.
struct Desk<'a> {
    members: &'a Members<'a>,
    /// Best near member of each cluster and how many near members it has; valid for clusters in `touched`.
    best: Vec<(Best, u32)>,
    touched: Vec<u32>,
    /// One for each sample: all that a pair needs lies together.
    mates: Vec<Mate>,
    tiles: Tiles,
    own: Vec<f32>,
}

impl<'a> Desk<'a> {
    fn new(members: &'a Members<'a>) -> Self {
        Self {
            members,
            best: vec![(Best::NONE, 0); members.n_clusters()],
            touched: Vec::new(),
            mates: members
                .labels
                .iter()
                .zip(members.confidence)
                .map(|(&cluster, &confidence)| Mate {
                    cluster,
                    confidence,
                    near: 0,
                })
                .collect(),
            tiles: Tiles::default(),
            own: Vec::new(),
        }
    }

    fn choices(&mut self, pairs: &Pairs<'_>, rows: Range<usize>) -> Vec<Choice> {
        let n = self.members.labels.len();
        match pairs {
            Pairs::Dense(matrix) => rows
                .map(|i| {
                    let near = matrix
                        .row(i)
                        .iter()
                        .enumerate()
                        .filter(|(_, d)| is_near(**d));
                    self.choose(i, near.map(|(k, &d)| (k, discrepancy(d))))
                })
                .collect(),
            Pairs::Sparse(graph, values) => rows
                .map(|i| {
                    let (columns, _) = graph.row(i);
                    let start = graph.indptr[i] as usize;
                    let itself = columns.binary_search(&(i as i32)).is_err();
                    let stored = columns.iter().zip(&values[start..]);
                    let stored = stored.map(|(&k, &a)| (k as usize, a));
                    self.choose(i, stored.chain(itself.then_some((i, 0.0))))
                })
                .collect(),
            Pairs::Own(view, largest) => {
                let mut own = std::mem::take(&mut self.own);
                own.resize(rows.len() * n, 0.0);
                tile(*view, rows.clone(), *view, 0..n, &mut self.tiles, &mut own);
                let lines = rows.clone().zip(own.chunks_exact(n));
                let choices = lines.map(|(i, line)| {
                    let all = line.iter().map(|d| discrepancy(d / largest));
                    self.choose(i, all.enumerate())
                });
                let choices = choices.collect();
                self.own = own;
                choices
            }
        }
    }

    /// The choice of sample `i` by its near pairs, itself among them.
    fn choose(&mut self, i: usize, near: impl Iterator<Item = (usize, f32)>) -> Choice {
        let mut first = FAR;
        for (k, a) in near {
            if k == 0 {
                first = a;
            }
            let mate = &mut self.mates[k];
            let Ok(cluster) = usize::try_from(mate.cluster) else {
                continue;
            };
            mate.near = i as u32 + 1;
            let (best, count) = &mut self.best[cluster];
            if *count == 0 {
                self.touched.push(cluster as u32);
            }
            best.offer(a, mate.confidence, k as u32);
            *count += 1;
        }
        let mut choice = self.untouched(first);
        for &cluster in &self.touched {
            let (mut best, count) = self.best[cluster as usize];
            let members = self.members.of(cluster as usize);
            if (count as usize) < members.len() {
                let far = |&&k: &&u32| self.mates[k as usize].near != i as u32 + 1;
                if let Some(&k) = members.iter().find(far) {
                    best.offer(FAR, self.mates[k as usize].confidence, k);
                }
            }
            choice.consider(cluster as i32, best.a, 1);
        }
        for cluster in self.touched.drain(..) {
            self.best[cluster as usize] = (Best::NONE, 0);
        }
        choice.membership -= fixed(choice.score);
        choice
    }

    /// The best of the clusters without a near member: all the same, but for those that never had one.
    fn untouched(&self, first: f32) -> Choice {
        let (k, empty) = (self.members.n_clusters(), &self.members.empty);
        let mut choice = Choice {
            label: i32::MAX,
            score: f32::INFINITY,
            membership: 0,
        };
        if let Some(&cluster) = empty.first() {
            choice.consider(cluster as i32, first, empty.len());
        }
        let rest = k - empty.len() - self.touched.len();
        if rest > 0 {
            let plain = |&c: &usize| self.best[c].1 == 0 && !self.members.of(c).is_empty();
            let lowest = (0..k).find(plain).unwrap_or_default();
            choice.consider(lowest as i32, FAR, rest);
        }
        choice
    }
}

impl Choice {
    /// Look at `count` clusters, of which `label` is the first, at the same discrepancy.
    fn consider(&mut self, label: i32, score: f32, count: usize) {
        if score
            .total_cmp(&self.score)
            .then(label.cmp(&self.label))
            .is_lt()
        {
            (self.label, self.score) = (label, score);
        }
        self.membership += count as i64 * fixed(score);
    }
}

fn fixed(a: f32) -> i64 {
    (f64::from(a) * ONE as f64) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `H` (N, K) from the definition, over all members.
    fn naive(d: &[f32], labels: &[i32], q: &[f32], k: usize) -> Vec<f32> {
        let n = labels.len();
        let t = |i: usize, m: usize| {
            let (a, q) = (f64::from(discrepancy(d[i * n + m])), f64::from(q[m]));
            if a + q > 0.0 { a * q / (a + q) } else { 0.0 }
        };
        let cell = |i: usize, c: usize| {
            let members = (0..n).filter(|&m| labels[m] == c as i32);
            let first = |best: usize, m: usize| if t(i, m) > t(i, best) { m } else { best };
            discrepancy(d[i * n + members.reduce(first).unwrap_or(0)])
        };
        (0..n * k).map(|p| cell(p / k, p % k)).collect()
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            (n, k, values, given) in (1_usize..14).prop_flat_map(|n| {
                let given = prop::collection::vec((-1..n as i32, 0_u8..4), n);
                (Just(n), 1..=n, prop::collection::vec(0_u8..6, n * n), given)
            }),
        ) {
            // Quarters, of which many are 1; few levels of confidence: ties everywhere.
            let d: Vec<f32> = (0..n * n).map(|p| if p / n == p % n { 0.0 } else { f32::from(values[p].min(4)) / 4.0 }).collect();
            let labels: Vec<i32> = given.iter().map(|&(label, _)| label.min(k as i32 - 1)).collect();
            let q: Vec<f32> = given.iter().map(|&(_, q)| f32::from(q) / 3.0).collect();
            let h = naive(&d, &labels, &q, k);
            let mut parts = (vec![0_i64], vec![], vec![]);
            for i in 0..n {
                for j in (0..n).filter(|&j| j != i && d[i * n + j] < 1.0) {
                    parts.1.push(j as i32);
                    parts.2.push(d[i * n + j]);
                }
                parts.0.push(parts.1.len() as i64);
            }
            for threads in [1, 3] {
                let pool = Context::pool(threads).unwrap();
                let context = Context::quiet(&pool);
                let members = Members::new(&labels, &q, k);
                let graph = Distances::Sparse(Graph::new(&parts.0, &parts.1, &parts.2, &context).unwrap());
                let dense = Distances::Dense(Matrix::new(&d, n, n).unwrap());
                for distances in [dense, graph] {
                    let pairs = Pairs::given(&distances, &context);
                    let choices = assign(&pairs, &members, &context).unwrap();
                    for (i, (choice, h)) in choices.iter().zip(h.chunks(k)).enumerate() {
                        let best = (1..k).fold(0, |b, c| if h[c] < h[b] { c } else { b });
                        prop_assert_eq!((choice.label, choice.score), (best as i32, h[best]));
                        let others = (0..k).filter(|&c| c != best).map(|c| fixed(h[c]));
                        prop_assert_eq!(choice.membership, others.sum::<i64>());
                        for (c, &h) in h.iter().enumerate() {
                            prop_assert_eq!(members.discrepancy(&pairs, i, c), h);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn strangers_are_at_the_constant() {
        assert_eq!(discrepancy(1.0), FAR);
        assert_eq!((discrepancy(0.0), discrepancy(f32::INFINITY)), (0.0, 1.0));
    }
}
