//! A patch file: the patches of one snapshot, one after another.
//!
//! ```text
//! patches/ID    ID: the manifest that they were written for
//! record = id 32 ‖ length u32 ‖ patch ‖ SHA-256("tintype snapshot patch" ‖ id ‖ length ‖ patch) 32
//! ```
//! A snapshot touches many chunks and changes little in each: in files of their own, the blocks of the disk and an fsync each
//! would cost more than the changes. A file is only ever appended to; what a crash left at its end is cut off. A record is
//! durable once the file is synced, which is before any manifest names it.

use super::{
    disk::Content,
    error::{IoContext, Result},
};
use crate::{
    chunk::{
        self, ChunkId,
        patch::{BASE_BYTES, base_of},
    },
    manifest::ManifestId,
};
use ledger::{
    hash::Hash,
    store::disk::{TEMPORARY_END, create, remove_file, rename, set_len, sync_all, write_at},
};
use sha2::{Digest, Sha256};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

const HEAD_BYTES: usize = 32 + 4;
const CHECKSUM_BYTES: usize = 32;

/// A file of patches. It stays readable while somebody holds it, although its name may be gone.
#[derive(Debug)]
pub(super) struct PatchFile {
    /// The snapshot that it was written for.
    pub name: ManifestId,
    path: PathBuf,
    file: File,
    /// Where the next record goes. One thread appends at a time: the store's lock is held.
    end: AtomicU64,
    unsynced: AtomicBool,
}

/// Where a patch is in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub id: ChunkId,
    /// What it is a patch on.
    pub base: ChunkId,
    at: u64,
    /// Bytes of the patch.
    pub len: u32,
}

impl Record {
    /// Bytes in the file.
    pub(super) fn stored_bytes(&self) -> u64 {
        (HEAD_BYTES + CHECKSUM_BYTES) as u64 + u64::from(self.len)
    }
}

impl PatchFile {
    /// A new file; one of the same name is replaced.
    pub(super) fn create(path: &Path, name: ManifestId) -> Result<Self> {
        Ok(Self {
            name,
            path: path.to_owned(),
            file: create(path)?,
            end: AtomicU64::new(0),
            unsynced: AtomicBool::new(true),
        })
    }

    /// Opens a file and finds its records, without reading the patches. With `repair`, what is left of an unfinished one at
    /// the end is cut off.
    pub(super) fn open(path: &Path, name: ManifestId, repair: bool) -> Result<(Self, Vec<Record>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(repair)
            .open(path)
            .at("open", path)?;
        let len = file.metadata().at("look at", path)?.len();
        let mut records = Vec::new();
        let mut end = 0;
        while let Some(record) = record_at(&file, end, len).at("read", path)? {
            end += record.stored_bytes();
            records.push(record);
        }
        if repair && end < len {
            set_len(&file, path, end)?;
        }
        let opened = Self {
            name,
            path: path.to_owned(),
            file,
            end: AtomicU64::new(end),
            unsynced: AtomicBool::new(end < len),
        };
        Ok((opened, records))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all records.
    pub(super) fn len(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Appends a patch, durable after [`Self::sync`].
    pub(super) fn append(&self, id: ChunkId, base: ChunkId, patch: &[u8]) -> Result<Record> {
        let record = Record {
            id,
            base,
            at: self.len(),
            // At most ENCODED_BYTES_MAX.
            len: u32::try_from(patch.len()).unwrap_or(u32::MAX),
        };
        let mut bytes = head_of(id, record.len).to_vec();
        bytes.extend_from_slice(patch);
        bytes.extend_from_slice(&checksum(id, patch));
        self.unsynced.store(true, Ordering::Release);
        write_at(&self.file, &self.path, &bytes, record.at)?;
        self.end
            .store(record.at + record.stored_bytes(), Ordering::Release);
        Ok(record)
    }

    /// The same file with these of its records alone, written beside it and durable; it takes the old one's name.
    pub(super) fn rewrite(&self, records: &[Record]) -> Result<Option<(Self, Vec<Record>)>> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(TEMPORARY_END);
        let mut new = Self::create(Path::new(&name), self.name)?;
        let mut moved = Vec::with_capacity(records.len());
        for record in records {
            let Content::Whole(patch) = self.read(record)? else {
                // Whoever wants the chunk finds it damaged and says so.
                remove_file(&new.path)?;
                return Ok(None);
            };
            moved.push(new.append(record.id, record.base, &patch)?);
        }
        new.sync()?;
        rename(&new.path, &self.path)?;
        new.path.clone_from(&self.path);
        Ok(Some((new, moved)))
    }

    /// Makes what was appended durable; its name is after an fsync of the folder.
    pub(super) fn sync(&self) -> Result<()> {
        if self.unsynced.swap(false, Ordering::AcqRel)
            && let Err(error) = sync_all(&self.file, &self.path)
        {
            self.unsynced.store(true, Ordering::Release);
            return Err(error.into());
        }
        Ok(())
    }

    /// A patch.
    pub(super) fn read(&self, record: &Record) -> Result<Content> {
        let mut bytes = vec![0; usize::try_from(record.len).unwrap_or(0) + CHECKSUM_BYTES];
        match self
            .file
            .read_exact_at(&mut bytes, record.at + HEAD_BYTES as u64)
        {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Content::Damaged("it is cut short".to_owned()));
            }
            read => read.at("read", &self.path)?,
        }
        let patch = bytes.len() - CHECKSUM_BYTES;
        let (patch, found) = bytes.split_at(patch);
        if checksum(record.id, patch) != *found || base_of(patch) != Some(record.base) {
            return Ok(Content::Damaged("its checksum does not hold".to_owned()));
        }
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        Ok(Content::Whole(bytes))
    }
}

/// The record at a place, if it is all there.
fn record_at(file: &File, at: u64, len: u64) -> io::Result<Option<Record>> {
    const READ: usize = HEAD_BYTES + BASE_BYTES;
    if len.saturating_sub(at) < (READ + CHECKSUM_BYTES) as u64 {
        return Ok(None);
    }
    let mut bytes = [0; READ];
    file.read_exact_at(&mut bytes, at)?;
    let [id @ .., a, b, c, d] = *bytes
        .first_chunk::<HEAD_BYTES>()
        .unwrap_or(&[0; HEAD_BYTES]);
    let Some(base) = base_of(bytes.get(HEAD_BYTES..).unwrap_or_default()) else {
        return Ok(None);
    };
    let record = Record {
        id: ChunkId(Hash(id)),
        base,
        at,
        len: u32::from_be_bytes([a, b, c, d]),
    };
    let possible = BASE_BYTES..=chunk::ENCODED_BYTES_MAX;
    let whole = possible.contains(&(record.len as usize)) && record.stored_bytes() <= len - at;
    Ok(whole.then_some(record))
}

fn head_of(id: ChunkId, len: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let (name, length) = head.split_at_mut(32);
    name.copy_from_slice(&id.0.0);
    length.copy_from_slice(&len.to_be_bytes());
    head
}

fn checksum(id: ChunkId, patch: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let len = u32::try_from(patch.len()).unwrap_or(u32::MAX);
    Sha256::new_with_prefix(b"tintype snapshot patch")
        .chain_update(head_of(id, len))
        .chain_update(patch)
        .finalize()
        .into()
}
