//! Jaccard distance with the neighbours given: close pairs only at two cuts, and the whole matrix of a small set.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reid_cluster::{Context, Given, JaccardParams, jaccard, jaccard_graph, knn};
use reid_cluster_benches::{DIM, Features, equal_rows, features, pool};

fn distances(c: &mut Criterion) {
    let pool = pool();
    let context = Context::quiet(&pool);
    let params = JaccardParams::default();
    let mut group = c.benchmark_group("jaccard");
    group.sample_size(10);
    let inputs: [(&str, Features); 3] = [
        ("3000", features(3000, DIM, 1)),
        ("12936", features(12_936, DIM, 1)),
        ("equal_3000x256", equal_rows(3000, 256)),
    ];
    for (name, x) in &inputs {
        let found = knn(x.matrix(), None, params.k1, &context).unwrap_or_else(|e| panic!("{e}"));
        let given = Some(Given {
            indices: &found.indices,
            columns: found.k,
        });
        group.throughput(Throughput::Elements(x.n as u64));
        for cut in [0.6, 1.0] {
            let graph = || {
                jaccard_graph(black_box(x.matrix()), &params, cut, given, &context)
                    .unwrap_or_else(|e| panic!("{e}"))
            };
            let pairs = graph();
            assert!((0..x.n).all(|i| pairs.row(i).0.contains(&(i as i32))));
            group.bench_function(format!("{name}/graph_{cut}"), |b| b.iter(graph));
        }
        if x.n < 10_000 {
            group.bench_function(format!("{name}/dense"), |b| {
                b.iter(|| jaccard(black_box(x.matrix()), &params, given, &context));
            });
        }
    }
}

criterion_group!(benches, distances);
criterion_main!(benches);
