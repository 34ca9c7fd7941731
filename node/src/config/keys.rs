//! Key files: 64 hex digits of a seed, for the eyes of their owner alone.

use super::{ConfigError, read_text};
use ledger::keys::SecretKey;
use rand_core::RngCore;
use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Reads a key file.
///
/// # Errors
/// [`ConfigError`], also if others than the owner can read it.
pub fn read_key(path: &Path) -> Result<SecretKey, ConfigError> {
    let mode = fs::metadata(path)
        .map_err(|e| ConfigError::io(path, e))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(ConfigError::KeyExposed { path, mode });
    }
    parse_key(&read_text(path)?).ok_or_else(|| ConfigError::KeyMalformed {
        path: path.to_owned(),
    })
}

/// The key whose seed a text holds as 64 hex digits.
pub fn parse_key(text: &str) -> Option<SecretKey> {
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed).ok()?;
    Some(SecretKey::from_seed(seed))
}

/// Makes a key at random.
pub fn random_key() -> SecretKey {
    let mut seed = [0; 32];
    rand_core::OsRng.fill_bytes(&mut seed);
    SecretKey::from_seed(seed)
}

/// Writes a key to a new file that only its owner can read.
///
/// # Errors
/// [`ConfigError::Io`], also if there is such a file already.
pub fn write_key(path: &Path, key: &SecretKey) -> Result<(), ConfigError> {
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{}", hex::encode(key.seed()))?;
        file.sync_all()
    };
    write().map_err(|e| ConfigError::io(path, e))
}
