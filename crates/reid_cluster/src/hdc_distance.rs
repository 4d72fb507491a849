//! The distances of HDC between rows of features: samples and centroids.
//!
//! * Euler: `d = |sum_f (phi(x_f) - phi(y_f))^2|` with `phi(x) = exp(i pi 1.9 x) / sqrt(2)`; the square is that of a complex
//!   number, as in the authors' code. With the planes `s = sin(pi 1.9 x)` and `a = 1 - cos(pi 1.9 x)` and `S`, `A` their
//!   differences in two rows: `d = | (A.A - S.S) / 2 - i S.A |`. As `a` is small where `x` is, no digits are lost to large sums.
//! * Cosine: `(1 - cos) / 2`, a row of zeros is at 1/2 to all. Euclidean: `|x - y|`.
//!
//! [`tile`] makes them by products of float32 (the bits of a distance depend on its two rows only, and a row is at 0
//! from its copy), [`between`] makes one in float64.

use std::borrow::Cow;
use std::f64::consts::PI;
use std::ops::Range;

use rayon::prelude::*;

use crate::product::{Scratch, dots, squared_norms};
use crate::{Context, Matrix, Result};

/// The factor of the phase in Euler's formula.
const ALPHA: f64 = 1.9;
/// Rows made by one worker at a time.
const ROWS: usize = 32;
/// Rows of a tile whose columns are all centroids.
const BLOCK: usize = 128;

/// How HDC compares two rows of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Similarity {
    /// Of the Euler representation, divided by the largest distance of the matrix.
    #[default]
    Euler,
    /// `(1 - cos) / 2`.
    Cosine,
    /// Euclidean distance, divided by the largest one of the matrix.
    Euclidean,
}

/// Rows of features, and what their distances are made of.
pub(crate) struct Planes<'a> {
    pub(crate) similarity: Similarity,
    /// Sines for Euler, else the features.
    main: Cow<'a, [f32]>,
    /// `1 - cos` for Euler, else empty.
    side: Vec<f32>,
    cols: usize,
    main_norms: Vec<f32>,
    side_norms: Vec<f32>,
    /// Products of the two planes of a row.
    mixed: Vec<f32>,
}

impl<'a> Planes<'a> {
    /// Of finite rows; their squared norms must be within float32.
    pub(crate) fn new(
        x: Matrix<'a>,
        name: &'static str,
        similarity: Similarity,
        context: &Context<'_>,
    ) -> Result<Self> {
        if similarity != Similarity::Euler {
            return Ok(Self {
                similarity,
                main: Cow::Borrowed(x.data()),
                side: Vec::new(),
                cols: x.cols(),
                main_norms: squared_norms(x, name, context)?,
                side_norms: Vec::new(),
                mixed: Vec::new(),
            });
        }
        let (n, d) = (x.rows(), x.cols());
        let (mut main, mut side) = (vec![0.0_f32; n * d], vec![0.0_f32; n * d]);
        let step = (1_usize << 20).div_ceil(d).next_multiple_of(ROWS);
        let blocks = main.chunks_mut(step * d).zip(side.chunks_mut(step * d));
        for ((block, (sines, rest)), x) in blocks.enumerate().zip(x.data().chunks(step * d)) {
            context.tick(block * step, n, "planes")?;
            context.install(|| {
                let values = sines.par_iter_mut().zip(rest).zip(x);
                values.with_min_len(ROWS * d).for_each(|((s, a), &x)| {
                    // Of half the angle, so that `a` keeps its digits.
                    let (sin, cos) = ((PI * ALPHA / 2.0) as f32 * x).sin_cos();
                    *s = 2.0 * sin * cos;
                    *a = 2.0 * sin * sin;
                });
            });
        }
        let (s, a) = (Matrix::new(&main, n, d)?, Matrix::new(&side, n, d)?);
        let main_norms = squared_norms(s, name, context)?;
        let side_norms = squared_norms(a, name, context)?;
        let mixed = products(s, a, context)?;
        Ok(Self {
            similarity,
            main: Cow::Owned(main),
            side,
            cols: d,
            main_norms,
            side_norms,
            mixed,
        })
    }

    /// The same rows, kept beyond the features that they were made of.
    pub(crate) fn into_owned(self) -> Planes<'static> {
        Planes {
            main: Cow::Owned(self.main.into_owned()),
            similarity: self.similarity,
            side: self.side,
            cols: self.cols,
            main_norms: self.main_norms,
            side_norms: self.side_norms,
            mixed: self.mixed,
        }
    }

    /// The rows as the functions below take them.
    pub(crate) fn view(&self) -> Result<View<'_>> {
        let (n, d) = (self.main_norms.len(), self.cols);
        let main = Matrix::new(&self.main, n, d)?;
        Ok(View {
            similarity: self.similarity,
            main,
            side: match self.similarity {
                Similarity::Euler => Matrix::new(&self.side, n, d)?,
                _ => main,
            },
            main_norms: &self.main_norms,
            side_norms: &self.side_norms,
            mixed: &self.mixed,
        })
    }
}

/// [`Planes`], borrowed.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) similarity: Similarity,
    pub(crate) main: Matrix<'a>,
    /// The same as `main` unless Euler.
    pub(crate) side: Matrix<'a>,
    main_norms: &'a [f32],
    side_norms: &'a [f32],
    mixed: &'a [f32],
}

impl View<'_> {
    pub(crate) fn rows(&self) -> usize {
        self.main.rows()
    }

    /// Some of the rows, copied.
    pub(crate) fn pick(&self, rows: &[usize]) -> Planes<'static> {
        let copy = |plane: Matrix<'_>| -> Vec<f32> {
            rows.iter().flat_map(|&i| plane.row(i)).copied().collect()
        };
        let some = |values: &[f32]| -> Vec<f32> {
            let values = rows.iter().filter_map(|&i| values.get(i));
            values.copied().collect()
        };
        Planes {
            similarity: self.similarity,
            main: Cow::Owned(copy(self.main)),
            side: match self.similarity {
                Similarity::Euler => copy(self.side),
                _ => Vec::new(),
            },
            cols: self.main.cols(),
            main_norms: some(self.main_norms),
            side_norms: some(self.side_norms),
            mixed: some(self.mixed),
        }
    }

    /// `|x_i|^2` in both planes; zero in the second one unless Euler.
    pub(crate) fn norms(&self, i: usize) -> (f32, f32) {
        let side = self.side_norms.get(i).copied().unwrap_or_default();
        (self.main_norms[i], side)
    }
}

/// `x_i . y_i` of every row, with the bits of `dots`.
fn products(x: Matrix<'_>, y: Matrix<'_>, context: &Context<'_>) -> Result<Vec<f32>> {
    let blocks = context.blocks(x.rows(), ROWS << 8, "norms", |rows| {
        let starts: Vec<usize> = rows.clone().step_by(ROWS).collect();
        let new = || (Scratch::default(), vec![0.0; ROWS * ROWS]);
        let parts = starts
            .par_iter()
            .map_init(new, |(scratch, square), &start| {
                let r = start..rows.end.min(start + ROWS);
                let square = &mut square[..r.len() * r.len()];
                dots(x, r.clone(), y, r.clone(), scratch, square);
                square
                    .iter()
                    .step_by(r.len() + 1)
                    .copied()
                    .collect::<Vec<f32>>()
            });
        parts.collect::<Vec<_>>().concat()
    })?;
    Ok(blocks.concat())
}

/// Buffers of one worker.
#[derive(Default)]
pub(crate) struct Tiles {
    pub(crate) scratch: Scratch,
    parts: [Vec<f32>; 3],
}

/// Distances of rows `r` of `x` to rows `s` of `y`, row-major.
pub(crate) fn tile(
    x: View<'_>,
    r: Range<usize>,
    y: View<'_>,
    s: Range<usize>,
    tiles: &mut Tiles,
    out: &mut [f32],
) {
    let scratch = &mut tiles.scratch;
    dots(x.main, r.clone(), y.main, s.clone(), scratch, out);
    let pairs = r.clone().flat_map(|i| s.clone().map(move |j| (i, j)));
    let square = |i: usize, j: usize, dot: f32| x.main_norms[i] + y.main_norms[j] - 2.0 * dot;
    match x.similarity {
        Similarity::Euclidean => {
            for ((i, j), d) in pairs.zip(out) {
                *d = square(i, j, *d).max(0.0).sqrt();
            }
        }
        Similarity::Cosine => {
            for ((i, j), d) in pairs.zip(out) {
                let norms = (x.main_norms[i], y.main_norms[j]);
                *d = cosine((*d).into(), norms.0.into(), norms.1.into());
            }
        }
        Similarity::Euler => {
            for part in &mut tiles.parts {
                part.resize(out.len(), 0.0);
            }
            let [aa, sa, as_] = &mut tiles.parts;
            dots(x.side, r.clone(), y.side, s.clone(), scratch, aa);
            dots(x.main, r.clone(), y.side, s.clone(), scratch, sa);
            dots(x.side, r, y.main, s.clone(), scratch, as_);
            let dots = out.iter_mut().zip(aa).zip(sa.iter().zip(as_));
            for ((i, j), ((d, aa), (sa, as_))) in pairs.zip(dots) {
                let aa = x.side_norms[i] + y.side_norms[j] - 2.0 * *aa;
                let sa = x.mixed[i] + y.mixed[j] - (sa + *as_);
                let real = 0.5 * (aa - square(i, j, *d));
                *d = (real * real + sa * sa).sqrt();
            }
        }
    }
}

fn cosine(dot: f64, x: f64, y: f64) -> f32 {
    let norms = (x * y).sqrt();
    let cos = if norms > 0.0 { dot / norms } else { 0.0 };
    (0.5 * (1.0 - cos)).clamp(0.0, 1.0) as f32
}

/// The distance of row `i` of `x` to row `j` of `y`.
pub(crate) fn between(x: View<'_>, i: usize, y: View<'_>, j: usize) -> f32 {
    let (u, v) = (x.main.row(i), y.main.row(j));
    match x.similarity {
        Similarity::Euler => {
            let (w, z) = (x.side.row(i), y.side.row(j));
            let [ss, aa, sa] = sums([u, v, w, z], |[u, v, w, z]| {
                let (s, a) = (f64::from(u - v), f64::from(w - z));
                [s * s, a * a, s * a]
            });
            (0.5 * (aa - ss)).hypot(sa) as f32
        }
        Similarity::Cosine => {
            let [uv, uu, vv] = sums([u, v], |[u, v]| {
                let (u, v) = (f64::from(u), f64::from(v));
                [u * v, u * u, v * v]
            });
            cosine(uv, uu, vv)
        }
        Similarity::Euclidean => squared_difference(u, v).sqrt() as f32,
    }
}

/// `|u - v|^2`.
pub(crate) fn squared_difference(u: &[f32], v: &[f32]) -> f64 {
    let [sum] = sums([u, v], |[u, v]| [f64::from(u - v).powi(2)]);
    sum
}

/// Sums of the terms that each column gives: four running sums of each, in a fixed order.
#[inline(always)]
#[allow(clippy::inline_always)] // fast only with the terms known
fn sums<const ROWS: usize, const TERMS: usize>(
    rows: [&[f32]; ROWS],
    terms: impl Fn([f32; ROWS]) -> [f64; TERMS],
) -> [f64; TERMS] {
    const LANES: usize = 4;
    let n = rows[0].len();
    let rows = rows.map(|row| &row[..n]);
    let mut lanes = [[0.0_f64; LANES]; TERMS];
    let mut add = |lane: usize, k: usize| {
        let terms = terms(std::array::from_fn(|r| rows[r][k]));
        for (sums, term) in lanes.iter_mut().zip(terms) {
            sums[lane] += term;
        }
    };
    for start in (0..n / LANES * LANES).step_by(LANES) {
        for lane in 0..LANES {
            add(lane, start + lane);
        }
    }
    for k in n / LANES * LANES..n {
        add(k % LANES, k);
    }
    lanes.map(|sums| sums.iter().sum())
}

/// The row of `centers` nearest to each row of `x`, the first on ties.
pub(crate) fn nearest(x: View<'_>, centers: View<'_>, context: &Context<'_>) -> Result<Vec<i32>> {
    let (n, k) = (x.rows(), centers.rows());
    let mut labels = vec![0; n];
    let step = BLOCK * context.threads();
    for (block, labels) in labels.chunks_mut(step).enumerate() {
        context.tick(block * step, n, "nearest centers")?;
        context.install(|| {
            labels.par_chunks_mut(BLOCK).enumerate().for_each_init(
                || (Tiles::default(), vec![0.0; BLOCK * k]),
                |(tiles, values), (part, labels)| {
                    let start = block * step + part * BLOCK;
                    let values = &mut values[..labels.len() * k];
                    tile(x, start..start + labels.len(), centers, 0..k, tiles, values);
                    for (label, row) in labels.iter_mut().zip(values.chunks_exact(k)) {
                        *label = (1..k).fold(0, |b, c| if row[c] < row[b] { c } else { b }) as i32;
                    }
                },
            );
        });
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By complex numbers in float64.
    fn euler(x: &[f32], y: &[f32]) -> f64 {
        let phi = |v: f32| (PI * ALPHA * f64::from(v)).sin_cos();
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (&x, &y) in x.iter().zip(y) {
            let ((s, c), (t, e)) = (phi(x), phi(y));
            let (u, v) = ((c - e) / 2.0_f64.sqrt(), (s - t) / 2.0_f64.sqrt());
            real += u * u - v * v;
            imaginary += 2.0 * u * v;
        }
        f64::hypot(real, imaginary)
    }

    #[test]
    fn tiles_and_pairs_equal_the_formulas() {
        let pool = Context::pool(2).unwrap();
        let context = Context::quiet(&pool);
        for (n, d) in [(1, 1), (9, 3), (40, 70)] {
            let data: Vec<f32> = (0..n * d)
                .map(|p| ((p * p + 1) as f32).sin() * 0.4)
                .collect();
            let x = Matrix::new(&data, n, d).unwrap();
            for similarity in [Similarity::Euler, Similarity::Cosine, Similarity::Euclidean] {
                let planes = Planes::new(x, "x", similarity, &context).unwrap();
                let view = planes.view().unwrap();
                let mut values = vec![0.0; n * n];
                tile(view, 0..n, view, 0..n, &mut Tiles::default(), &mut values);
                for (p, &value) in values.iter().enumerate() {
                    let (u, v) = (x.row(p / n), x.row(p % n));
                    let dot = |u: &[f32], v: &[f32]| -> f64 {
                        u.iter()
                            .zip(v)
                            .map(|(&u, &v)| f64::from(u) * f64::from(v))
                            .sum()
                    };
                    let wanted = match similarity {
                        Similarity::Euler => euler(u, v),
                        Similarity::Cosine => {
                            0.5 * (1.0 - dot(u, v) / (dot(u, u) * dot(v, v)).sqrt())
                        }
                        Similarity::Euclidean => {
                            (dot(u, u) + dot(v, v) - 2.0 * dot(u, v)).max(0.0).sqrt()
                        }
                    };
                    let one = between(view, p / n, view, p % n);
                    assert!(
                        (f64::from(one) - wanted).abs() < 1e-6 * (1.0 + wanted),
                        "{similarity:?} {one} {wanted}"
                    );
                    assert!(
                        (value - one).abs() < 1e-5 * (1.0 + one),
                        "{similarity:?} {value} {one}"
                    );
                    if p / n == p % n {
                        assert_eq!(value, 0.0, "{similarity:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_of_zeros_is_half_way_to_all() {
        let pool = Context::pool(1).unwrap();
        let context = Context::quiet(&pool);
        let x = Matrix::new(&[0.0, 0.0, 3.0, 4.0], 2, 2).unwrap();
        let planes = Planes::new(x, "x", Similarity::Cosine, &context).unwrap();
        let view = planes.view().unwrap();
        assert_eq!(between(view, 0, view, 1), 0.5);
        assert_eq!(nearest(view, view, &context).unwrap(), [0, 1]);
    }
}
