//! What stands for a bucket in a program that was built without S3: there is none, and whoever asks for one is told so.
//! Everything above is built and checked all the same.

use super::location::Location;
use crate::failure::{Failure, Result};
use std::ops::ControlFlow;

/// A folder in a bucket; there is none.
#[derive(Debug)]
pub enum Bucket {}

impl Bucket {
    /// Says that there is none.
    ///
    /// # Errors
    /// Always.
    pub fn open(location: &Location) -> Result<Self> {
        let message = format!(
            "{} is in an object store, and this program was built without S3",
            location.folder_url()
        );
        Err(Failure::failed("no_s3", message)
            .help("build it with `cargo build --release --features s3`"))
    }

    pub fn list(&self, _: &str, _: &str, _: impl FnMut(&str, u64) -> ControlFlow<()>) -> Result {
        match *self {}
    }

    pub fn get(&self, _: &[String], _: usize) -> Vec<Result<Vec<u8>>> {
        match *self {}
    }

    pub fn put(&self, _: Vec<(String, Vec<u8>)>) -> Result {
        match *self {}
    }
}
