//! Inner products of rows, `X . Y^T`, in tiles: the one place with SIMD, and the place where nearly all time goes.
//!
//! Rows are copied into panels: a panel of the one side holds `16 L` rows as vector lanes, a panel of the other side `B`
//! rows as scalars to be broadcast, both in the order `[k][row]`. The innermost loop keeps `16 L x B` sums in registers
//! and adds `x[k] * y[k]` for k = 0, 1, 2, ... in order, one sum per pair of rows. That is one loop in plain Rust, which the compiler turns
//! into AVX-512, AVX2 or portable instructions; which one runs is chosen by asking the processor.
//!
//! **The bits of a product depend on its two rows only**: not on the tile, the place in it, or the thread, and they are the same for (x, y) and
//! (y, x). The two FMA paths agree with each other; the portable path rounds once more per term.
//!
//! Cost: one multiply-add per pair and column, at about .9 of the register peak from some 200 rows a side on; packing costs one pass
//! over both sides per call, so thin calls (a few rows against few) are slow.

use std::ops::Range;

use crate::{Context, Error, Matrix, Result};

/// One cache line of lanes; a panel row is `L` of them.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;
/// Columns of the features per pass: a panel of lanes (32 KiB) and one of heads stay in the first-level cache.
const DEPTH: usize = 256;
/// Rows on the lanes' side per pass: their panels (512 KiB) stay in the second-level cache.
const WIDTH: usize = 512;

/// Packing buffers of one worker; they grow to the largest call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    lanes: Vec<Line>,
    heads: Vec<f32>,
}

/// `out` (`r.len()` x `s.len()`, row-major) = `x[r] . y[s]^T` on the current thread.
pub(crate) fn dots(
    x: Matrix<'_>,
    r: Range<usize>,
    y: Matrix<'_>,
    s: Range<usize>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    Path::detect().product(
        &Work {
            x,
            r,
            y,
            s,
            upper: false,
        },
        scratch,
        out,
    );
}

/// As [`dots`] of `x[r]` with itself, but entries left of the diagonal may hold anything: half the work.
pub(crate) fn dots_upper(x: Matrix<'_>, r: Range<usize>, scratch: &mut Scratch, out: &mut [f32]) {
    Path::detect().product(
        &Work {
            x,
            r: r.clone(),
            y: x,
            s: r,
            upper: true,
        },
        scratch,
        out,
    );
}

/// `|x_i|^2` of every row, with the bits of `dots(x_i, x_i)`: the distance of a row to its copy is exactly 0.
pub(crate) fn squared_norms(
    x: Matrix<'_>,
    name: &'static str,
    context: &Context<'_>,
) -> Result<Vec<f32>> {
    const ROWS: usize = 2 * LINE;
    let n = x.rows();
    let mut norms = vec![0.0_f32; n];
    {
        use rayon::prelude::*;
        let step = (ROWS << 8).max(1);
        for (block, part) in norms.chunks_mut(step).enumerate() {
            context.tick(block * step, n, "norms")?;
            context.install(|| {
                part.par_chunks_mut(ROWS).enumerate().for_each_init(
                    || (Scratch::default(), vec![0.0; ROWS * ROWS]),
                    |(scratch, square), (i, chunk)| {
                        let lo = block * step + i * ROWS;
                        let rows = chunk.len();
                        dots_upper(x, lo..lo + rows, scratch, &mut square[..rows * rows]);
                        for (i, norm) in chunk.iter_mut().enumerate() {
                            *norm = square[i * rows + i];
                        }
                    },
                );
            });
        }
    }
    // Sums of two norms and two products must stay finite.
    match norms.iter().position(|&v| v > f32::MAX / 4.0) {
        None => Ok(norms),
        Some(row) => Err(Error::Shape(format!(
            "{name}[{row}] has a squared norm beyond float32: scale the rows, for example to unit length"
        ))),
    }
}

/// One product: rows `r` of `x` by rows `s` of `y`.
struct Work<'a> {
    x: Matrix<'a>,
    r: Range<usize>,
    y: Matrix<'a>,
    s: Range<usize>,
    /// `x[r]` is `y[s]`, and only entries on and right of the diagonal are wanted.
    upper: bool,
}

/// Which instructions to use.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Path {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Path {
    /// The best path of this processor.
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    fn product(self, work: &Work<'_>, scratch: &mut Scratch, out: &mut [f32]) {
        match self {
            // SAFETY: `detect` found the feature (tests ask the processor before they name a path).
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512(work, scratch, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(work, scratch, out) },
            Self::Portable => product::<1, 3, false>(work, scratch, out),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(work: &Work<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    product::<2, 12, true>(work, scratch, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(work: &Work<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    product::<1, 6, true>(work, scratch, out);
}

/// The whole product with tiles of `B` rows of `r` by `16 L` rows of `s`.
#[inline(always)]
#[allow(clippy::inline_always)] // the body takes on the instruction set of its caller only by being inlined
fn product<const L: usize, const B: usize, const FMA: bool>(
    work: &Work<'_>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let (n, d) = (work.s.len(), work.x.cols());
    let lane_rows = L * LINE;
    assert_eq!(out.len(), work.r.len() * n, "out is r x s");
    assert_eq!(work.y.cols(), d, "both sides have the same columns");
    out.fill(0.0);
    for k0 in (0..d).step_by(DEPTH) {
        let k = k0..d.min(k0 + DEPTH);
        pack_heads::<B>(work.x, &work.r, &k, &mut scratch.heads);
        for s0 in (0..n).step_by(WIDTH) {
            let width = WIDTH.min(n - s0);
            let s = work.s.start + s0..work.s.start + s0 + width;
            pack_lanes::<L>(work.y, &s, &k, &mut scratch.lanes);
            for (b, heads) in scratch.heads.chunks_exact(B * k.len()).enumerate() {
                for (l, lanes) in scratch.lanes.chunks_exact(L * k.len()).enumerate() {
                    let (row, col) = (b * B, s0 + l * lane_rows);
                    if work.upper && col + lane_rows <= row {
                        continue;
                    }
                    let (rows, cols) = (B.min(work.r.len() - row), lane_rows.min(s0 + width - col));
                    let mut sums = [[Line([0.0; LINE]); L]; B];
                    for (i, sum) in sums.iter_mut().enumerate().take(rows) {
                        let place = (row + i) * n + col;
                        load(sum, &out[place..place + cols]);
                    }
                    tile::<L, B, FMA>(lanes, heads, &mut sums);
                    for (i, sum) in sums.iter().enumerate().take(rows) {
                        let place = (row + i) * n + col;
                        store(sum, &mut out[place..place + cols]);
                    }
                }
            }
        }
    }
}

/// `sums[b][l] += heads[k][b] * lanes[k][l]` for every k in order; the sums live in registers.
#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn tile<const L: usize, const B: usize, const FMA: bool>(
    lanes: &[Line],
    heads: &[f32],
    sums: &mut [[Line; L]; B],
) {
    let mut local = *sums;
    for (lane, head) in lanes
        .as_chunks::<L>()
        .0
        .iter()
        .zip(heads.as_chunks::<B>().0)
    {
        for b in 0..B {
            for l in 0..L {
                for e in 0..LINE {
                    let sum = &mut local[b][l].0[e];
                    *sum = if FMA {
                        head[b].mul_add(lane[l].0[e], *sum)
                    } else {
                        *sum + head[b] * lane[l].0[e]
                    };
                }
            }
        }
    }
    *sums = local;
}

#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn load<const L: usize>(sum: &mut [Line; L], from: &[f32]) {
    for (line, part) in sum.iter_mut().zip(from.chunks(LINE)) {
        line.0[..part.len()].copy_from_slice(part);
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn store<const L: usize>(sum: &[Line; L], to: &mut [f32]) {
    for (line, part) in sum.iter().zip(to.chunks_mut(LINE)) {
        part.copy_from_slice(&line.0[..part.len()]);
    }
}

/// Panels of `16 L` rows: `lanes[panel][k][row]`, missing rows are zero.
#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn pack_lanes<const L: usize>(
    y: Matrix<'_>,
    s: &Range<usize>,
    k: &Range<usize>,
    lanes: &mut Vec<Line>,
) {
    let depth = k.len();
    lanes.clear();
    lanes.resize(s.len().div_ceil(L * LINE) * L * depth, Line([0.0; LINE]));
    for (i, row) in s.clone().enumerate() {
        let (panel, lane) = (i / (L * LINE), i % (L * LINE));
        let lines = &mut lanes[panel * L * depth..(panel + 1) * L * depth];
        let values = &y.row(row)[k.clone()];
        for (line, &value) in lines.iter_mut().skip(lane / LINE).step_by(L).zip(values) {
            line.0[lane % LINE] = value;
        }
    }
}

/// Panels of `B` rows: `heads[panel][k][row]`, missing rows are zero.
#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn pack_heads<const B: usize>(
    x: Matrix<'_>,
    r: &Range<usize>,
    k: &Range<usize>,
    heads: &mut Vec<f32>,
) {
    let depth = k.len();
    heads.clear();
    heads.resize(r.len().div_ceil(B) * B * depth, 0.0);
    for (i, row) in r.clone().enumerate() {
        let (panel, lane) = (i / B, i % B);
        let part = &mut heads[panel * B * depth..(panel + 1) * B * depth];
        for (head, &value) in part
            .as_chunks_mut::<B>()
            .0
            .iter_mut()
            .zip(&x.row(row)[k.clone()])
        {
            head[lane] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without structure.
    fn noise(n: usize, mut seed: u64) -> Vec<f32> {
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) as f32 / (1_u64 << 31) as f32) - 0.5
        };
        (0..n).map(|_| next()).collect()
    }

    fn naive(a: &[f32], b: &[f32], fma: bool) -> f32 {
        a.iter().zip(b).fold(
            0.0,
            |sum, (&x, &y)| {
                if fma { x.mul_add(y, sum) } else { sum + x * y }
            },
        )
    }

    fn paths() -> Vec<(Path, bool)> {
        let mut paths = vec![(Path::Portable, false)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                paths.push((Path::Avx2, true));
            }
            if is_x86_feature_detected!("avx512f") {
                paths.push((Path::Avx512, true));
            }
        }
        paths
    }

    fn check(rows: usize, cols: usize, d: usize) {
        let (a, b) = (noise(rows * d, 1), noise(cols * d, 2));
        let x = Matrix::new(&a, rows, d).unwrap();
        let y = Matrix::new(&b, cols, d).unwrap();
        let mut scratch = Scratch::default();
        for (path, fma) in paths() {
            for r in [0..rows, rows / 2..rows] {
                let mut out = vec![f32::NAN; r.len() * cols];
                let work = Work {
                    x,
                    r: r.clone(),
                    y,
                    s: 0..cols,
                    upper: false,
                };
                path.product(&work, &mut scratch, &mut out);
                for (i, row) in r.clone().enumerate() {
                    for j in 0..cols {
                        let want = naive(x.row(row), y.row(j), fma);
                        let got = out[i * cols + j];
                        assert_eq!(
                            got.to_bits(),
                            want.to_bits(),
                            "{path:?} {rows}x{cols}x{d} ({row}, {j})"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_path_equals_the_sequential_loop() {
        for rows in [1, 3, 7, 33, 65] {
            for cols in [1, 7, 33, 65] {
                for d in [1, 2, 5, 16, 70, 257] {
                    check(rows, cols, d);
                }
            }
        }
        for d in 1..70 {
            check(7, 33, d);
        }
        check(13, 515, 257);
        check(1100, 33, 3);
    }

    #[test]
    fn upper_half_and_norms_have_the_same_bits() {
        let data = noise(101 * 300, 3);
        let x = Matrix::new(&data, 101, 300).unwrap();
        let mut scratch = Scratch::default();
        let (mut full, mut upper) = (vec![0.0; 101 * 101], vec![0.0; 101 * 101]);
        dots(x, 0..101, x, 0..101, &mut scratch, &mut full);
        dots_upper(x, 0..101, &mut scratch, &mut upper);
        let pool = Context::pool(2).unwrap();
        let norms = squared_norms(x, "features", &Context::quiet(&pool)).unwrap();
        for i in 0..101 {
            assert_eq!(norms[i], full[i * 101 + i]);
            for j in i..101 {
                assert_eq!(full[i * 101 + j], upper[i * 101 + j]);
                assert_eq!(full[i * 101 + j], full[j * 101 + i]);
            }
        }
    }

    #[test]
    fn a_norm_beyond_float32_is_refused() {
        let mut data = vec![1.0; 8];
        data[6] = 1e19;
        let x = Matrix::new(&data, 4, 2).unwrap();
        let pool = Context::pool(1).unwrap();
        let error = squared_norms(x, "features", &Context::quiet(&pool)).unwrap_err();
        assert!(error.to_string().contains("features[3]"), "{error}");
    }
}
