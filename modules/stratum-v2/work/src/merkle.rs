//! Merkle path of the coinbase, and the roots that follow from it.

use stratum_core::bitcoin::hashes::{Hash, HashEngine, sha256d};

/// Hash of two nodes side by side.
fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(left);
    engine.input(right);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

/// The siblings on the way from the first leaf (the coinbase, not among `others`) to the root, deepest first.
pub(crate) fn path(others: impl Iterator<Item = [u8; 32]>) -> Vec<[u8; 32]> {
    // `level` holds all nodes of a level but the first, which nobody knows before the coinbase is made
    let mut level: Vec<[u8; 32]> = others.collect();
    let mut siblings = Vec::new();
    while let Some(sibling) = level.first() {
        siblings.push(*sibling);
        // an odd last node is paired with itself
        level = level[1..]
            .chunks(2)
            .map(|pair| parent(&pair[0], pair.last().unwrap_or(&pair[0])))
            .collect();
    }
    siblings
}

/// The root over a first leaf and its path.
pub(crate) fn root<'a>(first: [u8; 32], path: impl Iterator<Item = &'a [u8; 32]>) -> [u8; 32] {
    path.fold(first, |node, sibling| parent(&node, sibling))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stratum_core::bitcoin::merkle_tree::calculate_root;

    #[test]
    fn roots_over_paths_are_those_of_the_whole_tree() {
        for count in (1_usize..70).chain([255, 256, 257, 1023, 2001]) {
            let leaves: Vec<[u8; 32]> = (0..count)
                .map(|leaf| sha256d::Hash::hash(&leaf.to_le_bytes()).to_byte_array())
                .collect();
            let path = path(leaves[1..].iter().copied());
            let whole = calculate_root(
                leaves
                    .iter()
                    .map(|leaf| sha256d::Hash::from_byte_array(*leaf)),
            )
            .unwrap();
            assert_eq!(
                root(leaves[0], path.iter()),
                whole.to_byte_array(),
                "{count} leaves"
            );
        }
    }
}
