//! What bounds the Euler distances cheaply: the columns in which `1 - cos` varies most, and how little it varies in the others.

use rayon::prelude::*;

use crate::hdc_distance::{Similarity, View};
use crate::{Context, Matrix, Result};

/// Columns of a head.
const HEAD: usize = 64;
/// Rows added up by one worker at a time.
const ROWS: usize = 256;
/// Float32 sums of `d` products are wrong by at most `d + ROUNDINGS` times 2^-24 of the norms; eight such are granted.
const ROUNDINGS: f32 = 16.0;

/// Columns of the head, and the mean of the second plane over all samples.
pub(crate) struct Columns {
    head: Vec<usize>,
    mean: Vec<f32>,
}

impl Columns {
    /// Those with the largest variance of the second plane; none unless Euler.
    pub(crate) fn new(view: View<'_>, context: &Context<'_>) -> Result<Self> {
        let (n, d) = (view.rows(), view.side.cols());
        if view.similarity != Similarity::Euler {
            return Ok(Self {
                head: Vec::new(),
                mean: Vec::new(),
            });
        }
        let mut sums = vec![[0.0_f64; 2]; d];
        for part in context.blocks(n, ROWS * 16, "planes", |rows| {
            let starts: Vec<usize> = rows.clone().step_by(ROWS).collect();
            let parts = starts.par_iter().map(|&start| {
                let mut sums = vec![[0.0_f64; 2]; d];
                for i in start..rows.end.min(start + ROWS) {
                    for (sum, &a) in sums.iter_mut().zip(view.side.row(i)) {
                        let a = f64::from(a);
                        *sum = [sum[0] + a, sum[1] + a * a];
                    }
                }
                sums
            });
            let add = |mut all: Vec<[f64; 2]>, part: Vec<[f64; 2]>| {
                for (sum, part) in all.iter_mut().zip(part) {
                    *sum = [sum[0] + part[0], sum[1] + part[1]];
                }
                all
            };
            parts.collect::<Vec<_>>().into_iter().reduce(add)
        })? {
            for (sum, part) in sums.iter_mut().zip(part.unwrap_or_default()) {
                *sum = [sum[0] + part[0], sum[1] + part[1]];
            }
        }
        let n = n as f64;
        let variance = |f: usize| sums[f][1] / n - (sums[f][0] / n).powi(2);
        let mut head: Vec<usize> = (0..d).collect();
        head.sort_by(|&f, &g| variance(g).total_cmp(&variance(f)));
        head.truncate(HEAD);
        Ok(Self {
            head,
            mean: sums.iter().map(|sum| (sum[0] / n) as f32).collect(),
        })
    }
}

/// The columns of the head of some rows.
pub(crate) struct Head {
    main: Vec<f32>,
    side: Vec<f32>,
    bounds: Vec<Bounds>,
    width: usize,
}

/// What is known of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    /// Squared norms of the head in the first and the second plane, and the product of both.
    pub(crate) main: f32,
    pub(crate) side: f32,
    pub(crate) mixed: f32,
    /// `|a - mean|` beyond the head, rounded up.
    pub(crate) spread: f32,
    /// What rounding adds to any product or distance of the row, at most.
    pub(crate) slack: f32,
}

/// A [`Head`], borrowed.
#[derive(Clone, Copy)]
pub(crate) struct HeadView<'a> {
    pub(crate) main: Matrix<'a>,
    pub(crate) side: Matrix<'a>,
    pub(crate) bounds: &'a [Bounds],
}

impl Head {
    pub(crate) fn new(view: View<'_>, columns: &Columns, context: &Context<'_>) -> Result<Self> {
        let (n, width) = (view.rows(), columns.head.len());
        let mut beyond = vec![true; view.side.cols()];
        for &f in &columns.head {
            beyond[f] = false;
        }
        let mut head = Self {
            main: Vec::with_capacity(n * width),
            side: Vec::with_capacity(n * width),
            bounds: Vec::with_capacity(n),
            width,
        };
        let blocks = context.blocks(n, ROWS * 16, "planes", |rows| {
            let row = |i| head_row(view, i, columns, &beyond);
            rows.into_par_iter().map(row).collect::<Vec<_>>()
        })?;
        for (main, side, bounds) in blocks.into_iter().flatten() {
            head.main.extend(main);
            head.side.extend(side);
            head.bounds.push(bounds);
        }
        Ok(head)
    }

    pub(crate) fn view(&self) -> Result<HeadView<'_>> {
        let (n, width) = (self.bounds.len(), self.width);
        Ok(HeadView {
            main: Matrix::new(&self.main, n, width)?,
            side: Matrix::new(&self.side, n, width)?,
            bounds: &self.bounds,
        })
    }
}

fn head_row(
    view: View<'_>,
    i: usize,
    columns: &Columns,
    beyond: &[bool],
) -> (Vec<f32>, Vec<f32>, Bounds) {
    let (s, a) = (view.main.row(i), view.side.row(i));
    let (main, side) = view.norms(i);
    let mut bounds = Bounds {
        slack: (s.len() as f32 + ROUNDINGS) / (1 << 21) as f32 * (main + side),
        ..Bounds::default()
    };
    let (mut head_s, mut head_a) = (Vec::new(), Vec::new());
    for &f in &columns.head {
        bounds.main += s[f] * s[f];
        bounds.side += a[f] * a[f];
        bounds.mixed += s[f] * a[f];
        head_s.push(s[f]);
        head_a.push(a[f]);
    }
    let rest = a.iter().zip(&columns.mean).zip(beyond);
    let squares = rest.map(|((a, mean), &beyond)| {
        let gap = if beyond { a - mean } else { 0.0 };
        f64::from(gap * gap)
    });
    bounds.spread = (squares.sum::<f64>().sqrt() * 1.000_001) as f32;
    (head_s, head_a, bounds)
}
