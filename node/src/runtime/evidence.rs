//! Evidence against validators on disk, `DIR/evidence/HEIGHT-VALIDATOR.json`: durable before the alarm is raised, never
//! overwritten, and bounded, since whoever signs twice chooses how often.

use crate::replica::evidence::Equivocation;
use ledger::store::{
    StoreError,
    disk::{create_dir, write_atomic},
};
use std::path::{Path, PathBuf};

/// Files that are kept: some 4 MB at the most. One is enough to convict; more only show how often it was done.
const FILES_MAX: usize = 1_000;

/// The folder.
pub(super) struct EvidenceFolder {
    dir: PathBuf,
    files: usize,
}

impl EvidenceFolder {
    /// The folder at `dir`, which is made when there is something to keep.
    pub(super) fn new(dir: &Path) -> Self {
        let files = std::fs::read_dir(dir).map_or(0, Iterator::count);
        Self {
            dir: dir.to_owned(),
            files,
        }
    }

    /// Keeps it, unless there is some of that validator at that height already. Failing to is told, and stops nothing.
    pub(super) fn keep(&mut self, found: &Equivocation) {
        let (height, validator) = (found.height, found.validator);
        match self.write(found) {
            Ok(Some(path)) => {
                tracing::error!(%height, %validator, file = %path.display(), "a validator signed two things where it may sign one");
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%height, %validator, %error, "evidence was not kept"),
        }
    }

    fn write(&mut self, found: &Equivocation) -> Result<Option<PathBuf>, StoreError> {
        let name = format!("{:020}-{}.json", found.height.0, found.validator);
        let path = self.dir.join(name);
        if self.files >= FILES_MAX || path.exists() {
            return Ok(None);
        }
        create_dir(&self.dir)?;
        // Numbers, hashes and keys: there is nothing in it that JSON cannot say.
        let text = serde_json::to_vec_pretty(found).unwrap_or_default();
        write_atomic(&path, &text)?;
        self.files += 1;
        Ok(Some(path))
    }
}

#[cfg(test)]
mod tests {
    //! What is kept proves what it says when it is read again; the first of a validator and height stays; there is a bound.

    use super::*;
    use crate::replica::{evidence::Conflict, message::SignedVote};
    use ledger::{
        certificate::{SignedContent, Vote, VoteKind},
        hash::{BlockHash, ChainId},
        keys::SecretKey,
        units::{Height, Round},
    };

    fn equivocation(height: u64, round: u32) -> Equivocation {
        let key = SecretKey::from_seed([1; 32]);
        let chain = ChainId([5; 32]);
        let vote = |block| {
            let vote = Vote {
                kind: VoteKind::Prevote,
                height: Height(height),
                round: Round(round),
                block: Some(BlockHash([block; 32])),
                validator: key.address(),
            };
            let signature = vote.sign(&chain, &key);
            SignedVote { vote, signature }
        };
        Equivocation {
            chain,
            validator: key.address(),
            public_key: key.public_key(),
            height: Height(height),
            conflicts: vec![Conflict::Votes {
                first: vote(1),
                second: vote(2),
            }],
        }
    }

    fn read(dir: &Path) -> Vec<Equivocation> {
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let one = |path: &PathBuf| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        paths.iter().map(one).collect()
    }

    #[test]
    fn it_is_kept_once_and_proves_what_it_says() {
        let keep = tempfile::tempdir().unwrap();
        let dir = keep.path().join("evidence");
        let mut folder = EvidenceFolder::new(&dir);
        folder.keep(&equivocation(7, 0));
        folder.keep(&equivocation(7, 1));
        folder.keep(&equivocation(9, 0));
        let kept = read(&dir);
        assert_eq!(kept, [equivocation(7, 0), equivocation(9, 0)]);
        assert_eq!(kept[1].verify(), Ok(()));
    }

    #[test]
    fn there_is_a_bound_that_outlives_a_restart() {
        let keep = tempfile::tempdir().unwrap();
        let mut folder = EvidenceFolder::new(keep.path());
        folder.keep(&equivocation(1, 0));
        folder = EvidenceFolder::new(keep.path());
        assert_eq!(folder.files, 1);
        folder.files = FILES_MAX - 1;
        folder.keep(&equivocation(2, 0));
        folder.keep(&equivocation(3, 0));
        assert_eq!(read(keep.path()).len(), 2);
    }
}
