//! What bottom-up clustering merges: the clusters at the start, and the points whose distances are taken.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::bottom_up::{BottomUp, Merge, Merges};
use crate::constraints::CannotLink;
use crate::union_find::UnionFind;
use crate::{Context, Error, Matrix, Result};

/// The clusters at the start, numbered by their smallest row.
pub(crate) struct Clusters {
    /// Cluster of each row.
    pub(crate) of: Vec<u32>,
    /// Rows of each cluster, ascending.
    pub(crate) members: Vec<Vec<u32>>,
    /// Sorted groups of each cluster, a negative one for each link between two; empty without either.
    pub(crate) groups: Vec<Vec<i64>>,
    /// The caller's name of each cluster.
    names: Vec<i64>,
}

impl Clusters {
    pub(crate) fn new(
        n: usize,
        labels: Option<&[i64]>,
        groups: Option<&[i64]>,
        links: Option<&CannotLink>,
    ) -> Result<Self> {
        for (name, given) in [("labels", labels), ("groups", groups)] {
            if let Some(given) = given.filter(|g| g.len() != n) {
                return Err(Error::Shape(format!(
                    "{name} has {} entries and features {n} rows",
                    given.len()
                )));
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
        let (mut of, mut members, mut names) =
            (Vec::with_capacity(n), Vec::<Vec<u32>>::new(), Vec::new());
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
        let mut groups: Vec<Vec<i64>> = groups.map_or_else(Vec::new, |groups| {
            members.iter().map(|rows| group_set(rows, groups)).collect()
        });
        if let Some(links) = links {
            let pairs = linked(&of, labels, links)?;
            if !pairs.is_empty() {
                groups.resize(members.len(), Vec::new());
            }
            for (number, &(a, b)) in (1_i64..).zip(&pairs) {
                groups[a as usize].push(-number);
                groups[b as usize].push(-number);
            }
            for set in &mut groups {
                set.sort_unstable();
            }
        }
        Ok(Self {
            of,
            members,
            groups,
            names,
        })
    }

    /// Number of clusters.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Carry out the merges and name what results.
    pub(crate) fn merged(&self, merges: &Merges) -> BottomUp {
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
            renamed[name] = if root == name {
                n_clusters
            } else {
                renamed[root]
            };
            n_clusters += i64::from(root == name);
        }
        let rows = |merge: &Merge| {
            let (i, j) = merge.rows;
            [i.min(j) as i32, i.max(j) as i32]
        };
        BottomUp {
            labels: self
                .of
                .iter()
                .map(|&c| renamed[self.names[c as usize] as usize])
                .collect(),
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
    match seen
        .iter()
        .take(largest as usize + 1)
        .position(|&seen| !seen)
    {
        None if (largest as usize) < labels.len() => Ok(()),
        missing => Err(Error::Shape(format!(
            "labels has no {} but goes up to {largest}: number the classes 0, 1, 2, ... without gaps",
            missing.unwrap_or(labels.len())
        ))),
    }
}

fn group_set(rows: &[u32], groups: &[i64]) -> Vec<i64> {
    let mut set: Vec<i64> = rows
        .iter()
        .map(|&row| groups[row as usize])
        .filter(|&g| g >= 0)
        .collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// Pairs of clusters a < b with a link between their rows, sorted, each once.
fn linked(of: &[u32], labels: &[i64], links: &CannotLink) -> Result<Vec<(u32, u32)>> {
    if links.samples() != of.len() {
        return Err(Error::Shape(format!(
            "cannot_link is made for {} samples and features has {} rows: both need the same",
            links.samples(),
            of.len()
        )));
    }
    let mut pairs = Vec::new();
    for (i, &a) in of.iter().enumerate() {
        for &j in links.partners(i) {
            let b = of[j as usize];
            if a == b {
                return Err(Error::Shape(format!(
                    "cannot_link holds ({}, {}), which labels put into one class {}: start from classes without linked rows",
                    i.min(j as usize),
                    i.max(j as usize),
                    labels[i]
                )));
            }
            if a < b {
                pairs.push((a, b));
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    Ok(pairs)
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
    pub(crate) fn rows(features: Matrix<'a>, norms: Vec<f32>, clusters: &Clusters) -> Self {
        Self {
            data: Cow::Borrowed(features.data()),
            cols: features.cols(),
            norms,
            cluster: clusters.of.clone(),
            row: (0..features.rows() as u32).collect(),
        }
    }

    /// Means summed in float64 in the order of the rows, rounded once.
    pub(crate) fn means(
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
        for (block, (means, norms_out)) in data
            .chunks_mut(step * d)
            .zip(mean_norms.chunks_mut(step))
            .enumerate()
        {
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
                            sum.iter_mut()
                                .zip(values)
                                .for_each(|(s, &v)| *s += f64::from(v));
                            norm_sum += f64::from(norms[row as usize]);
                        }
                        let size = rows.len() as f64;
                        mean.iter_mut()
                            .zip(sum)
                            .for_each(|(m, s)| *m = (*s / size) as f32);
                        *norm = (norm_sum / size) as f32;
                    },
                );
            });
        }
        context.tick(c, c, "means")?;
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
