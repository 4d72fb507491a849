//! Seeded inputs shaped like re-identification features: unit rows, 10 to 20 per identity, a shift per
//! camera, a decaying spectrum.

use std::num::NonZero;

use rayon::ThreadPool;
use reid_cluster::Context;

/// Columns of a ResNet-50 feature.
pub const DIM: usize = 2048;
const CAMERAS: usize = 6;

/// Features with what is known about their rows.
pub struct Features {
    /// `(n, d)` row-major, unit rows.
    pub data: Vec<f32>,
    /// Number of rows.
    pub n: usize,
    /// Number of columns.
    pub d: usize,
    /// Identity of each row.
    pub pids: Vec<i64>,
    /// Camera of each row.
    pub camids: Vec<i64>,
}

impl Features {
    /// The values as a kernel takes them.
    ///
    /// # Panics
    /// Never: the sizes are made to fit.
    #[must_use]
    pub fn matrix(&self) -> reid_cluster::Matrix<'_> {
        reid_cluster::Matrix::new(&self.data, self.n, self.d).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// `n` rows of `d` columns; the same for the same arguments.
#[must_use]
pub fn features(n: usize, d: usize, seed: u64) -> Features {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    // Variance of direction j falls like j^-1.25, as measured on trained networks.
    let scale: Vec<f32> = (1..=d).map(|j| (j as f32).powf(-0.625)).collect();
    let cameras: Vec<Vec<f32>> = (0..CAMERAS).map(|_| random.row(d)).collect();
    let mut made = Features {
        data: Vec::with_capacity(n * d),
        n,
        d,
        pids: Vec::new(),
        camids: Vec::new(),
    };
    let mut pid = 0;
    while made.pids.len() < n {
        let identity = random.row(d);
        let rows = (10 + random.below(11)).min(n - made.pids.len());
        for _ in 0..rows {
            let camera = random.below(CAMERAS);
            let noise = random.row(d);
            let row = (0..d)
                .map(|j| scale[j] * (identity[j] + 0.9 * noise[j] + 0.4 * cameras[camera][j]));
            let row: Vec<f32> = row.collect();
            let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            made.data.extend(row.iter().map(|v| v / norm));
            made.pids.push(pid);
            made.camids.push(camera as i64);
        }
        pid += 1;
    }
    made
}

/// `n` equal rows: every distance is 0 and every comparison a tie.
#[must_use]
pub fn equal_rows(n: usize, d: usize) -> Features {
    let data = vec![1.0 / (d as f32).sqrt(); n * d];
    Features {
        data,
        n,
        d,
        pids: vec![0; n],
        camids: vec![0; n],
    }
}

/// A pool of all cores, or of `REID_BENCH_THREADS`.
///
/// # Panics
/// If the variable is no number, or the system gives no threads.
#[must_use]
pub fn pool() -> ThreadPool {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = std::env::var("REID_BENCH_THREADS").map_or(cores, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("REID_BENCH_THREADS={text}: give a number"))
    });
    Context::pool(threads).unwrap_or_else(|e| panic!("{e}"))
}

/// A small generator of our own, so that inputs never change with a library.
struct Random(u64);

impl Random {
    /// xorshift64*.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) as usize * n) >> 32
    }

    /// Near enough to normal: the sum of four uniform numbers of variance 1/4.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u32 = (0..4).map(|i| (bits >> (16 * i)) as u32 & 0xFFFF).sum();
        (sum as f32 / 65536.0 - 2.0) * 3.0_f32.sqrt()
    }

    fn row(&mut self, d: usize) -> Vec<f32> {
        (0..d).map(|_| self.normal()).collect()
    }
}
