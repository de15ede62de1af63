//! The key by which miners know this server.

use std::time::Duration;

use secp256k1::SecretKey;
use secp256k1::rand::rngs::OsRng;
use stratum_apps::key_utils::{Secp256k1PublicKey, Secp256k1SecretKey};
use stratum_core::noise_sv2::Responder;

/// How long a certificate shown in a handshake is valid. Each connection is shown one of its own, so this only has to
/// outlast the handshake; an hour forgives a miner whose clock is behind.
const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(3600);

/// The text is no authority secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an authority secret key in base58check")]
pub struct AuthorityError;

/// The authority key pair: it signs the certificate of the fresh static key that each handshake shows.
#[derive(Clone, Copy)]
pub struct Authority {
    secret: Secp256k1SecretKey,
    public: Secp256k1PublicKey,
}

impl Authority {
    /// A new key pair, from the operating system's randomness.
    pub fn generate() -> Self {
        Self::of(Secp256k1SecretKey(SecretKey::new(&mut OsRng)))
    }

    /// Reads a secret key as the reference implementation writes it: base58check of 32 bytes.
    pub fn from_secret(text: &str) -> Result<Self, AuthorityError> {
        text.trim()
            .parse()
            .map(Self::of)
            .map_err(|_| AuthorityError)
    }

    fn of(secret: Secp256k1SecretKey) -> Self {
        Self {
            secret,
            public: secret.into(),
        }
    }

    /// What a miner enters as authority public key: base58check of version 1 and the x-only key.
    pub fn public_key(&self) -> String {
        self.public.to_string()
    }

    /// For storage only; whoever has it can pose as this server.
    pub fn secret_key(&self) -> String {
        self.secret.to_string()
    }

    /// A responder with ephemeral and static keys of its own; `None` cannot happen, since the pair belongs together.
    pub(crate) fn responder(&self) -> Option<Box<Responder>> {
        Responder::from_authority_kp(
            &self.public.into_bytes(),
            &self.secret.into_bytes(),
            CERTIFICATE_VALIDITY,
        )
        .ok()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // never the secret: this ends in logs
        write!(f, "Authority({})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_keys_as_the_reference_implementation_does() {
        // the pair that the reference implementation's example configurations carry
        let authority =
            Authority::from_secret("mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n").unwrap();
        assert_eq!(
            authority.public_key(),
            "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"
        );
        assert_eq!(
            authority.secret_key(),
            "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n"
        );
    }

    #[test]
    fn a_generated_key_survives_storage_and_never_shows_in_logs() {
        let authority = Authority::generate();
        let again = Authority::from_secret(&authority.secret_key()).unwrap();
        assert_eq!(again.public_key(), authority.public_key());
        assert!(!format!("{authority:?}").contains(&authority.secret_key()));
    }

    #[test]
    fn refuses_what_is_no_key() {
        for text in [
            "",
            "x",
            "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2m",
            "ÄÖÜ",
        ] {
            assert_eq!(Authority::from_secret(text).unwrap_err(), AuthorityError);
        }
    }
}
