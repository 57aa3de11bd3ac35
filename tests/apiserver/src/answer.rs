//! One request in, one answer out.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use serde_json::Value;

use crate::access::Access;
use crate::fault::{Failure, Faults};
use crate::portforward::{self, Targets};
use crate::request::{Call, Path};
use crate::requests::Requests;
use crate::status::Refusal;
use crate::store::Store;
use crate::watch::{self, Disturbances};
use crate::{discovery, list, write};

/// The largest body of a request (`MaxRequestBodyBytes` of the API server).
const BODY: usize = 3 << 20;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// Everything a server shares with its connections.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) access: Mutex<Access>,
    pub(crate) faults: Faults,
    pub(crate) requests: Requests,
    pub(crate) targets: Targets,
    pub(crate) disturbances: Disturbances,
}

impl Shared {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let answered = match Path::parse(request.method(), request.uri().path(), request.uri().query()) {
            Ok(Path::Call(call)) => self.call(call, request).await,
            Ok(path) => self.page(path, &request).map(|page| json(200, &page)),
            Err(refusal) => Err(refusal),
        };
        Ok(answered.unwrap_or_else(|refusal| self.refuse(&refusal)))
    }

    /// What is not about objects.
    fn page(&self, path: Path, request: &Request<Incoming>) -> Result<Value, Refusal> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).authenticate(token(request))?;
        let store = self.store();
        match path {
            Path::Version => Ok(discovery::version()),
            Path::Health => Ok(Value::from("ok")),
            Path::Core => Ok(discovery::core()),
            Path::Groups => Ok(discovery::groups(&store)),
            Path::Group(name) => discovery::group(&store, &name),
            Path::Resources { group, version } => discovery::resources(&store, &group, &version),
            Path::Call(_) => Err(Refusal::no_such_resource()),
        }
    }

    async fn call(
        self: &Arc<Self>,
        call: Call,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let counted = call.subresource.as_ref().map_or_else(
            || call.resource.plural.clone(),
            |subresource| format!("{}/{subresource}", call.resource.plural),
        );
        self.requests.note(call.verb, &counted);
        match self.faults.of(&call) {
            None => {}
            Some(Failure::Forbidden) => {
                let user = self.user(&request)?;
                return Err(Refusal::forbidden(&call, &user));
            }
            Some(Failure::Status(refusal)) => return Err(refusal),
            Some(Failure::Late(by)) => tokio::time::sleep(by).await,
            Some(Failure::Cut) => return Ok(cut()),
            Some(Failure::Text(text)) => return Ok(text_answer(200, text)),
        }
        self.user(&request)?;
        self.access.lock().unwrap_or_else(PoisonError::into_inner).authorize(token(&request), &call)?;
        match (call.verb, call.subresource.as_deref()) {
            (_, Some("portforward")) if call.resource.plural == "pods" => self.forward(&call, request),
            ("get", _) => self.get(&call).map(|object| json(200, &object)),
            ("list", _) => list::list(&self.store(), &call).map(|list| json(200, &list)),
            ("watch", _) => {
                let body = watch::watch(&self.store, &self.disturbances, &call)?;
                Ok(answer(200, "application/json", body.boxed()))
            }
            _ => {
                let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let content_type = content_type.unwrap_or_default().to_owned();
                let body = Limited::new(request.into_body(), BODY).collect().await;
                let body = body.map_err(|error| Refusal::new(413, error.to_string()))?.to_bytes();
                let (status, object) = write::write(&mut self.store(), &call, &content_type, &body)?;
                Ok(json(status, &object))
            }
        }
    }

    fn get(&self, call: &Call) -> Result<Value, Refusal> {
        let store = self.store();
        store.kind(&call.resource).ok_or_else(Refusal::no_such_resource)?;
        let name = call.name.clone().unwrap_or_default();
        let found = store.get(&call.resource, &(call.namespace.clone().unwrap_or_default(), name.clone()));
        found.map(|object| (**object).clone()).ok_or_else(|| Refusal::not_found(&call.resource, &name))
    }

    fn forward(&self, call: &Call, mut request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        self.get(call)?;
        let accepted = portforward::accept(&self.targets, call, request.headers())?;
        let mut response = answer(101, "", Full::default().map_err(|never| match never {}).boxed());
        *response.headers_mut() = accepted.headers.clone();
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            // A client that goes in the middle of a forward is no matter.
            if let Ok(upgraded) = upgrade.await {
                let _ = portforward::serve(upgraded, accepted).await;
            }
        });
        Ok(response)
    }

    fn user(&self, request: &Request<Incoming>) -> Result<String, Refusal> {
        let access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        access.authenticate(token(request)).map(str::to_owned)
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        if matches!(refusal.code, 401 | 403) {
            self.requests.note_refusal(&refusal.message);
        }
        let mut response = json(refusal.code, &refusal.to_json());
        if refusal.code == 429 {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn token(request: &Request<Incoming>) -> Option<&str> {
    request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok())
}

fn json(status: u16, body: &Value) -> Response<Body> {
    text_answer(status, body.to_string())
}

fn text_answer(status: u16, text: String) -> Response<Body> {
    answer(status, "application/json", Full::from(text).map_err(|never| match never {}).boxed())
}

/// The beginning of an answer, and then the connection breaks.
fn cut() -> Response<Body> {
    let broken = || Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    let parts = [Ok(Frame::data(Bytes::from_static(b"{\"kind\":\"")))].into_iter().chain([broken()]);
    answer(200, "application/json", StreamBody::new(stream::iter(parts)).boxed())
}

fn answer(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
