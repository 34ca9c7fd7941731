//! The bodies that submit transactions: JSON (one transaction or an array) or the canonical encoding of a list.
//!
//! What cannot be read at all refuses the request; a single transaction that is none gets an answer of its own.

use super::{Api, error::ApiError, types::Submission};
use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
};
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ledger::{
    codec,
    transaction::{SignedTransaction, TransactionError},
    untrusted::Untrusted,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

/// Bytes of a body of JSON.
pub(super) const JSON_BYTES_MAX: usize = 4 << 20;
/// Bytes of a binary body.
pub(super) const BULK_BYTES_MAX: usize = 8 << 20;
/// Transactions of one request.
pub(super) const TRANSACTIONS_MAX: usize = 10_000;

/// A transaction as it was sent, or why it is none.
pub(super) type Claim = Result<Untrusted<SignedTransaction>, TransactionError>;

/// What a body holds.
pub(super) enum Submitted {
    /// One transaction: its answer is the whole answer.
    One(Box<Claim>),
    /// Several: the answer is an array.
    Many(Vec<Claim>),
}

/// Base64 in either alphabet is turned into the standard one first; the padding may be left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The two forms of a body.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Bulk,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|k| k.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default().trim() {
            "application/json" => Ok(Self::Json),
            "application/octet-stream" => Ok(Self::Bulk),
            other => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                format!(
                    "transactions do not come as {:?}",
                    super::extract::shortened(other)
                ),
                "send the header `Content-Type: application/json`, or application/octet-stream for the bulk form",
            )),
        }
    }

    const fn bytes_max(self) -> usize {
        match self {
            Self::Json => JSON_BYTES_MAX,
            Self::Bulk => BULK_BYTES_MAX,
        }
    }
}

/// Reads the body of a request within its bounds.
pub(super) async fn read(api: &Api, mut request: Request) -> Result<Submitted, ApiError> {
    let form = Form::of(request.headers())?;
    let max = form.bytes_max();
    let too_large = || ApiError::too_large(format!("the body may have {max} bytes"));
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
    let needed = declared.unwrap_or(max as u64);
    if needed > max as u64 {
        return Err(too_large());
    }
    let memory = api.limits.body(needed).await?;
    DefaultBodyLimit::max(max).apply(&mut request);
    let bytes = Bytes::from_request(request, &()).await;
    let bytes = bytes.map_err(|why: BytesRejection| {
        if why.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large();
        }
        ApiError::bad_request("the body ended early", "send the whole body")
    })?;
    api.ask(move |_| {
        let submitted = decode(form, &bytes);
        drop((bytes, memory));
        submitted
    })
    .await
}

fn decode(form: Form, bytes: &[u8]) -> Result<Submitted, ApiError> {
    match form {
        Form::Bulk => {
            let list: Vec<Vec<u8>> = codec::decode(bytes, BULK_BYTES_MAX).map_err(|e| {
                let help = "send the canonical encoding of a list of byte strings";
                ApiError::bad_request(format!("the body is no list of transactions: {e}"), help)
            })?;
            check_count(list.len())?;
            let claims = list.iter().map(|bytes| SignedTransaction::decode(bytes));
            Ok(Submitted::Many(claims.collect()))
        }
        Form::Json => {
            let texts: Texts = serde_json::from_slice(bytes).map_err(|e| {
                let help = "send a string with a transaction's bytes in hex or base64, \
                            {\"transaction\": \"...\"}, or an array of these";
                ApiError::bad_request(format!("the body cannot be read: {e}"), help)
            })?;
            match texts {
                Texts::One(text) => Ok(Submitted::One(Box::new(claim(&text)))),
                Texts::Many { texts, count } => {
                    check_count(count)?;
                    Ok(Submitted::Many(texts.iter().map(|t| claim(t)).collect()))
                }
            }
        }
    }
}

fn check_count(count: usize) -> Result<(), ApiError> {
    if count <= TRANSACTIONS_MAX {
        return Ok(());
    }
    Err(ApiError::too_large(format!(
        "{count} transactions at once, {TRANSACTIONS_MAX} are allowed"
    )))
}

/// A transaction from its text: hex if it can be hex, else base64. (A transaction has hundreds of bytes, of which many are
/// hashes: its base64 never looks like hex.)
fn claim(text: &str) -> Claim {
    let malformed = |why: &str| TransactionError::Malformed(why.to_owned());
    let text = text.trim();
    let bytes = if text.bytes().all(|b| b.is_ascii_hexdigit()) {
        hex::decode(text).map_err(|_| malformed("an odd number of hex digits"))?
    } else {
        let standard = text.replace('-', "+").replace('_', "/");
        let decoded = BASE64.decode(standard);
        decoded.map_err(|_| malformed("neither hex nor base64"))?
    };
    SignedTransaction::decode(&bytes)
}

/// The texts in a JSON body.
enum Texts {
    One(String),
    /// `count` may be more than there are texts: those past the limit are counted only.
    Many {
        texts: Vec<String>,
        count: usize,
    },
}

/// One transaction's text: a string, or an object that has one.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a transaction in hex or base64")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                let submission = Submission::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Text(submission.transaction))
            }
        }
        deserializer.deserialize_any(One)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a transaction in hex or base64, or an array of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts::One(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Texts, A::Error> {
                let submission = Submission::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Texts::One(submission.transaction))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while texts.len() < TRANSACTIONS_MAX {
                    match seq.next_element::<Text>()? {
                        Some(Text(text)) => texts.push(text),
                        None => break,
                    }
                }
                let mut count = texts.len();
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Texts::Many { texts, count })
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
