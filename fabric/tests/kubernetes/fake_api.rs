//! A fake Kubernetes API server, limited to EndpointSlices: the real wire format over real HTTP, with everything that
//! can happen to a client. Its answers follow "API concepts" of Kubernetes' reference.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "no test does all that can happen")]

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

pub const NAMESPACE: &str = "judges";
pub const SERVICE: &str = "workers";
/// Slices per page, even if the client would accept more; servers may do that.
const PAGE: usize = 2;

/// The server, which can be stopped and restarted at its address.
pub struct FakeApi {
    address: SocketAddr,
    cluster: Arc<Mutex<Cluster>>,
    runtime: Option<Runtime>,
    folder: TempDir,
}

/// The contents of the cluster, and how its server treats clients.
struct Cluster {
    version: u64,
    /// By name.
    slices: BTreeMap<String, Value>,
    /// Every change since `forgotten`: its version, and its event.
    history: Vec<(u64, Value)>,
    /// A watch from an earlier version is answered with 410.
    forgotten: u64,
    /// Whether that 410 is the answer's status, or an event in a stream that begins successfully: servers do either.
    gone_is_status: bool,
    /// Whether the next page of a list is refused because its token is too old.
    next_page_expired: bool,
    /// The token that clients must bring.
    token: String,
    /// Events for open watches; `None` ends them.
    watches: broadcast::Sender<Option<Value>>,
    requests: Vec<String>,
}

impl FakeApi {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cluster = Arc::new(Mutex::new(Cluster {
            version: 1000,
            slices: BTreeMap::new(),
            history: Vec::new(),
            forgotten: 0,
            gone_is_status: false,
            next_page_expired: false,
            token: "first".to_owned(),
            watches: broadcast::channel(1024).0,
            requests: Vec::new(),
        }));
        let folder = tempfile::tempdir().unwrap();
        let mut api = Self { address, cluster, runtime: None, folder };
        std::fs::write(api.token_file(), "first").unwrap();
        std::fs::write(api.kubeconfig(), api.kubeconfig_text()).unwrap();
        api.serve(listener);
        api
    }

    /// The kubeconfig with which a client finds this server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    fn kubeconfig_text(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "coordinator", "user": {"tokenFile": self.token_file()}}],
            "contexts": [{
                "name": "fake",
                "context": {"cluster": "fake", "user": "coordinator", "namespace": NAMESPACE},
            }],
        })
        .to_string()
    }

    /// Ends every connection and stops listening.
    pub fn stop(&mut self) {
        self.runtime.take().expect("it runs").shutdown_background();
    }

    /// Listens again, at the same address.
    pub fn start_again(&mut self) {
        // The previous runtime shuts down concurrently, and its listener with it.
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => std::thread::yield_now(),
            }
        };
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let path = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices";
        let routes = Router::new().route(path, get(slices)).with_state(Arc::clone(&self.cluster));
        let runtime = Runtime::new().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, routes).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    /// A slice of the service with only this endpoint, named after its pod.
    pub fn put_pod(&self, pod: &str, uid: &str, ready: bool) {
        let number = pod.bytes().map(u32::from).sum::<u32>() % 250;
        self.put_pod_at(pod, uid, ready, (&format!("10.0.0.{number}"), 7481));
    }

    /// Same, with its address and port.
    pub fn put_pod_at(&self, pod: &str, uid: &str, ready: bool, (ip, port): (&str, u16)) {
        let endpoint = json!({
            "addresses": [ip],
            "conditions": {"ready": ready, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": pod, "uid": uid},
        });
        self.put_slice(&format!("{SERVICE}-{pod}"), port, &json!([endpoint]));
    }

    fn put_slice(&self, name: &str, port: u16, endpoints: &Value) {
        let mut cluster = self.cluster();
        let kind = if cluster.slices.contains_key(name) { "MODIFIED" } else { "ADDED" };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": format!("uid-of-{name}"),
                "labels": {"kubernetes.io/service-name": SERVICE},
            },
            "addressType": "IPv4",
            "ports": [{"name": "grpc", "port": port, "protocol": "TCP"}],
            "endpoints": endpoints,
        });
        cluster.change(kind, slice);
    }

    pub fn remove_pod(&self, pod: &str) {
        let mut cluster = self.cluster();
        let slice = cluster.slices.get(&format!("{SERVICE}-{pod}")).cloned();
        cluster.change("DELETED", slice.expect("it is there"));
    }

    /// Changes something else in the cluster, which these watches do not receive.
    pub fn change_something_else(&self) {
        self.cluster().version += 100;
    }

    /// Sends a bookmark of the current version to open watches.
    pub fn bookmark(&self) {
        let cluster = self.cluster();
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"resourceVersion": cluster.version.to_string()},
        });
        cluster.to_watches(Some(json!({"type": "BOOKMARK", "object": object})));
    }

    /// Forgets the history until now.
    pub fn compact(&self, gone_is_status: bool) {
        let mut cluster = self.cluster();
        cluster.forgotten = cluster.version;
        cluster.history.clear();
        cluster.gone_is_status = gone_is_status;
    }

    /// Reports to open watches that their history is forgotten.
    pub fn gone_mid_watch(&self) {
        self.cluster().to_watches(Some(json!({"type": "ERROR", "object": gone()})));
    }

    /// Ends open watches, as the server does when their time is up.
    pub fn end_watches(&self) {
        self.cluster().to_watches(None);
    }

    pub fn expire_next_page(&self) {
        self.cluster().next_page_expired = true;
    }

    /// From now on another token is valid; clients find it in their file.
    pub fn rotate_token(&self, token: &str) {
        std::fs::write(self.token_file(), token).unwrap();
        self.cluster().token = token.to_owned();
    }

    /// From now on no token is valid.
    pub fn forbid(&self) {
        self.cluster().token = "nobody's".to_owned();
    }

    /// The requests so far: `list`, `page` or `watch VERSION`.
    pub fn requests(&self) -> Vec<String> {
        self.cluster().requests.clone()
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Cluster {
    fn change(&mut self, kind: &str, mut slice: Value) {
        self.version += 1;
        slice["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let name = slice["metadata"]["name"].as_str().unwrap().to_owned();
        if kind == "DELETED" {
            self.slices.remove(&name);
        } else {
            self.slices.insert(name, slice.clone());
        }
        let event = json!({"type": kind, "object": slice});
        self.history.push((self.version, event.clone()));
        self.to_watches(Some(event));
    }

    fn to_watches(&self, event: Option<Value>) {
        // There may be no watchers.
        drop(self.watches.send(event));
    }

    /// One page of a list. A real token holds the version of the first page as well.
    fn list(&mut self, after: Option<&String>) -> Response {
        self.requests.push(if after.is_some() { "page" } else { "list" }.to_owned());
        if after.is_some() && std::mem::take(&mut self.next_page_expired) {
            return status(StatusCode::GONE, &gone());
        }
        let rest = self.slices.iter().filter(|(name, _)| after.is_none_or(|after| *name > after));
        let rest: Vec<_> = rest.collect();
        let page = &rest[..rest.len().min(PAGE)];
        let more = rest.len() > page.len();
        let next = page.last().filter(|_| more).map(|(name, _)| (*name).clone());
        let items: Vec<&Value> = page.iter().map(|(_, slice)| *slice).collect();
        let list = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSliceList",
            "metadata": {
                "resourceVersion": self.version.to_string(),
                "continue": next.unwrap_or_default(),
                "remainingItemCount": rest.len() - page.len(),
            },
            "items": items,
        });
        status(StatusCode::OK, &list)
    }

    fn watch(&mut self, version: &str) -> Response {
        self.requests.push(format!("watch {version}"));
        let from: u64 = version.parse().unwrap();
        if from < self.forgotten {
            let gone = gone();
            return if self.gone_is_status {
                status(StatusCode::GONE, &gone)
            } else {
                let event = json!({"type": "ERROR", "object": gone});
                (StatusCode::OK, line(&event)).into_response()
            };
        }
        let missed = self.history.iter().filter(|(version, _)| *version > from);
        let missed: Vec<Value> = missed.map(|(_, event)| event.clone()).collect();
        let live = BroadcastStream::new(self.watches.subscribe());
        // An end, or a watcher that was too slow, ends the stream.
        let live = live.take_while(|event| std::future::ready(matches!(event, Ok(Some(_)))));
        let live = live.filter_map(|event| std::future::ready(event.ok().flatten()));
        let events =
            stream::iter(missed).chain(live).map(|event| Ok::<_, Infallible>(line(&event)));
        let json = [(header::CONTENT_TYPE, "application/json")];
        (json, Body::from_stream(events)).into_response()
    }
}

async fn slices(
    State(cluster): State<Arc<Mutex<Cluster>>>,
    Path(namespace): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let query: HashMap<String, String> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut cluster = cluster.lock().unwrap();
    let bearer = format!("Bearer {}", cluster.token);
    if headers.get(header::AUTHORIZATION).is_none_or(|sent| *sent != bearer.as_str()) {
        let message = "endpointslices.discovery.k8s.io is forbidden";
        return status(StatusCode::FORBIDDEN, &failure(403, "Forbidden", message));
    }
    assert_eq!(namespace, NAMESPACE);
    assert_eq!(query["labelSelector"], format!("kubernetes.io/service-name={SERVICE}"));
    if query.get("watch").is_some_and(|watch| watch == "true") {
        assert_eq!(query["allowWatchBookmarks"], "true");
        return cluster.watch(&query["resourceVersion"]);
    }
    assert!(query["limit"].parse::<usize>().unwrap() > 0);
    cluster.list(query.get("continue"))
}

fn gone() -> Value {
    failure(410, "Expired", "too old resource version")
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn status(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}
