//! Disjoint sets over 0..n. The smallest element of a set is its root, so that names do not depend on the
//! order of unions.

/// Disjoint sets with path halving; n - 1 unions and any number of finds take about O(n log n).
#[derive(Debug, Clone)]
pub(crate) struct UnionFind {
    parent: Vec<u32>,
}

impl UnionFind {
    /// `n` sets of one element.
    pub(crate) fn new(n: usize) -> Self {
        Self {
            parent: (0..n as u32).collect(),
        }
    }

    /// Every element alone again.
    pub(crate) fn reset(&mut self) {
        for (a, parent) in self.parent.iter_mut().enumerate() {
            *parent = a as u32;
        }
    }

    /// The smallest element of the set of `a`.
    pub(crate) fn find(&mut self, a: usize) -> usize {
        let mut a = a as u32;
        while self.parent[a as usize] != a {
            let above = self.parent[self.parent[a as usize] as usize];
            self.parent[a as usize] = above;
            a = above;
        }
        a as usize
    }

    /// Join the sets of `a` and `b`; false if they were one already.
    pub(crate) fn union(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        self.parent[high] = low as u32;
        low != high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_and_names_by_the_smallest() {
        let mut sets = UnionFind::new(6);
        assert!(sets.union(5, 3));
        assert!(sets.union(4, 2));
        assert!(sets.union(4, 5));
        assert!(!sets.union(2, 3));
        let roots: Vec<usize> = (0..6).map(|a| sets.find(a)).collect();
        assert_eq!(roots, [0, 1, 2, 2, 2, 2]);
    }
}
