//! Inner products of rows, `X . Y^T`, in tiles: the one place with SIMD, and the place where nearly all time
//! goes.
//!
//! Rows are copied into panels in the order `[k][row]`: those of the one side are read as vectors of rows
//! (lanes), those of the other value by value (heads). The innermost loop keeps `lanes x heads` sums in
//! registers and adds `x[k] * y[k]` for k = 0, 1, 2, ... in order, one sum per pair of rows. It is written
//! once, over a vector type, for AVX-512, AVX2 and portable Rust; which one runs is chosen by asking the
//! processor.
//!
//! **The bits of a product depend on its two rows only**: not on the tile, the place in it, or the thread,
//! and they are the same for (x, y) and (y, x). The two FMA paths agree with each other; the portable path
//! rounds once more per term.
//!
//! Cost: one multiply-add per pair and column, at the rate of a good BLAS from some 200 rows a side on; packing
//! costs one pass over both sides per call, so thin calls (a few rows against few) are slow.

use std::ops::Range;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512, Half, Wide};
use crate::lanes::{Lanes, Portable};
use crate::{Context, Error, Matrix, Result};

/// Columns of the features per pass: a panel of heads (24 KiB) stays in the first-level cache.
const DEPTH: usize = 512;
/// Rows on the lanes' side per pass: their panels (512 KiB) stay in the second-level cache.
const WIDTH: usize = 256;

/// Packing buffers of one worker; they grow to the largest call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    lanes: Vec<f32>,
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
    const ROWS: usize = 32;
    let step = ROWS << 8;
    let mut norms = vec![0.0_f32; x.rows()];
    for (block, part) in norms.chunks_mut(step).enumerate() {
        context.tick(block * step, x.rows(), "norms")?;
        context.install(|| {
            part.par_chunks_mut(ROWS).enumerate().for_each_init(
                || (Scratch::default(), vec![0.0; ROWS * ROWS]),
                |(scratch, square), (i, chunk)| {
                    let (lo, rows) = (block * step + i * ROWS, chunk.len());
                    dots_upper(x, lo..lo + rows, scratch, &mut square[..rows * rows]);
                    for (norm, dot) in chunk.iter_mut().zip(square.iter().step_by(rows + 1)) {
                        *norm = *dot;
                    }
                },
            );
        });
    }
    context.tick(x.rows(), x.rows(), "norms")?;
    // Sums of two norms and two products must stay finite.
    match norms.iter().position(|&v| v > f32::MAX / 4.0) {
        None => Ok(norms),
        Some(row) => Err(Error::Shape(format!(
            "{name}[{row}] has a squared norm beyond float32: scale the rows, for example to unit length"
        ))),
    }
}

/// `out[e] = row . y[list[e]]`, with the bits of [`dots`]. Each sum is one chain of additions, so this costs some
/// ten times as much a pair as a full tile: for pairs picked out of many.
pub(crate) fn dots_listed(row: &[f32], y: Matrix<'_>, list: &[u32], out: &mut [f32]) {
    match Path::detect() {
        // SAFETY: the proof exists only where the processor has the feature.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512(_) | Path::Avx2(_) => unsafe { listed_fma(row, y, list, out) },
        Path::Portable => listed::<false>(row, y, list, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn listed_fma(row: &[f32], y: Matrix<'_>, list: &[u32], out: &mut [f32]) {
    listed::<true>(row, y, list, out);
}

/// Sums that run side by side, so that none waits for its last addition.
const CHAINS: usize = 8;

#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn listed<const FMA: bool>(row: &[f32], y: Matrix<'_>, list: &[u32], out: &mut [f32]) {
    for (list, out) in list.chunks(CHAINS).zip(out.chunks_mut(CHAINS)) {
        let last = list.len() - 1;
        let rows: [&[f32]; CHAINS] =
            std::array::from_fn(|e| &y.row(list[e.min(last)] as usize)[..row.len()]);
        let mut sums = [0.0; CHAINS];
        for (k, &value) in row.iter().enumerate() {
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum = add_product::<FMA>(*sum, value, row[k]);
            }
        }
        out.copy_from_slice(&sums[..out.len()]);
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn add_product<const FMA: bool>(sum: f32, a: f32, b: f32) -> f32 {
    if FMA { a.mul_add(b, sum) } else { sum + a * b }
}

/// Columns of a row of [`dots_packed`] are a multiple of this.
pub(crate) const PACK: usize = 64;
/// `out[e] = row . z[list[e]]` in any order of the terms: fast, for bounds. Of each `PACK` numbers of a row of z the
/// first half are the lower halves of words, read as the upper halves of float32 numbers, and the second half are
/// the words themselves.
pub(crate) fn dots_packed(row: &[f32], z: &[u32], list: &[u32], out: &mut [f32]) {
    match Path::detect() {
        // SAFETY: the proof exists only where the processor has the feature.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512(proof) => unsafe { packed_avx512(proof, row, z, list, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx2(proof) => unsafe { packed_avx2(proof, row, z, list, out) },
        Path::Portable => packed::<Portable, 8>((), row, z, list, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn packed_avx512(proof: Avx512, row: &[f32], z: &[u32], list: &[u32], out: &mut [f32]) {
    packed::<Wide, 2>(proof, row, z, list, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn packed_avx2(proof: Avx2, row: &[f32], z: &[u32], list: &[u32], out: &mut [f32]) {
    packed::<Half, 4>(proof, row, z, list, out);
}

/// `N` vectors make half a pack.
#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn packed<V: Lanes, const N: usize>(
    proof: V::Proof,
    row: &[f32],
    z: &[u32],
    list: &[u32],
    out: &mut [f32],
) {
    let (words, one) = (row.len() / 2, V::splat(proof, 1.0));
    for (&j, out) in list.iter().zip(out) {
        let z = &z[j as usize * words..][..words];
        let mut low = [V::splat(proof, 0.0); N];
        let mut high = low;
        for (row, z) in row.chunks_exact(PACK).zip(z.chunks_exact(PACK / 2)) {
            for l in 0..N {
                let at = l * V::WIDTH;
                let (lower, whole) = V::load_words(proof, &z[at..]);
                low[l] = low[l].add_product(V::load(proof, &row[at..]), lower);
                high[l] = high[l].add_product(V::load(proof, &row[PACK / 2 + at..]), whole);
            }
        }
        let mut sum = V::splat(proof, 0.0);
        for l in 0..N {
            sum = sum.add_product(one, low[l]).add_product(one, high[l]);
        }
        let mut values = [0.0; PACK];
        sum.store(&mut values);
        let mut pairs = [0.0; 4];
        for four in values[..V::WIDTH].chunks_exact(4) {
            for (pair, value) in pairs.iter_mut().zip(four) {
                *pair += value;
            }
        }
        *out = (pairs[0] + pairs[1]) + (pairs[2] + pairs[3]);
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

/// Which instructions to use, with the proof that the processor has them.
#[derive(Debug, Clone, Copy)]
enum Path {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Portable,
}

impl Path {
    /// The best path of this processor.
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(proof) = Avx512::detect() {
                return Self::Avx512(proof);
            }
            if let Some(proof) = Avx2::detect() {
                return Self::Avx2(proof);
            }
        }
        Self::Portable
    }

    fn product(self, work: &Work<'_>, scratch: &mut Scratch, out: &mut [f32]) {
        match self {
            // SAFETY: the proof exists only where the processor has the feature.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => unsafe { avx512(proof, work, scratch, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => unsafe { avx2(proof, work, scratch, out) },
            Self::Portable => product::<Portable, 2, 6>((), work, scratch, out),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(proof: Avx512, work: &Work<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    product::<Wide, 2, 12>(proof, work, scratch, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(proof: Avx2, work: &Work<'_>, scratch: &mut Scratch, out: &mut [f32]) {
    product::<Half, 2, 6>(proof, work, scratch, out);
}

/// The whole product in tiles of `B` rows of `r` by `N` vectors of rows of `s`.
#[inline(always)]
#[allow(clippy::inline_always)] // the body takes on the instruction set of its caller only by being inlined
fn product<V: Lanes, const N: usize, const B: usize>(
    proof: V::Proof,
    work: &Work<'_>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let (n, d) = (work.s.len(), work.x.cols());
    let width = N * V::WIDTH;
    assert_eq!(out.len(), work.r.len() * n, "out is r x s");
    assert_eq!(work.y.cols(), d, "both sides have the same columns");
    out.fill(0.0);
    // Tiles that stick out of the result are made here.
    let mut edge = [0.0; EDGE];
    let edge = &mut edge[..B * width];
    for k0 in (0..d).step_by(DEPTH) {
        let k = k0..d.min(k0 + DEPTH);
        let heads = pack(work.x, &work.r, &k, B, &mut scratch.heads);
        for s0 in (0..n).step_by(WIDTH) {
            let s = work.s.start + s0..work.s.start + n.min(s0 + WIDTH);
            let lanes = pack(work.y, &s, &k, width, &mut scratch.lanes);
            for (b, heads) in heads.chunks_exact(B * k.len()).enumerate() {
                for (l, lanes) in lanes.chunks_exact(width * k.len()).enumerate() {
                    let (row, col) = (b * B, s0 + l * width);
                    if work.upper && col + width <= row {
                        continue;
                    }
                    let (rows, cols) = (B.min(work.r.len() - row), width.min(n - col));
                    let corner = row * n + col;
                    if rows == B && cols == width {
                        tile::<V, N, B>(proof, lanes, heads, &mut out[corner..], n);
                        continue;
                    }
                    for i in 0..rows {
                        let line = &out[corner + i * n..][..cols];
                        edge[i * width..][..cols].copy_from_slice(line);
                    }
                    tile::<V, N, B>(proof, lanes, heads, edge, width);
                    for i in 0..rows {
                        let line = &edge[i * width..][..cols];
                        out[corner + i * n..][..cols].copy_from_slice(line);
                    }
                }
            }
        }
    }
}

/// Values of the largest tile.
const EDGE: usize = 12 * 32;

/// `out[b][l] += heads[k][b] * lanes[k][l]` for every k in order, rows of `out` `stride` apart; the sums live
/// in registers.
#[inline(always)]
#[allow(clippy::inline_always)] // see `product`
fn tile<V: Lanes, const N: usize, const B: usize>(
    proof: V::Proof,
    lanes: &[f32],
    heads: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let mut sums: [[V; N]; B] = std::array::from_fn(|b| {
        std::array::from_fn(|l| V::load(proof, &out[b * stride + l * V::WIDTH..]))
    });
    for (lane, head) in lanes.chunks_exact(N * V::WIDTH).zip(heads.chunks_exact(B)) {
        let lane: [V; N] = std::array::from_fn(|l| V::load(proof, &lane[l * V::WIDTH..]));
        for (sums, &head) in sums.iter_mut().zip(head) {
            let head = V::splat(proof, head);
            for (sum, &lane) in sums.iter_mut().zip(&lane) {
                *sum = sum.add_product(head, lane);
            }
        }
    }
    for (b, sums) in sums.iter().enumerate() {
        for (l, sum) in sums.iter().enumerate() {
            sum.store(&mut out[b * stride + l * V::WIDTH..]);
        }
    }
}

/// Panels of `width` rows in the order `[panel][k][row]`, missing rows zero, at the start of a cache line.
///
/// Not inlined: with wider instructions at hand the compiler scatters single values, which is slower.
#[inline(never)]
fn pack<'a>(
    x: Matrix<'_>,
    rows: &Range<usize>,
    k: &Range<usize>,
    width: usize,
    buffer: &'a mut Vec<f32>,
) -> &'a [f32] {
    const LINE: usize = 16; // values in a cache line
    let size = rows.len().div_ceil(width) * width * k.len();
    if buffer.len() < size + LINE {
        buffer.resize(size + LINE, 0.0);
    }
    let start = buffer
        .as_ptr()
        .align_offset(LINE * size_of::<f32>())
        .min(LINE);
    let panels = &mut buffer[start..start + size];
    let zeros = [0.0; DEPTH];
    for (p, panel) in panels.chunks_exact_mut(width * k.len()).enumerate() {
        let row = |lane: usize| {
            let i = rows.start + p * width + lane;
            if i < rows.end {
                &x.row(i)[k.clone()]
            } else {
                &zeros[..k.len()]
            }
        };
        for lane in (0..width).step_by(2) {
            // All panels have an even width; four rows at a time where it goes.
            if lane % 4 == 0 && lane + 4 <= width {
                let (a, b, c, d) = (row(lane), row(lane + 1), row(lane + 2), row(lane + 3));
                let values = a.iter().zip(b).zip(c.iter().zip(d));
                for (line, ((&a, &b), (&c, &d))) in panel.chunks_exact_mut(width).zip(values) {
                    line[lane..lane + 4].copy_from_slice(&[a, b, c, d]);
                }
            } else if lane % 4 == 0 {
                for (line, (&a, &b)) in panel
                    .chunks_exact_mut(width)
                    .zip(row(lane).iter().zip(row(lane + 1)))
                {
                    line[lane..lane + 2].copy_from_slice(&[a, b]);
                }
            }
        }
    }
    panels
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
            paths.extend(Avx2::detect().map(|proof| (Path::Avx2(proof), true)));
            paths.extend(Avx512::detect().map(|proof| (Path::Avx512(proof), true)));
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
    fn listed_pairs_have_the_same_bits() {
        for (n, d) in [(40, 1), (23, 70), (19, 1100)] {
            let data = noise(n * d, 4);
            let x = Matrix::new(&data, n, d).unwrap();
            let mut full = vec![0.0; n * n];
            dots(x, 0..n, x, 0..n, &mut Scratch::default(), &mut full);
            for length in 0..n {
                let list: Vec<u32> = (0..length).map(|e| ((e * 7 + 3) % n) as u32).collect();
                let (mut out, mut plain) = (vec![0.0; length], vec![0.0; length]);
                dots_listed(x.row(length), x, &list, &mut out);
                listed::<false>(x.row(length), x, &list, &mut plain);
                for (e, &j) in list.iter().enumerate() {
                    let (a, b) = (x.row(length), x.row(j as usize));
                    assert_eq!(out[e].to_bits(), full[length * n + j as usize].to_bits());
                    assert_eq!(plain[e].to_bits(), naive(a, b, false).to_bits());
                }
            }
        }
    }

    #[test]
    fn packed_products_are_near_on_every_path() {
        let (n, d) = (5, 4 * PACK);
        let row = noise(d, 5);
        let words: Vec<u32> = (noise(n * d / 2, 6).iter().zip(noise(n * d / 2, 7)))
            .map(|(upper, lower)| upper.to_bits() & 0xFFFF_0000 | lower.to_bits() >> 16)
            .collect();
        let number = |j: usize, k: usize| {
            let word = words[j * d / 2 + k / PACK * (PACK / 2) + k % (PACK / 2)];
            f64::from(f32::from_bits(if k % PACK < PACK / 2 {
                word << 16
            } else {
                word
            }))
        };
        let list = [4, 0, 2];
        let mut found = vec![[0.0; 3]; 3];
        dots_packed(&row, &words, &list, &mut found[0]);
        packed::<Portable, 8>((), &row, &words, &list, &mut found[1]);
        packed::<Portable, 8>((), &row, &words, &list, &mut found[2]);
        #[cfg(target_arch = "x86_64")]
        if let Some(proof) = Avx2::detect() {
            // SAFETY: the proof exists only where the processor has the feature.
            unsafe { packed_avx2(proof, &row, &words, &list, &mut found[2]) };
        }
        for out in found {
            for (&j, out) in list.iter().zip(out) {
                let terms = (0..d).map(|k| f64::from(row[k]) * number(j as usize, k));
                let want: f64 = terms.sum();
                assert!((f64::from(out) - want).abs() < 1e-5, "{out} {want}");
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
