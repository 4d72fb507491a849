//! What re-ranking must know of all distances: the nearest and the farthest of each point, and the distances of queries
//! and gallery (see `rerank`).

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::neighborhoods::Ranks;
use crate::neighbors::{Heaps, TILE, block, collect, distance, lock, scan, upper_tiles};
use crate::product::{Scratch, dots, dots_upper};
use crate::rerank::Size;
use crate::{Context, Error, Matrix, Result};

/// Values of given distances that a worker looks at between two questions "go on?".
const SEEN: usize = 1 << 21;

/// What a search leaves behind.
pub(crate) struct Found {
    /// Squared distances of queries and gallery, (Q, G).
    pub(crate) squared: Vec<f32>,
    /// Nearest points of each point, itself first, (n, search).
    pub(crate) nearest: Vec<i32>,
    /// Largest squared distance of each point.
    pub(crate) farthest: Vec<f32>,
}

impl Found {
    pub(crate) fn ranks(&self, size: &Size) -> Ranks<'_> {
        Ranks {
            ids: &self.nearest,
            stride: size.search,
        }
    }
}

/// Queries, then gallery items, as one set of points.
pub(crate) struct Joined<'a> {
    pub(crate) query: Matrix<'a>,
    pub(crate) gallery: Matrix<'a>,
}

impl<'a> Joined<'a> {
    pub(crate) fn row(&self, i: usize) -> &'a [f32] {
        let q = self.query.rows();
        if i < q {
            self.query.row(i)
        } else {
            self.gallery.row(i - q)
        }
    }

    /// Queries in blocks, then the gallery: no block holds both.
    fn blocks(&self) -> Vec<Block<'a>> {
        let part = |of: Matrix<'a>, first| {
            let n = of.rows();
            (0..n.div_ceil(TILE)).map(move |b| Block {
                of,
                rows: block(b, TILE, n),
                first,
            })
        };
        let queries = part(self.query, 0);
        queries
            .chain(part(self.gallery, self.query.rows()))
            .collect()
    }

    /// The nearest and the farthest of each point, and the squared distances of queries and gallery.
    pub(crate) fn search(
        &self,
        norms: &[f32],
        size: &Size,
        context: &Context<'_>,
    ) -> Result<Found> {
        let (q, g) = (size.queries, size.gallery);
        let blocks = self.blocks();
        // The point itself is added at the end, the heaps hold the others.
        let heaps = |block: &Block<'_>| Mutex::new(Heaps::new(block.rows.len(), size.search - 1));
        let best: Vec<_> = blocks.iter().map(heaps).collect();
        let farthest: Vec<_> = norms.iter().map(|_| AtomicU32::new(0)).collect();
        let mut squared = vec![0.0; q * g];
        let slabs = exclusive(squared.chunks_mut(TILE * g));
        let tiles = upper_tiles(blocks.len());
        let buffers = || (Scratch::default(), Tile::default());
        context.queue(tiles.len(), "search", buffers, |(scratch, tile), t| {
            let (b, c) = tiles[t];
            let (x, y) = (&blocks[b], &blocks[c]);
            let (r, s) = (x.points(), y.points());
            tile.reset(r.len(), s.len());
            let values = &mut tile.values;
            if b == c {
                dots_upper(x.of, x.rows.clone(), scratch, values);
                offer_within(values, norms, &r, &mut lock(&best[b]));
            } else {
                dots(x.of, x.rows.clone(), y.of, y.rows.clone(), scratch, values);
                // b < c: locks are always taken in ascending order.
                let (mut near, mut other) = (lock(&best[b]), lock(&best[c]));
                scan(values, norms, &r, norms, &s, &mut near, Some(&mut other));
            }
            tile.farthest();
            record(&farthest[r.clone()], &tile.row_max);
            record(&farthest[s.clone()], &tile.col_max);
            if r.end <= q && s.start >= q {
                let mut slab = hold(&slabs[b]);
                for (line, values) in slab.chunks_mut(g).zip(tile.values.chunks(s.len())) {
                    line[y.rows.clone()].copy_from_slice(values);
                }
            }
        })?;
        drop(slabs);
        let farthest = farthest.into_iter().map(AtomicU32::into_inner);
        Ok(Found {
            squared,
            nearest: collect(best, size.n, size.search, true).indices,
            farthest: farthest.map(f32::from_bits).collect(),
        })
    }
}

/// Rows of the queries or of the gallery; row 0 of these is the point `first`.
struct Block<'a> {
    of: Matrix<'a>,
    rows: Range<usize>,
    first: usize,
}

impl Block<'_> {
    fn points(&self) -> Range<usize> {
        self.first + self.rows.start..self.first + self.rows.end
    }
}

/// A block with itself: the upper products become distances on both sides of a diagonal of zeros.
fn offer_within(tile: &mut [f32], norms: &[f32], r: &Range<usize>, best: &mut Heaps) {
    let n = r.len();
    for i in 0..n {
        tile[i * n + i] = 0.0;
        for j in i + 1..n {
            let d = distance(norms[r.start + i], norms[r.start + j], tile[i * n + j]);
            tile[i * n + j] = d;
            tile[j * n + i] = d;
            best.offer(i, d, r.start + j);
            best.offer(j, d, r.start + i);
        }
    }
}

/// Largest distances so far: as bits, which order as the numbers do, none being negative.
fn record(farthest: &[AtomicU32], found: &[f32]) {
    for (most, d) in farthest.iter().zip(found) {
        most.fetch_max(d.to_bits(), Ordering::Relaxed);
    }
}

/// Products, then squared distances, of one block of points with another.
#[derive(Default)]
struct Tile {
    values: Vec<f32>, // (rows, columns)
    row_max: Vec<f32>,
    col_max: Vec<f32>,
}

impl Tile {
    fn reset(&mut self, rows: usize, cols: usize) {
        self.values.resize(rows * cols, 0.0);
        for (most, len) in [(&mut self.row_max, rows), (&mut self.col_max, cols)] {
            most.clear();
            most.resize(len, 0.0);
        }
    }

    /// The largest distance of each row and each column.
    fn farthest(&mut self) {
        const LANES: usize = 16;
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let width = self.col_max.len();
        for (line, most) in self.values.chunks_exact(width).zip(&mut self.row_max) {
            for (most, &d) in self.col_max.iter_mut().zip(line) {
                *most = larger(*most, d);
            }
            let mut lanes = [0.0; LANES];
            let chunks = line.chunks_exact(LANES);
            let rest = chunks.remainder().iter().copied().fold(0.0, larger);
            for chunk in chunks {
                for (lane, &d) in lanes.iter_mut().zip(chunk) {
                    *lane = larger(*lane, d);
                }
            }
            *most = lanes.into_iter().fold(rest, larger);
        }
    }
}

/// Distances as given; `D` is the square of ((query, cross), (cross^T, gallery)).
pub(crate) struct Given<'a> {
    pub(crate) cross: Matrix<'a>,
    pub(crate) query: Matrix<'a>,
    pub(crate) gallery: Matrix<'a>,
}

impl Given<'_> {
    /// `D_ji`: the entry of row `j` in column `i`.
    pub(crate) fn squared(&self, i: usize, j: usize) -> f32 {
        let q = self.query.rows();
        let given = match (i < q, j < q) {
            (true, true) => self.query.row(j)[i],
            (true, false) => self.cross.row(i)[j - q],
            (false, true) => self.cross.row(j)[i - q],
            (false, false) => self.gallery.row(j - q)[i - q],
        };
        given * given
    }

    /// The nearest and the farthest of each point, and the squared distances of queries and gallery.
    pub(crate) fn search(&self, size: &Size, context: &Context<'_>) -> Result<Found> {
        let step = (SEEN / size.n).clamp(1, TILE);
        let blocks = size.n.div_ceil(step);
        let points = |b| block(b, step, size.n);
        let new = |b| {
            let rows = points(b).len();
            Mutex::new((Heaps::new(rows, size.search - 1), vec![0.0_f32; rows]))
        };
        let best: Vec<_> = (0..blocks).map(new).collect();
        context.queue(
            blocks,
            "search",
            || (),
            |(), b| {
                let mut best = best[b].lock().unwrap_or_else(PoisonError::into_inner);
                let (heaps, farthest) = &mut *best;
                // Along rows of what was given, as it lies in memory.
                for j in 0..size.n {
                    for (at, i) in points(b).enumerate() {
                        let d = self.squared(i, j);
                        farthest[at] = farthest[at].max(d);
                        if i != j {
                            heaps.offer(at, d, j);
                        }
                    }
                }
            },
        )?;
        let best = best
            .into_iter()
            .map(|best| best.into_inner().unwrap_or_else(PoisonError::into_inner));
        let (best, farthest): (Vec<_>, Vec<_>) =
            best.map(|(heaps, far)| (Mutex::new(heaps), far)).unzip();
        let farthest = farthest.concat();
        if let Some(i) = farthest.iter().position(|d| d.is_infinite()) {
            let (kind, number) = if i < size.queries {
                ("query", i)
            } else {
                ("gallery item", i - size.queries)
            };
            return Err(Error::Shape(format!(
                "{kind} {number} has a distance whose square is beyond float32: scale all distances"
            )));
        }
        Ok(Found {
            squared: self
                .cross
                .data()
                .iter()
                .map(|given| given * given)
                .collect(),
            nearest: collect(best, size.n, size.search, true).indices,
            farthest,
        })
    }
}

/// Parts that workers write one at a time.
pub(crate) fn exclusive<'a>(
    parts: impl Iterator<Item = &'a mut [f32]>,
) -> Vec<Mutex<&'a mut [f32]>> {
    parts.map(Mutex::new).collect()
}

pub(crate) fn hold<'a, 'b>(part: &'b Mutex<&'a mut [f32]>) -> MutexGuard<'b, &'a mut [f32]> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_each_row_and_column() {
        for (rows, cols) in [(1, 1), (3, 16), (7, 33), (5, 47)] {
            let mut tile = Tile::default();
            tile.reset(rows, cols);
            for (i, value) in tile.values.iter_mut().enumerate() {
                *value = ((i * 7919) % 101) as f32;
            }
            tile.farthest();
            let most =
                |cells: Vec<usize>| cells.iter().map(|&at| tile.values[at]).fold(0.0, f32::max);
            for i in 0..rows {
                assert_eq!(tile.row_max[i], most((i * cols..(i + 1) * cols).collect()));
            }
            for j in 0..cols {
                assert_eq!(
                    tile.col_max[j],
                    most((0..rows).map(|i| i * cols + j).collect())
                );
            }
        }
    }
}
