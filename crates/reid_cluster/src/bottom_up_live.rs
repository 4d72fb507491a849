//! Merging with live sizes: sequential agglomeration on a matrix of cluster dissimilarities.
//!
//! After merging A and B every other cluster X is `min(D(A, X), D(B, X))` from them (single linkage) or the
//! mean weighted by sizes (average linkage, Lance and Williams 1967: exact for means over pairs), and the
//! penalty counts the new size. The upper triangle of D is kept, 2 C^2 bytes; each cluster remembers its
//! lightest partner among the later ones, so that a merge costs O(C) and a rescan of the few that lost
//! theirs. Equal weights go by the smallest rows of the two clusters.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::bottom_up::{BottomUpParams, Distance, Linkage, Merge, Merges};
use crate::clusters::{Clusters, Points, share};
use crate::neighbors::{block, distance};
use crate::product::{Scratch, dots};
use crate::{Context, Matrix, Result, memory};

/// The first `m` merges, and the weight of the one after them.
pub(crate) fn merge(
    points: Points<'_>,
    clusters: &Clusters,
    params: &BottomUpParams,
    m: usize,
    context: &Context<'_>,
) -> Result<Merges> {
    let c = clusters.len();
    let average = params.linkage == Linkage::Average;
    let copy = if average || c == points.len() {
        0
    } else {
        points.data.len()
    };
    memory::check(
        (c as u128 * c as u128 / 2 + copy as u128) * 4,
        &format!("sizes='live' with {c} clusters"),
        "take sizes='frozen', or fewer clusters to begin with",
    )?;
    let points = if copy > 0 {
        sorted(&points, clusters)
    } else {
        points
    };
    let mut state = State {
        triangle: Triangle::measured(&points, clusters, params, context)?,
        sizes: clusters.members.iter().map(Vec::len).collect(),
        alive: vec![true; c],
        best: Vec::new(),
        params,
    };
    let blocks = context.blocks(c, 512, "nearest", |range| {
        range
            .into_par_iter()
            .map(|a| state.lightest(a))
            .collect::<Vec<_>>()
    })?;
    state.best = blocks.concat();
    let mut members: Vec<Vec<u32>> = if average {
        Vec::new()
    } else {
        clusters.members.clone()
    };
    let mut done = Vec::with_capacity(m);
    let place = places(&points);
    while done.len() < m {
        context.tick(done.len(), m, "merge")?;
        let Some((weight, a, b)) = state.first() else {
            break;
        };
        let rows = if average {
            (
                clusters.members[a][0] as usize,
                clusters.members[b][0] as usize,
            )
        } else {
            let go_on = || context.tick(done.len(), m, "merge");
            let pair = closest(&points, &place, &members[a], &members[b], go_on)?;
            let moved = std::mem::take(&mut members[b]);
            members[a].extend(moved);
            members[a].sort_unstable();
            pair
        };
        done.push(Merge {
            clusters: (a, b),
            rows,
            weight,
        });
        state.join(a, b);
    }
    context.tick(m, m, "merge")?;
    let next = state.first().map_or(f32::INFINITY, |(weight, _, _)| weight);
    Ok(Merges { done, next })
}

/// The points in the order of their clusters.
fn sorted(points: &Points<'_>, clusters: &Clusters) -> Points<'static> {
    let order: Vec<u32> = clusters.members.concat();
    let d = points.cols;
    let row = |&i: &u32| &points.data[i as usize * d..(i as usize + 1) * d];
    Points {
        data: order
            .iter()
            .flat_map(row)
            .copied()
            .collect::<Vec<f32>>()
            .into(),
        cols: d,
        norms: order.iter().map(|&i| points.norms[i as usize]).collect(),
        cluster: order.iter().map(|&i| points.cluster[i as usize]).collect(),
        row: order,
    }
}

/// Where each row is among the points.
fn places(points: &Points<'_>) -> Vec<u32> {
    let size = points.row.iter().max().map_or(0, |&row| row as usize + 1);
    let mut place = vec![0; size];
    for (i, &row) in points.row.iter().enumerate() {
        place[row as usize] = i as u32;
    }
    place
}

/// The rows (i, j), i of `a` and j of `b`, with the least distance; ties by the smaller and then the larger
/// row. `go_on` is asked meanwhile.
fn closest(
    points: &Points<'_>,
    place: &[u32],
    a: &[u32],
    b: &[u32],
    go_on: impl Fn() -> Result<()>,
) -> Result<(usize, usize)> {
    const ROWS: usize = 64;
    let d = points.cols;
    let gather = |rows: &[u32]| -> Vec<f32> {
        let row = |&i: &u32| &points.data[place[i as usize] as usize * d..][..d];
        rows.iter().flat_map(row).copied().collect()
    };
    let y = gather(b);
    let y = Matrix::new(&y, b.len(), d)?;
    let (mut scratch, mut out) = (Scratch::default(), vec![0.0; ROWS.min(a.len()) * b.len()]);
    let norm = |row: u32| points.norms[place[row as usize] as usize];
    let mut best = (f32::INFINITY, u32::MAX, u32::MAX);
    for part in a.chunks(ROWS) {
        go_on()?;
        let x = gather(part);
        let (x, out) = (
            Matrix::new(&x, part.len(), d)?,
            &mut out[..part.len() * b.len()],
        );
        dots(x, 0..part.len(), y, 0..b.len(), &mut scratch, out);
        for (&i, line) in part.iter().zip(out.chunks_exact(b.len())) {
            for (&j, &dot) in b.iter().zip(line) {
                let found = (distance(norm(i), norm(j), dot), i.min(j), i.max(j));
                let order = found
                    .0
                    .total_cmp(&best.0)
                    .then((found.1, found.2).cmp(&(best.1, best.2)));
                if order.is_lt() {
                    best = found;
                }
            }
        }
    }
    Ok((best.1 as usize, best.2 as usize))
}

/// D of each pair of clusters a < b, row after row; infinite for clusters that may never merge.
struct Triangle {
    values: Vec<f32>,
    clusters: usize,
}

impl Triangle {
    /// Where row `a` (partners from `a + 1`) starts.
    fn start(a: usize, clusters: usize) -> usize {
        a * (2 * clusters - a - 1) / 2
    }

    fn row(&self, a: usize) -> &[f32] {
        &self.values[Self::start(a, self.clusters)..Self::start(a + 1, self.clusters)]
    }

    fn at(&mut self, a: usize, b: usize) -> &mut f32 {
        let (a, b) = (a.min(b), a.max(b));
        &mut self.values[Self::start(a, self.clusters) + b - a - 1]
    }

    /// Of the clusters at the start; the points are in the order of their clusters.
    fn measured(
        points: &Points<'_>,
        clusters: &Clusters,
        params: &BottomUpParams,
        context: &Context<'_>,
    ) -> Result<Self> {
        const STEP: usize = 64;
        let (c, n) = (clusters.len(), points.len());
        let mut values = vec![0.0; c * (c - 1) / 2];
        let mut blocks = Vec::new();
        let mut rest = &mut values[..];
        for b in 0..c.div_ceil(STEP) {
            let own = block(b, STEP, c);
            let (head, tail) =
                rest.split_at_mut(Self::start(own.end, c) - Self::start(own.start, c));
            let lo = points
                .cluster
                .partition_point(|&a| (a as usize) < own.start);
            let hi = points.cluster.partition_point(|&a| (a as usize) < own.end);
            blocks.push((own, lo..hi, Mutex::new(head)));
            rest = tail;
        }
        let x = points.matrix()?;
        let root = params.distance == Distance::Euclidean;
        let new = || (Scratch::default(), vec![0.0; STEP * 512]);
        context.queue(blocks.len(), "distances", new, |(scratch, tile), t| {
            let (own, rows, head) = &blocks[t];
            let mut head = head.lock().unwrap_or_else(PoisonError::into_inner);
            head.fill(f32::INFINITY);
            let start = Self::start(own.start, c);
            for r in steps(rows.clone(), STEP) {
                for s in steps(r.start..n, 512) {
                    let out = &mut tile[..r.len() * s.len()];
                    dots(x, r.clone(), x, s.clone(), scratch, out);
                    for (i, line) in r.clone().zip(out.chunks_exact(s.len())) {
                        for (j, &dot) in s.clone().zip(line) {
                            let (a, b) = (points.cluster[i] as usize, points.cluster[j] as usize);
                            if a < b {
                                let value = &mut head[Self::start(a, c) - start + b - a - 1];
                                *value = value.min(distance(points.norms[i], points.norms[j], dot));
                            }
                        }
                    }
                }
            }
            for a in own.clone() {
                let line = &mut head[Self::start(a, c) - start..Self::start(a + 1, c) - start];
                for (b, value) in (a + 1..).zip(line) {
                    let barred = !clusters.groups.is_empty()
                        && share(&clusters.groups[a], &clusters.groups[b]);
                    let d = if root { value.sqrt() } else { *value };
                    *value = if barred { f32::INFINITY } else { d };
                }
            }
        })?;
        drop(blocks);
        Ok(Self {
            values,
            clusters: c,
        })
    }
}

fn steps(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(step).map(move |lo| lo..end.min(lo + step))
}

struct State<'a> {
    triangle: Triangle,
    sizes: Vec<usize>,
    alive: Vec<bool>,
    /// Lightest (weight, partner) of each cluster among the later ones; infinite for none.
    best: Vec<(f32, usize)>,
    params: &'a BottomUpParams,
}

impl State<'_> {
    fn weight(&self, dissimilarity: f32, a: usize, b: usize) -> f32 {
        dissimilarity + (self.params.penalty(self.sizes[a]) + self.params.penalty(self.sizes[b]))
    }

    /// Lightest later partner of `a`.
    fn lightest(&self, a: usize) -> (f32, usize) {
        let mut best = (f32::INFINITY, usize::MAX);
        for (b, &d) in (a + 1..).zip(self.triangle.row(a)) {
            // The penalty only adds: most entries are too far without it.
            if d < best.0 && self.alive[b] {
                let weight = self.weight(d, a, b);
                if weight < best.0 {
                    best = (weight, b);
                }
            }
        }
        best
    }

    /// The lightest pair of all, if any may merge.
    fn first(&self) -> Option<(f32, usize, usize)> {
        let pairs = self.best.iter().enumerate().filter(|&(a, _)| self.alive[a]);
        let lightest = pairs.min_by(|x, y| x.1.0.total_cmp(&y.1.0));
        lightest
            .filter(|(_, best)| best.0 < f32::INFINITY)
            .map(|(a, best)| (best.0, a, best.1))
    }

    /// Put `b` into `a`, a < b, and bring distances and partners up to date.
    fn join(&mut self, a: usize, b: usize) {
        let (size_a, size_b) = (self.sizes[a] as f64, self.sizes[b] as f64);
        self.alive[b] = false;
        self.sizes[a] += self.sizes[b];
        for x in (0..self.alive.len()).filter(|&x| x != a) {
            if !self.alive[x] {
                continue;
            }
            let (to_a, to_b) = (*self.triangle.at(a, x), *self.triangle.at(b, x));
            // Infinite stays so: who shares a group with one shares it with both.
            let joined = if to_a.is_infinite() || to_b.is_infinite() {
                f32::INFINITY
            } else if self.params.linkage == Linkage::Single {
                to_a.min(to_b)
            } else {
                let sum = size_a * f64::from(to_a) + size_b * f64::from(to_b);
                (sum / (size_a + size_b)) as f32
            };
            *self.triangle.at(a, x) = joined;
        }
        self.best[a] = self.lightest(a);
        for x in (0..b)
            .filter(|&x| x != a && self.alive[x])
            .collect::<Vec<_>>()
        {
            let (weight, partner) = self.best[x];
            if partner == a || partner == b {
                self.best[x] = self.lightest(x);
            } else if x < a {
                let d = *self.triangle.at(x, a);
                let to_a = self.weight(d, x, a);
                if to_a < weight || (to_a <= weight && a < partner && d.is_finite()) {
                    self.best[x] = (to_a, a);
                }
            }
        }
    }
}
