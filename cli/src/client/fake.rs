//! A node that is made up: it answers what a test says.

mod server;

use super::Client;
use serde_json::{Value, json};
pub use server::status;

/// A node that answers the document that `answer` gives for a path, and 404 where that gives none.
pub fn node(name: &str, answer: impl Fn(&str) -> Option<Value> + Send + 'static) -> Client {
    let url = server::serve(move |path| match answer(path) {
        Some(answer) => (200, answer),
        None => {
            let error = json!({"code": "pruned", "message": "it is gone", "help": ""});
            (404, json!({"error": error}))
        }
    });
    Client::new(name, &url)
}
