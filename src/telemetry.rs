//! Logs and spans, configured by the command line and by OpenTelemetry's own variables.

use std::path::PathBuf;

use anyhow::Context;
use jury_fabric::connector::Connector;
use jury_fabric::telemetry::{Collector, LogConfig, LogFormat, Telemetry, start as start_with};
use jury_fabric::tls::{ClientTls, ClientTlsFiles, Identity};
use jury_terminal::exit::{Exit, Failed, OrExit};
use tracing::warn;

use crate::args::{Args, LogFormatArg};

const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Endpoint {
    Nowhere,
    /// Set by an option of this command.
    Asked(String),
    /// Set by a variable for all programs: an error there does not keep the command from starting.
    Standard(String),
    /// The same, with a protocol that is not supported.
    Foreign {
        protocol: String,
    },
}

/// Starts logs and spans. Must be called inside the runtime.
pub fn start(args: &Args) -> Result<Telemetry, Failed> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (collector, warning) = match args.command.traces() {
        None => (None, None),
        Some((traces, service)) => {
            let asked = traces.otlp_endpoint.as_deref();
            collector(endpoint(asked, variable), &tls_files(variable), service)?
        }
    };
    let format = match args.logs.log_format {
        LogFormatArg::Text => LogFormat::Text,
        LogFormatArg::Json => LogFormat::Json,
    };
    let default = || args.command.default_log().to_owned();
    let filter = args.logs.log.clone().unwrap_or_else(default);
    let telemetry = start_with(LogConfig { format, filter }, collector).or_exit(Exit::Usage)?;
    if let Some(problem) = warning {
        warn!(problem, "spans are not exported");
    }
    Ok(telemetry)
}

/// The endpoint of the command line, else that of the standard variables.
fn endpoint(asked: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Endpoint {
    if let Some(asked) = asked {
        return Endpoint::Asked(asked.to_owned());
    }
    let is_disabled = variable(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let standard = variable(TRACES_ENDPOINT).or_else(|| variable(ENDPOINT));
    let Some(standard) = standard.filter(|_| !is_disabled) else { return Endpoint::Nowhere };
    match variable(TRACES_PROTOCOL).or_else(|| variable(PROTOCOL)) {
        Some(protocol) if protocol != "grpc" => Endpoint::Foreign { protocol },
        _ => Endpoint::Standard(standard),
    }
}

/// The CA of the collector's certificate, and the client certificate, from OpenTelemetry's own variables.
fn tls_files(variable: impl Fn(&str) -> Option<String>) -> ClientTlsFiles {
    let file = |what: &str| {
        let of = |signal: &str| variable(&format!("OTEL_EXPORTER_OTLP_{signal}{what}"));
        of("TRACES_").or_else(|| of("")).map(PathBuf::from)
    };
    let (certificate, key) = (file("CLIENT_CERTIFICATE"), file("CLIENT_KEY"));
    let identity = certificate.zip(key).map(|(certificate, key)| Identity { certificate, key });
    ClientTlsFiles { ca: file("CERTIFICATE"), identity, server_name: None }
}

/// The collector, if there is one, or a warning if a standard variable cannot be used.
fn collector(
    endpoint: Endpoint,
    tls: &ClientTlsFiles,
    service: &str,
) -> Result<(Option<Collector>, Option<String>), Failed> {
    // Only an error in one of our own options keeps a command from starting.
    let connector = || match tls == &ClientTlsFiles::default() {
        true => Ok(Connector::new()),
        false => ClientTls::open(tls).map(Connector::with_tls).context(CERTIFICATE),
    };
    match endpoint {
        Endpoint::Nowhere => Ok((None, None)),
        Endpoint::Asked(address) => {
            let connector = connector().or_exit(Exit::NoInput)?;
            let collector = Collector::new(&connector, &address, service);
            Ok((Some(collector.context("--otlp-endpoint").or_exit(Exit::Usage)?), None))
        }
        Endpoint::Standard(address) => {
            let new = |connector| Collector::new(&connector, &address, service).context(ENDPOINT);
            match connector().and_then(new) {
                Ok(collector) => Ok((Some(collector), None)),
                Err(error) => Ok((None, Some(Failed::new(Exit::Usage, error).message()))),
            }
        }
        Endpoint::Foreign { protocol } => {
            let way_out = "jury exports only over grpc: set --otlp-endpoint to a grpc receiver";
            Ok((None, Some(format!("{PROTOCOL} is {protocol}; {way_out}"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(asked: Option<&str>, set: &[(&str, &str)]) -> Endpoint {
        let variable = |name: &str| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        endpoint(asked, variable)
    }

    #[test]
    fn nothing_is_exported_unless_somebody_says_where_to() {
        assert_eq!(of(None, &[]), Endpoint::Nowhere);
        assert_eq!(of(None, &[(ENDPOINT, "http://c:1"), (DISABLED, "true")]), Endpoint::Nowhere);
    }

    #[test]
    fn the_flag_wins_over_the_standard_variables_and_the_closer_variable_over_the_wider() {
        let standard = [(ENDPOINT, "http://all:1"), (TRACES_ENDPOINT, "http://traces:1")];
        assert_eq!(of(Some("http://c:1"), &standard), Endpoint::Asked("http://c:1".to_owned()));
        assert_eq!(of(None, &standard), Endpoint::Standard("http://traces:1".to_owned()));
        assert_eq!(of(None, &standard[..1]), Endpoint::Standard("http://all:1".to_owned()));
    }

    #[test]
    fn another_protocol_is_told_and_not_spoken_to() {
        let http = (PROTOCOL, "http/protobuf");
        let found = of(None, &[(ENDPOINT, "http://c:4318"), http]);
        assert_eq!(found, Endpoint::Foreign { protocol: "http/protobuf".to_owned() });
        assert!(matches!(
            of(None, &[(ENDPOINT, "http://c:4317"), http, (TRACES_PROTOCOL, "grpc")]),
            Endpoint::Standard(_)
        ));
    }

    #[tokio::test]
    async fn only_what_was_asked_for_here_can_keep_a_command_from_starting() {
        let ftp = "ftp://c:4317".to_owned();
        let none = ClientTlsFiles::default();
        let error = collector(Endpoint::Asked(ftp.clone()), &none, "jury-up").unwrap_err();
        let told = format!("{:#}", error.error);
        assert!(told.contains("--otlp-endpoint") && told.contains("scheme"), "{told}");
        let (spans, warning) = collector(Endpoint::Standard(ftp), &none, "jury-up").unwrap();
        assert!(spans.is_none() && warning.unwrap().contains(ENDPOINT));

        let missing = tls_files(|name| (name == CERTIFICATE).then(|| "/no/ca.pem".to_owned()));
        let https = "https://c:4317".to_owned();
        let error = collector(Endpoint::Asked(https.clone()), &missing, "jury-up").unwrap_err();
        assert!(error.message().contains("/no/ca.pem"), "{}", error.message());
        let (spans, warning) = collector(Endpoint::Standard(https), &missing, "jury-up").unwrap();
        assert!(spans.is_none() && warning.unwrap().contains("/no/ca.pem"));
    }

    #[test]
    fn certificates_come_from_the_standard_variables_the_closer_before_the_wider() {
        let set = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "all.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "traces.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "c.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "c.key"),
        ];
        let variable = |name: &str| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let files = tls_files(variable);
        assert_eq!(files.ca, Some(PathBuf::from("traces.pem")));
        let (certificate, key) = (PathBuf::from("c.pem"), PathBuf::from("c.key"));
        assert_eq!(files.identity, Some(Identity { certificate, key }));
    }
}
