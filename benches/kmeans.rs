//! k-means: rounds from given centres, the draws of k-means++, and rows that are all equal but one.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{Context, KMeansParams, Matrix, Start, kmeans};
use reid_cluster_benches::{DIM, equal_rows, features, pool};

fn clusters(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let (n, k) = (4000, 250);
    let x = features(n, DIM, 1);
    let start: Vec<f32> = (0..k)
        .flat_map(|i| x.matrix().row(i * n / k).to_vec())
        .collect();
    let start = Matrix::new(&start, k, DIM).unwrap_or_else(|e| panic!("{e}"));
    let run = |x: Matrix<'_>, start, n_clusters, max_iter| {
        let params = KMeansParams {
            n_clusters,
            max_iter,
            tol: 1e-4,
        };
        kmeans(black_box(x), start, &params, &context).unwrap_or_else(|e| panic!("{e}"))
    };
    let found = run(x.matrix(), Start::Centers(start), k, 300);
    assert!(found.n_iter > 5 && found.inertia > 0.0);

    let mut group = c.benchmark_group("kmeans");
    group.sample_size(10);
    group.throughput(Throughput::Elements(n as u64));
    group.bench_function("4000/to_the_end", |b| {
        b.iter(|| run(x.matrix(), Start::Centers(start), k, 300));
    });
    group.bench_function("4000/one_round", |b| {
        b.iter(|| run(x.matrix(), Start::Centers(start), k, 1));
    });
    group.bench_function("4000/plus_plus_and_one_round", |b| {
        b.iter(|| run(x.matrix(), Start::PlusPlus(&[1]), k, 1));
    });
    let mut equal = equal_rows(n, DIM);
    equal.data[0] += 1.0;
    group.bench_function("4000/all_equal_but_one", |b| {
        b.iter(|| run(equal.matrix(), Start::PlusPlus(&[1]), 2, 300));
    });
}

criterion_group!(benches, clusters);
criterion_main!(benches);
