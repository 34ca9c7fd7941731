//! Secrets: the key file, 64 hex digits of a seed, and the API's token. For the eyes of their owner alone.

use super::{ConfigError, read_text};
use ledger::keys::SecretKey;
use rand_core::RngCore;
use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Reads a key file.
///
/// # Errors
/// [`ConfigError`], also if others than the owner can read it. Of a file that holds no key that is said first: nobody
/// should change the permissions of a file that he named by mistake.
pub fn read_key(path: &Path) -> Result<SecretKey, ConfigError> {
    let malformed = || ConfigError::KeyMalformed {
        path: path.to_owned(),
    };
    let text = match read_text(path) {
        Err(ConfigError::Io { source, .. }) if source.kind() == ErrorKind::InvalidData => {
            return Err(malformed());
        }
        text => text?,
    };
    let key = parse_key(&text).ok_or_else(malformed)?;
    let mode = fs::metadata(path)
        .map_err(|e| ConfigError::io(path, e))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(ConfigError::KeyExposed { path, mode });
    }
    Ok(key)
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
    write_secret(path, &hex::encode(key.seed()))
}

/// The token in a file, which is made at random if it is not there.
pub(super) fn ensure_token(path: &Path) -> Result<String, ConfigError> {
    if let Some(token) = read_token(path) {
        return Ok(token);
    }
    let mut token = [0; 32];
    rand_core::OsRng.fill_bytes(&mut token);
    let token = hex::encode(token);
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(ConfigError::io(path, error));
        }
        _ => write_secret(path, &token)?,
    }
    Ok(token)
}

/// The token in a file, if there is one.
pub(super) fn read_token(path: &Path) -> Option<String> {
    let text = read_text(path).ok()?;
    let token = text.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

fn write_secret(path: &Path, secret: &str) -> Result<(), ConfigError> {
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{secret}")?;
        file.sync_all()
    };
    write().map_err(|e| ConfigError::io(path, e))
}
