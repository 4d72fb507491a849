//! A few directions that hold most of the spread of some rows: features of trained networks live in few.
//!
//! A randomised range finder (Halko, Martinsson, Tropp 2011) on a sample A of centred rows: some of its rows,
//! brought nearer to the leading directions by one multiplication with A^T A, then made orthonormal by
//! Gram-Schmidt, the longest first, twice. Nothing that uses the directions may rely on how good they are;
//! how far they are from orthonormal is measured: `flaw`.

use rayon::prelude::*;

use crate::product::{Scratch, dots};
use crate::{Context, Matrix, Result};

/// Rounding of one float32 operation, relative.
pub(crate) const UNIT: f64 = 1.0 / (1 << 24) as f64;

/// Bound of the rounding of `n` operations one after another, relative to the sum of the terms' sizes.
pub(crate) fn gamma(n: usize) -> f64 {
    let nu = n as f64 * UNIT;
    1.01 * nu / (1.0 - nu)
}

/// Columns added up in one go; long sums are made of these parts, which keeps their rounding small.
const PART: usize = 64;

/// The centre of the rows and directions from it.
pub(crate) struct Subspace {
    pub(crate) center: Vec<f32>,
    /// Number of directions.
    pub(crate) dims: usize,
    /// At least the spectral norm of Q^T Q - I, with the directions as columns of Q.
    pub(crate) flaw: f64,
    /// At least |computed - exact coordinates| of a row of length 1.
    pub(crate) rounding: f64,
    /// `PART` columns of all directions, then the next: `[part][direction][column]`.
    parts: Vec<f32>,
}

/// Some centred rows, scaled to a mean square length of 1, and directions found from them.
pub(crate) struct Sample {
    pub(crate) center: Vec<f32>,
    pub(crate) rows: Vec<f32>,
    /// One direction a row, the most important first.
    pub(crate) directions: Vec<f32>,
}

impl Sample {
    /// At most `size` rows of `x` and `dims` directions; `None` where there is no spread.
    pub(crate) fn new(
        x: Matrix<'_>,
        size: usize,
        dims: usize,
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let (n, d, size) = (x.rows(), x.cols(), size.min(x.rows()));
        let mut sum = vec![0.0_f64; d];
        for s in 0..size {
            let row = x.row(s * n / size);
            sum.iter_mut()
                .zip(row)
                .for_each(|(sum, &v)| *sum += f64::from(v));
        }
        let center: Vec<f32> = sum.iter().map(|sum| (sum / size as f64) as f32).collect();
        let mut rows = Vec::with_capacity(size * d);
        for s in 0..size {
            rows.extend(x.row(s * n / size).iter().zip(&center).map(|(v, c)| v - c));
        }
        let square: f64 = rows.iter().map(|&v| f64::from(v).powi(2)).sum();
        let scale = ((size as f64 / square).sqrt()) as f32;
        if !(scale > 0.0 && scale.is_finite()) {
            return Ok(None);
        }
        for value in &mut rows {
            *value *= scale;
        }
        context.tick(0, 4, "directions")?;
        let start: Vec<f32> = (0..dims)
            .flat_map(|i| &rows[i * size / dims * d..][..d])
            .copied()
            .collect();
        let along = multiply(&rows, &start, d, context)?;
        context.tick(1, 4, "directions")?;
        let turned = multiply(
            &transposed(&rows, d),
            &transposed(&along, dims),
            size,
            context,
        )?;
        context.tick(2, 4, "directions")?;
        let mut directions = transposed(&turned, dims);
        orthonormal(&mut directions, d, true, context)?;
        context.tick(3, 4, "directions")?;
        orthonormal(&mut directions, d, false, context)?;
        context.tick(4, 4, "directions")?;
        Ok(Some(Self {
            center,
            rows,
            directions,
        }))
    }

    /// An order of the rows of `x` in which blocks of `block` rows are close together: halved again and again along
    /// the one of the first directions in which they spread most.
    pub(crate) fn order(
        &self,
        x: Matrix<'_>,
        block: usize,
        context: &Context<'_>,
    ) -> Result<Vec<u32>> {
        const LEADING: usize = 8;
        let d = x.cols();
        let leading = LEADING.min(self.directions.len() / d);
        let mut along = Vec::with_capacity(x.rows() * leading);
        for rows in x.data().chunks(d << 12) {
            context.tick(along.len() / leading, x.rows(), "order")?;
            along.extend(multiply(rows, &self.directions[..leading * d], d, context)?);
        }
        let mut order: Vec<u32> = (0..x.rows() as u32).collect();
        context.install(|| halve(&mut order, &along, leading, block));
        Ok(order)
    }

    /// With the first `dims` directions.
    pub(crate) fn subspace(self, dims: usize) -> Subspace {
        let d = self.center.len();
        let mut parts = Vec::with_capacity(dims * d);
        for lo in (0..d).step_by(PART) {
            for direction in self.directions.chunks_exact(d).take(dims) {
                parts.extend_from_slice(&direction[lo..d.min(lo + PART)]);
            }
        }
        let mut space = Subspace {
            center: self.center,
            dims,
            flaw: 0.0,
            rounding: 0.0,
            parts,
        };
        let mut gram = vec![0.0; dims * dims];
        space.coordinates(
            &self.directions[..dims * d],
            &mut Coordinator::default(),
            &mut gram,
        );
        // Frobenius norms of what was measured, and of its rounding: each entry adds |q||q'| terms.
        let mut square = 0.0;
        let mut longest = 0.0_f64;
        for (i, line) in gram.chunks_exact(dims.max(1)).enumerate() {
            for (j, &value) in line.iter().enumerate() {
                square += (f64::from(value) - f64::from(u8::from(i == j))).powi(2);
            }
            longest = longest.max(f64::from(line[i]));
        }
        let steps = gamma(PART + d.div_ceil(PART));
        longest *= 1.0 + 2.0 * steps;
        space.flaw = square.sqrt() + steps * longest * dims as f64;
        // And that rows were centred in float32.
        space.rounding = steps * (longest * dims as f64).sqrt() + 2.0 * UNIT;
        space
    }
}

/// Buffers of [`Subspace::coordinates`].
#[derive(Default)]
pub(crate) struct Coordinator {
    scratch: Scratch,
    part: Vec<f32>,
    sums: Vec<f32>,
}

impl Subspace {
    /// `out` (rows x dims) = inner products of centred rows with the directions.
    pub(crate) fn coordinates(&self, rows: &[f32], buffers: &mut Coordinator, out: &mut [f32]) {
        let (d, m) = (self.center.len(), self.dims);
        let n = rows.len() / d;
        out.fill(0.0);
        buffers.sums.resize(n * m, 0.0);
        for lo in (0..d).step_by(PART) {
            let width = PART.min(d - lo);
            buffers.part.clear();
            for row in rows.chunks_exact(d) {
                buffers.part.extend_from_slice(&row[lo..lo + width]);
            }
            let directions = &self.parts[lo * m..][..width * m];
            if let (Ok(x), Ok(y)) = (
                Matrix::new(&buffers.part, n, width),
                Matrix::new(directions, m, width),
            ) {
                dots(x, 0..n, y, 0..m, &mut buffers.scratch, &mut buffers.sums);
            }
            out.iter_mut().zip(&buffers.sums).for_each(|(o, s)| *o += s);
        }
    }
}

/// `x . y^T` of rows of `d` columns.
pub(crate) fn multiply(x: &[f32], y: &[f32], d: usize, context: &Context<'_>) -> Result<Vec<f32>> {
    const ROWS: usize = 256;
    let (n, m) = (x.len() / d, y.len() / d);
    let (x, y) = (Matrix::new(x, n, d)?, Matrix::new(y, m, d)?);
    let mut out = vec![0.0; n * m];
    context.install(|| {
        let blocks = out.par_chunks_mut(ROWS * m).enumerate();
        blocks.for_each_init(Scratch::default, |scratch, (b, out)| {
            let rows = b * ROWS..n.min((b + 1) * ROWS);
            dots(x, rows, y, 0..m, scratch, out);
        });
    });
    Ok(out)
}

fn halve(order: &mut [u32], along: &[f32], dims: usize, block: usize) {
    if order.len() <= block {
        return;
    }
    let value = |i: u32, k: usize| along[i as usize * dims + k];
    let spread = |k: usize| {
        let (sum, square) = order.iter().fold((0.0, 0.0), |(sum, square), &i| {
            let v = f64::from(value(i, k));
            (sum + v, square + v * v)
        });
        square - sum * sum / order.len() as f64
    };
    let spreads: Vec<f64> = (0..dims).map(spread).collect();
    let widest = (0..dims).fold(
        0,
        |best, k| if spreads[k] > spreads[best] { k } else { best },
    );
    let middle = order.len().div_ceil(block) / 2 * block;
    let by = |&i: &u32, &j: &u32| (value(i, widest).total_cmp(&value(j, widest))).then(i.cmp(&j));
    order.select_nth_unstable_by(middle, by);
    let (low, high) = order.split_at_mut(middle);
    rayon::join(
        || halve(low, along, dims, block),
        || halve(high, along, dims, block),
    );
}

/// Columns as rows.
fn transposed(x: &[f32], cols: usize) -> Vec<f32> {
    const SIDE: usize = 16;
    let rows = x.len() / cols;
    let mut out = vec![0.0; x.len()];
    for i0 in (0..rows).step_by(SIDE) {
        for j0 in (0..cols).step_by(SIDE) {
            for i in i0..rows.min(i0 + SIDE) {
                for j in j0..cols.min(j0 + SIDE) {
                    out[j * rows + i] = x[i * cols + j];
                }
            }
        }
    }
    out
}

/// Gram-Schmidt; with `sort` the row that is longest of those left comes next. Rows that are nearly dependent
/// on the others go.
fn orthonormal(rows: &mut Vec<f32>, d: usize, sort: bool, context: &Context<'_>) -> Result<()> {
    let mut squares: Vec<f32> = rows.chunks_exact(d).map(|row| inner(row, row)).collect();
    let mut largest = 0.0;
    for done in 0..squares.len() {
        if done % 32 == 0 {
            context.tick(done, squares.len(), "directions")?;
        }
        if sort {
            let longest =
                (done..squares.len()).fold(
                    done,
                    |best, i| {
                        if squares[i] > squares[best] { i } else { best }
                    },
                );
            squares.swap(done, longest);
            if longest > done {
                let (head, tail) = rows.split_at_mut(longest * d);
                head[done * d..(done + 1) * d].swap_with_slice(&mut tail[..d]);
            }
        }
        largest = squares[done].max(largest);
        // Also when a number is not one.
        if squares[done].partial_cmp(&(1e-9 * largest)) != Some(std::cmp::Ordering::Greater) {
            rows.truncate(done * d);
            return Ok(());
        }
        let (head, tail) = rows.split_at_mut((done + 1) * d);
        let row = &mut head[done * d..];
        let scale = 1.0 / inner(row, row).sqrt();
        for value in row.iter_mut() {
            *value *= scale;
        }
        let row = &*row;
        let squares = &mut squares[done + 1..];
        context.install(|| {
            let rest = tail.par_chunks_mut(d).zip(squares).with_min_len(16);
            rest.for_each(|(other, square)| {
                let along = inner(row, other);
                other
                    .iter_mut()
                    .zip(row)
                    .for_each(|(o, &v)| *o -= along * v);
                *square = inner(other, other);
            });
        });
    }
    Ok(())
}

fn inner(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for l in 0..LANES {
            sums[l] += a[l] * b[l];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
