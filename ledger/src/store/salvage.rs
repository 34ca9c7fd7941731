//! Keeps what is whole of a damaged block log and sets the rest aside.

use super::error::{IoContext, StoreError};
use super::format::{FileHeader, FileKind};
use super::segments::Shown;
use super::{Result, disk, scan, segments};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

/// Where the whole part of a log ends.
struct Damage {
    /// The first heights of the segments that go altogether.
    whole_files: Vec<u64>,
    /// The segment that keeps its beginning, and how much of it.
    shortened: Option<(u64, u64)>,
    what: String,
}

/// See [`super::Log::set_aside_damage`].
///
/// The newest goes first, so that after a crash in between what is left is still a log with its damage at the end, and
/// doing it again ends it.
pub(super) fn set_aside_damage(dir: &Path) -> Result<Option<PathBuf>> {
    let Some(damage) = find_damage(dir)? else {
        return Ok(None);
    };
    let aside = disk::aside_name(dir, "damaged")?;
    disk::create_dir(&aside)?;
    for first in damage.whole_files.iter().rev() {
        let path = segments::segment_path(dir, *first);
        disk::rename(&path, &segments::segment_path(&aside, *first))?;
    }
    disk::fsync_dir(&aside)?;
    disk::fsync_dir(dir)?;
    if let Some((first, len)) = damage.shortened {
        let path = segments::segment_path(dir, first);
        copy(&path, &segments::segment_path(&aside, first))?;
        disk::fsync_dir(&aside)?;
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .at("open", &path)?;
        disk::set_len(&file, &path, len)?;
        disk::sync_all(&file, &path)?;
    }
    tracing::warn!(
        folder = %aside.display(), what = %damage.what,
        "kept the whole part of the block log and set the rest aside"
    );
    Ok(Some(aside))
}

fn find_damage(dir: &Path) -> Result<Option<Damage>> {
    let firsts = segments::names(dir)?;
    let mut before: Option<Shown> = None;
    for (i, first) in firsts.iter().enumerate() {
        let is_last = i + 1 == firsts.len();
        match check(dir, *first, before, is_last) {
            Ok(shown) => before = Some(shown),
            Err(error) => {
                let what = error.to_string();
                let StoreError::Damaged { offset, record, .. } = error else {
                    return Err(error);
                };
                let rest = firsts.get(i + 1..).unwrap_or_default();
                let mut damage = Damage {
                    whole_files: rest.to_vec(),
                    shortened: Some((*first, offset)),
                    what,
                };
                // One that was whole from the start is not believed in part: its header says how long it is.
                if record == 0 || was_put_before(dir, *first) {
                    damage.whole_files.insert(0, *first);
                    damage.shortened = None;
                }
                return Ok(Some(damage));
            }
        }
    }
    Ok(None)
}

fn was_put_before(dir: &Path, first: u64) -> bool {
    let path = segments::segment_path(dir, first);
    let header = File::open(&path)
        .ok()
        .and_then(|file| FileHeader::read(&file, &path, FileKind::LogSegment).ok());
    header.is_some_and(|header| header.next.is_some())
}

/// Reads a whole segment.
fn check(dir: &Path, first: u64, before: Option<Shown>, is_last: bool) -> Result<Shown> {
    let path = segments::segment_path(dir, first);
    let file = File::open(&path).at("open", &path)?;
    let header = FileHeader::read(&file, &path, FileKind::LogSegment)?;
    segments::check_name(&path, first, &header)?;
    if before.is_some_and(|before| !before.is_followed_by(&header)) {
        let what = "the segment before it is not the one it was begun after";
        return Err(StoreError::damaged(&path, 0, 0, what));
    }
    let found = scan::scan(&file, &path, FileKind::LogSegment, |record| {
        segments::check_block(&path, first, record).map(|_| ())
    })?;
    if !is_last && let Some(cut) = found.cut {
        return Err(StoreError::damaged(
            &path,
            cut.offset,
            cut.records,
            cut.what,
        ));
    }
    Ok(Shown::new(&header, found.len))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).at("copy", from)?;
    let file = File::open(to).at("open", to)?;
    disk::sync_all(&file, to)
}
