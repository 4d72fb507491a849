//! DBSCAN on a Jaccard graph, on the same distances as a matrix, and on one cluster of everything.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{Context, Distances, JaccardParams, Matrix, dbscan, jaccard, jaccard_graph};
use reid_cluster_benches::{DIM, features, pool};

fn labels(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let x = features(6000, DIM, 1);
    let params = JaccardParams::default();
    let graph =
        jaccard_graph(x.matrix(), &params, 0.6, None, &context).unwrap_or_else(|e| panic!("{e}"));
    let dense = jaccard(x.matrix(), &params, None, &context).unwrap_or_else(|e| panic!("{e}"));
    let dense = Matrix::new(&dense, x.n, x.n).unwrap_or_else(|e| panic!("{e}"));
    let inputs = [
        ("graph", Distances::Sparse(graph)),
        ("dense", Distances::Dense(dense)),
    ];
    let run = |d: &Distances<'_>, eps| {
        dbscan(black_box(d), eps, 4, &context).unwrap_or_else(|e| panic!("{e}"))
    };
    assert_eq!(run(&inputs[0].1, 0.6), run(&inputs[1].1, 0.6));

    let mut group = c.benchmark_group("dbscan");
    group.sample_size(20);
    group.throughput(Throughput::Elements(x.n as u64));
    for (name, distances) in &inputs {
        group.bench_function(format!("6000/{name}"), |b| b.iter(|| run(distances, 0.6)));
    }
    group.bench_function("6000/dense_one_cluster", |b| {
        b.iter(|| run(&inputs[1].1, 1.0));
    });
}

criterion_group!(benches, labels);
criterion_main!(benches);
