//! Exact nearest neighbours, k = 30, and the bare search (k = 2, hardly any bookkeeping) as its floor.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{Context, knn};
use reid_cluster_benches::{DIM, Features, equal_rows, features, pool};

fn search(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let mut group = c.benchmark_group("knn");
    group.sample_size(10);
    let inputs: [(&str, Features); 4] = [
        ("1500", features(1500, DIM, 1)),
        ("6000", features(6000, DIM, 1)),
        ("12936", features(12_936, DIM, 1)),
        ("equal_6000x256", equal_rows(6000, 256)),
    ];
    for (name, x) in &inputs {
        group.throughput(Throughput::Elements((x.n * (x.n - 1) / 2) as u64));
        for k in [2, 30] {
            let found = knn(x.matrix(), None, k, &context).unwrap_or_else(|e| panic!("{e}"));
            for (i, own) in found.indices.chunks_exact(k).enumerate() {
                assert_eq!(own[0] as usize, i, "a row is its own first neighbour");
            }
            group.bench_function(format!("{name}/k{k}"), |b| {
                b.iter(|| knn(black_box(x.matrix()), None, k, &context));
            });
        }
    }
}

criterion_group!(benches, search);
criterion_main!(benches);
