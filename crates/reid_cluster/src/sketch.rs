//! Bounds of a distance that cost a fraction of it.
//!
//! The value in question is the float32 number `v_ij` that `neighbors::distance` makes of the given squared norms
//! `N_i`, `N_j` and the product of `product`. With any centre c and `y_i = x_i - c`, over the real numbers,
//!
//! ```text
//! N_i + N_j - 2 x_i.x_j = b_i + b_j - 2 y_i.y_j,    b_i = N_i - 2 c.x_i + |c|^2,
//! ```
//!
//! and `v_ij` differs from it by at most `k (h_i + h_j)`, `h_i = max(|x_i|^2, N_i)`, `k` = gamma(D + 7): D + 1 roundings
//! of a sum of terms whose sizes add up to at most `2 |x_i| |x_j| <= |x_i|^2 + |x_j|^2` (Higham 2002, section 3.1:
//! gamma(n) = n u / (1 - n u), u = 2^-24), and two of the last sums.
//!
//! **Coarse bound.** Let Q have nearly orthonormal columns, `|Q^T Q - I| <= flaw`, P be the projection on their
//! span, `a_i = Q^T y_i`, `p_i` its computed value, `|p_i - a_i| <= rounding |y_i|`. Cauchy and Schwarz give
//!
//! ```text
//! | y_i.y_j - P y_i . P y_j | <= R_i R_j,    R_i^2 >= |y_i|^2 - |P y_i|^2,    |P y_i|^2 >= |a_i|^2 / (1 + flaw)
//! | P y_i . P y_j - p_i.p_j | <= e |y_i| |y_j|,    e = 1.03 flaw + 2.03 rounding    (both at most .01)
//! ```
//!
//! because `P y_i . P y_j = a_i . (Q^T Q)^-1 a_j` and `|a_i|^2 <= (1 + flaw) |y_i|^2`. So `y_i.y_j` is at most the product of
//! `(p_i, R_i)` and `(p_j, R_j)`, m + 1 numbers each, but for roundings, which `2 s t <= s^2 + t^2` splits into a share of
//! i and a share of j. What remains for a pair is `lower_i + lower_j - 2 dot`; and as `2 R_i R_j <= R_i^2 + R_j^2` the
//! value is at most that plus `width_i + width_j`. Neither proof asks where Q comes from.
//!
//! **Fine bound.** `z_j` is `y_j` rounded to 16 bits a number, `|y_j - z_j| <= F_j` measured; then
//! `|y_i.y_j - y_i.z_j| <= |y_i| F_j`, again with the roundings of the product.
//!
//! Underflow loses at most 2^-126 an operation, also where small numbers are taken for 0; it is added (in the
//! coordinates it is next to nothing, u |`y_i`|^2 covers it).
//! Sums of real numbers are made in float64, whose rounding (a D-th of 1e-11) is added as well.

use rayon::prelude::*;

use crate::product::{PACK, dots_packed};
use crate::subspace::{Coordinator, Subspace, UNIT, gamma};
use crate::{Context, Matrix, Result};

/// Rows made by one task.
const ROWS: usize = 64;
/// Columns beyond which float64 sums would need a closer look.
const MAX_COLS: usize = 1 << 16;
/// Squared lengths beyond which sums of bounds could overflow float32.
const MAX_SQUARE: f64 = 1e36;

/// What bounds need to know of each row.
pub(crate) struct Sketch {
    /// `(p, R)` of each row.
    rows: Vec<f32>,
    /// Length of such a row.
    cols: usize,
    /// Share of each row in the coarse lower bound.
    pub(crate) lower: Vec<f32>,
    /// Share of each row in coarse upper bound - coarse lower bound.
    pub(crate) width: Vec<f32>,
    facts: Vec<Facts>,
    /// z, two numbers a word as `product::dots_packed` reads them.
    packed: Vec<u32>,
    center: Vec<f32>,
}

/// Facts of one row for the fine bound.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    /// b.
    base: f64,
    /// |y|, rounded up.
    length: f64,
    /// F with the roundings of a product with z.
    half_error: f64,
    /// k h and the rounding of float64 and of underflow.
    rounding: f64,
    lower: f32,
    width: f32,
}

impl Sketch {
    /// Of the rows of `x` in the given order; `None` where the numbers are such that bounds would be worthless.
    pub(crate) fn new(
        x: Matrix<'_>,
        norms: &[f32],
        order: &[u32],
        space: Subspace,
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let (n, d, cols) = (order.len(), x.cols(), space.dims + 1);
        if d > MAX_COLS || space.flaw > 0.01 || space.rounding > 0.01 {
            return Ok(None);
        }
        let center_square: f64 = space.center.iter().map(|&c| f64::from(c).powi(2)).sum();
        let maker = Maker {
            center_square,
            space: &space,
        };
        let mut rows = vec![0.0_f32; n * cols];
        let words = d.div_ceil(PACK) * PACK / 2;
        let mut packed = vec![0_u32; n * words];
        let mut facts = vec![Facts::default(); n];
        let step = 32 * ROWS;
        let blocks = rows
            .chunks_mut(step * cols)
            .zip(packed.chunks_mut(step * words))
            .zip(facts.chunks_mut(step));
        for (block, ((rows, packed), facts)) in blocks.enumerate() {
            context.tick(block * step, n, "sketch")?;
            context.install(|| {
                rows.par_chunks_mut(ROWS * cols)
                    .zip(packed.par_chunks_mut(ROWS * words))
                    .zip(facts.par_chunks_mut(ROWS))
                    .enumerate()
                    .for_each_init(Buffers::default, |buffers, (t, ((rows, packed), facts))| {
                        let first = block * step + t * ROWS;
                        let order = &order[first..first + facts.len()];
                        maker.make(x, norms, order, buffers, rows, packed, facts);
                    });
            });
        }
        context.tick(n, n, "sketch")?;
        let largest = facts.iter().fold(center_square, |top, f| {
            top.max(f.length.powi(2)).max(f.base.abs())
        });
        let finite = facts
            .iter()
            .all(|f| f.rounding.is_finite() && f.half_error.is_finite() && f.width.is_finite());
        if largest.partial_cmp(&MAX_SQUARE) != Some(std::cmp::Ordering::Less) || !finite {
            return Ok(None);
        }
        Ok(Some(Self {
            rows,
            cols,
            lower: facts.iter().map(|f| f.lower).collect(),
            width: facts.iter().map(|f| f.width).collect(),
            facts,
            packed,
            center: space.center,
        }))
    }

    /// The rows whose products make the coarse bounds.
    pub(crate) fn matrix(&self) -> Result<Matrix<'_>> {
        Matrix::new(&self.rows, self.lower.len(), self.cols)
    }

    /// Fine bounds of the values of the row numbered `i`, `row`, with those of `list`: `found(e, lower, upper)`.
    pub(crate) fn refine(
        &self,
        row: &[f32],
        i: usize,
        list: &[u32],
        buffers: &mut Refiner,
        mut found: impl FnMut(usize, f32, f32),
    ) {
        buffers.row.clear();
        buffers
            .row
            .extend(row.iter().zip(&self.center).map(|(v, c)| v - c));
        buffers.row.resize(row.len().div_ceil(PACK) * PACK, 0.0);
        buffers.dots.resize(list.len(), 0.0);
        dots_packed(&buffers.row, &self.packed, list, &mut buffers.dots);
        let own = self.facts[i];
        for (e, (&j, &dot)) in list.iter().zip(&buffers.dots).enumerate() {
            let other = self.facts[j as usize];
            let middle = own.base + other.base - 2.0 * f64::from(dot);
            let error = 2.0 * own.length * other.half_error + own.rounding + other.rounding;
            let (low, high) = (middle - error, (middle + error).max(0.0));
            found(e, down(low).max(0.0), up(high));
        }
    }
}

/// Buffers of [`Sketch::refine`].
#[derive(Default)]
pub(crate) struct Refiner {
    row: Vec<f32>,
    dots: Vec<f32>,
}

/// Buffers of one worker that makes sketches.
#[derive(Default)]
struct Buffers {
    centered: Vec<f32>,
    rounded: Vec<f32>,
    coordinates: Vec<f32>,
    coordinator: Coordinator,
}

struct Maker<'a> {
    center_square: f64,
    space: &'a Subspace,
}

impl Maker<'_> {
    #[allow(clippy::too_many_arguments)] // three outputs
    fn make(
        &self,
        x: Matrix<'_>,
        norms: &[f32],
        order: &[u32],
        buffers: &mut Buffers,
        rows: &mut [f32],
        packed: &mut [u32],
        facts: &mut [Facts],
    ) {
        let (d, m, center) = (x.cols(), self.space.dims, &self.space.center);
        buffers.centered.clear();
        for &i in order {
            let row = x.row(i as usize).iter().zip(center).map(|(v, c)| v - c);
            buffers.centered.extend(row);
        }
        buffers.coordinates.resize(facts.len() * m, 0.0);
        let (coordinator, coordinates) = (&mut buffers.coordinator, &mut buffers.coordinates);
        self.space
            .coordinates(&buffers.centered, coordinator, coordinates);
        for (t, (fact, &i)) in facts.iter_mut().zip(order).enumerate() {
            let i = i as usize;
            let centered = &buffers.centered[t * d..][..d];
            buffers.rounded.clear();
            buffers.rounded.extend_from_slice(centered);
            let words = d.div_ceil(PACK) * PACK / 2;
            pack(&mut buffers.rounded, &mut packed[t * words..][..words]);
            let coordinates = &buffers.coordinates[t * m..][..m];
            let sums = Sums::of(x.row(i), center, centered, &buffers.rounded);
            let (made, residue) = self.facts(norms[i], &sums, coordinates, d);
            *fact = made;
            let row = &mut rows[t * (m + 1)..][..=m];
            row[..m].copy_from_slice(coordinates);
            row[m] = residue;
        }
    }

    /// The facts of a row and its R.
    fn facts(&self, norm: f32, sums: &Sums, coordinates: &[f32], d: usize) -> (Facts, f32) {
        const TINY: f64 = 1e-11;
        let (space, m) = (self.space, self.space.dims);
        let square = sums.centered * (1.0 + TINY);
        let length = square.sqrt() * (1.0 + TINY);
        let base = f64::from(norm) - 2.0 * sums.along + self.center_square;
        let h = sums.row.max(f64::from(norm));
        let underflow = 32.0 * (d + 8) as f64 * f64::from(f32::MIN_POSITIVE);
        let rounding = gamma(d + 7) * h + TINY * (h + self.center_square) + underflow;

        let inside: f64 = coordinates.iter().map(|&p| f64::from(p).powi(2)).sum();
        let sure = (inside.sqrt() * (1.0 - TINY) - space.rounding * length - underflow).max(0.0);
        let residue = up((square - sure.powi(2) / (1.0 + space.flaw)).max(0.0).sqrt());
        let sketch = inside + f64::from(residue).powi(2);
        let factor = 1.03 * space.flaw + 2.03 * space.rounding + 4.0 * UNIT;
        let last = 4.0 * UNIT * (base.abs() + sketch);
        let slack = (factor * square + gamma(m + 3) * sketch + rounding + last) * (1.0 + 1e-5);
        let width = (2.0 * f64::from(residue).powi(2) + 2.0 * slack + 2.0 * last) * (1.0 + 1e-5);

        let half = (sums.half * (1.0 + TINY)).sqrt() + 2.0 * UNIT * length + underflow;
        let steps = gamma(d / PACK + 64) + 2.0 * UNIT;
        let made = Facts {
            base,
            length,
            half_error: 1.001 * half + steps * (length + half),
            rounding,
            lower: down(base - slack),
            width: up(width),
        };
        (made, residue)
    }
}

/// Sums of a row x, in float64.
#[derive(Default)]
struct Sums {
    /// |x|^2.
    row: f64,
    /// c.x.
    along: f64,
    /// |x - c|^2.
    centered: f64,
    /// |y - z|^2 with y = x - c as float32.
    half: f64,
}

impl Sums {
    fn of(row: &[f32], center: &[f32], centered: &[f32], rounded: &[f32]) -> Self {
        const LANES: usize = 4;
        let mut sums = [[0.0_f64; LANES]; 4];
        let mut add = |l: usize, x: f32, c: f32, y: f32, z: f32| {
            let lost = f64::from(y) - f64::from(z);
            let (x, c) = (f64::from(x), f64::from(c));
            sums[0][l] += x * x;
            sums[1][l] += x * c;
            sums[2][l] += (x - c) * (x - c);
            sums[3][l] += lost * lost;
        };
        let (rows, _) = row.as_chunks::<LANES>();
        let (centers, _) = center.as_chunks::<LANES>();
        let (ys, _) = centered.as_chunks::<LANES>();
        let (zs, _) = rounded.as_chunks::<LANES>();
        for (((x, c), y), z) in rows.iter().zip(centers).zip(ys).zip(zs) {
            for l in 0..LANES {
                add(l, x[l], c[l], y[l], z[l]);
            }
        }
        for k in LANES * rows.len()..row.len() {
            add(0, row[k], center[k], centered[k], rounded[k]);
        }
        let [row, along, centered, half] = sums.map(|lanes| lanes.iter().sum());
        Self {
            row,
            along,
            centered,
            half,
        }
    }
}

/// Put two numbers of `row` into each word of `packed` and leave in `row` what they are there.
///
/// The one is rounded to the lower half of the word. The other is the whole word: it is rounded to the nearest with
/// that lower half as its last digits, so that reading it takes no step, and loses no more than by rounding to an upper half.
fn pack(row: &mut [f32], packed: &mut [u32]) {
    const HALF: usize = PACK / 2;
    const SIGN: u32 = 1 << 31;
    for (numbers, words) in row.chunks_mut(PACK).zip(packed.chunks_exact_mut(HALF)) {
        let (first, second) = numbers.split_at_mut(HALF.min(numbers.len()));
        for (number, word) in first.iter_mut().zip(words.iter_mut()) {
            let bits = number.to_bits() + 0x8000;
            *word = bits >> 16;
            *number = f32::from_bits(*word << 16);
        }
        for (number, word) in second.iter_mut().zip(words.iter_mut()) {
            let bits = number.to_bits();
            let upper = ((bits & !SIGN) + 0x8000).saturating_sub(*word) & 0xFFFF_0000;
            *word |= bits & SIGN | upper;
            *number = f32::from_bits(*word);
        }
    }
}

/// At most `value`.
fn down(value: f64) -> f32 {
    (value as f32).next_down()
}

/// At least `value`.
fn up(value: f64) -> f32 {
    (value as f32).next_up()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::neighbors::distance;
    use crate::product::{Scratch, dots, squared_norms};
    use crate::subspace::Sample;

    pub(crate) const KINDS: usize = 10;

    /// Rows of many kinds: 0 low rank and noise, 1 isotropic, 2 copies, 3 few values, so ties, 4 zero rows among others, 5
    /// huge, 6 tiny, 7 far from the origin, 8 not negative, 9 lengths of all magnitudes.
    pub(crate) fn made(kind: usize, n: usize, d: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            let bits = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
            bits as f32 / (1 << 23) as f32 - 1.0
        };
        let scale: Vec<f32> = (1..=d).map(|j| 1.0 / (j * j) as f32).collect();
        let mut data = Vec::with_capacity(n * d);
        for i in 0..n {
            let length = 10_f32.powf(4.0 * next());
            let row: Vec<f32> = (0..d).map(|j| scale[j] * next() + 0.003 * next()).collect();
            data.extend((0..d).map(|j| match kind {
                1 => next(),
                2 => scale[j] * (((i % 7) * (j + 3) * 7919) % 13) as f32,
                3 => (2.0 * next()).round(),
                4 if i % 3 == 0 => 0.0,
                5 => 1e15 * row[j],
                6 => 1e-18 * row[j],
                7 => row[j] + 3.0,
                8 => row[j].max(0.0),
                9 => length * row[j],
                _ => row[j],
            }));
        }
        data
    }

    /// Whether there is a sketch; its bounds must hold for all pairs.
    fn check(x: Matrix<'_>, space: Subspace) -> bool {
        let (n, pool) = (x.rows(), Context::pool(2).unwrap());
        let context = Context::quiet(&pool);
        let norms = squared_norms(x, "features", &context).unwrap();
        let order: Vec<u32> = (0..n as u32).rev().collect();
        let Some(sketch) = Sketch::new(x, &norms, &order, space, &context).unwrap() else {
            return false;
        };
        let (mut full, mut coarse) = (vec![0.0; n * n], vec![0.0; n * n]);
        dots(x, 0..n, x, 0..n, &mut Scratch::default(), &mut full);
        let rows = sketch.matrix().unwrap();
        dots(rows, 0..n, rows, 0..n, &mut Scratch::default(), &mut coarse);
        let all: Vec<u32> = (0..n as u32).collect();
        for i in 0..n {
            let a = order[i] as usize;
            let value = |j: usize| {
                let b = order[j] as usize;
                distance(norms[a], norms[b], full[a * n + b])
            };
            for j in (0..n).filter(|&j| j != i) {
                let lower = sketch.lower[i] + sketch.lower[j] - 2.0 * coarse[i * n + j];
                let upper = lower.max(0.0) + (sketch.width[i] + sketch.width[j]);
                let v = value(j);
                assert!(lower <= v && v <= upper, "{i} {j}: {lower} {v} {upper}");
            }
            sketch.refine(
                x.row(a),
                i,
                &all,
                &mut Refiner::default(),
                |j, lower, upper| {
                    let v = value(j);
                    assert!(
                        i == j || lower <= v && v <= upper,
                        "{i} {j}: {lower} {v} {upper}"
                    );
                },
            );
        }
        true
    }

    #[test]
    fn bounds_hold_for_all_kinds_of_rows() {
        let pool = Context::pool(2).unwrap();
        let context = Context::quiet(&pool);
        for kind in 0..KINDS {
            for (d, dims) in [(8, 3), (33, 5), (200, 9), (700, 40)] {
                let data = made(kind, 150, d, 3);
                let x = Matrix::new(&data, 150, d).unwrap();
                let sample = Sample::new(x, 90, dims, &context).unwrap().unwrap();
                let dims = dims.min(sample.directions.len() / d);
                assert!(
                    check(x, sample.subspace(dims)) || kind == 6,
                    "kind {kind} d {d}"
                );
            }
        }
    }

    /// Directions that are not quite orthonormal, and rows whose residues all lie in one
    /// line, so that Cauchy and Schwarz leave no room: only the roundings keep the bounds apart from the values.
    #[test]
    fn bounds_hold_where_they_are_tight() {
        for (d, offset, skew) in [
            (64, 0.0, 0.0),
            (65, 0.0, 0.001),
            (300, 2.0, 0.0),
            (2048, 0.1, 0.001),
        ] {
            let n = 120;
            let noise = made(1, n, 4, d as u64);
            let mut data = vec![offset; n * d];
            for (row, noise) in data.chunks_exact_mut(d).zip(noise.chunks_exact(4)) {
                for k in 0..3 {
                    row[k * 17] += noise[k];
                }
                // The residue: spread over many columns, one line for all rows.
                for (k, value) in row.iter_mut().enumerate().filter(|(k, _)| k % 17 != 0) {
                    *value += noise[3] * ((k % 5) as f32 - 2.0) / (d as f32).sqrt();
                }
            }
            let mut directions = vec![0.0; 3 * d];
            for (k, direction) in directions.chunks_exact_mut(d).enumerate() {
                direction[k * 17] = 1.0 + skew;
                direction[(k * 17 + 17) % 51] = skew;
            }
            let sample = Sample {
                center: vec![offset; d],
                rows: Vec::new(),
                directions,
            };
            assert!(check(Matrix::new(&data, n, d).unwrap(), sample.subspace(3)));
        }
    }

    #[test]
    fn words_hold_what_is_left_in_the_row() {
        for kind in [0, 1, 5, 6, 9] {
            let data = made(kind, 1, 130, 7);
            let (mut row, mut words) = (data.clone(), vec![0; 96]);
            pack(&mut row, &mut words);
            for (y, z) in data.iter().zip(&row) {
                assert!((y - z).abs() <= y.abs() / 256.0 + 1e-38, "{y} {z}");
            }
            let mut padded = data.clone();
            padded.resize(192, 0.0);
            let mut out = [0.0];
            crate::product::dots_packed(&padded, &words, &[0], &mut out);
            let want: f64 = (data.iter().zip(&row))
                .map(|(y, z)| f64::from(*y) * f64::from(*z))
                .sum();
            assert!(
                (f64::from(out[0]) - want).abs() <= 1e-6 * want + 1e-37,
                "{out:?} {want}"
            );
        }
    }
}
