//! Vectors of float32 lanes for `product`: all that differs between its paths.
//!
//! A vector of an x86 extension can be made only with a *proof*, a value without size that only asking the
//! processor makes. So safe code cannot reach an instruction that the processor lacks: it has no proof, and
//! without one no vector. To become one instruction each, the methods must be inlined into a function that
//! enables the extension; elsewhere they are slow, not wrong.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64;

/// Some lanes of float32.
pub(crate) trait Lanes: Copy {
    /// That the processor has the instructions.
    type Proof: Copy;
    const WIDTH: usize;
    fn splat(proof: Self::Proof, value: f32) -> Self;
    /// From the first `WIDTH` values of `from`.
    fn load(proof: Self::Proof, from: &[f32]) -> Self;
    /// From the first `WIDTH` words: the lower halves read as upper halves of numbers, and the words as numbers.
    fn load_words(proof: Self::Proof, from: &[u32]) -> (Self, Self);
    /// To the first `WIDTH` values of `to`.
    fn store(self, to: &mut [f32]);
    /// `self + a * b`.
    fn add_product(self, a: Self, b: Self) -> Self;
}

/// Four lanes in plain Rust; a product is rounded before it is added.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

#[allow(clippy::inline_always)] // see the page
impl Lanes for Portable {
    type Proof = ();
    const WIDTH: usize = 4;
    #[inline(always)]
    fn splat((): (), value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    fn load((): (), from: &[f32]) -> Self {
        Self([from[0], from[1], from[2], from[3]])
    }
    #[inline(always)]
    fn load_words((): (), from: &[u32]) -> (Self, Self) {
        (
            Self(std::array::from_fn(|e| f32::from_bits(from[e] << 16))),
            Self(std::array::from_fn(|e| f32::from_bits(from[e]))),
        )
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..4].copy_from_slice(&self.0);
    }
    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|e| self.0[e] + a.0[e] * b.0[e]))
    }
}

/// A proof of some features, and the vector type that it allows.
#[cfg(target_arch = "x86_64")]
macro_rules! x86_lanes {
    (
        $proof:ident [$($feature:tt),+],
        $name:ident($vector:ident, $width:literal), $set1:ident, $load:ident, $store:ident, $fma:ident,
        $load_words:ident($words:ident), $shift:ident, $as_numbers:ident
    ) => {
        /// That the processor has the features; made by `detect` only.
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $proof(());

        impl $proof {
            /// Ask the processor.
            pub(crate) fn detect() -> Option<Self> {
                ($(is_x86_feature_detected!($feature))&&+).then_some(Self(()))
            }
        }

        /// A vector of the extension; made with the proof only.
        #[derive(Clone, Copy)]
        pub(crate) struct $name(x86_64::$vector);

        #[allow(clippy::inline_always)] // see the page
        impl Lanes for $name {
            type Proof = $proof;
            const WIDTH: usize = $width;
            #[inline(always)]
            fn splat(_: $proof, value: f32) -> Self {
                // SAFETY: the proof says that the processor has the features.
                Self(unsafe { x86_64::$set1(value) })
            }
            #[inline(always)]
            fn load(_: $proof, from: &[f32]) -> Self {
                let from = &from[..$width];
                // SAFETY: as above, and the slice has just been cut to the width of the load, which needs no
                // alignment.
                Self(unsafe { x86_64::$load(from.as_ptr()) })
            }
            #[inline(always)]
            #[allow(clippy::cast_ptr_alignment)] // the load needs none
            fn load_words(_: $proof, from: &[u32]) -> (Self, Self) {
                let from = &from[..$width];
                // SAFETY: as in `load`.
                unsafe {
                    let words = x86_64::$load_words(from.as_ptr().cast::<x86_64::$words>());
                    let low = x86_64::$shift::<16>(words);
                    (Self(x86_64::$as_numbers(low)), Self(x86_64::$as_numbers(words)))
                }
            }
            #[inline(always)]
            fn store(self, to: &mut [f32]) {
                let to = &mut to[..$width];
                // SAFETY: `self` was made with the proof; the slice has just been cut to the width of the
                // store, which needs no alignment.
                unsafe { x86_64::$store(to.as_mut_ptr(), self.0) }
            }
            #[inline(always)]
            fn add_product(self, a: Self, b: Self) -> Self {
                // SAFETY: `self` was made with the proof.
                Self(unsafe { x86_64::$fma(a.0, b.0, self.0) })
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
x86_lanes!(
    Avx512["avx512f"],
    Wide(__m512, 16),
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_loadu_si512(__m512i),
    _mm512_slli_epi32,
    _mm512_castsi512_ps
);
#[cfg(target_arch = "x86_64")]
x86_lanes!(
    Avx2["avx2", "fma"],
    Half(__m256, 8), _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps,
    _mm256_loadu_si256(__m256i), _mm256_slli_epi32, _mm256_castsi256_ps
);
