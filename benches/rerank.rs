//! Re-ranking from features, of which nearly all is the product, and from given distances.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{Context, Matrix, RerankParams, rerank, rerank_distances};
use reid_cluster_benches::{DIM, Features, equal_rows, features, pool};

fn search(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let params = RerankParams::default();
    let mut group = c.benchmark_group("rerank");
    group.sample_size(10);
    let inputs: [(&str, Features); 2] = [
        ("500+2500", features(3000, DIM, 1)),
        ("equal_500+2500x256", equal_rows(3000, 256)),
    ];
    for (name, x) in &inputs {
        let q = 500;
        let (query, gallery) = x.data.split_at(q * x.d);
        let query = matrix(query, q, x.d);
        let gallery = matrix(gallery, x.n - q, x.d);
        group.throughput(Throughput::Elements((x.n * x.n / 2) as u64));
        let run = || rerank(black_box(query), gallery, &params, &context);
        check(&run().unwrap_or_else(|e| panic!("{e}")), q, x.n - q);
        group.bench_function(format!("{name}/features"), |b| b.iter(run));

        let (qg, qq, gg) = (
            distances(query, gallery),
            distances(query, query),
            distances(gallery, gallery),
        );
        let (qg, qq) = (matrix(&qg, q, x.n - q), matrix(&qq, q, q));
        let gg = matrix(&gg, x.n - q, x.n - q);
        let run = || rerank_distances(black_box(qg), qq, gg, &params, &context);
        check(&run().unwrap_or_else(|e| panic!("{e}")), q, x.n - q);
        group.bench_function(format!("{name}/distances"), |b| b.iter(run));
    }
}

fn matrix(data: &[f32], rows: usize, cols: usize) -> Matrix<'_> {
    Matrix::new(data, rows, cols).unwrap_or_else(|e| panic!("{e}"))
}

/// Distances along the first eight columns: their making is not what is measured.
fn distances(x: Matrix<'_>, y: Matrix<'_>) -> Vec<f32> {
    let pairs = (0..x.rows()).flat_map(|i| (0..y.rows()).map(move |j| (i, j)));
    let square = |(a, b): (&f32, &f32)| (a - b) * (a - b);
    pairs
        .map(|(i, j)| {
            x.row(i)[..8]
                .iter()
                .zip(&y.row(j)[..8])
                .map(square)
                .sum::<f32>()
        })
        .map(f32::sqrt)
        .collect()
}

fn check(found: &[f32], q: usize, g: usize) {
    assert_eq!(found.len(), q * g);
    assert!(found.iter().all(|d| (0.0..=1.0).contains(d)));
}

criterion_group!(benches, search);
criterion_main!(benches);
