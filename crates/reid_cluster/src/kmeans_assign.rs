//! The nearest centre of every row, without repeating what cannot have changed.
//!
//! A row x and a centre c are compared by the *score* `|c'|^2 / 2 + m.c' - x.c'`, where m is the mean of the rows
//! and `c' = c - m`: half the squared distance less a term of the row alone, with less cancellation than `|c|^2 / 2 -
//! x.c`. Its bits depend on the row and the centre only, so that a centre that did not move keeps its scores, and
//! only the *moved* centres are compared again. Each row knows its best score and a lower bound, the runner-up, of
//! all others. When its own centre moved away so far that the runner-up may win, the row is compared with all.
//!
//! There is no bound with a rounding error: the labels are those of comparing everything every time.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::product::{Scratch, dots};
use crate::{Context, Matrix, Result};

/// Rows of one item of work: 15 ms at K = 750, D = 2048.
const ROWS: usize = 512;
/// Centres of one product.
const COLS: usize = 1024;
/// Rows of one item when they are collected from everywhere.
const FEW: usize = 128;
/// Scores looked at together.
const CHUNK: usize = 32;

/// What a row knows about the centres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Nearest {
    /// The nearest centre, the lowest among equals.
    pub(crate) label: u32,
    score: f32,
    /// No other centre has a lower score.
    runner: f32,
}

impl Nearest {
    pub(crate) const NONE: Self = Self {
        label: u32::MAX,
        score: f32::INFINITY,
        runner: f32::INFINITY,
    };

    /// A centre of a higher number than all before.
    fn offer(&mut self, label: u32, score: f32) {
        if score < self.score {
            (self.runner, self.score, self.label) = (self.score, score, label);
        } else if score < self.runner {
            self.runner = score;
        }
    }

    /// After the moved centres were compared, of which `best` came out; false when the unmoved must be, too.
    fn merge(&mut self, own_moved: bool, best: Self) -> bool {
        if own_moved && best.score >= self.runner {
            return false;
        }
        if own_moved || (best.score, best.label) < (self.score, self.label) {
            let own = if own_moved { f32::INFINITY } else { self.score };
            self.runner = least(least(self.runner, own), best.runner);
            (self.score, self.label) = (best.score, best.label);
        } else {
            self.runner = least(self.runner, best.score);
        }
        true
    }
}

fn least(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// Some centres, `c'` in ascending order of their numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets<'a> {
    /// `c'` of each.
    pub(crate) centers: Matrix<'a>,
    /// `|c'|^2 / 2 + m.c'` of each.
    pub(crate) biases: &'a [f32],
    /// The number of each.
    pub(crate) labels: &'a [u32],
}

/// Compare every row with all centres.
pub(crate) fn assign_all(
    x: Matrix<'_>,
    all: Targets<'_>,
    nearest: &mut [Nearest],
    context: &Context<'_>,
) -> Result<()> {
    let parts: Vec<_> = nearest.chunks_mut(ROWS).map(Mutex::new).collect();
    context.queue(parts.len(), "kmeans", Worker::default, |worker, b| {
        let mut part = parts[b].lock().unwrap_or_else(PoisonError::into_inner);
        let r = b * ROWS..b * ROWS + part.len();
        part.copy_from_slice(worker.scan(x, r, all));
    })?;
    Ok(())
}

/// Bring `nearest` up to date after the centres `moved` (by number: `is_moved`) have moved.
pub(crate) fn assign_moved(
    x: Matrix<'_>,
    all: Targets<'_>,
    moved: Targets<'_>,
    is_moved: &[bool],
    nearest: &mut [Nearest],
    context: &Context<'_>,
) -> Result<()> {
    if moved.labels.is_empty() {
        return Ok(());
    }
    // Nearly all moved: comparing with all costs little more, and no row must be compared twice.
    if moved.labels.len() * 8 > all.labels.len() * 7 {
        return assign_all(x, all, nearest, context);
    }
    let parts: Vec<_> = nearest.chunks_mut(ROWS).map(Mutex::new).collect();
    let workers = context.queue(parts.len(), "kmeans", Worker::default, |worker, b| {
        let mut part = parts[b].lock().unwrap_or_else(PoisonError::into_inner);
        let r = b * ROWS..b * ROWS + part.len();
        worker.scan(x, r.clone(), moved);
        for ((row, own), &best) in r.zip(part.iter_mut()).zip(&worker.best) {
            if !own.merge(is_moved[own.label as usize], best) {
                worker.open.push(row);
            }
        }
    })?;
    let mut open: Vec<usize> = workers.into_iter().flat_map(|w| w.open).collect();
    open.sort_unstable();

    let found = context.queue(
        open.len().div_ceil(FEW),
        "kmeans",
        || (Worker::default(), Vec::new(), Vec::new()),
        |(worker, rows, found), item| {
            let numbers = &open[item * FEW..open.len().min((item + 1) * FEW)];
            rows.clear();
            rows.extend(numbers.iter().flat_map(|&i| x.row(i)));
            if let Ok(rows) = Matrix::new(rows, numbers.len(), x.cols()) {
                let best = worker.scan(rows, 0..rows.rows(), all);
                found.extend(numbers.iter().copied().zip(best.iter().copied()));
            }
        },
    )?;
    for (row, best) in found.into_iter().flat_map(|(_, _, found)| found) {
        nearest[row] = best;
    }
    Ok(())
}

/// What one thread owns.
#[derive(Default)]
struct Worker {
    scratch: Scratch,
    tile: Vec<f32>,
    best: Vec<Nearest>,
    open: Vec<usize>, // rows to be compared with all
}

impl Worker {
    /// The nearest of `targets` for each of the rows `r`.
    fn scan(&mut self, x: Matrix<'_>, r: Range<usize>, targets: Targets<'_>) -> &[Nearest] {
        self.best.clear();
        self.best.resize(r.len(), Nearest::NONE);
        let k = targets.labels.len();
        for lo in (0..k).step_by(COLS) {
            let s = lo..k.min(lo + COLS);
            self.tile.resize(r.len() * s.len(), 0.0);
            dots(
                x,
                r.clone(),
                targets.centers,
                s.clone(),
                &mut self.scratch,
                &mut self.tile,
            );
            let (biases, labels) = (&targets.biases[s.clone()], &targets.labels[s.clone()]);
            for (best, line) in self
                .best
                .iter_mut()
                .zip(self.tile.chunks_exact_mut(s.len()))
            {
                let chunks = biases.chunks(CHUNK).zip(labels.chunks(CHUNK));
                for (scores, (biases, labels)) in line.chunks_mut(CHUNK).zip(chunks) {
                    for (score, bias) in scores.iter_mut().zip(biases) {
                        *score = bias - *score;
                    }
                    // Counted instead of `any`: that is a vector comparison.
                    let near = scores.iter().map(|&score| u32::from(score < best.runner));
                    if near.sum::<u32>() > 0 {
                        for (&score, &label) in scores.iter().zip(labels) {
                            best.offer(label, score);
                        }
                    }
                }
            }
        }
        &self.best
    }
}
