//! The authority key: made once, kept in the module's storage, so that miners can go on trusting this server after a
//! restart.

use wire::Authority;

use crate::ports::{Fault, Step, Store};

const TREE: &str = "keys";
const KEY: &[u8] = b"authority";

/// Why there is no authority key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("{0}")]
    Storage(#[from] Fault),
    #[error(
        "the authority key in storage cannot be read; restore the module's data from a backup. Deleting it makes a new \
         key, and every miner must then be given that"
    )]
    Unreadable,
}

/// Gives the authority key pair of this installation; the first time it makes one, durable before it is shown to anyone.
/// The secret half goes nowhere else.
///
/// # Errors
/// Those of the storage; a key that cannot be read is never replaced.
pub async fn load_or_make(store: &dyn Store) -> Result<Authority, KeyError> {
    store.open_tree(TREE).await?;
    if let Some(kept) = store.get(TREE, KEY).await? {
        let text = std::str::from_utf8(&kept).map_err(|_| KeyError::Unreadable)?;
        return Authority::from_secret(text).map_err(|_| KeyError::Unreadable);
    }
    let made = Authority::generate();
    store
        .write(vec![Step::Put {
            tree: TREE,
            key: KEY.to_vec(),
            value: made.secret_key().into_bytes(),
        }])
        .await?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn one_key_for_good_and_an_unreadable_one_is_not_replaced() {
        let store = MemoryStore::default();
        let first = load_or_make(&store).await.unwrap();
        assert_eq!(
            load_or_make(&store).await.unwrap().public_key(),
            first.public_key()
        );
        store
            .trees
            .lock()
            .unwrap()
            .get_mut(TREE)
            .unwrap()
            .insert(KEY.to_vec(), b"?".to_vec());
        assert_eq!(
            load_or_make(&store).await.unwrap_err(),
            KeyError::Unreadable
        );
    }
}
