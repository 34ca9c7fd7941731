//! Where a snapshot is that is not on a node: a file, or `s3://BUCKET/PREFIX`, the newest one there, or with `@HEIGHT` behind
//! it the one of that height.

use crate::failure::{Failure, Result};
use ledger::units::Height;

/// How the URL of an object store begins.
const SCHEME: &str = "s3://";

/// A folder in an object store, and which of its snapshots is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// The folder in it, without a slash at either end; may be empty.
    pub prefix: String,
    /// The snapshot's height; without it the newest is meant.
    pub height: Option<Height>,
}

impl Location {
    /// The location that a URL names; none if the text is no URL, but a file's name.
    ///
    /// # Errors
    /// If the URL names no bucket.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Ok(None);
        };
        let (rest, height) = match rest.rsplit_once('@') {
            Some((rest, digits)) => match digits.parse() {
                Ok(height) => (rest, Some(Height(height))),
                Err(_) => (text.trim_start_matches(SCHEME), None),
            },
            None => (rest, None),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(Failure::usage(format!("{text} names no bucket"))
                .help("a URL is s3://BUCKET/PREFIX, with @HEIGHT for one that is not the newest"));
        }
        Ok(Some(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            height,
        }))
    }

    /// The folder's URL.
    pub fn folder_url(&self) -> String {
        let Self { bucket, prefix, .. } = self;
        match prefix.as_str() {
            "" => format!("{SCHEME}{bucket}"),
            prefix => format!("{SCHEME}{bucket}/{prefix}"),
        }
    }

    /// The URL of the snapshot of this height.
    pub fn url_of(&self, height: Height) -> String {
        format!("{}@{height}", self.folder_url())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_folder_and_may_name_a_height() {
        let parse = |text: &str| Location::parse(text).unwrap();
        let at = |prefix: &str, height: Option<u64>| {
            Some(Location {
                bucket: "b".into(),
                prefix: prefix.into(),
                height: height.map(Height),
            })
        };
        assert_eq!(parse("state.tintype"), None);
        assert_eq!(parse("s3://b"), at("", None));
        assert_eq!(parse("s3://b@7"), at("", Some(7)));
        assert_eq!(parse("s3://b/x/y/@7"), at("x/y", Some(7)));
        assert_eq!(parse("s3://b/me@home"), at("me@home", None));
        assert_eq!(parse("s3://b/me@home@7"), at("me@home", Some(7)));
        for nothing in ["s3://", "s3:///x", "s3://@7"] {
            assert!(Location::parse(nothing).is_err(), "{nothing}");
        }
        let url = at("x", Some(7)).unwrap().url_of(Height(9));
        assert_eq!(url, "s3://b/x@9");
    }
}
