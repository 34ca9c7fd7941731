//! An S3 server on loopback that asks for credentials, over a folder. It notes what it was asked for, and can be told to leave
//! requests without an answer.

use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

pub const BUCKET: &str = "backups";
pub const KEY: &str = "somebody";
pub const SECRET: &str = "something";

/// The server; it ends with this.
pub struct Server {
    pub url: String,
    folder: TempDir,
    seen: Arc<Seen>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Seen {
    /// Each as `METHOD /path`, with the query.
    requests: Mutex<Vec<String>>,
    /// What gets no answer begins so, and who is told when it comes.
    held: Mutex<Option<(String, mpsc::Sender<()>)>>,
}

impl Seen {
    /// Notes a request. Whether it is to be answered.
    fn note(&self, request: String) -> bool {
        let held = self.held.lock().unwrap();
        let told = held
            .as_ref()
            .filter(|(begin, _)| request.starts_with(begin));
        if let Some((_, told)) = told {
            told.send(()).unwrap();
        }
        self.requests.lock().unwrap().push(request);
        told.is_none()
    }
}

impl Server {
    /// With one bucket, empty.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let s3 = builder.build();
        let seen = Arc::new(Seen::default());
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let noted = seen.clone();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (s3, noted) = (s3.clone(), noted.clone());
                let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let is_answered = noted.note(format!("{} {}", request.method(), request.uri()));
                    let s3 = s3.clone();
                    async move {
                        if !is_answered {
                            std::future::pending::<()>().await;
                        }
                        Service::call(&s3, request).await
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(socket), answer));
            }
        });
        Self {
            url,
            folder,
            seen,
            _runtime: runtime,
        }
    }

    /// A file or folder of the bucket.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(name)
    }

    /// The names in a folder of the bucket, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// How many requests since the last call began so, below the bucket's folder.
    pub fn take_count(&self, method: &str, folder: &str) -> usize {
        let begin = format!("{method} /{BUCKET}/{folder}");
        let mut requests = self.seen.requests.lock().unwrap();
        let before = requests.len();
        requests.retain(|request| !request.starts_with(&begin));
        before - requests.len()
    }

    /// From now on requests that begin so get no answer. Gives what tells of each.
    pub fn hold(&self, method: &str, folder: &str) -> mpsc::Receiver<()> {
        let (told, tells) = mpsc::channel();
        let begin = format!("{method} /{BUCKET}/{folder}");
        *self.seen.held.lock().unwrap() = Some((begin, told));
        tells
    }

    /// All are answered again.
    pub fn release(&self) {
        *self.seen.held.lock().unwrap() = None;
    }
}
