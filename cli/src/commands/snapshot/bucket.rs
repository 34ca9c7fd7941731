//! A bucket of an S3 server: listing, getting and putting objects, and nothing about snapshots.
//!
//! All that is asynchronous stays in here: a runtime of one thread, which runs while one of the functions below does.
//! Where the server is and who asks is said by the environment, as for every other S3 client (`AWS_ENDPOINT`, `AWS_REGION`,
//! `AWS_ACCESS_KEY_ID`, ...). Requests have time limits and are tried again a few times; at most [`IN_FLIGHT`] are under way.
//!
//! Nothing that comes from a bucket is believed here, but no object is read that is larger than it may be.

use super::location::Location;
use crate::failure::{Exit, Failure, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{
    ClientConfigKey, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    client::HttpError,
    path::Path,
};
use std::{error::Error, ops::ControlFlow, time::Duration};
use tokio::runtime::{Builder, Runtime};

/// Requests under way at a time.
const IN_FLIGHT: usize = 8;
/// How often, and for how long, a request is tried again: a server that is not there is told after some 20 s.
const RETRIES_MAX: usize = 3;
const RETRY_LIMIT: Duration = Duration::from_secs(60);
/// Characters of a server's answer that are shown.
const ANSWER_CHARS_MAX: usize = 400;

const HELP: &str = "AWS_ENDPOINT names the server, AWS_REGION its region, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY who asks \
    (without these, what this machine is at Amazon, as 169.254.169.254 tells it)";

/// A folder in a bucket.
#[derive(Debug)]
pub struct Bucket {
    runtime: Runtime,
    store: AmazonS3,
    /// The bucket's name.
    name: String,
    folder: Path,
}

impl Bucket {
    /// The folder that a URL names. Asks nothing yet.
    ///
    /// # Errors
    /// If the environment or the URL says something impossible.
    pub fn open(location: &Location) -> Result<Self> {
        let impossible = |why: &dyn std::fmt::Display| {
            let url = location.folder_url();
            Failure::usage(format!("{url} cannot be used: {why}")).help(HELP)
        };
        // Refused only where another one is in force, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_LIMIT,
            ..RetryConfig::default()
        };
        let builder = AmazonS3Builder::from_env()
            .with_bucket_name(&location.bucket)
            .with_retry(retry);
        check_encryption(&builder)?;
        let store = builder.build().map_err(|e| impossible(&e))?;
        let folder = Path::parse(&location.prefix).map_err(|e| impossible(&e))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|e| Failure::failed("io", format!("no thread can be started: {e}")))?;
        Ok(Self {
            runtime,
            store,
            name: location.bucket.clone(),
            folder,
        })
    }

    /// Shows the names of the objects in `folder` and their sizes, in the order of their names, from behind `after` on, until
    /// told to stop. A request gives 1000.
    ///
    /// # Errors
    /// If the server does not answer, or refuses.
    pub fn list(
        &self,
        folder: &str,
        after: &str,
        mut see: impl FnMut(&str, u64) -> ControlFlow<()>,
    ) -> Result {
        let folder = self.path(folder);
        let after = folder.clone().join(after);
        let listed = async {
            let mut objects = self.store.list_with_offset(Some(&folder), &after);
            while let Some(object) = objects.try_next().await? {
                let name = object.location.filename().unwrap_or_default();
                if see(name, object.size).is_break() {
                    break;
                }
            }
            Ok(())
        };
        let listed = self.runtime.block_on(listed);
        listed.map_err(|error| self.failed("list", &folder, &error))
    }

    /// Gets objects, several at a time, in the order of `names`: each of at most `bytes_max`, with the code `not_found` if it
    /// is not there.
    pub fn get(&self, names: &[String], bytes_max: usize) -> Vec<Result<Vec<u8>>> {
        let get = |name: &String| {
            let path = self.path(name);
            async move {
                let failed = |error| self.failed("get", &path, &error);
                let found = self.store.get(&path).await.map_err(failed)?;
                if found.meta.size > bytes_max as u64 {
                    let message = format!(
                        "{path} has {} bytes, at most {bytes_max} are possible",
                        found.meta.size
                    );
                    let code = "verification_failed";
                    return Err(Failure::new(Exit::Disagreement, code, message));
                }
                Ok(Vec::from(found.bytes().await.map_err(failed)?))
            }
        };
        let all = stream::iter(names.iter().map(get)).buffered(IN_FLIGHT);
        self.runtime.block_on(all.collect())
    }

    /// Puts objects, several at a time. Each is there as a whole or not at all.
    ///
    /// # Errors
    /// If the server does not answer, or refuses.
    pub fn put(&self, objects: Vec<(String, Vec<u8>)>) -> Result {
        let put = |(name, bytes): (String, Vec<u8>)| {
            let path = self.path(&name);
            async move {
                let done = self.store.put(&path, bytes.into()).await;
                done.map(drop).map_err(|e| self.failed("put", &path, &e))
            }
        };
        let all = stream::iter(objects.into_iter().map(put)).buffer_unordered(IN_FLIGHT);
        self.runtime.block_on(all.try_collect())
    }

    fn path(&self, name: &str) -> Path {
        let parts = name.split('/');
        parts.fold(self.folder.clone(), |path, part| path.join(part))
    }

    fn failed(&self, doing: &str, path: &Path, error: &object_store::Error) -> Failure {
        use object_store::Error as E;
        let (text, is_of_http) = (error.to_string(), is_of_http(error));
        let words: Vec<&str> = text.split_whitespace().collect();
        let short: String = words.join(" ").chars().take(ANSWER_CHARS_MAX).collect();
        let mut message = format!("cannot {doing} s3://{}/{path}: {short}", self.name);
        if let Some(cause) = is_of_http.then(|| root_cause(error).to_string()) {
            message.push_str(&format!(": {cause}"));
        }
        // Of what a listing is answered, the library gives the status as text alone.
        let status = |codes: &[&str]| codes.iter().any(|c| text.contains(&format!("code: {c}")));
        let failure = match error {
            E::NotFound { .. } => Failure::not_found(message),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
                Failure::failed("access_denied", message)
            }
            _ if status(&["404"]) => Failure::not_found(message),
            _ if status(&["401", "403"]) => Failure::failed("access_denied", message),
            _ if is_of_http || status(&["5"]) => {
                Failure::new(Exit::Unreachable, "unreachable", message)
            }
            _ => Failure::failed("bad_answer", message),
        };
        failure.help(HELP)
    }
}

/// Refuses a server whose answers anyone on the way could read, unless it is asked for. (The library would say "builder error".)
fn check_encryption(builder: &AmazonS3Builder) -> Result {
    use AmazonS3ConfigKey::{Client, Endpoint, S3Endpoint};
    let value = |key| builder.get_config_value(&key);
    let endpoint = value(S3Endpoint).or_else(|| value(Endpoint));
    let is_allowed = value(Client(ClientConfigKey::AllowHttp)).is_some_and(|v| v == "true");
    match endpoint.filter(|url| url.starts_with("http://") && !is_allowed) {
        None => Ok(()),
        Some(url) => Err(
            Failure::usage(format!("AWS_ENDPOINT is {url}: that is not encrypted"))
                .help("AWS_ALLOW_HTTP=true allows it"),
        ),
    }
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |&error| error.source())
}

/// Whether there was no answer, or not all of one.
fn is_of_http(error: &object_store::Error) -> bool {
    causes(error).any(|error| error.is::<HttpError>())
}

fn root_cause(error: &object_store::Error) -> &dyn Error {
    causes(error).last().map_or(error, |cause| cause)
}
