//! From EndpointSlices to workers: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use super::super::differences::{Fleet, differences};
use super::super::{Registration, Update};

/// Which endpoints to select.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Name of the service.
    pub(super) service: String,
    /// Name of its port.
    pub(super) port: String,
    /// Whether workers are called over TLS if the port does not say.
    pub(super) tls: bool,
}

/// What a watcher knows: the slices of the service, and the workers in them.
#[derive(Debug)]
pub(super) struct View {
    wanted: Wanted,
    /// The version from which a watch resumes.
    pub(super) version: String,
    /// By slice name.
    slices: BTreeMap<String, EndpointSlice>,
    fleet: Fleet,
}

// === impl Wanted ===

impl Wanted {
    /// Selects the service's slices.
    pub(super) fn selector(&self) -> String {
        format!("kubernetes.io/service-name={}", self.service)
    }

    /// The address of an endpoint, if it can be called.
    fn address(&self, endpoint: &Endpoint, ports: &[EndpointPort]) -> Option<String> {
        let named = ports.iter().find(|port| port.name.as_deref() == Some(&self.port));
        let port = match (named, ports) {
            (Some(port), _) => port,
            (None, [only]) => only,
            (None, _) => return None,
        };
        let number = port.port?;
        let scheme = match port.app_protocol.as_deref() {
            Some("https") => "https",
            Some("http" | "kubernetes.io/h2c") => "http",
            _ if self.tls => "https",
            _ => "http",
        };
        // Addresses of one endpoint are interchangeable; the first is used.
        match endpoint.addresses.first()?.parse().ok()? {
            IpAddr::V4(ip) => Some(format!("{scheme}://{ip}:{number}")),
            IpAddr::V6(ip) => Some(format!("{scheme}://[{ip}]:{number}")),
        }
    }

    fn worker(&self, endpoint: &Endpoint, ports: &[EndpointPort]) -> Option<Registration> {
        // An endpoint without that condition is ready, by Kubernetes' own rule.
        let is_ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
        if is_ready == Some(false) {
            return None;
        }
        let mut worker = Registration::at(self.address(endpoint, ports)?);
        if let Some(pod) =
            endpoint.target_ref.as_ref().filter(|of| of.kind.as_deref() == Some("Pod"))
        {
            if let Some(name) = &pod.name {
                worker.worker_id = name.clone();
            }
            worker.incarnation = pod.uid.clone().unwrap_or_default();
        }
        Some(worker)
    }

    /// The workers in `slices`, by id. An endpoint may appear in several slices: while Kubernetes moves it, and once
    /// for each address family. IPv4 takes precedence.
    fn fleet<'a>(&self, slices: impl Iterator<Item = &'a EndpointSlice>) -> Fleet {
        let mut slices: Vec<&EndpointSlice> = slices.collect();
        slices.sort_by_key(|slice| slice.address_type != "IPv4");
        let mut fleet = Fleet::new();
        for slice in slices {
            let ports = slice.ports.as_deref().unwrap_or_default();
            for worker in slice.endpoints.iter().filter_map(|of| self.worker(of, ports)) {
                fleet.entry(worker.worker_id.clone()).or_insert(worker);
            }
        }
        fleet
    }
}

// === impl View ===

impl View {
    /// The slices of a list, and the list's version.
    pub(super) fn new(wanted: Wanted, version: String, listed: Vec<EndpointSlice>) -> Self {
        let named = listed.into_iter().map(|slice| (name(&slice), slice));
        let slices: BTreeMap<String, EndpointSlice> = named.collect();
        let fleet = wanted.fleet(slices.values());
        Self { wanted, version, slices, fleet }
    }

    /// The whole fleet.
    pub(super) fn as_reset(&self) -> Update {
        Update::Reset(self.fleet.values().cloned().collect())
    }

    /// Adds a slice, or replaces a changed one.
    pub(super) fn put(&mut self, slice: EndpointSlice) -> Vec<Update> {
        self.advance(&slice);
        self.slices.insert(name(&slice), slice);
        self.refresh()
    }

    /// Removes a slice.
    pub(super) fn remove(&mut self, slice: &EndpointSlice) -> Vec<Update> {
        self.advance(slice);
        self.slices.remove(&name(slice));
        self.refresh()
    }

    fn advance(&mut self, slice: &EndpointSlice) {
        if let Some(version) = &slice.metadata.resource_version {
            self.version.clone_from(version);
        }
    }

    fn refresh(&mut self) -> Vec<Update> {
        let fleet = self.wanted.fleet(self.slices.values());
        let updates = differences(&self.fleet, &fleet);
        self.fleet = fleet;
        updates
    }
}

// === private ===

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wanted() -> Wanted {
        Wanted { service: "workers".to_owned(), port: "grpc".to_owned(), tls: false }
    }

    #[allow(clippy::needless_pass_by_value, reason = "JSON is given as it is written")]
    fn slice(name: &str, ports: Value, endpoints: Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "resourceVersion": "7"}, "ports": ports, "endpoints": endpoints,
        }))
        .unwrap()
    }

    fn grpc() -> Value {
        json!([{"name": "metrics", "port": 9481}, {"name": "grpc", "port": 7481}])
    }

    fn pod(name: &str, address: &str) -> Value {
        let target = json!({"kind": "Pod", "name": name, "uid": format!("uid-of-{name}")});
        json!({"addresses": [address], "conditions": {"ready": true}, "targetRef": target})
    }

    fn addresses(slices: &[EndpointSlice], wanted: &Wanted) -> Vec<(String, String)> {
        let fleet = wanted.fleet(slices.iter());
        fleet.into_iter().map(|(id, worker)| (id, worker.address)).collect()
    }

    #[test]
    fn a_ready_pod_is_a_worker_by_its_name_at_the_port_for_grpc() {
        let not_ready = json!({"addresses": ["10.0.0.2"], "conditions": {"ready": false}});
        let silent = json!({"addresses": ["10.0.0.3"]});
        let endpoints = json!([pod("w-0", "10.0.0.1"), not_ready, silent]);
        let found = addresses(&[slice("s", grpc(), endpoints)], &wanted());
        let expected = [
            ("http://10.0.0.3:7481".to_owned(), "http://10.0.0.3:7481".to_owned()),
            ("w-0".to_owned(), "http://10.0.0.1:7481".to_owned()),
        ];
        assert_eq!(
            found, expected,
            "one without conditions is ready, one without a pod is its address"
        );
    }

    #[test]
    fn the_port_is_the_named_one_or_the_only_one_and_says_whether_it_speaks_tls() {
        let of = |ports: Value, wanted: &Wanted| {
            addresses(&[slice("s", ports, json!([pod("w", "10.0.0.1")]))], wanted)
                .pop()
                .map(|(_, address)| address)
        };
        let secure = Wanted { tls: true, ..wanted() };
        let at = |scheme: &str| Some(format!("{scheme}://10.0.0.1:1"));
        let other = json!([{"name": "other", "port": 1}]);
        assert_eq!(of(other.clone(), &wanted()), at("http"));
        assert_eq!(of(other, &secure), at("https"));
        let said = |protocol: &str| json!([{"name": "grpc", "port": 1, "appProtocol": protocol}]);
        assert_eq!(of(said("https"), &wanted()), at("https"));
        assert_eq!(of(said("kubernetes.io/h2c"), &secure), at("http"));
        assert_eq!(
            of(json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]), &wanted()),
            None
        );
        assert_eq!(of(json!([{"name": "grpc"}]), &wanted()), None);
        assert_eq!(of(Value::Null, &wanted()), None);
    }

    #[test]
    fn a_pod_in_several_slices_is_one_worker_and_ipv4_counts_first() {
        let mut ipv6 = slice("a", grpc(), json!([pod("w", "fd00::1"), pod("only-6", "fd00::2")]));
        ipv6.address_type = "IPv6".to_owned();
        let ipv4 = slice("b", grpc(), json!([pod("w", "10.0.0.1")]));
        let mut names = slice("c", grpc(), json!([pod("host", "worker.example")]));
        names.address_type = "FQDN".to_owned();
        let found = addresses(&[ipv6, ipv4.clone(), ipv4, names], &wanted());
        let expected = [
            ("only-6".to_owned(), "http://[fd00::2]:7481".to_owned()),
            ("w".to_owned(), "http://10.0.0.1:7481".to_owned()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pod_that_moves_to_another_slice_is_no_news_and_one_of_another_uid_is() {
        let one = json!([pod("w", "10.0.0.1")]);
        let mut view = View::new(wanted(), "1".to_owned(), vec![slice("a", grpc(), one.clone())]);
        assert_eq!(view.put(slice("b", grpc(), one.clone())), []);
        assert_eq!(view.remove(&slice("a", grpc(), one.clone())), []);
        assert_eq!(view.version, "7");

        let mut again = one;
        again[0]["targetRef"]["uid"] = json!("another");
        let updates = view.put(slice("b", grpc(), again));
        assert!(matches!(&updates[..], [Update::Added(worker)] if worker.incarnation == "another"));
        let gone = view.remove(&slice("b", grpc(), Value::Null));
        assert_eq!(gone, [Update::Removed("w".to_owned())]);
    }
}
