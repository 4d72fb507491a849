//! Merging with the sizes of the start: Kruskal's algorithm on a stream of edges.
//!
//! Edges (w, i, j) come from tiles of the product in any order; the first m acceptable ones in the total
//! order are wanted. Each worker has a buffer; a full one is thinned to what can still matter, and gives a
//! bound that later edges must not pass:
//!
//! * Without groups an edge is acceptable unless its ends are joined by lighter edges. Whatever Kruskal
//!   rejects in a part of the edges it rejects in all, and an edge above m accepted ones of a part is above m
//!   accepted ones of all: the first m accepted edges of a buffer are enough. One pass.
//! * With groups that is no longer so: an accepted merge can forbid others. The lightest edges are kept, one
//!   for each pair of clusters (the first decides: afterwards the two are one, or forbidden for good), and
//!   worked off in order; if merges are missing, a further pass takes the edges beyond.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::bottom_up::{BottomUpParams, Distance, Merge, Merges};
use crate::clusters::{Clusters, Points, share};
use crate::neighbors::{block, distance, upper_tiles};
use crate::product::{Scratch, dots, dots_listed, dots_upper};
use crate::sketch::{Refiner, Sketch};
use crate::union_find::UnionFind;
use crate::{Context, Matrix, Result, candidates};

const TILE: usize = 512;
/// Edges a worker gathers at least before it thins them, 12 bytes each.
const BUFFER: usize = 1 << 16;
/// Edges all workers keep in the later passes with groups.
const BUFFER_MAX: usize = 1 << 23;
/// Near points that each point offers for the first bound.
const SEEDS: usize = 4;

/// An edge between two points; compares as (weight, i, j), for weights are not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    bits: u32,
    i: u32,
    j: u32,
}

/// The first `m` merges, and the weight of the one after them.
pub(crate) fn merge(
    points: &Points<'_>,
    clusters: &Clusters,
    params: &BottomUpParams,
    m: usize,
    context: &Context<'_>,
) -> Result<Merges> {
    let wanted = (m + 1).min(clusters.len() - 1);
    let penalty = |&c: &u32| params.penalty(clusters.members[c as usize].len());
    let search = Search {
        x: points.matrix()?,
        points,
        penalties: points.cluster.iter().map(penalty).collect(),
        root: params.distance == Distance::Euclidean,
    };
    let mut forest = Forest::new(clusters);
    let sketch = if forest.grouped() {
        None
    } else {
        candidates::sketch(search.x, &points.norms, 2, context)?
    };
    let mut done: Vec<Merge> = Vec::new();
    let mut after = None;
    let mut capacity = BUFFER.max(4 * wanted);
    if forest.grouped() {
        capacity *= 4; // some are refused
    }
    let largest = capacity.max(BUFFER_MAX / context.threads());
    while done.len() < wanted {
        let (edges, bound) =
            search.pass(&forest, sketch.as_ref(), wanted, after, capacity, context)?;
        for edge in edges {
            let (a, b) = (
                points.cluster[edge.i as usize] as usize,
                points.cluster[edge.j as usize] as usize,
            );
            if forest.join(a, b) {
                let rows = (
                    points.row[edge.i as usize] as usize,
                    points.row[edge.j as usize] as usize,
                );
                done.push(Merge {
                    clusters: (a, b),
                    rows,
                    weight: f32::from_bits(edge.bits),
                });
                if done.len() == wanted {
                    break;
                }
            }
        }
        if bound.is_none() {
            break;
        }
        (after, capacity) = (bound, largest.min(8 * capacity));
    }
    let next = done.get(m).map_or(f32::INFINITY, |merge| merge.weight);
    done.truncate(m);
    Ok(Merges { done, next })
}

/// Clusters joined so far, with the groups of each.
#[derive(Clone)]
struct Forest {
    sets: UnionFind,
    /// Of each root; empty without groups.
    groups: Vec<Vec<i64>>,
    /// A bit for each group of a root: roots without a common bit share no group.
    masks: Vec<u64>,
}

impl Forest {
    fn new(clusters: &Clusters) -> Self {
        // Multiplication spreads the numbers over the upper bits.
        let bit = |&g: &i64| 1_u64 << ((g as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58);
        Self {
            sets: UnionFind::new(clusters.len()),
            masks: clusters
                .groups
                .iter()
                .map(|set| set.iter().map(bit).fold(0, |a, b| a | b))
                .collect(),
            groups: clusters.groups.clone(),
        }
    }

    fn grouped(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether the roots `a` and `b` may never merge.
    fn barred(&self, a: usize, b: usize) -> bool {
        self.grouped()
            && self.masks[a] & self.masks[b] != 0
            && share(&self.groups[a], &self.groups[b])
    }

    /// Join the clusters `a` and `b` if they are two and share no group.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.sets.find(a), self.sets.find(b));
        if a == b || self.barred(a, b) {
            return false;
        }
        self.sets.union(a, b);
        if self.grouped() {
            let (low, high) = (a.min(b), a.max(b));
            let moved = std::mem::take(&mut self.groups[high]);
            self.groups[low].extend(moved);
            self.groups[low].sort_unstable();
            self.masks[low] |= self.masks[high];
        }
        true
    }
}

/// What all passes share.
struct Search<'a> {
    x: Matrix<'a>,
    points: &'a Points<'a>,
    /// Of each point's cluster.
    penalties: Vec<f32>,
    /// Take the square root of distances.
    root: bool,
}

impl Search<'_> {
    /// Weight of the edge of two points that are `d` apart.
    fn weight(&self, d: f32, i: usize, j: usize) -> f32 {
        (if self.root { d.sqrt() } else { d }) + (self.penalties[i] + self.penalties[j])
    }
}

/// What one worker owns.
struct Worker {
    scratch: Scratch,
    tile: Vec<f32>,
    edges: Vec<Edge>,
    sets: UnionFind,
    /// The last edge kept when others were thrown away.
    bound: Option<Edge>,
    refiner: Refiner,
    near: Vec<u32>,
    dots: Vec<f32>,
}

impl Search<'_> {
    /// The edges after `after` that can matter, in order, and the last one up to which they are complete
    /// (`None`: all).
    fn pass(
        &self,
        forest: &Forest,
        sketch: Option<&(Vec<u32>, Sketch)>,
        wanted: usize,
        after: Option<Edge>,
        capacity: usize,
        context: &Context<'_>,
    ) -> Result<(Vec<Edge>, Option<Edge>)> {
        let n = self.points.len();
        let tiles = upper_tiles(n.div_ceil(TILE));
        let mut sets = forest.sets.clone();
        let roots: Vec<u32> = self
            .points
            .cluster
            .iter()
            .map(|&c| sets.find(c as usize) as u32)
            .collect();
        let limit = AtomicU32::new(f32::INFINITY.to_bits());
        let pass = Pass {
            search: self,
            forest,
            roots,
            after,
            wanted,
            capacity,
            limit,
        };
        let new = || Worker {
            scratch: Scratch::default(),
            tile: vec![0.0; TILE * TILE],
            edges: Vec::new(),
            sets: forest.sets.clone(),
            bound: None,
            refiner: Refiner::default(),
            near: Vec::new(),
            dots: Vec::new(),
        };
        if let Some((order, sketch)) = sketch {
            let blocks = n.div_ceil(TILE);
            let seeds = context.queue(blocks, "merge", new, |worker, b| {
                pass.seeds(worker, order, sketch, block(b, TILE, n));
            })?;
            let mut all = new();
            all.edges = seeds.into_iter().flat_map(|w| w.edges).collect();
            pass.thin(&mut all);
        }
        let bounded = f32::from_bits(pass.limit.load(Ordering::Relaxed)).is_finite();
        let sketch = sketch.filter(|_| bounded);
        let workers = context.queue(tiles.len(), "merge", new, |worker, t| {
            let (b, c) = tiles[t];
            match sketch {
                Some((order, sketch)) => {
                    let (r, s) = (block(b, TILE, n), block(c, TILE, n));
                    pass.sketched(worker, order, sketch, &r, &s);
                }
                None => pass.tile(worker, b, c),
            }
        })?;
        let bound = if forest.grouped() {
            workers.iter().filter_map(|w| w.bound).min()
        } else {
            None
        };
        let mut edges: Vec<Edge> = workers.into_iter().flat_map(|w| w.edges).collect();
        if let Some(bound) = bound {
            edges.retain(|edge| *edge <= bound);
        }
        context.install(|| edges.par_sort_unstable());
        Ok((edges, bound))
    }
}

/// One pass over all tiles.
struct Pass<'a> {
    search: &'a Search<'a>,
    forest: &'a Forest,
    /// The set of each point's cluster at the start of the pass.
    roots: Vec<u32>,
    after: Option<Edge>,
    wanted: usize,
    capacity: usize,
    /// No edge above this weight can matter, whoever found out.
    limit: AtomicU32,
}

impl Pass<'_> {
    fn tile(&self, worker: &mut Worker, b: usize, c: usize) {
        let (x, n) = (self.search.x, self.search.x.rows());
        let (r, s) = (block(b, TILE, n), block(c, TILE, n));
        let mut tile = std::mem::take(&mut worker.tile);
        let out = &mut tile[..r.len() * s.len()];
        if b == c {
            dots_upper(x, r.clone(), &mut worker.scratch, out);
        } else {
            dots(x, r.clone(), x, s.clone(), &mut worker.scratch, out);
        }
        for (i, line) in r.zip(out.chunks_exact_mut(s.len())) {
            let first = (i + 1).max(s.start);
            self.line(worker, i, first, &mut line[first - s.start..]);
            if worker.edges.len() >= self.capacity {
                self.thin(worker);
            }
        }
        worker.tile = tile;
    }

    /// Of each point of a block the edges to those that seem nearest.
    fn seeds(&self, worker: &mut Worker, order: &[u32], sketch: &Sketch, r: Range<usize>) {
        let Ok(coarse) = sketch.matrix() else { return };
        let out = &mut worker.tile[..r.len() * r.len()];
        dots(
            coarse,
            r.clone(),
            coarse,
            r.clone(),
            &mut worker.scratch,
            out,
        );
        for (i, line) in r.clone().zip(worker.tile.chunks_exact(r.len())) {
            let (a, own) = (order[i] as usize, sketch.lower[i]);
            let others = r
                .clone()
                .zip(line)
                .filter(|&(j, _)| self.matters(a, order[j] as usize));
            let middle = |j: usize, dot: f32| {
                let penalty = self.search.penalties[order[j] as usize];
                own + sketch.lower[j] + 0.5 * sketch.width[j] - 2.0 * dot + penalty
            };
            let mut near: Vec<(f32, u32)> =
                others.map(|(j, &dot)| (middle(j, dot), order[j])).collect();
            if near.len() > SEEDS {
                near.select_nth_unstable_by(SEEDS - 1, |a, b| a.0.total_cmp(&b.0));
                near.truncate(SEEDS);
            }
            worker.near.clear();
            worker.near.extend(near.iter().map(|&(_, j)| j));
            self.exact(&mut worker.edges, &mut worker.dots, &worker.near, a);
        }
    }

    /// The edges of point `i` to those of `list` that can matter.
    fn exact(&self, edges: &mut Vec<Edge>, dots: &mut Vec<f32>, list: &[u32], i: usize) {
        let search = self.search;
        dots.resize(list.len(), 0.0);
        dots_listed(search.x.row(i), search.x, list, dots);
        let limit = f32::from_bits(self.limit.load(Ordering::Relaxed));
        for (&j, &dot) in list.iter().zip(&*dots) {
            let d = distance(search.points.norms[i], search.points.norms[j as usize], dot);
            let w = search.weight(d, i, j as usize);
            let edge = Edge {
                bits: w.to_bits(),
                i: j.min(i as u32),
                j: j.max(i as u32),
            };
            if w <= limit && Some(edge) > self.after {
                edges.push(edge);
            }
        }
    }

    /// As `tile`, of the points in the places `r` and `s` of `order`.
    fn sketched(
        &self,
        worker: &mut Worker,
        order: &[u32],
        sketch: &Sketch,
        r: &Range<usize>,
        s: &Range<usize>,
    ) {
        let Ok(coarse) = sketch.matrix() else { return };
        let mut tile = std::mem::take(&mut worker.tile);
        let out = &mut tile[..r.len() * s.len()];
        dots(
            coarse,
            r.clone(),
            coarse,
            s.clone(),
            &mut worker.scratch,
            out,
        );
        let penalties: Vec<f32> = (order[s.clone()].iter())
            .map(|&j| self.search.penalties[j as usize])
            .collect();
        let lowers = &sketch.lower[s.clone()];
        for (i, line) in r.clone().zip(out.chunks_exact_mut(s.len())) {
            let (a, own) = (order[i] as usize, sketch.lower[i]);
            let (penalty, root) = (self.search.penalties[a], self.search.root);
            for ((value, &lower), &p) in line.iter_mut().zip(lowers).zip(&penalties) {
                let d = distance(own, lower, *value);
                *value = (if root { d.sqrt() } else { d }) + (penalty + p);
            }
            let limit = f32::from_bits(self.limit.load(Ordering::Relaxed));
            worker.near.clear();
            for (c, chunk) in line.chunks(32).enumerate() {
                if chunk.iter().map(|&w| u32::from(w <= limit)).sum::<u32>() == 0 {
                    continue;
                }
                for (j, &w) in (s.start + c * 32..).zip(chunk) {
                    if w <= limit && (r != s || j > i) && self.matters(a, order[j] as usize) {
                        worker.near.push(j as u32);
                    }
                }
            }
            if worker.near.is_empty() {
                continue;
            }
            let near = std::mem::take(&mut worker.near);
            let mut closer = Vec::with_capacity(near.len());
            sketch.refine(
                self.search.x.row(a),
                i,
                &near,
                &mut worker.refiner,
                |e, lower, _| {
                    let j = order[near[e] as usize];
                    if self.search.weight(lower, a, j as usize) <= limit {
                        closer.push(j);
                    }
                },
            );
            worker.near = near;
            self.exact(&mut worker.edges, &mut worker.dots, &closer, a);
            if worker.edges.len() >= self.capacity {
                self.thin(worker);
            }
        }
        worker.tile = tile;
    }

    /// Turn the products of point `i` with `first..` into weights and keep those that can matter.
    fn line(&self, worker: &mut Worker, i: usize, first: usize, line: &mut [f32]) {
        const CHUNK: usize = 32;
        let search = self.search;
        let (norm, penalty) = (search.points.norms[i], search.penalties[i]);
        let others = first..first + line.len();
        let ends = search.points.norms[others.clone()]
            .iter()
            .zip(&search.penalties[others]);
        if search.root {
            for (value, (&n, &p)) in line.iter_mut().zip(ends) {
                *value = distance(norm, n, *value).sqrt() + (penalty + p);
            }
        } else {
            for (value, (&n, &p)) in line.iter_mut().zip(ends) {
                *value = distance(norm, n, *value) + (penalty + p);
            }
        }
        let limit = f32::from_bits(self.limit.load(Ordering::Relaxed));
        for (c, chunk) in line.chunks(CHUNK).enumerate() {
            // Counted instead of `any`: that is one vector comparison.
            if chunk.iter().map(|&w| u32::from(w <= limit)).sum::<u32>() == 0 {
                continue;
            }
            for (e, &w) in chunk.iter().enumerate() {
                let j = first + c * CHUNK + e;
                let edge = Edge {
                    bits: w.to_bits(),
                    i: i as u32,
                    j: j as u32,
                };
                if w <= limit && Some(edge) > self.after && self.matters(i, j) {
                    worker.edges.push(edge);
                }
            }
        }
    }

    fn matters(&self, i: usize, j: usize) -> bool {
        let (a, b) = (self.roots[i], self.roots[j]);
        a != b && !self.forest.barred(a as usize, b as usize)
    }

    /// Keep of a buffer what can still matter, and lower the limit.
    fn thin(&self, worker: &mut Worker) {
        let last = if self.forest.grouped() {
            self.keep_lightest(worker)
        } else {
            self.keep_accepted(worker)
        };
        if let Some(last) = last {
            self.limit.fetch_min(last.bits, Ordering::Relaxed);
        }
    }

    /// Without groups: the first `wanted` edges that Kruskal accepts.
    fn keep_accepted(&self, worker: &mut Worker) -> Option<Edge> {
        worker.edges.sort_unstable();
        worker.sets.reset();
        let (roots, sets, wanted) = (&self.roots, &mut worker.sets, self.wanted);
        let mut accepted = 0;
        worker.edges.retain(|edge| {
            let keep = accepted < wanted
                && sets.union(
                    roots[edge.i as usize] as usize,
                    roots[edge.j as usize] as usize,
                );
            accepted += usize::from(keep);
            keep
        });
        if accepted == wanted {
            worker.edges.last().copied()
        } else {
            None
        }
    }

    /// With groups: the first edge of each pair of sets, of these the lightest half of the buffer.
    fn keep_lightest(&self, worker: &mut Worker) -> Option<Edge> {
        let pair = |edge: &Edge| {
            let (a, b) = (self.roots[edge.i as usize], self.roots[edge.j as usize]);
            (a.min(b), a.max(b))
        };
        worker
            .edges
            .sort_unstable_by_key(|edge| (pair(edge), *edge));
        worker.edges.dedup_by_key(|edge| pair(edge));
        let keep = self.capacity / 2;
        if worker.edges.len() > keep {
            let (_, &mut last, _) = worker.edges.select_nth_unstable(keep - 1);
            worker.edges.truncate(keep);
            worker.bound = Some(last);
        }
        worker.bound
    }
}
